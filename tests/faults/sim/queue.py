"""The product's DiskQueue over the simulated disk: each listing of a folder is a step, what it makes of them its own.

It is run until it lists a folder that was not listed yet; that is done as a step, and it is run again. (So in one look
a folder is listed once.) What is written is a step each.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from types import MappingProxyType, SimpleNamespace
from typing import Any

from parallel_train.core import contact
from parallel_train.core.events import Ended, Event, OutputFound, Requested, RoundOpened, Silent
from parallel_train.core.facts import Claim, End, Lost, Owner, Request, Round
from parallel_train.core.task import Task
from parallel_train.errors import UsageError
from parallel_train.store import presence, queue, records, submissions
from tests.faults.sim.product import TIME
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


def listing_of(kind: str) -> Listing:
    if kind not in _current:
        raise NotListedError("names", kind)
    found: Listing = _current[kind]
    return found


def _names(folder: Folder) -> list[str]:
    """The beats are read after all else was listed, and before anything is made of it. Nobody asks a cluster here."""
    if folder.name == "arrays":
        return []
    found = list(listing_of(folder.name))
    if folder.name == "workers" and _current["has strangers"]:
        listing_of("beats")
    return found


def _read_one(path: str) -> dict[str, Any]:
    _, kind, name = path.rsplit("/", 2)
    record = listing_of(kind)[name]
    if kind == "workers":
        return {"owner": record[0], "lease": _current["lease"]}
    number = "attempt" if kind in {"claims", "ends"} else "number"
    return {"record": record, "task": getattr(record, "task", ""), number: getattr(record, number)}


def _as_it_is(data: dict[str, Any]) -> Any:
    return data["record"]


def _beat_of(path: Folder) -> str | None:
    found: str | None = listing_of("beats").get(path.name)
    return found


class _Clocks:
    """For whoever goes by the times of files: the disk has a clock of its own, and each host another one."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def stat(self, path: Folder) -> Any:
        return SimpleNamespace(st_mtime=listing_of("beats").at.get(path.name, 0.0))

    def time(self) -> float:
        return TIME.wall

    def monotonic(self) -> float:
        return TIME.now


_NAMES = {
    "names": _names,
    "beat_of": _beat_of,
    "records": SimpleNamespace(
        read_one=_read_one,
        number=records.number,
        NewerVersionError=records.NewerVersionError,
        DamagedError=records.DamagedError,
    ),
    "wire": SimpleNamespace(
        **dict.fromkeys(("round_of", "claim_of", "end_of", "request_of"), _as_it_is),
        owner_of=lambda owner: owner,
        about_of=lambda data: data,
    ),
    "os": _Clocks(),
    "time": _Clocks(),
}
_Presence: Any = again(presence, **_NAMES)["Presence"]
_DiskQueue: Any = again(
    queue,
    **_NAMES,
    submissions=SimpleNamespace(
        damage=lambda folder, new: [],
        number_of=lambda name: int(name[:6]),
        newest=submissions.newest,
        read_all=lambda folder: [found for _, found in sorted(listing_of("tasks").items())],
    ),
)["DiskQueue"]


class Read(_DiskQueue):  # type: ignore[misc]
    """Reads what was listed."""

    company = _Presence.company
    others = _Presence.others
    _may_live = _Presence._may_live
    _workers = _Presence._workers
    _contact = _Presence._contact


def is_alive_for(seer: Owner) -> Callable[[Owner], bool | None]:
    def is_alive(owner: Owner) -> bool | None:
        if owner.machine != seer.machine:
            return None
        found = _current.get("workers", {}).get(owner.worker)
        return found[1] if found else True  # of a claim: only whether it can be seen makes a difference here

    return is_alive


class SimQueue:
    """`lease`, where several hosts work on the disk."""

    def __init__(self, owner: Owner, lease: float = 0.0, **more: Any) -> None:
        self.owner = owner
        self.lease = lease
        self.known: dict[str, Listing] = {}  # in the last look
        self.read = Read(
            Folder("queue"),
            owner,
            is_alive_for(owner),
            lease=lease or 300.0,
            clock=TIME.monotonic,
            survey=self.survey,
            **more,
        )

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

    def _look(self, what: Callable[[], Any], listed: Mapping[str, Listing] = MappingProxyType({})) -> Steps:
        answers: dict[Any, Any] = {"has strangers": bool(self.lease), "lease": self.lease, **listed}
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
        """Presence.beat."""
        read = self.read
        if self.lease and TIME.now >= read._beat_due:
            read._beat_due = TIME.now + contact.interval(read.lease)
            read._beats += 1
            yield "beat", read._beats, self.owner.worker

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
        listed = {}
        for kind in _order(is_shared=bool(self.lease)):
            listed[kind] = yield "names", kind
        told = [kind for kind in listed if kind not in {"beats", "workers"}]
        are_same = all(listed[kind] is self.known.get(kind) for kind in told)
        if are_same and not self.read._strange:
            return []  # the very same listings: there is nothing new in them
        events = yield from self._look(lambda: self.read.changes(now), listed)
        self.known = listed
        return events

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
        if outcome.why == "expired":
            name = f"{claim.task}.{claim.attempt}"
            if not (yield from self._look(lambda: self.read._contact(name, claim.lease))).has_expired:
                return Silent(*key, is_back=True)
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


@cache
def _order(*, is_shared: bool) -> tuple[str, ...]:
    """The folders that a look lists, in the product's order."""
    queue = SimQueue(Owner("", "", "", "", "", 0, 0), lease=float(is_shared))
    steps = queue._look(lambda: queue.read.changes(0.0))
    found: list[str] = []
    with suppress(StopIteration):
        step = next(steps)
        while True:
            found.append(step[1])
            step = steps.send({})
    return tuple(found)


def ask(wanted: Request) -> Steps:
    """Under the next free number."""
    while True:
        request = replace(wanted, number=(yield ("last_request",)) + 1)
        if (yield "link", "requests", ("", request.number), request):
            return request
