"""run: from what was typed to an exit code."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from parallel_train.commands import afar, muster, onslurm, plan
from parallel_train.commands.detach import Background, in_background
from parallel_train.commands.options import RunOptions
from parallel_train.commands.work import Prepared, preflight_faults, surroundings, work
from parallel_train.core import graph
from parallel_train.core.apply import apply
from parallel_train.core.events import Submitted
from parallel_train.core.explain import reason
from parallel_train.core.roster import Roster
from parallel_train.core.situation import Situation, Wishes, begin
from parallel_train.core.state import Line
from parallel_train.core.task import Task
from parallel_train.errors import UsageError
from parallel_train.ports import Cluster
from parallel_train.procs import order
from parallel_train.procs.runner import is_alive
from parallel_train.project.beginning import check_disk_is_there, new_worker, to_repeat
from parallel_train.project.reading import project_folder, read_situation, survey, this_owner
from parallel_train.report import words
from parallel_train.report.console import print_sheet
from parallel_train.report.shape import plan_json
from parallel_train.report.table import PlanRow, plan_sheet
from parallel_train.store import queue, requests, submissions, trust
from parallel_train.store.queue import DiskQueue
from parallel_train.store.submissions import Submission


def run(options: RunOptions) -> int:
    """Run, or with -n say what would run. Raises ParallelTrainError for what a person can mend."""
    project = project_folder(options.directory)
    onslurm.check(options)
    if options.detach and options.on == "local" and not options.dry_run:
        return in_background(lambda background: _run(options, project, background))
    return _run(options, project)


def _run(options: RunOptions, project: Path, background: Background | None = None) -> int:
    if options.as_json and not options.dry_run:
        raise UsageError("--json belongs to -n; what a run did is in status --json and results --json")
    umask = os.umask(0o077)
    if not options.dry_run:
        trust.check(project / queue.NAME, shared=options.shared_group)
    prepared = prepare(options, project, umask)
    if options.dry_run:
        say_plan(prepared, options)
        if options.on == "slurm" and not options.as_json:
            print("\n".join(afar.scripts(prepared.situation, onslurm.granted(options, project, umask))), end="")
        return 0
    if options.on == "slurm" and options.detach:
        afar.refuse_detached(options, prepared.situation)
    return work(prepared, options, lambda: submit(prepared, shared=options.shared_group), background)


def prepare(options: RunOptions, project: Path, umask: int) -> Prepared:
    """Read the task file, the devices and the records. Writes nothing."""
    asked = plan.sort_words(options)
    folder = project / queue.NAME
    file = plan.read_tasks(asked, options, project, folder)
    place = _place(options, project, file.tasks, umask)
    known = submissions.read_all(folder / "tasks")
    tasks = submissions.numbered(file.tasks, known)
    late = plan.late_values(options)
    worker = new_worker()
    source = asked.source(options)
    disk = DiskQueue(
        folder,
        this_owner(worker),
        is_alive,
        interest=frozenset(task.id for task in tasks),
        sources={source},
        submission=known[-1].number if known else 0,
        request=requests.last(folder),
        survey=lambda tasks: survey(project, [Line(task) for task in tasks], late),
    )
    amiss: list[str] = []
    submitted = [Submitted(source, tasks)]
    wishes = Wishes(worker=worker)
    pool, roster = place.machine.pool, place.roster
    situation = read_situation(disk, submitted, wishes, pool, roster=roster, late=late, amiss=amiss.append)
    begin(situation, _wishes(asked, options, situation, disk))
    if not options.again:
        check_disk_is_there(situation, project)
    if source != asked.file:  # the rest of the file was not asked for with these values
        before = submissions.newest(known).get(source)
        needs = {task.id: task.needs for task in tasks}
        named = situation.wishes.selection | ({t.id for t in before.tasks} & needs.keys() if before else set())
        wanted = graph.closure(named, needs)
        tasks = tuple(task for task in tasks if task.id in wanted)
    joined = [f"joins {owner.worker} (process {owner.pid} on {owner.host})" for owner in disk.others()]
    notes = (*file.notes, *place.machine.notes, *joined, *amiss, *muster.beside(project, situation))
    return Prepared(
        project,
        disk,
        situation,
        place.machine,
        notes,
        umask,
        source=source,
        tasks=tasks,
        searches=file.searches,
        cluster=place.cluster,
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where the tasks run: here, or on a cluster."""

    machine: plan.Machine
    roster: Roster | None = None
    cluster: Cluster | None = None


def _place(options: RunOptions, project: Path, tasks: Sequence[Task], umask: int) -> Place:
    if options.on == "local":
        return Place(plan.machine(options, project / queue.NAME, tasks))
    granted = onslurm.granted(options, project, umask)
    return Place(plan.NO_MACHINE, afar.roster(options, granted, tasks), granted.cluster)


def submit(prepared: Prepared, *, shared: bool) -> list[str]:
    """Make these the file's tasks, for all workers; what is new in them."""
    disk, source = prepared.disk, prepared.source
    queue.create(disk.folder, shared=shared)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    folder, searches = disk.folder / "tasks", prepared.searches
    submission, before = submissions.submit(folder, source, prepared.tasks, now, searches=searches)
    disk.submission = submission.number
    apply(prepared.situation, Submitted(source, submission.tasks))
    return [difference(before, submission)] if before is not None and difference(before, submission) else []


def difference(before: Submission, after: Submission) -> str:
    """What an edited task file asks for that it did not before; empty where that is the same."""
    old, new = {t.id: t for t in before.tasks}, {t.id: t for t in after.tasks}
    added, withdrawn = len(new.keys() - old.keys()), len(old.keys() - new.keys())
    changed = sum(1 for name in old.keys() & new.keys() if old[name].identity != new[name].identity)
    if not (added or withdrawn or changed):
        return ""
    return f"{after.source} changed: adds {added}, withdraws {withdrawn}, changes {words.plural(changed, 'task')}"


def _wishes(asked: plan.Asked, options: RunOptions, situation: Situation, disk: DiskQueue) -> Wishes:
    chosen = plan.selection(asked, options, situation)
    canaries = plan.canaries(situation, chosen, again=options.again) if options.canary else {}
    return Wishes(
        worker=situation.wishes.worker,
        selection=chosen,
        asked=plan.to_run_again(situation, chosen) if options.again else (),
        repeat=frozenset() if disk.has_company() else to_repeat(situation, chosen, canaries),
        max_failures=1 if options.fail_fast else options.max_failures,
        ignore_failures=options.ignore_failures,
        canaries=canaries,
        at_once=options.at_once,
        options=onslurm.words(options),
    )


def say_plan(prepared: Prepared, options: RunOptions) -> None:
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
        print(words.remark(note), file=sys.stderr)


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
    wordings = submissions.wordings(submissions.read_all(prepared.disk.folder / "tasks"), made_from)
    found = {name: wordings.get(line.attempts[-1].claim.identity) for name, line in changed.items() if line.attempts}
    return {name: wording.task for name, wording in found.items() if wording is not None}
