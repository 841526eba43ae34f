"""worker: run whatever the queue holds."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TextIO

from parallel_train.commands import element, plan
from parallel_train.commands.detach import Background, in_background
from parallel_train.commands.options import RunOptions
from parallel_train.commands.work import Prepared, work
from parallel_train.core import graph
from parallel_train.core.events import Submitted
from parallel_train.core.situation import Situation, Wishes, begin, name_of
from parallel_train.core.state import Ended, Line, is_satisfied
from parallel_train.procs.runner import is_alive
from parallel_train.project.beginning import new_worker
from parallel_train.project.reading import existing_queue, project_folder, read_situation, survey, this_owner
from parallel_train.report import words
from parallel_train.report import workers as sentences
from parallel_train.store import arrays, requests, submissions, trust
from parallel_train.store.queue import DiskQueue


def worker(options: RunOptions, out: TextIO) -> int:
    """Until nothing is left; the exit code. Raises ParallelTrainError for what a person can mend."""
    project = project_folder(options.directory)
    trust.check(existing_queue(project), shared=options.shared_group)
    if options.detach:
        return in_background(lambda background: _worker(options, project, out, background))
    return _worker(options, project, out)


def _worker(options: RunOptions, project: Path, out: TextIO, background: Background | None = None) -> int:
    prepared = prepare(options, project, os.umask(0o077))
    if prepared.situation.wishes.selection:
        code = work(prepared, options, list, background)
        return element.leave(prepared.situation, out) if options.array else code
    for note in prepared.notes:
        print(words.remark(note), file=sys.stderr)
    states = Counter(name_of(line.state) for line in prepared.situation.lines.values())
    calls = sum(_is_open_call(line) for line in prepared.situation.lines.values())
    print(sentences.nothing_to_do(states, calls), file=out)
    return 0


def prepare(options: RunOptions, project: Path, umask: int) -> Prepared:
    """Read the records and the devices. Writes nothing."""
    folder = existing_queue(project)
    array = arrays.read(folder, options.array) if options.array else None
    asked = requests.last(folder)  # before anything is read: what is asked for later joins
    known = submissions.read_all(folder / "tasks")
    newest = submissions.newest(known)
    machine = plan.slots(options, folder)
    late = plan.late_values(options)
    name = new_worker()
    disk = DiskQueue(
        folder,
        this_owner(name),
        is_alive,
        interest=frozenset(task.id for found in newest.values() for task in found.tasks),
        sources=element.sources(array, newest) if array else set(),
        everything=array is None,
        reads_ends_only=array is not None,  # whoever asked for the allocation tells of what others do
        submission=known[-1].number if known else 0,
        request=asked,
        survey=lambda tasks: survey(project, [Line(task) for task in tasks], late),
    )
    amiss: list[str] = []
    held = [Submitted(found.source, found.tasks) for found in newest.values()]
    situation = read_situation(disk, held, Wishes(worker=name), machine.pool, late=late, amiss=amiss.append)
    chosen, left = selection(situation, None if array is None else element.tasks(array))
    wishes = Wishes(worker=name, selection=chosen, everything=True, at_once=options.at_once)
    begin(situation, wishes if array is None else element.wishes(wishes, array, disk, options.lease))
    return Prepared(project, disk, situation, machine, (*machine.notes, *amiss, *left), umask)


def selection(s: Situation, among: Collection[str] | None = None) -> tuple[frozenset[str], tuple[str, ...]]:
    """What is due (of these, where some are named) with its needs, as far as it fits into the slots here; and what to
    say of the rest.
    """
    needs = {name: line.task.needs for name, line in s.lines.items()}
    due = {name for name in _due(s) if among is None or name in among}
    wide = {
        name for name, line in s.lines.items() if not s.pool.carries(line.task.gpus) and not is_satisfied(line.state)
    }
    left = {name for name in due if wide & _with_needs(name, needs)} if wide else set()
    chosen = graph.closure(due - left, needs)
    return frozenset(chosen), tuple(_about(s, left & wide, left - wide))


def _with_needs(name: str, needs: Mapping[str, tuple[str, ...]]) -> set[str]:
    return graph.closure([name], needs)


def _due(s: Situation) -> Iterator[str]:
    """What has not ended in its newest wording, and what was not run for want of that."""
    return (name for name, line in s.lines.items() if not line.task.is_call and _is_due(line, s.lines))


def _is_open_call(line: Line) -> bool:
    return line.task.is_call and not isinstance(line.state, Ended)


def _is_due(line: Line, lines: Mapping[str, Line]) -> bool:
    while isinstance(line.state, Ended) and line.state.because:
        line = lines[line.state.because]
    state = line.state
    # An output that is gone may have been removed to make room: nobody has asked for it again.
    return not isinstance(state, Ended) or state.stale in {"changed", "a need changed"}


def _about(s: Situation, wide: set[str], others: set[str]) -> Iterator[str]:
    if wide:
        tasks = sorted((s.lines[name].task for name in wide), key=lambda task: task.number)
        yield sentences.too_wide(tasks, len(others), slots=words.plural(len(s.pool.slots), "slot"))
