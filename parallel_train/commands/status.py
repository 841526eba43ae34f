"""status: where every task stands. It only looks."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from parallel_train.commands.muster import Musters
from parallel_train.commands.select import is_task_file, select
from parallel_train.commands.watch import watch
from parallel_train.core.explain import reason
from parallel_train.core.situation import Situation, Wishes, name_of
from parallel_train.core.slots import Pool
from parallel_train.core.state import Ended, Line, Running
from parallel_train.core.task import Task
from parallel_train.errors import NothingSelectedError
from parallel_train.project import workers
from parallel_train.project.reading import existing_queue, known_tasks, look
from parallel_train.report import words
from parallel_train.report.muster import muster_json, standing
from parallel_train.report.shape import task_json
from parallel_train.report.table import Picture, Sheet, StatusRow, shortened, status_sheet
from parallel_train.report.view import notice
from parallel_train.report.watch import print_picture
from parallel_train.report.words import remark
from parallel_train.report.workers import nobody, of_search, tally, worked_on
from parallel_train.store import searches

_AROUND = 6  # lines of a screen that stand around the rows: the time, the column heads, what was left out, gaps
_MATCHES: dict[str, frozenset[str]] = {
    "failed": frozenset({"failed", "aborted", "cancelled"}),
    "running": frozenset({"running"}),
}


def status(
    project: Path,
    wanted: Sequence[str],
    *,
    file: str | None,
    everything: bool,
    as_json: bool,
    out: TextIO,
    only: Sequence[str] = (),
    again: bool = False,
) -> int:
    """Print the state of all tasks, or of those that `wanted` names, once or `again` and again; 0."""
    file = file or next((word for word in wanted if is_task_file(word)), None)
    wanted = [word for word in wanted if word != file]
    # A task file's name, as its reader writes it.
    looking = Looking(project, wanted, str(Path(file)) if file else None, everything=everything, only=only)
    if again:
        look_once = looking.data if as_json else lambda: looking.screen(_height(out))
        return watch(look_once, out, as_json=as_json)
    if not looking.look():
        raise NothingSelectedError(looking.nothing)
    if as_json:
        print(json.dumps(looking.told(), indent=2), file=out)
    else:
        print_picture(looking.page(is_for_people=out.isatty()), out)
    return 0


@dataclass(slots=True)
class Looking:
    """What is looked at, and what was last seen of it."""

    project: Path
    wanted: Sequence[str]
    source: str | None
    everything: bool
    only: Sequence[str]  # names of filters
    situation: Situation = field(default_factory=lambda: Situation(Wishes(), Pool()))
    lines: list[Line] = field(default_factory=list)  # those that are shown
    noted: list[str] = field(default_factory=list)
    _musters: Musters = field(init=False)

    def __post_init__(self) -> None:
        self._musters = Musters(existing_queue(self.project))

    @property
    def nothing(self) -> str:
        return f"no {' or '.join(self.only)} task among {words.plural(len(self.situation.lines), 'task')}"

    def look(self) -> bool:
        """Whether anything is to be shown. Raises NothingSelectedError where nothing can ever be."""
        tasks = known_tasks(existing_queue(self.project), self.source, everything=self.everything)
        if not tasks:
            which = f"no task of {self.source} was asked for here"
            raise NothingSelectedError(which if self.source else "the queue holds no task")
        self.situation = look(self.project, tasks, self._note)
        chosen = select(self.wanted, tasks) if self.wanted else tasks
        lines = [self.situation.lines[task.id] for task in chosen]
        names = frozenset[str]().union(*(_MATCHES[name] for name in self.only))
        self.lines = [line for line in lines if not names or name_of(line.state) in names]
        return bool(self.lines)

    def page(self, *, is_for_people: bool) -> Picture:
        """The whole table. What says most stands last, above the prompt; only a pause goes first, for people."""
        paused = self._paused() if is_for_people else []
        rest = [] if is_for_people else self._paused()
        return [*paused, status_sheet(map(self._row, self.lines)), *rest, *self._tally(), *self._workers()]

    def screen(self, height: int | None) -> Picture:
        """The same for a look at a time, on a screen of that many lines: what says most comes first."""
        self.look()
        head: list[Sheet | str] = [*self._paused(), *self._tally(), *self._workers(), *self.noted]
        rows = [self._row(line) for line in self.lines]
        room = None if height is None else height - sum(str(part).count("\n") + 1 for part in head) - _AROUND
        return [*head, shortened(rows, room) if room else status_sheet(rows)] if rows else [*head, self.nothing]

    def data(self) -> Picture:
        self.look()
        return [json.dumps(self.told())]

    def told(self) -> dict[str, Any]:
        """For programs: what Slurm says only where it was asked for workers, and something is open."""
        found = self._musters.look() if self._open() else None
        cluster = {"cluster": muster_json(found)} if found else {}
        return {"tasks": [task_json(line) for line in self.lines], **cluster}

    def _paused(self) -> list[str]:
        return [notice(self.situation, 0.0)] if self.situation.is_paused else []

    def _tally(self) -> list[str]:
        states = Counter(name_of(line.state) for line in self.situation.lines.values())
        told = [tally(states, len(self.lines))] if len(self.situation.lines) > 1 else []
        search = of_search(searches.points(self.project), (line.task for line in self.situation.lines.values()))
        return [*told, search] if search else told

    def _workers(self) -> list[str]:
        open_ = self._open()
        found = self._musters.look() if open_ else None
        living = self._musters.at_work(workers.living(self.project))
        hired = {element.job for element in found.present} if found else set()
        here = [worked_on(worker.seen(self.project)) for worker in living if worker.job not in hired]
        there = standing(found, {task.id for task in open_}) if found else []
        return [*there, *here, *([nobody(open_, found)] if open_ and not living and not hired else [])]

    def _open(self) -> list[Task]:
        return [line.task for line in self.situation.lines.values() if not isinstance(line.state, Ended)]

    def _note(self, text: str) -> None:
        if text not in self.noted:
            self.noted.append(text)
            print(remark(text), file=sys.stderr)

    def _row(self, line: Line) -> StatusRow:
        of_round = [attempt for attempt in line.attempts if attempt.claim.round == line.round]
        shown = line.deciding or (of_round[-1] if of_round else None)
        return StatusRow(
            number=line.task.number,
            name=words.name(line.task),
            state=name_of(line.state),
            gpus=shown.claim.gpus if shown and isinstance(line.state, Running | Ended) else (),
            seconds=_seconds(line),
            attempts=line.attempts_of_round,
            reason=words.short_reason(reason(self.situation, line.task.id), self.situation),
            log=shown.claim.log if shown else "",
        )


def _height(out: TextIO) -> int | None:
    """Of the terminal; None where it is none."""
    with suppress(OSError, ValueError):
        return os.get_terminal_size(out.fileno()).lines
    return None


def _seconds(line: Line) -> float | None:
    """How long the deciding attempt took, or the living one has run so far by the wall clock."""
    if not line.attempts:
        return None
    last = line.attempts[-1]
    if last.end is not None:
        return last.end.seconds if line.deciding else None
    began = datetime.fromisoformat(last.claim.at.replace("Z", "+00:00")) if last.claim.at else None
    return max(0.0, time.time() - began.timestamp()) if began else None
