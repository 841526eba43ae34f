"""The project folder and its queue, as whoever works or looks there opens them."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

from parallel_train.core.apply import absorb, note
from parallel_train.core.events import Ended, Event, OutputFound, Submitted, Warned
from parallel_train.core.facts import End, Lost, OutputState, Owner
from parallel_train.core.roster import Roster
from parallel_train.core.situation import Situation, Wishes
from parallel_train.core.slots import Pool
from parallel_train.core.state import Line
from parallel_train.core.task import Task
from parallel_train.core.wire import owner_of
from parallel_train.errors import UsageError
from parallel_train.procs import order, outputs, process
from parallel_train.procs.runner import is_alive
from parallel_train.report import paste
from parallel_train.report.words import remark
from parallel_train.store import queue, submissions, trust
from parallel_train.store.presence import names
from parallel_train.store.queue import DiskQueue


def this_owner(worker: str) -> Owner:
    return owner_of(process.this_process(worker))


def existing_queue(project: Path) -> Path:
    """The queue folder of `project`. Raises UsageError where there is none, naming one found above."""
    folder = project / queue.NAME
    if folder.is_dir():
        return folder
    for above in project.parents:
        if (above / queue.NAME).is_dir():
            raise UsageError(f"no queue in {project}; there is one in {above}: use -C {shlex.quote(str(above))}")
    raise UsageError(f"no queue in {project}: nothing was run here yet ({paste.command()} starts a run)")


def known_tasks(folder: Path, file: str | None = None, *, everything: bool = False) -> tuple[Task, ...]:
    """The tasks that hold in a queue, in their newest wording: those of each task file, or of `file` alone.

    With `everything` also tasks that their file names no longer. In the order of their numbers.
    """
    known = submissions.read_all(folder / "tasks")
    if not everything:
        known = list(submissions.newest(known).values())
    found = {t.id: t for s in known for t in s.tasks if file in {None, t.source}}
    if not found and (lost := submissions.damage(folder / "tasks", names(folder / "tasks"))):
        raise UsageError("; ".join(lost))
    return tuple(sorted(found.values(), key=lambda task: task.number))


def survey(project: Path, lines: Iterable[Line], late: Mapping[str, str] | None = None) -> list[Event]:
    """What stands where outputs were promised, for those tasks whose state hangs on it.

    With `late` (see core.task.fill) also what changed since an output was made.
    """
    found: list[Event] = []
    for line in lines:
        task = line.task
        if not (line.is_untouched or line.has_succeeded):
            continue
        promised = str(project / task.output) if task.output else None
        look = outputs.found_state if line.is_untouched else outputs.state
        state = cast("OutputState", look(promised, order.done_when(task, project)))
        found.append(OutputFound(task.id, state, changed_since(project, line, late) if late else ()))
    return found


def changed_since(project: Path, line: Line, late: Mapping[str, str]) -> tuple[str, ...]:
    """What is not as it was for the deciding attempt, and is no part of its task's identity."""
    if line.deciding is None:
        return ()
    then = line.deciding.claim.made_with
    now = order.made_with(line.task, project, late)
    return tuple(name for name, value in now.items() if then.get(name, value) != value)


def read_situation(
    disk: DiskQueue,
    submitted: Iterable[Submitted],
    wishes: Wishes,
    pool: Pool,
    *,
    roster: Roster | None = None,
    late: Mapping[str, str] | None = None,
    amiss: Callable[[str], None] = lambda _: None,
) -> Situation:
    """Everything the records and outputs say of what was submitted. Reads only; tells `amiss` of damage."""
    situation = Situation(wishes, pool, roster=roster)
    told = disk.changes(time.monotonic()) if disk.folder.is_dir() else []
    for text in (trust.doubt(disk.folder), *(event.text for event in told if isinstance(event, Warned))):
        if text:
            amiss(text)
    note(situation, [*submitted, *told])
    absorb(situation, survey(disk.folder.parent, situation.lines.values(), late))
    return situation


def look(
    project: Path,
    tasks: Sequence[Task],
    amiss: Callable[[str], None] | None = None,
    late: Mapping[str, str] | None = None,
) -> Situation:
    """The situation of `tasks` for somebody who only looks: nothing is written. `late` as for `survey`.

    An attempt whose owner is surely dead is taken for lost, as the next worker will find it.
    """
    folder = project / queue.NAME
    chosen = frozenset(task.id for task in tasks)
    disk = DiskQueue(folder, this_owner("looking"), is_alive, interest=chosen)
    submitted = [Submitted("", tuple(tasks))]
    situation = read_situation(disk, submitted, Wishes(selection=chosen), Pool(), late=late, amiss=amiss or _note)
    dead = [c for c in situation.unwatched.values() if is_alive(c.owner) is False]
    if dead:
        absorb(situation, [Ended(End(c.task, c.attempt, Lost("killed"))) for c in dead])
    return situation


def _note(text: str) -> None:
    print(remark(text), file=sys.stderr)


def project_folder(directory: Path | None) -> Path:
    """The project: the folder given by -C, else the current one. Raises UsageError where it is none."""
    if directory is None:
        return Path.cwd()
    if not directory.is_dir():
        raise UsageError(f"-C {directory}: no such folder")
    paste.stand_outside(str(directory))
    os.chdir(directory)
    return Path.cwd()
