"""wait: until tasks have ended. It only looks."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from parallel_train.commands.muster import Musters
from parallel_train.commands.select import select
from parallel_train.core import policy
from parallel_train.core.apply import apply
from parallel_train.core.events import Joined, Submitted
from parallel_train.core.situation import Situation, Wishes, name_of
from parallel_train.core.slots import Pool
from parallel_train.core.state import Ended, Line, Running, is_satisfied
from parallel_train.errors import NothingSelectedError
from parallel_train.procs.runner import is_alive
from parallel_train.project import workers
from parallel_train.project.reading import existing_queue, known_tasks, read_situation, this_owner
from parallel_train.report import workers as words
from parallel_train.report.shape import task_json
from parallel_train.report.words import remark
from parallel_train.store import requests, searches, submissions
from parallel_train.store.queue import DiskQueue


def wait(project: Path, wanted: Sequence[str], *, as_json: bool, out: TextIO) -> int:
    """Block until the tasks that `wanted` names have ended, else all; 0 where all are satisfied, else 1."""
    tasks = known_tasks(existing_queue(project))
    if not tasks:
        raise NothingSelectedError("the queue holds no task")
    chosen = tuple(task.id for task in select(wanted, tasks))
    waiting = Waiting.of(project, chosen)
    waiting.until_ended()
    lines = sorted(waiting.lines(), key=lambda line: line.task.number)
    if as_json:
        print(json.dumps({"tasks": [task_json(line) for line in lines]}, indent=2), file=out)
    else:
        print(words.tally(Counter(name_of(line.state) for line in lines)), file=out)
        if search := words.of_search(searches.points(project), tasks):
            print(search, file=out)
    return 0 if all(is_satisfied(line.state) for line in lines) else 1


@dataclass(slots=True)
class Waiting:
    """Nobody's view of the queue: it wishes for nothing, so that states are what the records say."""

    project: Path
    chosen: tuple[str, ...]  # none: all that hold
    disk: DiskQueue
    situation: Situation
    musters: Musters
    has_noted: bool = False
    noted: str = ""

    @classmethod
    def of(cls, project: Path, chosen: tuple[str, ...]) -> Waiting:
        folder = existing_queue(project)
        known = submissions.read_all(folder / "tasks")
        number = known[-1].number if known else 0
        newest = submissions.newest(known).values()
        disk = DiskQueue(
            folder,
            this_owner("waiting"),
            is_alive,
            interest=frozenset(task.id for found in newest for task in found.tasks),
            everything=True,
            submission=number,
            request=requests.last(folder),
        )
        held = [Submitted(found.source, found.tasks) for found in newest]
        return cls(project, chosen, disk, read_situation(disk, held, Wishes(), Pool()), Musters(folder))

    def lines(self) -> list[Line]:
        named = frozenset[str]().union(*self.situation.named.values())
        return [self.situation.lines[name] for name in self.chosen or named]

    def until_ended(self) -> None:
        while True:
            began = time.monotonic()
            try:
                living = self.musters.at_work(
                    workers.living(self.project)
                )  # first: who is gone by now has written everything
                events = self.disk.changes(began)
            except OSError as error:
                self._note(f"the queue can't be read: {error}; trying again")
                time.sleep(policy.POLL)
                continue
            for event in events:
                if not isinstance(event, Joined):
                    apply(self.situation, event)
            open_ = list(self._open(living))
            if not open_:
                return
            if not living and not self.has_noted and not all(map(_runs, open_)):
                self.has_noted = True
                tasks = [line.task for line in open_]
                print(words.nobody_works(tasks, self.musters.look()), file=sys.stderr, flush=True)
            time.sleep(max(policy.POLL, policy.LOOK_SHARE * (time.monotonic() - began)))

    def _note(self, text: str) -> None:
        if text != self.noted:
            self.noted = text
            print(remark(text), file=sys.stderr, flush=True)

    def _open(self, living: Sequence[workers.Worker]) -> Iterator[Line]:
        """What may still end otherwise. What no file names any more is open as long as it runs."""
        named = frozenset[str]().union(*self.situation.named.values())
        for line in self.lines():
            state = line.state
            if isinstance(state, Ended):
                # A run opens a round for what is stale: it is about to, or will after what comes before.
                if state.stale and workers.work_on(living, line.task.source):
                    yield line
            elif line.task.id in named or isinstance(state, Running):
                yield line


def _runs(line: Line) -> bool:
    """Whether it will end though no scheduler lives."""
    return isinstance(line.state, Running) and is_alive(line.attempts[-1].claim.owner) is not False
