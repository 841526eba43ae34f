"""The chosen tasks as somebody sees them who keeps looking while others work."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from parallel_train.commands.muster import Musters
from parallel_train.commands.select import select
from parallel_train.core import graph
from parallel_train.core.situation import Situation, Wishes
from parallel_train.core.slots import Pool
from parallel_train.core.state import Ended, Line, Running
from parallel_train.core.task import Task
from parallel_train.errors import NothingSelectedError
from parallel_train.procs.runner import is_alive
from parallel_train.project import reading
from parallel_train.report.words import remark
from parallel_train.store.queue import NAME, DiskQueue

_KINDS = ("tasks", "rounds", "claims", "ends", "requests")  # folders that only ever grow
_SHARE = 50  # looking takes at most one part in so many of the time


@dataclass(slots=True)
class Sight:
    """What the queue says of the chosen tasks. It is read again once there is something new in it."""

    project: Path
    asked: Sequence[str]
    failed: bool
    situation: Situation = field(default_factory=lambda: Situation(Wishes(), Pool()))
    lines: list[Line] = field(default_factory=list)  # of the chosen tasks
    is_worked_on: bool = False
    _known: dict[str, Task] = field(default_factory=dict)
    _holding: frozenset[str] = frozenset()  # those that a task file still names
    _chosen: tuple[str, ...] = ()
    _counts: tuple[int, ...] = ()
    _due: float = 0.0
    _noted: set[str] = field(default_factory=set)
    _musters: Musters = field(init=False)

    def __post_init__(self) -> None:
        self._musters = Musters(self.project / NAME)
        self.refresh()
        if self.failed:
            self.lines = [line for line in self.lines if _has_failed(line)]
            self._chosen = tuple(line.task.id for line in self.lines)

    @property
    def is_by_name(self) -> bool:
        return bool(self.asked) or self.failed

    def refresh(self) -> bool:
        """Whether anything is new."""
        began = time.monotonic()
        if began < self._due:
            return False
        before = (self._counts, self.is_worked_on)
        folder = reading.existing_queue(self.project)
        counts = tuple(_count(folder / kind) for kind in _KINDS)
        if counts[:1] != self._counts[:1]:
            self._read_tasks(folder)
        if counts != self._counts or self._has_dead():
            self._read_records()
            before = ((), False)
        disk = DiskQueue(folder, reading.this_owner("looking"), is_alive)
        self._counts, self.is_worked_on = counts, disk.has_company() or self._is_awaited()
        self._due = began + _SHARE * (time.monotonic() - began)
        return before != (self._counts, self.is_worked_on)

    def may_go_on(self, line: Line) -> bool:
        """Whether an attempt runs, or one can follow without anybody asking while somebody works here."""
        is_open = line.task.id in self.situation.open
        return isinstance(line.state, Running) or (is_open and line.task.id in self._holding)

    def is_expected(self, line: Line) -> bool:
        return isinstance(line.state, Running) or (self.is_worked_on and self.may_go_on(line))

    def _read_tasks(self, folder: Path) -> None:
        known, holding = reading.known_tasks(folder, everything=True), reading.known_tasks(folder)
        self._known = {task.id: task for task in known}
        self._holding = frozenset(task.id for task in holding)
        if not self._chosen or not self.is_by_name:
            self._chosen = tuple(task.id for task in self._choose(known, holding))

    def _choose(self, known: Sequence[Task], holding: Sequence[Task]) -> Sequence[Task]:
        """A word means tasks that hold; a number, which stays, also one that no file names any more."""
        if not self.asked:
            return holding if self.failed else known
        try:
            return select(self.asked, holding)
        except NothingSelectedError:
            if self.failed or not all(word.isdigit() for word in self.asked):
                raise
            return select(self.asked, known)

    def _read_records(self) -> None:
        needed = graph.closure(self._chosen, {name: task.needs for name, task in self._known.items()})
        self.situation = reading.look(self.project, [self._known[name] for name in needed], self._note)
        self.lines = [self.situation.lines[name] for name in self._chosen]

    def _note(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            print(remark(text), file=sys.stderr)

    def _is_awaited(self) -> bool:
        """Whether Slurm still has workers to grant, while there is work for them."""
        found = self._musters.look() if self.situation.open else None
        return found is not None and bool(found.present)

    def _has_dead(self) -> bool:
        """Whether an attempt lost its owner since: nobody may live who could write that down."""
        running = (line.attempts[-1] for line in self.situation.running() if line.attempts)
        return any(is_alive(attempt.claim.owner) is False for attempt in running)


def _has_failed(line: Line) -> bool:
    return isinstance(line.state, Ended) and line.state.ending == "failed"


def _count(folder: Path) -> int:
    """How many records there are: none is ever taken away, so any change is seen."""
    try:
        return sum(not name.startswith(".") for name in os.listdir(folder))  # noqa: PTH208  names, as text
    except OSError:
        return 0
