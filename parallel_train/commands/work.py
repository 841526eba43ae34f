"""The work itself: from a situation that is ready to begin to an exit code, for every command that runs tasks."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from parallel_train.commands import plan, results
from parallel_train.commands.detach import Background, Departing
from parallel_train.commands.options import RunOptions
from parallel_train.core import contact, policy
from parallel_train.core.apply import apply
from parallel_train.core.events import TimeLeft, Warned
from parallel_train.core.situation import Situation, abridge
from parallel_train.core.task import Task
from parallel_train.errors import UsageError
from parallel_train.ports import Cluster
from parallel_train.procs import mounts
from parallel_train.procs.grant import grant_of
from parallel_train.procs.order import Surroundings
from parallel_train.procs.runner import LocalRunner, check_kernel
from parallel_train.procs.signals import Signals
from parallel_train.project import workers
from parallel_train.project.company import refuse_other_hosts
from parallel_train.project.workers import Worker
from parallel_train.report import summary, words
from parallel_train.report.console import ConsoleReporter, Setup, make_reporter
from parallel_train.scheduler import Scheduler
from parallel_train.store import folders, preflight, trust
from parallel_train.store.journal import Journal
from parallel_train.store.queue import DiskQueue


class MonotonicClock:
    def monotonic(self) -> float:
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A worker that is ready to begin."""

    project: Path
    disk: DiskQueue
    situation: Situation
    machine: plan.Machine
    notes: tuple[str, ...]
    umask: int
    source: str = ""  # what is submitted, where something is
    tasks: tuple[Task, ...] = ()
    searches: tuple[str, ...] = ()  # how some of them were drawn
    cluster: Cluster | None = None  # where workers are asked for, and none of its tasks is done here


def work(
    prepared: Prepared, options: RunOptions, submit: Callable[[], list[str]], background: Background | None = None
) -> int:
    """Until there is nothing left to do; the exit code.

    `submit` makes known what is asked for, last of all: a run that is refused must not have changed what others run.
    With `background` it leaves the foreground once it has begun, where there is anything to do.
    """
    faults = preflight_faults(prepared, options)
    if faults:
        raise UsageError("nothing was started:\n" + "\n".join(f"  {fault}" for fault in faults))
    check_kernel()
    situation, disk = prepared.situation, prepared.disk
    refuse_other_hosts(disk, prepared.project)
    notes = [*prepared.notes, *submit()]
    disk.lease = options.lease
    logs = prepared.project / options.log_dir
    if situation.open:
        logs.parent.mkdir(parents=True, exist_ok=True)
        folders.make(logs, disk.folder)
    if options.shared_group:
        trust.share_folder(logs, disk.folder)
    disk.about = workers.about(situation, disk, prepared.source, options.log_dir)
    time_left = _time_left() if prepared.cluster is None else None  # who only asks for workers may go on elsewhere
    signals = Signals(time_left)
    journal = Journal(disk.folder / "journal" / f"{disk.owner.worker}.jsonl")
    leaving = background if situation.open else None
    reporter = reporter_of(prepared, options, journal, sys.stdout if leaving is None else None)
    try:
        for note in notes:
            reporter.show(Warned(note), situation)
        reporter.begin(situation)
        if time_left and (seconds := time_left()) is not None:
            apply(situation, TimeLeft(seconds, time.monotonic()))
        abridge(situation)
        runner = LocalRunner(surroundings(prepared, options), signals)
        shown = reporter if leaving is None else _departing(prepared, reporter, leaving, notes)
        least, most = (min(seconds, contact.interval(options.lease)) for seconds in (policy.POLL, policy.POLL_MOST))
        return Scheduler(situation, disk, runner, shown, reporter.setup.clock, least, most, prepared.cluster).run()
    finally:
        reporter.stop()
        signals.close()
        journal.close()


def _time_left() -> Callable[[], float | None] | None:
    """Asks for the seconds that are left of the allocation that we run in; None outside."""
    grant = grant_of(os.environ)
    if grant is None:
        return None
    from parallel_train.cluster import slurm  # noqa: PLC0415  only there is anybody to ask

    return lambda: slurm.time_left(grant.job)


def _departing(prepared: Prepared, reporter: ConsoleReporter, leaving: Background, notes: list[str]) -> Departing:
    worker = Worker(prepared.disk.owner, prepared.disk.about)
    opening = [*(f"! {words.clean(note)}" for note in notes), summary.opening(prepared.situation)[0].text]
    lines = worker.lines(prepared.project)
    return Departing(reporter, lambda: leaving.leave(worker.seen(prepared.project), opening, lines), lines)


def reporter_of(prepared: Prepared, options: RunOptions, journal: Journal, stream: TextIO | None) -> ConsoleReporter:
    setup = Setup(
        project=prepared.project,
        lines=Worker(prepared.disk.owner, {}).lines(prepared.project),
        clock=MonotonicClock(),
        check_interval=options.check_interval,
        record=journal.write,
        results=lambda: results.sheet(prepared.situation, prepared.project),
    )
    return make_reporter(prepared.situation, setup, stream)


def preflight_faults(prepared: Prepared, options: RunOptions) -> list[str]:
    """What would make the tasks that are to run fail at once."""
    open_tasks = [prepared.situation.lines[name].task for name in sorted(prepared.situation.open)]
    open_tasks.sort(key=lambda task: task.number)
    if not open_tasks:
        return []
    late = plan.late_values(options)
    is_elsewhere = prepared.cluster is not None
    return preflight.check(open_tasks, prepared.project, late, log_dir=options.log_dir, is_elsewhere=is_elsewhere)


def surroundings(prepared: Prepared, options: RunOptions) -> Surroundings:
    is_network = mounts.disk_of(str(prepared.project)).is_network
    return Surroundings(
        project=prepared.project,
        queue=prepared.disk.folder,
        worker=prepared.situation.wishes.worker,
        log_dir=options.log_dir,
        late=plan.late_values(options),
        threads=prepared.machine.threads,
        umask=prepared.umask,
        lease=options.lease,
        is_shared=lambda: is_network or prepared.disk.has_strangers(),
    )
