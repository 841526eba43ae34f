"""The queue of a process that makes calls itself, as it finds it when it begins."""

from __future__ import annotations

import glob
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from parallel_train.core.events import Submitted
from parallel_train.core.situation import Situation, Wishes
from parallel_train.core.situation import begin as take_up
from parallel_train.core.slots import Device, Pool
from parallel_train.core.state import Line
from parallel_train.core.task import DoneWhen, Task, identity, task_id
from parallel_train.errors import UsageError
from parallel_train.procs import proof
from parallel_train.project import workers
from parallel_train.project.beginning import check_disk_is_there, to_repeat
from parallel_train.project.reading import read_situation, survey, this_owner
from parallel_train.store import queue, requests, submissions
from parallel_train.store.queue import DiskQueue

_ONE_AT_A_TIME = (Device("cpu", "0", "", lock="call"),)  # no lock goes by that name


def begin(
    project: Path, worker: str, lease: float, *, repeat: bool, amiss: Callable[[str], None]
) -> tuple[DiskQueue, Situation]:
    """The queue of `project`, made if absent, and all its calls as `worker` will make them.

    With `repeat` those that had failed are to be made again, where all have ended and nobody works.
    """
    folder = project / queue.NAME
    queue.create(folder)
    asked = requests.last(folder)  # before anything is read: what is asked for later joins
    known = submissions.read_all(folder / "tasks")
    newest = submissions.newest(known)
    disk = DiskQueue(
        folder,
        this_owner(worker),
        proof.is_alive,
        everything=True,
        submission=known[-1].number if known else 0,
        request=asked,
        survey=lambda tasks: survey(project, [Line(task) for task in tasks]),
        lease=lease,
    )
    held = [Submitted(found.source, found.tasks) for found in newest.values()]
    wishes = Wishes(worker=worker, calls=True, everything=True)
    situation = read_situation(disk, held, wishes, Pool.of([], _ONE_AT_A_TIME), amiss=amiss)
    check_disk_is_there(situation, project)
    chosen = frozenset(task.id for found in newest.values() for task in found.tasks if task.is_call)
    again = to_repeat(situation, chosen, {}) if repeat and not disk.has_company() else frozenset[str]()
    take_up(situation, replace(wishes, selection=chosen, repeat=again))
    return disk, situation


def about(situation: Situation, disk: DiskQueue) -> dict[str, Any]:
    """What others are told of this process: it has no slots, and was started by a command of its own."""
    return {**workers.about(situation, disk, "", ""), "slots": [], "cpu_slots": [], "words": sys.argv, "calls": True}


def as_call(task: Task, source: str) -> Task:
    """With its id and identity; its result is recognised by what it says about itself."""
    if task.output is None:
        raise UsageError(f"the call {task.name} has no output: where would its result be?")
    call = replace(task, source=source, is_call=True, gpus=0)
    call = replace(call, id=task_id(call), identity=identity(call, {}, ()))
    return replace(call, done_when=DoneWhen((glob.escape(task.output),), f'"identity": "{call.identity}"'))
