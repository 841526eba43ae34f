"""What a process that makes calls itself says of those that it may not make now, and what its log has of one. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from parallel_train.core.situation import Situation
from parallel_train.core.state import Waiting
from parallel_train.report import paste, words

_STAMPED = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (?:(\d+): )?")


@dataclass(slots=True)
class Part:
    """The lines of one point in the log of a process that makes many calls, one after another."""

    number: int
    is_inside: bool = False

    @classmethod
    def of(cls, name: str) -> Part:
        return cls(int(name.removeprefix("point")))

    def lines(self, every: Iterable[bytes]) -> Iterator[bytes]:
        for line in every:
            if stamped := _STAMPED.match(line):
                self.is_inside = stamped[1] is not None and int(stamped[1]) == self.number
            if self.is_inside:
                yield line


def retries(s: Situation) -> str:
    """Calls that failed, and are made again after a moment; there is one."""
    failed = [name for _, name in s.delayed]
    return f"waiting for a moment, then trying again what failed: {words.names(failed, s)}"


def paused(s: Situation, project: str) -> str:
    """What keeps the rest from being made, and how that ends; empty where nothing is paused."""
    if not s.open:
        return ""
    if s.is_paused:
        return f"the queue is paused: {paste.command('resume', project=project)}"
    states = ((name, s.lines[name].state) for name in s.open)
    held = sorted(
        (name for name, state in states if isinstance(state, Waiting) and state.why == "paused"),
        key=lambda name: s.lines[name].task.number,
    )
    if not held:
        return ""
    numbers = words.ranges(str(s.lines[name].task.number) for name in held)
    return f"paused: {words.names(held, s)} ({paste.command('resume', numbers, project=project)})"
