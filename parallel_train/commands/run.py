"""run: from what was typed to an exit code."""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from parallel_train.commands import plan, results
from parallel_train.commands.options import RunOptions
from parallel_train.commands.project import project_folder, read_situation, survey, this_owner
from parallel_train.core.apply import apply
from parallel_train.core.events import Submitted, Warned
from parallel_train.core.explain import reason
from parallel_train.core.situation import Situation, Wishes, begin
from parallel_train.core.state import Line
from parallel_train.core.task import Task
from parallel_train.errors import UsageError
from parallel_train.procs import order
from parallel_train.procs.order import Surroundings
from parallel_train.procs.runner import LocalRunner, check_kernel, is_alive
from parallel_train.procs.signals import Signals
from parallel_train.report import words
from parallel_train.report.console import Setup, make_reporter, print_sheet
from parallel_train.report.shape import plan_json
from parallel_train.report.table import PlanRow, plan_sheet
from parallel_train.scheduler import Scheduler
from parallel_train.store import preflight, queue, submissions
from parallel_train.store.journal import Journal
from parallel_train.store.queue import DiskQueue


class MonotonicClock:
    def monotonic(self) -> float:
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that is ready to begin."""

    project: Path
    disk: DiskQueue
    situation: Situation
    tasks: tuple[Task, ...]
    machine: plan.Machine
    notes: tuple[str, ...]
    umask: int


def run(options: RunOptions) -> int:
    """Run, or with -n say what would run. Raises ParallelTrainError for what a person can mend."""
    project = project_folder(options.directory)
    umask = os.umask(0o077)
    prepared = prepare(options, project, umask)
    if options.dry_run:
        return say_plan(prepared, options)
    return work(prepared, options)


def prepare(options: RunOptions, project: Path, umask: int) -> Prepared:
    """Read the task file, the devices and the records. Writes nothing."""
    asked = plan.sort_words(options)
    folder = project / queue.NAME
    file = plan.read_tasks(asked, options, project, folder)
    machine = plan.machine(options, folder, file.tasks)
    known = submissions.read_all(folder / "tasks")
    tasks = submissions.numbered(file.tasks, known)
    late = plan.late_values(options)
    worker = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{secrets.token_hex(2)}"
    disk = DiskQueue(
        folder,
        this_owner(worker),
        is_alive,
        interest=frozenset(task.id for task in tasks),
        source=asked.source(options),
        submission=known[-1].number if known else 0,
        survey=lambda tasks: survey(project, [Line(task) for task in tasks], late),
        about={"file": asked.file, "log_dir": options.log_dir},
    )
    amiss: list[str] = []
    situation = read_situation(disk, tasks, Wishes(worker=worker), machine.pool, late=late, amiss=amiss.append)
    begin(situation, _wishes(asked, options, situation, disk))
    if not options.again:
        plan.check_disk_is_there(situation, project)
    return Prepared(project, disk, situation, tasks, machine, (*file.notes, *machine.notes, *amiss), umask)


def submit(prepared: Prepared) -> list[str]:
    """Make these the file's tasks, for all workers; what is new in them. Last of all: a run that is refused
    must not have changed what others run.
    """
    disk, situation = prepared.disk, prepared.situation
    queue.create(disk.folder)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    submission, before = submissions.submit(disk.folder / "tasks", disk.source, prepared.tasks, now)
    disk.submission = submission.number
    apply(situation, Submitted(disk.source, submission.tasks))
    if before is None:
        return []
    old, new = {t.id: t for t in before.tasks}, {t.id: t for t in submission.tasks}
    changed = sum(1 for name in old.keys() & new.keys() if old[name].identity != new[name].identity)
    said = f"{disk.source} changed: adds {len(new.keys() - old.keys())}, withdraws {len(old.keys() - new.keys())}"
    return [f"{said}, changes {changed} tasks"]


def _wishes(asked: plan.Asked, options: RunOptions, situation: Situation, disk: DiskQueue) -> Wishes:
    chosen = plan.selection(asked, options, situation)
    return Wishes(
        worker=situation.wishes.worker,
        selection=chosen,
        asked=plan.to_run_again(situation, chosen) if options.again else (),
        repeat=frozenset() if disk.has_company() else plan.to_repeat(situation, chosen),
        fail_fast=options.fail_fast,
        at_once=options.at_once,
    )


def preflight_faults(prepared: Prepared, options: RunOptions) -> list[str]:
    """What would make the tasks that are to run fail at once."""
    open_tasks = [prepared.situation.lines[name].task for name in sorted(prepared.situation.open)]
    open_tasks.sort(key=lambda task: task.number)
    if not open_tasks:
        return []
    return preflight.check(open_tasks, prepared.project, plan.late_values(options), log_dir=options.log_dir)


def surroundings(prepared: Prepared, options: RunOptions) -> Surroundings:
    return Surroundings(
        project=prepared.project,
        queue=prepared.disk.folder,
        worker=prepared.situation.wishes.worker,
        log_dir=options.log_dir,
        late=plan.late_values(options),
        threads=prepared.machine.threads,
        umask=prepared.umask,
    )


def work(prepared: Prepared, options: RunOptions) -> int:
    """The run itself."""
    faults = preflight_faults(prepared, options)
    if faults:
        raise UsageError("nothing was started:\n" + "\n".join(f"  {fault}" for fault in faults))
    if prepared.situation.open:
        (prepared.project / options.log_dir).mkdir(parents=True, exist_ok=True)
    check_kernel()
    around = surroundings(prepared, options)
    said = submit(prepared)
    clock = MonotonicClock()
    journal_folder = prepared.disk.folder / "journal"
    journal = Journal(journal_folder / f"{around.worker}.jsonl")
    setup = Setup(
        project=prepared.project,
        lines=journal_folder / f"{around.worker}.log",
        clock=clock,
        check_interval=options.check_interval,
        record=journal.write,
        results=lambda: results.sheet(prepared.situation, prepared.project),
    )
    signals = Signals()
    reporter = make_reporter(prepared.situation, setup, sys.stdout)
    try:
        for note in (*prepared.notes, *said):
            reporter.show(Warned(note), prepared.situation)
        reporter.begin(prepared.situation)
        runner = LocalRunner(around, signals)
        return Scheduler(prepared.situation, prepared.disk, runner, reporter, clock).run()
    finally:
        reporter.stop()
        signals.close()
        journal.close()


def say_plan(prepared: Prepared, options: RunOptions) -> int:
    """-n: what would run, and why. Nothing is written; what would fail is a warning here."""
    situation = prepared.situation
    former = _former(prepared)
    reasons = {line.task.id: reason(situation, line.task.id, former.get(line.task.id)) for line in _selected(situation)}
    if options.as_json:
        around = surroundings(prepared, options)
        told = [
            plan_json(
                situation,
                line,
                reasons[line.task.id],
                command=order.command(line.task, around.late),
                env=order.plain_environment(line.task, around),
            )
            for line in _selected(situation)
        ]
        print(json.dumps({"tasks": told}, indent=2))
    else:
        rows = [
            PlanRow(line.task.number, words.name(line.task), found.decision, words.reason(found, situation))
            for line in _selected(situation)
            for found in [reasons[line.task.id]]
        ]
        if sys.stdout is not None:
            print_sheet(plan_sheet(rows), sys.stdout)
    for note in (*prepared.notes, *preflight_faults(prepared, options)):
        print(f"note: {words.clean(note)}", file=sys.stderr)
    return 0


def _selected(situation: Situation) -> list[Line]:
    chosen = (situation.lines[name] for name in situation.wishes.selection)
    return sorted(chosen, key=lambda line: line.task.number)


def _former(prepared: Prepared) -> dict[str, Task]:
    """For each task that changed, the wording that its last attempt was made from."""
    situation = prepared.situation
    changed = {name: situation.lines[name] for name, wish in situation.to_open.items() if wish.round.why == "changed"}
    made_from = {line.attempts[-1].claim.identity for line in changed.values() if line.attempts}
    if not made_from:
        return {}
    known = submissions.read_all(prepared.disk.folder / "tasks")
    wordings = {task.identity: task for s in known for task in s.tasks if task.identity in made_from}
    found = {name: wordings.get(line.attempts[-1].claim.identity) for name, line in changed.items() if line.attempts}
    return {name: task for name, task in found.items() if task is not None}
