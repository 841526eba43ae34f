"""status: where every task stands. It only looks."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TextIO

from parallel_train.commands.project import existing_queue, known_tasks, look, this_owner
from parallel_train.commands.select import is_task_file, select
from parallel_train.core.explain import reason
from parallel_train.core.situation import Situation, name_of
from parallel_train.core.state import Ended, Line
from parallel_train.errors import NothingSelectedError
from parallel_train.procs.runner import is_alive
from parallel_train.report import words
from parallel_train.report.console import print_sheet
from parallel_train.report.shape import task_json
from parallel_train.report.table import StatusRow, status_sheet
from parallel_train.store.queue import NAME, DiskQueue


def status(
    project: Path,
    wanted: Sequence[str],
    *,
    file: str | None,
    everything: bool,
    as_json: bool,
    out: TextIO,
) -> int:
    """Print the state of all tasks, or of those that `wanted` names; 0."""
    file = file or next((word for word in wanted if is_task_file(word)), None)
    wanted = [word for word in wanted if word != file]
    source = str(Path(file)) if file else None  # as the task file's reader writes it
    tasks = known_tasks(existing_queue(project), source, everything=everything)
    if not tasks:
        raise NothingSelectedError(f"no task of {file} was asked for here" if file else "the queue holds no task")
    situation = look(project, tasks)
    lines = [situation.lines[task.id] for task in (select(wanted, tasks) if wanted else tasks)]
    if as_json:
        print(json.dumps({"tasks": [task_json(line) for line in lines]}, indent=2), file=out)
        return 0
    print_sheet(status_sheet([_row(situation, line) for line in lines]), out)
    if any(not isinstance(line.state, Ended) for line in lines):
        print(_who_works(project), file=out)
    return 0


def _who_works(project: Path) -> str:
    """The living workers with their pids, since a worker without a terminal is told to leave by a signal."""
    disk = DiskQueue(project / NAME, this_owner("looking"), is_alive)
    living = [f"{owner.worker} (process {owner.pid} on {owner.host})" for owner in disk.others()]
    return (
        f"Worked on by {', '.join(living)}" if living else "No scheduler works here: run the task file again to go on"
    )


def _row(situation: Situation, line: Line) -> StatusRow:
    shown = line.deciding or (line.attempts[-1] if line.attempts else None)
    return StatusRow(
        number=line.task.number,
        name=words.name(line.task),
        state=name_of(line.state),
        gpus=shown.claim.gpus if shown else (),
        seconds=_seconds(line),
        attempts=line.attempts_of_round,
        reason=words.reason(reason(situation, line.task.id), situation),
        log=shown.claim.log if shown else "",
    )


def _seconds(line: Line) -> float | None:
    """How long the deciding attempt took, or the living one has run so far by the wall clock."""
    if not line.attempts:
        return None
    last = line.attempts[-1]
    if last.end is not None:
        return last.end.seconds if line.deciding else None
    began = datetime.fromisoformat(last.claim.at.replace("Z", "+00:00")) if last.claim.at else None
    return max(0.0, time.time() - began.timestamp()) if began else None
