"""cancel, retry, pause, resume, priority: what people ask of all workers, as records that stay."""

from __future__ import annotations

import os
import pwd
import socket
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

from parallel_train.commands.muster import Musters, dismiss
from parallel_train.commands.select import select
from parallel_train.core import asking
from parallel_train.core.apply import apply
from parallel_train.core.events import Submitted
from parallel_train.core.facts import Asking, Claim, Lost, Request, Round
from parallel_train.core.situation import Situation, Wishes
from parallel_train.core.slots import Pool
from parallel_train.core.state import Ended, Line
from parallel_train.core.task import Task
from parallel_train.errors import NothingSelectedError, UsageError
from parallel_train.procs import process
from parallel_train.procs.runner import is_alive, stop, sweep
from parallel_train.project import workers
from parallel_train.project.reading import existing_queue, known_tasks, read_situation, this_owner
from parallel_train.report import asked as words
from parallel_train.report import muster as slurm_words
from parallel_train.store import folders, requests
from parallel_train.store.queue import NAME, DiskQueue

POLL = 0.1  # seconds between two looks whether a cancelled attempt is over
PATIENCE_WITH_SLURM = 5.0
PATIENCE = 45.0  # seconds: the ladder takes 20, a shim of another host hears of it within 10


@dataclass(slots=True)
class Desk:
    """Where a person asks: the queue as it stands, and where the answer goes."""

    disk: DiskQueue
    situation: Situation
    tasks: tuple[Task, ...]  # that were named, else all
    out: TextIO

    @classmethod
    def of(cls, project: Path, wanted: Sequence[str], out: TextIO, *, withdrawn: bool = False) -> Desk:
        """Raises UsageError where there is no queue, NothingSelectedError where `wanted` names nothing in it.

        Tasks that no file names any more are found only where `withdrawn` ones are wanted too.
        """
        folder = existing_queue(project)
        os.umask(0o077)
        folders.complete(folder)
        tasks = known_tasks(folder)
        try:
            chosen = select(wanted, tasks)
        except NothingSelectedError:
            tasks = known_tasks(folder, everything=True)
            chosen = select(wanted, tasks)
            if not withdrawn:
                names = ", ".join(task.name for task in chosen[:3])
                raise UsageError(f"no task file names {names} any more, so nobody would run it") from None
        disk = DiskQueue(folder, this_owner("asking"), is_alive, interest=frozenset(task.id for task in tasks))
        everything = Wishes(selection=frozenset(task.id for task in tasks))
        situation = read_situation(disk, [Submitted("", tasks)], everything, Pool(), amiss=lambda _: None)
        return cls(disk, situation, chosen or tasks, out)

    @property
    def names(self) -> list[str]:
        return [task.id for task in self.tasks]

    def lines(self, names: Iterable[str]) -> list[Line]:
        return [self.situation.lines[name] for name in names]

    def ask(self, kind: Asking, tasks: Mapping[str, int]) -> None:
        requests.ask(self.disk.folder, request(kind, tasks))

    def say(self, *texts: str) -> None:
        if texts:
            print("\n".join(texts), file=self.out, flush=True)

    def workers(self) -> str:
        """Who will act on what was asked for."""
        return who_acts(self.disk.folder.parent, self.tasks)

    def update(self) -> None:
        for event in self.disk.changes(time.monotonic()):
            apply(self.situation, event)


def who_acts(project: Path, tasks: Sequence[Task]) -> str:
    """On what is asked of `tasks`."""
    musters = Musters(project / NAME)
    found, living = musters.look(), musters.at_work(workers.living(project))
    hired = {element.job for element in found.of("running")} if found else set()
    return words.workers([str(worker.seen(project)) for worker in living if worker.job not in hired], tasks, found)


def request(kind: Asking, tasks: Mapping[str, int], submission: int = 0) -> Request:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return Request(0, kind, tasks, submission, by=person(), at=now)


def person() -> str:
    """Who asks: user@host."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


# ---- cancel ----


def cancel(project: Path, wanted: Sequence[str], out: TextIO) -> int:
    """Stop what runs of them, start nothing of the rest. Returns once nothing of them runs; 1 where something does."""
    if not wanted:
        raise UsageError("cancel what? Name tasks by number, name, stage or pattern; '*' means all")
    desk = Desk.of(project, wanted, out, withdrawn=True)  # one that its file names no more may still run
    open_ = asking.to_cancel(desk.situation, desk.names)
    said = words.cancelled(desk.situation, desk.names, open_)
    if open_:
        desk.ask("cancel", open_)  # before the claims are read again: whoever claims one of them now sees it
        desk.update()
    desk.say(*said)
    # Before what runs has ended and makes room: nobody's turn in Slurm should come for nothing.
    desk.say(*_dismiss(desk, wanted))
    left = _end(desk, open_)
    if open_:
        desk.say(words.way_back(len(open_), wanted))
    return 1 if left else 0


def _end(desk: Desk, cancelled: Collection[str]) -> list[Claim]:
    """End the living attempts of these tasks; those that have not ended when patience does."""
    told: dict[tuple[str, int], Claim] = {}
    deadline = time.monotonic() + PATIENCE
    while True:
        for claim in _left(desk, cancelled):
            if (claim.task, claim.attempt) not in told:
                told[claim.task, claim.attempt] = claim
                stop(claim)
            if is_alive(claim.owner) is False:
                sweep(claim)
                desk.disk.end_as_lost(claim, Lost("killed" if claim.owner.boot == process.boot_id() else "rebooted"))
        desk.update()
        for key in [key for key in told if _end_said(desk, told[key])]:
            del told[key]
        left = _left(desk, cancelled)
        if not left or time.monotonic() > deadline:
            for claim in left:
                desk.say(words.not_stopped(desk.situation.lines[claim.task], claim))
            return left
        time.sleep(POLL)


def _left(desk: Desk, cancelled: Collection[str]) -> list[Claim]:
    """The living attempts of those that nobody has retried meanwhile."""
    lines = [line for line in desk.lines(cancelled) if line.is_cancelled]
    return [claim for line in lines for claim in [_living(line)] if claim is not None]


def _living(line: Line) -> Claim | None:
    last = line.attempts[-1] if line.attempts else None
    return last.claim if last is not None and last.end is None else None


def _dismiss(desk: Desk, wanted: Sequence[str]) -> Iterator[str]:
    """Nobody has to wait in Slurm for what nobody will do; said."""
    folder = desk.disk.folder
    found = Musters(folder, PATIENCE_WITH_SLURM).look()
    if found is None:
        return
    lines = desk.situation.lines.items()
    open_ = [name for name, line in lines if not (line.is_cancelled or isinstance(line.state, Ended))]
    needless = found.needless(open_)
    why = found.silent or (dismiss(folder, needless) if needless else "")
    if why and (needless or not open_):
        yield slurm_words.not_dismissed(why, wanted)
    elif needless:
        yield slurm_words.dismissed(needless)
    if found.of("running") and not open_:
        yield slurm_words.leaving(found.of("running"))


def _end_said(desk: Desk, claim: Claim) -> bool:
    line = desk.situation.lines[claim.task]
    end = next((a.end for a in line.attempts if a.number == claim.attempt), None)
    if end is not None:
        desk.say(words.stopped(line, end))
    return end is not None


# ---- retry ----


def retry(project: Path, wanted: Sequence[str], out: TextIO, *, failed: bool) -> int:
    """Run them again, their folders kept, with the needs that stand in their way."""
    if not wanted and not failed:
        raise UsageError("retry what? Name tasks by number, name, stage or pattern, or give --failed")
    desk = Desk.of(project, wanted, out)
    names = desk.names
    if failed:
        names = [name for name in names if _has_failed(desk.situation.lines[name])]
        if not names:
            raise NothingSelectedError("no task has failed" + (" of these" if wanted else ""))
    found = asking.retry(desk.situation, names, person())
    rounds = {name: _open(desk.disk, wanted) for name, wanted in found.rounds.items()}
    if found.tasks:
        desk.ask("retry", {name: rounds.get(name, desk.situation.lines[name].round) for name in found.tasks})
    desk.say(*words.retried(desk.situation, found))
    if found.tasks:
        desk.say(desk.workers())
    return 0


def _open(disk: DiskQueue, wanted: Round) -> int:
    """The number of the round: the next one where somebody opened another kind at the same moment."""
    while not disk.open_round(wanted).ours:
        wanted = replace(wanted, number=wanted.number + 1)
    return wanted.number


def _has_failed(line: Line) -> bool:
    return isinstance(line.state, Ended) and line.state.ending == "failed"


# ---- pause, resume, priority ----


def pause(project: Path, wanted: Sequence[str], out: TextIO) -> int:
    """Start nothing new of these tasks, or, without any, of the whole queue."""
    desk = Desk.of(project, wanted, out)
    if wanted:
        desk.ask("pause", dict.fromkeys(desk.names, 1))
        desk.say(*words.few(map(words.task_paused, desk.lines(desk.names))))
    else:
        if not desk.situation.is_paused:
            desk.ask("pause", {})
        desk.say(words.queue_paused(desk.situation, sum(1 for _ in desk.situation.running())))
    return 0


def resume(project: Path, wanted: Sequence[str], out: TextIO) -> int:
    desk = Desk.of(project, wanted, out)
    s = desk.situation
    held = [line.task.id for line in desk.lines(desk.names) if line.is_paused]
    if held if wanted else s.is_paused:
        desk.ask("resume", dict.fromkeys(held, 1) if wanted else {})
    if wanted:
        lines = desk.lines(desk.names)
        desk.say(*words.few(words.task_resumed(line, is_queue_paused=s.is_paused) for line in lines))
    else:
        desk.say(words.queue_resumed(s, [name for name in held if not isinstance(s.lines[name].state, Ended)]))
    is_any_open = any(not isinstance(line.state, Ended) for line in desk.lines(desk.names))
    if is_any_open and (held if wanted else s.is_paused):
        desk.say(desk.workers())
    return 0


def priority(project: Path, wanted: Sequence[str], out: TextIO) -> int:
    """TASK … N: the higher, the sooner it starts."""
    *names, last = wanted or ("",)
    if not names or not _is_whole(last):
        raise UsageError("priority TASK... N: name tasks, then a whole number; the higher it is, the sooner they start")
    desk = Desk.of(project, names, out)
    desk.ask("priority", dict.fromkeys(desk.names, int(last)))
    desk.say(*words.few(words.prioritized(line, int(last)) for line in desk.lines(desk.names)))
    return 0


def _is_whole(text: str) -> bool:
    digits = text.removeprefix("-").removeprefix("+")
    return digits.isascii() and digits.isdigit() and len(digits) <= 9
