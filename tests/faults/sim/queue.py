"""The product's DiskQueue over the simulated disk: each listing of a folder is a step, what it makes of them its own.

It is run until it lists a folder that was not listed yet; that is done as a step, and it is run again. (So in one look
a folder is listed once.) What is written is a step each.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from parallel_train.core.events import Ended, Event, OutputFound, Requested, RoundOpened
from parallel_train.core.facts import Claim, End, Lost, Owner, Request, Round
from parallel_train.core.task import Task
from parallel_train.errors import UsageError
from parallel_train.store import queue, records, submissions
from tests.faults.sim.shim import Steps
from tests.faults.sim.stepped import again

Listing = Mapping[str, Any]
_current: dict[str, Any] = {}  # what was listed in the look that goes on now


class NotListedError(Exception):
    def __init__(self, *step: Any) -> None:
        super().__init__(step)
        self.step = step


class Folder(str):
    """A path that is cheap to make."""

    __slots__ = ()

    def __truediv__(self, name: str) -> Folder:
        return Folder(f"{self}/{name}")

    @property
    def name(self) -> str:
        return self.rsplit("/", 1)[-1]


def _listed(kind: str) -> Listing:
    if kind not in _current:
        raise NotListedError("names", kind)
    found: Listing = _current[kind]
    return found


def _read_one(path: str) -> dict[str, Any]:
    _, kind, name = path.rsplit("/", 2)
    record = _listed(kind)[name]
    number = "attempt" if kind in {"claims", "ends"} else "number"
    return {"record": record, "task": getattr(record, "task", ""), number: getattr(record, number)}


def _as_it_is(data: dict[str, Any]) -> Any:
    return data["record"]


def _disk_queue() -> Any:
    wire = dict.fromkeys(("round_of", "claim_of", "end_of", "request_of"), _as_it_is)
    return again(
        queue,
        names=lambda folder: list(_listed(folder.name)),
        wire=SimpleNamespace(**wire),
        records=SimpleNamespace(
            read_one=_read_one,
            number=records.number,
            NewerVersionError=records.NewerVersionError,
            DamagedError=records.DamagedError,
        ),
        submissions=SimpleNamespace(
            damage=lambda folder, new: [],
            number_of=submissions.number_of,
            newest=submissions.newest,
            read_all=lambda folder: [found for _, found in sorted(_listed("tasks").items())],
        ),
    )["DiskQueue"]


_DiskQueue: Any = _disk_queue()


class _Read(_DiskQueue):  # type: ignore[misc]
    """Reads what was listed. Workers on hosts that lose contact belong here: their beats are a step of their own."""

    def company(self) -> Any:
        for owner, lives in _listed("workers").values():
            if owner.worker != self.owner.worker and lives is not False:
                yield owner, {}


class SimQueue:
    def __init__(self, owner: Owner, **more: Any) -> None:
        self.owner = owner
        self.read = _Read(Folder("queue"), owner, lambda _: True, survey=self.survey, **more)

    def copy(self) -> SimQueue:
        other = copy.copy(self)
        other.read = copy.copy(self.read)
        other.read.survey = other.survey
        for name in ("sources", "_strange", "_requests", "_contacts"):
            setattr(other.read, name, getattr(self.read, name).copy())
        other.read._seen = {kind: set(seen) for kind, seen in self.read._seen.items()}
        return other

    def seen(self, kind: str) -> set[str]:
        found: set[str] = self.read._seen.get(kind, set())
        return found

    def _look(self, what: Callable[[], Any]) -> Steps:
        answers: dict[Any, Any] = {}
        while True:
            _current.clear()
            _current.update(answers)
            try:
                return what()
            except NotListedError as missing:
                step = missing.step
            answers[step[1]] = yield step

    # ---- the port ----

    def beat(self) -> Steps:
        yield from ()

    def join(self) -> Steps:
        try:
            yield "join", self.owner
        except OSError as error:
            raise UsageError(f"can't write to the queue folder: {error}") from error
        for owner, lives in (yield "names", "workers").values():
            if lives is False:
                yield "withdraw", owner.worker

    def leave(self) -> Steps:
        yield "withdraw", self.owner.worker

    def has_company(self) -> Steps:
        return (yield from self._look(self.read.has_company))

    def changes(self, now: float) -> Steps:
        return (yield from self._look(lambda: self.read.changes(now)))

    def requests(self, now: float) -> Steps:
        return (yield from self._look(lambda: self.read.requests(now)))

    def open_round(self, wanted: Round) -> Steps:
        key = (wanted.task, wanted.number)
        if (yield "link", "rounds", key, wanted):
            self.read._seen.setdefault("rounds", set()).add(f"{wanted.task}.{wanted.number}")
            return RoundOpened(wanted, ours=True)
        there = yield "read", "rounds", key
        return RoundOpened(there, ours=(there.identity, there.aside) == (wanted.identity, wanted.aside))

    def excuse(self, tasks: Mapping[str, int]) -> Steps:
        wanted = Request(0, "excuse", dict(tasks), by=self.owner.worker)
        return Requested((yield from ask(wanted)))

    def end_as_lost(self, claim: Claim, outcome: Lost) -> Steps:
        key = (claim.task, claim.attempt)
        end = End(*key, outcome)
        if (yield "link", "ends", key, end):
            return Ended(end)
        return Ended((yield "read", "ends", key))

    @staticmethod
    def survey(tasks: Sequence[Task]) -> list[Event]:
        found: list[Event] = []
        for task in tasks:
            if f"output of {task.id}" not in _current:
                raise NotListedError("output_of", f"output of {task.id}", task)
            found.append(OutputFound(task.id, _current[f"output of {task.id}"]))
        return found


def ask(wanted: Request) -> Steps:
    """Under the next free number."""
    while True:
        request = replace(wanted, number=(yield ("last_request",)) + 1)
        if (yield "link", "requests", ("", request.number), request):
            return request
