"""What the screen remembers besides the situation: what was told, and since when things run."""

from __future__ import annotations

import calendar
import contextlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from parallel_train.core.eta import Pace
from parallel_train.core.facts import Claim
from parallel_train.core.situation import Situation
from parallel_train.core.state import Line

Key = tuple[str, int]  # task and attempt
Tail = Callable[[str], list[str]]  # the last lines of a log

_RECENT = 6


@dataclass(frozen=True, slots=True)
class Moment:
    now: float  # monotonic seconds
    wall: float  # seconds since 1970


@dataclass(frozen=True, slots=True)
class Said:
    """One happening in words: a line, and what follows it where there is room."""

    text: str
    kind: Literal["plain", "good", "bad", "note"] = "plain"
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Active:
    """An attempt that runs, and when it began (monotonic seconds)."""

    claim: Claim
    began: float


@dataclass(slots=True)
class Memory:
    since: float  # when this run began, monotonic seconds
    pace: Pace = field(default_factory=Pace)
    active: dict[Key, Active] = field(default_factory=dict)
    over: dict[str, int] = field(default_factory=dict)  # the last attempt of each task that is over
    recent: deque[Said] = field(default_factory=lambda: deque(maxlen=_RECENT))

    @staticmethod
    def of(situation: Situation, moment: Moment) -> Memory:
        memory = Memory(moment.now, Pace.of(situation))
        for line in situation.lines.values():
            claim = live_claim(line)
            if claim is not None:
                memory.start(claim, moment)
        return memory

    def start(self, claim: Claim, moment: Moment, *, just_now: bool = False) -> bool:
        """Remember that it runs; False where that is known: a claim of ours is read from the disk as well."""
        key = (claim.task, claim.attempt)
        if key in self.active or claim.attempt <= self.over.get(claim.task, 0):
            return False
        age = 0.0 if just_now else _age(claim.at, moment.wall)
        self.active[key] = Active(claim, moment.now - age)
        return True

    def finish(self, task: str, attempt: int) -> bool:
        """Remember that it is over; False where that is known."""
        self.active.pop((task, attempt), None)
        if attempt <= self.over.get(task, 0):
            return False
        self.over[task] = attempt
        return True

    def ages(self, now: float) -> dict[str, float]:
        """Seconds that each task that runs has run for."""
        return {task: max(0.0, now - active.began) for (task, _), active in self.active.items()}


def live_claim(line: Line) -> Claim | None:
    return line.attempts[-1].claim if line.attempts and line.attempts[-1].end is None else None


def _age(at: str, wall: float) -> float:
    """Seconds since `at` (ISO 8601 UTC), by two wall clocks: for people, and never negative."""
    with contextlib.suppress(ValueError):
        return max(0.0, wall - calendar.timegm(time.strptime(at, "%Y-%m-%dT%H:%M:%SZ")))
    return 0.0
