"""The queue on disk: a folder of records that any number of workers share."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from parallel_train.core import wire
from parallel_train.core.events import (
    Claimed,
    Ended,
    Event,
    Joined,
    Requested,
    RoundOpened,
    Silent,
    Submitted,
    Vanished,
    Warned,
)
from parallel_train.core.facts import Array, Claim, End, Lost, Owner, Request, Round, claim_in, verdict
from parallel_train.core.task import Task
from parallel_train.errors import UsageError
from parallel_train.store import arrays, naming, records, requests, submissions
from parallel_train.store.folders import KINDS, NAME, create
from parallel_train.store.presence import Presence, Stranger, beat_of, names

__all__ = ["KINDS", "NAME", "DiskQueue", "create"]

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class News:
    """What submissions and requests bring to a worker."""

    events: Sequence[Event]
    joined: frozenset[str] = frozenset()  # tasks that were added or retried
    added: frozenset[str] = frozenset()  # tasks whose records were of no interest until now
    sources: frozenset[str] = frozenset()  # followed from now on


@dataclass(slots=True)
class DiskQueue(Presence):
    """The records in `folder`, as one worker reads and writes them."""

    interest: frozenset[str] | None = None  # only these tasks' records are read
    sources: set[str] = field(default_factory=set)  # whose submissions are followed; with `everything` all are:
    everything: bool = False
    reads_ends_only: bool = False  # of others' successes only the ends are read, which repeat what decisions hang on
    submission: int = 0  # those newer than this one, which the caller knows
    request: int = 0  # what is added or retried by later requests than this one joins
    survey: Callable[[Sequence[Task]], list[Event]] = lambda _: []  # what stands at the outputs of added tasks
    _strange: dict[str, Claim] = field(default_factory=dict)  # attempts without an end whose owner can't be seen
    _requests: dict[int, Request] = field(default_factory=dict)
    _seen: dict[str, set[str]] = field(default_factory=dict)
    _amiss: list[tuple[str, str]] = field(default_factory=list)  # damaged records that were not copied yet
    _has_joined: bool = False

    def strangers(self) -> dict[str, Stranger]:
        """And the owners of attempts without an end."""
        found = super(DiskQueue, self).strangers()  # named: with slots the class is another than the one written here
        for name, claim in self._strange.items():
            found[name] = Stranger(claim.owner, claim.lease, beat_of(self.folder / "beats" / name))
        return found

    # ---- what happened ----

    def has_company(self) -> bool:
        """Whether others may be writing: workers, or attempts that can't be seen from here."""
        return bool(self._strange) or any(True for _ in self.others())

    def requests(self, now: float) -> list[Event]:
        """The same as `changes`, and cheap where nobody asked for anything."""
        return self.changes(now) if self._unseen("requests", names(self.folder / "requests")) else []

    def changes(self, now: float) -> list[Event]:
        """In one pass, so that nothing is told of a task before the task itself; what was read counts as seen only
        when all of it could be.
        """
        # Ends are listed first and told last: whoever has an end here has its claim and its round listed too.
        kinds = ("ends", "claims", "rounds", "requests", "tasks", "workers", "arrays")
        listed = {kind: names(self.folder / kind) for kind in kinds}
        listed["claims"] += listed["ends"]  # a cache may list an end before its claim
        new = {kind: self._unseen(kind, found) for kind, found in listed.items()}
        company = list(self.company())
        asked = self._numbered("requests", new["requests"], lambda data: Requested(wire.request_of(data)))
        news = self._news(new["tasks"], [told.request for told in asked if isinstance(told, Requested)])
        fresh = {kind: self._of_interest(new[kind], listed[kind], news.added) for kind in ("rounds", "claims", "ends")}
        unknown = self._unknown_workers(new["workers"])
        events: list[Event] = [*news.events, *unknown, *(e for e in asked if isinstance(e, Warned))]
        requests_ = [e.request for e in asked if isinstance(e, Requested)]
        again = [r for r in self._requests.values() if not news.added.isdisjoint(r.tasks)]
        events += [Requested(r) for r in sorted([*again, *requests_], key=lambda r: r.number)]
        living = {owner.worker for owner, _ in company}
        events += self._records(fresh, living, now)
        events += self._numbered("arrays", new["arrays"], lambda data: arrays.told(data, living))
        if news.joined:
            events.append(Joined(news.joined))
        events += self._silent(fresh["ends"])  # the last that may raise
        self._requests.update({r.number: r for r in requests_})
        self.request = max([self.request, *self._requests])
        self.submission = max([self.submission, *map(submissions.number_of, new["tasks"])])
        self.sources |= news.sources
        if self.interest is not None:
            self.interest |= news.added
        events += self.share(company)
        for kind, found in new.items():
            self._seen.setdefault(kind, set()).update(found)
        return events

    def _unseen(self, kind: str, listed: Iterable[str]) -> set[str]:
        """The names in a folder that were not there before."""
        seen = self._seen.get(kind, ())
        return {name for name in listed if name not in seen}

    def _of_interest(self, new: set[str], listed: Iterable[str], added: frozenset[str]) -> set[str]:
        """What is new of interest, and what was passed over of tasks that are of interest only now."""
        if self.interest is not None:
            new = {name for name in new if naming.split(name)[0] in self.interest}
        return new | {name for name in listed if naming.split(name)[0] in added} if added else new

    def _numbered(self, kind: str, new: Iterable[str], read: Callable[[dict[str, Any]], Event]) -> list[Event]:
        numbers = sorted(filter(records.number, new), key=int)
        return [e for name in numbers for e in self._told(kind, name, read)]

    def _news(self, new: Collection[str], asked: Sequence[Request]) -> News:
        """What was submitted, added or retried since, as far as this worker takes it up."""
        warned = [Warned(text) for text in submissions.damage(self.folder / "tasks", new)]
        if warned:
            self._set_aside(*(("tasks", n) for n in new if not records.is_whole(str(self.folder / "tasks" / n))))
        fresh = {number for number in map(submissions.number_of, new) if number > self.submission}
        is_worker = bool(self.sources) or self.everything
        joining = [r for r in asked if r.kind in {"add", "retry"} and r.number > self.request] if is_worker else []
        if not is_worker or not (fresh or joining):
            return News(warned)
        known = [s for s in submissions.read_all(self.folder / "tasks") if not s.is_damaged]
        added_by = {r.submission for r in joining if r.kind == "add"}
        joined = {task.id for s in known if s.number in added_by for task in s.tasks}
        joined |= {name for r in joining if r.kind == "retry" for name in r.tasks}
        newest = submissions.newest(known)
        sources = {source for source, s in newest.items() if any(task.id in joined for task in s.tasks)} - self.sources
        events: list[Event] = [*warned]
        added: set[str] = set()
        for source, found in newest.items():
            is_followed = self.everything or source in self.sources
            if source in sources or (is_followed and found.number in fresh):
                tasks = [task for task in found.tasks if self.interest is None or task.id not in self.interest]
                added |= {task.id for task in tasks}
                events += [Submitted(source, found.tasks), *self.survey(tasks)]
        return News(events, frozenset(joined), frozenset(added), frozenset(sources))

    def _records(self, fresh: Mapping[str, Collection[str]], living: Collection[str], now: float) -> list[Event]:
        ended = fresh["ends"]
        events: list[Event] = []
        for name in naming.in_order(fresh["rounds"]):
            events += self._told("rounds", name, lambda data: RoundOpened(wire.round_of(data)))
        over = naming.in_order(ended)
        ends = {name: self._told("ends", name, lambda data: Ended(wire.end_of(data), now)) for name in over}
        for name in naming.in_order(fresh["claims"]):
            known = _repeated(ends.get(name, ()))
            if self.reads_ends_only and any(claimed.claim.owner.worker != self.owner.worker for claimed in known):
                events += known
                continue
            read = self._over if name in ended else partial(self._claimed, living=living)
            try:
                events += self._told("claims", name, read, instead=known)
            except FileNotFoundError:
                if name not in ended:
                    raise
                events += known or self._damaged("claims", name)  # a power loss took it: the number stays taken
        for end in ends.values():
            events += end
        return events

    def _silent(self, ended: Collection[str]) -> Iterator[Event]:
        """What the beats say of attempts whose owner can't be seen."""
        for name, claim in list(self._strange.items()):
            if name in ended:
                del self._strange[name]
                self._contacts.pop(name, None)
                continue
            was_lost = name in self._contacts and self._contacts[name].is_lost
            found = self._contact(name, claim.lease)
            if found.has_expired:
                yield Vanished(claim.task, claim.attempt, "expired")
            elif found.is_lost != was_lost:
                yield Silent(claim.task, claim.attempt, is_back=was_lost)

    def _unknown_workers(self, new: Iterable[str]) -> list[Event]:
        """A warning for each new worker of whom nobody can say who it is; the others are for `company`."""
        told: list[Event] = []
        for name in new:
            path = str(self.folder / "workers" / name)
            try:
                wire.owner_of(records.read_one(path)["owner"])
            except FileNotFoundError:
                continue  # it left meanwhile
            except records.NewerVersionError as error:
                raise UsageError(f"{path}: {error}") from error
            except (records.DamagedError, KeyError, TypeError, ValueError):
                self._set_aside(("workers", name))
                told.append(Warned(f"the record {path} is damaged"))
        return told

    def _told(
        self, kind: str, name: str, read: Callable[[dict[str, Any]], Event], instead: Sequence[Event] = ()
    ) -> list[Event]:
        """`instead` is what is known of a damaged one from elsewhere."""
        try:
            return [self._read(kind, name, read)]
        except records.DamagedError:
            self._set_aside((kind, name))
            warned = Warned(f"the record {self.folder / kind / name} is damaged")
            return [warned, *(instead or self._damaged(kind, name))]

    def _read(self, kind: str, name: str, read: Callable[[dict[str, Any]], Value]) -> Value:
        """The record of that name. Raises DamagedError, also for a whole one that is not what its name says."""
        path = f"{self.folder}/{kind}/{name}"  # a Path for each of a million records would take its time
        try:
            data = records.read_one(path)
            naming.check(kind, name, data)
            return read(data)
        except records.NewerVersionError as error:
            raise UsageError(f"{path}: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise records.DamagedError("it is no such record") from error

    def join(self) -> None:
        super(DiskQueue, self).join()
        self._has_joined = True
        self._set_aside()

    def _set_aside(self, *damaged: tuple[str, str]) -> None:
        """Keep a copy of each damaged record, which itself keeps its name. Who only looks copies nothing."""
        self._amiss += damaged
        place = self.folder / "aside" / "damaged"
        while self._has_joined and self._amiss:
            kind, name = self._amiss.pop()
            with suppress(OSError):  # it is there
                records.make_folder(str(place), str(self.folder))
            with suppress(OSError, records.DamagedError):  # the disk is full: it is damaged all the same
                records.copy(str(self.folder / kind / name), str(place / f"{kind}.{name}"))

    def _damaged(self, kind: str, name: str) -> list[Event]:
        """A damaged record keeps its name and is never taken for absent."""
        task, number = naming.split(name)
        if kind in {"requests", "arrays"}:
            return []  # nobody can say what was asked for
        if kind == "ends":
            return [Ended(End(task, int(number), Lost("damaged")))]
        if kind == "claims":
            nobody = Owner("", "", "", "", "", 0, 0)
            claim = Claim(task, int(number), 1, "", {}, nobody, (), (), "", "")
            self._strange[name] = claim
            return [Claimed(claim, is_here=False)]
        return [RoundOpened(_unreadable_round(task, int(number)))]

    @staticmethod
    def _over(data: dict[str, Any]) -> Claimed:
        return Claimed(wire.claim_of(data), is_here=False)

    def _claimed(self, data: dict[str, Any], living: Collection[str]) -> Claimed:
        claim = wire.claim_of(data)
        is_orphan = claim.owner.worker not in living
        if self.is_alive(claim.owner) is None:
            self._strange[f"{claim.task}.{claim.attempt}"] = claim
        return Claimed(claim, orphan=is_orphan, is_here=claim.owner.machine == self.owner.machine)

    # ---- what should be true ----

    def open_round(self, wanted: Round) -> RoundOpened:
        name = f"{wanted.task}.{wanted.number}"
        if records.publish(str(self.folder / "rounds" / name), [wire.round_data(wanted)]):
            self._seen.setdefault("rounds", set()).add(name)
            return RoundOpened(wanted, ours=True)
        try:
            there = self._read("rounds", name, wire.round_of)
        except records.DamagedError:
            there = _unreadable_round(wanted.task, wanted.number)
        return RoundOpened(there, ours=(there.identity, there.aside) == (wanted.identity, wanted.aside))

    def enlist(self, wanted: Array) -> Array:
        return arrays.record(self.folder, replace(wanted, by=self.owner.worker))

    def excuse(self, tasks: Mapping[str, int]) -> Requested:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        wanted = Request(0, "excuse", tasks, by=self.owner.worker, at=now)
        return Requested(requests.record(self.folder, wanted))

    def end_as_lost(self, claim: Claim, outcome: Lost) -> Ended | Silent:
        name = f"{claim.task}.{claim.attempt}"
        is_for_silence = outcome == Lost("expired") and name in self._contacts
        if is_for_silence and not self._contact(name, claim.lease).has_expired:  # we may have been stopped meanwhile
            return Silent(claim.task, claim.attempt, is_back=True)
        end = End(claim.task, claim.attempt, outcome)
        if records.publish(str(self.folder / "ends" / name), [wire.end_data(end)]):
            return Ended(end)
        try:
            return Ended(self._read("ends", name, wire.end_of))
        except records.DamagedError:
            return Ended(replace(end, outcome=Lost("damaged")))


def _repeated(told: Iterable[Event]) -> list[Claimed]:
    """The claim of a success, which is not run again because its own record can't be read, if its end says enough."""
    ends = [event.end for event in told if isinstance(event, Ended) and verdict(event.end) == "succeeded"]
    return [Claimed(claim, is_here=False) for claim in map(claim_in, ends) if claim is not None]


def _unreadable_round(task: str, number: int) -> Round:
    """What stands for a damaged round: of no identity that anybody asks for, so that the next one is opened."""
    return Round(task, number, "", "asked for", aside=True)
