"""attach: the screen of a run that another process does, drawn from its records. Nothing is written."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

from parallel_train.commands import results
from parallel_train.commands.muster import Musters
from parallel_train.core import policy
from parallel_train.core.apply import absorb, apply, note
from parallel_train.core.decide import exit_code
from parallel_train.core.events import (
    ClusterSilent,
    ElementsSeen,
    Event,
    HungUp,
    Interrupted,
    RoundOpened,
    Submitted,
    Warned,
)
from parallel_train.core.muster import Muster
from parallel_train.core.situation import Situation, Wishes, begin
from parallel_train.core.state import Line
from parallel_train.core.task import Task
from parallel_train.errors import ParallelTrainError, UsageError
from parallel_train.procs import process
from parallel_train.procs.runner import is_alive
from parallel_train.procs.signals import Signals
from parallel_train.project.reading import existing_queue, known_tasks, survey, this_owner
from parallel_train.project.workers import Worker, living
from parallel_train.report import paste
from parallel_train.report import workers as words
from parallel_train.report.console import ConsoleReporter, Setup, make_reporter
from parallel_train.report.memory import Said
from parallel_train.report.muster import command, counted
from parallel_train.store import queue, submissions
from parallel_train.store.queue import DiskQueue

HUNG_UP = 129


class Clock:
    def monotonic(self) -> float:
        return time.monotonic()


def attach(project: Path, wanted: str | None, *, check_interval: float, out: TextIO) -> int:
    """Show the run of the worker that `wanted` names until it ends or is left; its exit code, 130 where it was left."""
    existing_queue(project)
    worker = chosen(project, wanted)
    told: list[str] = []
    disk, situation = situation_of(project, worker, told.append)
    setup = Setup(
        project=project,
        lines=Path(os.devnull),
        clock=Clock(),
        check_interval=check_interval,
        results=lambda: results.sheet(situation, project),
    )
    with closing(Signals()) as signals:
        reporter = make_reporter(situation, setup, out)
        reporter.memory.since -= worker.age(time.time()) or 0.0
        running = [] if reporter.screen else list(words.running(situation))  # else the table shows them
        warned = [Said(f"! {text}", "note") for text in told]
        reporter.begin(situation, [words.attached(worker.seen(project)), *warned, *running])
        try:
            left = Attached(worker, disk, situation, reporter, signals).follow()
        finally:
            reporter.stop()
        if left:
            if left != HUNG_UP:
                print(words.left(worker.seen(project)), file=out)
            return left
        if (disk.folder / "workers" / worker.name).exists():  # whoever leaves takes it along
            tasks = [line.task for line in situation.lines.values()]
            found = Musters(project / queue.NAME).look()
            again = command(found, tasks) if found else ""
            reporter.show(Warned(words.died(worker.seen(project), again)), situation)
        code = exit_code(situation)
        reporter.close(situation, code)
        return code


def chosen(project: Path, wanted: str | None) -> Worker:
    """The living worker that is meant. Raises UsageError where that is none, or may be several."""
    musters = Musters(project / queue.NAME)
    workers = [worker for worker in musters.at_work(living(project)) if not worker.makes_calls]
    if not workers:
        where = f"{paste.command('status')} says where every task stands"
        found = musters.look()
        again = command(found, known_tasks(project / queue.NAME)) if found and found.present else ""
        there = f"; Slurm: {counted(found)}" if found and found.present else ""
        there += f"; {again} shows their run" if again else ""
        raise UsageError(f"no scheduler works here now{there}{_last_lines(project)}; {where}")
    meant = [worker for worker in workers if wanted is None or _is_meant(worker, wanted)]
    if wanted is None:  # who watches over them, rather than those that a cluster lends
        meant = [worker for worker in meant if not worker.job] or meant
    if len(meant) == 1:
        return meant[0]
    seen = [worker.seen(project) for worker in meant or workers]
    if not meant:
        raise UsageError(f"no worker '{wanted}' lives here; these do:\n{words.listed(seen)}")
    found = musters.look()
    raise UsageError(words.several(seen, command(found, known_tasks(project / queue.NAME)) if found else ""))


def _is_meant(worker: Worker, wanted: str) -> bool:
    return worker.name.startswith(wanted) or wanted in {str(worker.owner.pid), worker.job}


def _last_lines(project: Path) -> str:
    """Where the last worker without a terminal left its lines."""
    found = list((project / queue.NAME / "journal").glob("*.log"))
    last = max(found, key=lambda path: path.stat().st_mtime, default=None)
    return (
        f"; the last one without a terminal left its lines in {paste.path(str(last.relative_to(project)))}"
        if last
        else ""
    )


def situation_of(project: Path, worker: Worker, amiss: Callable[[str], None]) -> tuple[DiskQueue, Situation]:
    """The queue and the situation as `worker` has them, from what it says about itself and from the records."""
    known = submissions.read_all(project / queue.NAME / "tasks")
    number = int(worker.about.get("submission", known[-1].number if known else 0))
    sources = submissions.newest(found for found in known if found.number <= number)
    if worker.source:
        sources = {worker.source: sources[worker.source]} if worker.source in sources else {}
    tasks = {task.id: task for found in sources.values() for task in found.tasks}
    disk = _queue_of(project, worker, number, tasks)
    situation = Situation(Wishes(worker=worker.name), worker.pool, roster=worker.roster)
    note(situation, [Submitted(found.source, found.tasks) for found in sources.values()])
    begin(situation, _wishes_of(worker, tasks))  # before what came later: an edited file changes them
    told = disk.changes(time.monotonic())
    note(situation, told)
    situation.opened |= {n for n, line in situation.lines.items() if any(r.by == worker.name for r in line.rounds)}
    absorb(situation, survey(project, situation.lines.values()))
    for event in told:
        if isinstance(event, Warned):
            amiss(event.text)
    return disk, situation


def _queue_of(project: Path, worker: Worker, submission: int, tasks: Iterable[str]) -> DiskQueue:
    return DiskQueue(
        project / queue.NAME,
        this_owner("attached"),
        is_alive,
        interest=frozenset(tasks),
        sources={worker.source} - {""},
        everything=not worker.source,
        submission=submission,
        request=int(worker.about.get("request", 0)),
        survey=lambda added: survey(project, [Line(task) for task in added]),
    )


def _wishes_of(worker: Worker, tasks: Mapping[str, Task]) -> Wishes:
    numbers = worker.numbers
    return Wishes(
        worker=worker.name,
        selection=frozenset(name for name, task in tasks.items() if task.number in numbers or not numbers),
        ignore_failures=bool(worker.about.get("ignore_failures")),
        options=tuple(worker.about.get("options", ())),
        everything=not worker.source,
    )


@dataclass(slots=True)
class Attached:
    """Follows a worker until it leaves, or until we are told to."""

    worker: Worker
    disk: DiskQueue
    situation: Situation
    reporter: ConsoleReporter
    signals: Signals
    absences: int = 0  # looks in a row that did not find its record: it may be renewing it
    _due: float = 0.0
    _has_gone: bool = False
    _musters: Musters = field(init=False)
    _muster: Muster | None = None

    def __post_init__(self) -> None:
        self._musters = Musters(self.disk.folder)

    def follow(self) -> int:
        """0 once the worker has left, else the exit code of whoever left it."""
        with _pidfd(self.worker) as process_:
            watched = [self.signals.wakeup, *process_]
            while not self._has_gone:
                now = time.monotonic()
                self._look(now)
                pause = max(0.0, min(self.reporter.tick(self.situation, now), self._due - time.monotonic()))
                ready = select.select(watched, [], [], pause)[0]
                left = self._heard()
                if left:
                    return left
                if set(ready) & set(process_):
                    self._due = 0.0
                    watched = [self.signals.wakeup]
        return 0

    def _look(self, now: float) -> None:
        """Read what is new; the last time after the worker was found gone."""
        if now < self._due:
            return
        try:
            has_gone = self._is_gone()
            events = self.disk.changes(now)
        except (OSError, ParallelTrainError) as error:
            self._show(Warned(f"the queue can't be read: {error}; trying again"))
            has_gone, events = False, []
        for event in [*events, *self._of_cluster(now)]:
            self._show(event)
        took = time.monotonic() - now
        self._due = now + max(policy.POLL, policy.LOOK_SHARE * took)
        self._has_gone = has_gone

    def _of_cluster(self, now: float) -> Iterator[Event]:
        """What its workers there are doing, for a run that has such."""
        before, self._muster = self._muster, self._musters.look() if self.situation.roster else None
        if self._muster is not None and self._muster is not before:
            said, silent = self._muster.elements, self._muster.silent
            yield ClusterSilent(silent, now) if silent else ElementsSeen(tuple(said), now)

    def _show(self, event: Event) -> None:
        if isinstance(event, RoundOpened) and event.round.by == self.worker.name:
            event = replace(event, ours=True)
        apply(self.situation, event)
        self.reporter.show(event, self.situation)

    def _is_gone(self) -> bool:
        is_there = any(owner.worker == self.worker.name for owner in self.disk.others())
        self.absences = 0 if is_there else self.absences + 1
        return self.absences > 1 or is_alive(self.worker.owner) is False

    def _heard(self) -> int:
        for event in self.signals.take():
            match event:
                case Interrupted(exit_code=code):
                    return code
                case HungUp():
                    return HUNG_UP
                case _:
                    pass
        return 0


@contextmanager
def _pidfd(worker: Worker) -> Iterator[list[int]]:
    """A descriptor that becomes readable when the worker dies, where it runs on this host."""
    owner = worker.owner
    descriptor = process.open_proven(owner.pid, owner.start) if is_alive(owner) else None
    try:
        yield [] if descriptor is None else [descriptor]
    finally:
        if descriptor is not None:
            os.close(descriptor)
