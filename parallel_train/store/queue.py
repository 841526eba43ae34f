"""The queue on disk: a folder of records that any number of workers share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from parallel_train.core import contact, wire
from parallel_train.core.contact import Contact
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
from parallel_train.core.facts import Claim, End, Lost, Owner, Request, Round
from parallel_train.core.task import Task
from parallel_train.errors import UsageError
from parallel_train.store import records, requests, submissions

NAME = ".parallel-train"
KINDS = ("tasks", "rounds", "claims", "beats", "ends", "requests", "workers", "journal", "aside")
_ABOUT = """This folder is parallel-train's queue for the project above it.

tasks/    the tasks that were asked for      rounds/  why a task runs again
claims/   who runs which attempt             ends/    how each attempt ended
requests/ what people asked for              workers/ who works here now
beats/    signs of life, for other hosts     journal/ what was said, for people
aside/    old outputs, moved out of the way

Records are written once and never changed. Deleting this folder forgets what is done and what runs.
"""


def create(folder: Path) -> None:
    """Make the queue's folders, private to the user. Raises UsageError where that can't be done."""
    try:
        for kind in KINDS:
            (folder / kind).mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder / "README.md"
        if not about.exists():
            about.write_text(_ABOUT)
        # Tells this queue from a later one in the same place, for what is put aside outside of it.
        with suppress(FileExistsError), (folder / "id").open("x") as file:
            file.write(os.urandom(6).hex())
    except OSError as error:
        raise UsageError(f"can't make the queue folder {folder}: {error.strerror}") from error


@dataclass(slots=True)
class DiskQueue:
    """The records in `folder`, as one worker reads and writes them.

    `owner` is this process, `is_alive` tells whether another lives (None: can't be seen from here).
    """

    folder: Path
    owner: Owner
    is_alive: Callable[[Owner], bool | None]
    interest: frozenset[str] | None = None  # only these tasks' records are read
    sources: set[str] = field(default_factory=set)  # whose submissions are followed; with `everything` all are:
    everything: bool = False
    submission: int = 0  # those newer than this one, which the caller knows
    request: int = 0  # what is added or retried by later requests than this one joins
    survey: Callable[[Sequence[Task]], list[Event]] = lambda _: []  # what stands at the outputs of added tasks
    about: dict[str, Any] = field(default_factory=dict)  # what others are told of this worker
    lease: float = 300.0  # seconds of silence after which this worker counts as gone on other hosts
    clock: Callable[[], float] = time.monotonic
    _contacts: dict[str, Contact] = field(default_factory=dict)  # what can't be seen otherwise, by its beat's name
    _strange: dict[str, Claim] = field(default_factory=dict)  # attempts without an end whose owner can't be seen
    _beats: int = 0
    _beat_due: float = 0.0
    _seen: dict[str, set[str]] = field(default_factory=dict)

    # ---- workers ----

    def join(self) -> None:
        path = self.folder / "workers" / self.owner.worker
        try:
            about = {"owner": wire.owner_data(self.owner), "lease": self.lease, **self.about}
            records.publish(str(path), [about], durable=False)
        except OSError as error:
            raise UsageError(f"can't write to the queue folder {self.folder}: {error.strerror}") from error
        for owner, name, _ in self._workers():
            if self.is_alive(owner) is False:
                (self.folder / "workers" / name).unlink(missing_ok=True)

    def leave(self) -> None:
        (self.folder / "workers" / self.owner.worker).unlink(missing_ok=True)
        (self.folder / "beats" / self.owner.worker).unlink(missing_ok=True)

    def beat(self) -> None:
        """Show other hosts that this worker lives, as often as its lease asks for."""
        now = self.clock()
        if now < self._beat_due:
            return
        self._beat_due = now + contact.interval(self.lease)
        self._beats += 1
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.folder / "beats" / self.owner.worker, flags, 0o600)
        try:
            os.pwrite(descriptor, b"%015d\n" % self._beats, 0)
        finally:
            os.close(descriptor)

    def has_company(self) -> bool:
        """Whether others may be writing: workers, or attempts that can't be seen from here."""
        return bool(self._strange) or any(True for _ in self.others())

    def others(self) -> Iterator[Owner]:
        """The other workers that live, as far as can be seen from here."""
        return (owner for owner, _ in self.company())

    def company(self) -> Iterator[tuple[Owner, Mapping[str, Any]]]:
        """The same, with what each says about itself."""
        for owner, _, about in self._workers():
            if owner.worker != self.owner.worker and self._may_live(owner, about):
                yield owner, about

    def has_strangers(self) -> bool:
        """Whether workers were met here that can't be seen: those of other hosts and containers."""
        return bool(self._contacts)

    def _may_live(self, owner: Owner, about: Mapping[str, Any]) -> bool:
        lives = self.is_alive(owner)
        if lives is not None:
            return lives
        return not self._contact(owner.worker, float(about.get("lease", self.lease))).has_expired

    def _contact(self, name: str, lease: float) -> Contact:
        """What is known of somebody who can't be seen, after one more look at its beat."""
        found = self._contacts.setdefault(name, Contact(lease))
        found.observe(_beat_of(self.folder / "beats" / name), self.clock())
        return found

    def _workers(self) -> Iterator[tuple[Owner, str, Mapping[str, Any]]]:
        for name in names(self.folder / "workers"):
            path = str(self.folder / "workers" / name)
            try:
                data = records.read_one(path)
                yield wire.owner_of(data["owner"]), name, data
            except records.NewerVersionError as error:
                raise UsageError(f"{path}: {error}") from error
            except (OSError, records.DamagedError, KeyError, TypeError, ValueError):
                continue  # it left meanwhile, or nobody can say who it is

    # ---- what happened ----

    def changes(self, now: float) -> list[Event]:
        events = self.requests(now)
        submitted = self._new("tasks")
        events += map(Warned, submissions.damage(self.folder / "tasks", submitted))
        events += self._submitted(submitted)
        # Ends are listed first and told last: whoever has an end here has its claim and its round listed too.
        new = {"tasks": submitted, **{kind: self._new(kind) for kind in ("ends", "claims", "rounds")}}
        for name in self._in_order(new["rounds"]):
            events += self._told("rounds", name, lambda data: RoundOpened(wire.round_of(data)))
        # An end whose claim a power loss took: the number stays taken.
        alone = new["ends"] - new["claims"] - self._seen["claims"]
        for name in self._in_order(new["claims"] | alone):
            has_ended = name in new["ends"] or name in self._seen["ends"]
            if name in alone:
                events += self._damaged("claims", name)
            else:
                events += self._told("claims", name, self._over if has_ended else self._claimed)
        for name in self._in_order(new["ends"]):
            events += self._told("ends", name, lambda data: Ended(wire.end_of(data), now))
        for kind, names in new.items():  # only now: after an error everything is read again
            self._seen[kind] |= names
        return [*events, *self._silent()]

    def _silent(self) -> Iterator[Event]:
        """What the beats say of attempts whose owner can't be seen."""
        for name, claim in list(self._strange.items()):
            if name in self._seen["ends"]:
                del self._strange[name]
                self._contacts.pop(name, None)
                continue
            was_lost = name in self._contacts and self._contacts[name].is_lost
            found = self._contact(name, claim.lease)
            if found.has_expired:
                yield Vanished(claim.task, claim.attempt, "expired")
            elif found.is_lost != was_lost:
                yield Silent(claim.task, claim.attempt, is_back=was_lost)

    def requests(self, now: float) -> list[Event]:
        names = self._new("requests")
        self._seen["requests"] |= names
        events: list[Event] = []
        joined: set[str] = set()
        for name in sorted((name for name in names if name.isdecimal()), key=int):
            told = self._told("requests", name, lambda data: Requested(wire.request_of(data)))
            events += told
            joined.update(*(self._joining(event.request) for event in told if isinstance(event, Requested)))
        return [*events, *self._taken_up(frozenset(joined), now)] if joined else events

    def _joining(self, request: Request) -> Iterable[str]:
        """The tasks that a worker takes up because of `request`."""
        if not (self.sources or self.everything) or request.number <= self.request:
            return ()
        self.request = request.number
        if request.kind == "retry":
            return request.tasks
        if request.kind == "add":
            known = submissions.read_all(self.folder / "tasks")
            return [task.id for s in known if s.number == request.submission for task in s.tasks]
        return ()

    def _taken_up(self, joined: frozenset[str], now: float) -> Iterator[Event]:
        """Whatever there is about tasks that were added or retried, of other task files too."""
        for submission in submissions.newest(submissions.read_all(self.folder / "tasks")).values():
            if submission.source in self.sources or all(task.id not in joined for task in submission.tasks):
                continue
            self.sources.add(submission.source)
            if submission.number <= self.submission:
                yield from self._told_of(submission)
        yield from self.changes(now)  # what is newer too
        yield Joined(joined)

    def _new(self, kind: str) -> set[str]:
        """The names in a folder that were not there before."""
        seen = self._seen.setdefault(kind, set())
        return {name for name in names(self.folder / kind) if name not in seen}

    def _in_order(self, names: Iterable[str]) -> list[str]:
        """The records among `names` that are of interest, in the order of their numbers."""
        numbered = [(task, int(number), name) for name in names for task, number in [_split(name)] if number]
        return [name for task, _, name in sorted(numbered) if self.interest is None or task in self.interest]

    def _told(self, kind: str, name: str, read: Callable[[dict[str, Any]], Event]) -> list[Event]:
        path = str(self.folder / kind / name)
        try:
            data = records.read_one(path)
            _check_name(kind, name, data)
            return [read(data)]
        except records.NewerVersionError as error:
            raise UsageError(f"{path}: {error}") from error
        except (records.DamagedError, KeyError, TypeError, ValueError):
            return [Warned(f"the record {path} is damaged"), *self._damaged(kind, name)]

    def _damaged(self, kind: str, name: str) -> list[Event]:
        """A damaged record keeps its name and is never taken for absent."""
        task, number = _split(name)
        if kind == "requests":
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

    def _claimed(self, data: dict[str, Any]) -> Claimed:
        claim = wire.claim_of(data)
        living = {owner.worker for owner in self.others()}
        is_orphan = claim.owner.worker not in living
        if self.is_alive(claim.owner) is None:
            self._strange[f"{claim.task}.{claim.attempt}"] = claim
        return Claimed(claim, orphan=is_orphan, is_here=claim.owner.machine == self.owner.machine)

    def _submitted(self, names: Iterable[str]) -> Iterator[Event]:
        fresh = [number for number in map(submissions.number_of, names) if number > self.submission]
        if not fresh or not (self.sources or self.everything):
            return
        self.submission = max(fresh)
        for submission in submissions.newest(submissions.read_all(self.folder / "tasks")).values():
            is_ours = self.everything or submission.source in self.sources
            if submission.number in fresh and is_ours and not submission.is_damaged:
                yield from self._told_of(submission)

    def _told_of(self, submission: submissions.Submission) -> Iterator[Event]:
        added = [task for task in submission.tasks if self.interest is None or task.id not in self.interest]
        if self.interest is not None and added:
            self.interest |= {task.id for task in added}
            # What is there of the new ones was passed over.
            self._seen = {kind: names for kind, names in self._seen.items() if kind == "tasks"}
        yield Submitted(submission.source, submission.tasks)
        yield from self.survey(added)

    # ---- what should be true ----

    def open_round(self, wanted: Round) -> RoundOpened:
        path = str(self.folder / "rounds" / f"{wanted.task}.{wanted.number}")
        if records.publish(path, [wire.round_data(wanted)]):
            return RoundOpened(wanted, ours=True)
        try:
            there = wire.round_of(records.read_one(path))
        except records.DamagedError:
            there = _unreadable_round(wanted.task, wanted.number)
        return RoundOpened(there, ours=(there.identity, there.aside) == (wanted.identity, wanted.aside))

    def excuse(self, tasks: Mapping[str, int]) -> Requested:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        wanted = Request(0, "excuse", tasks, by=self.owner.worker, at=now)
        return Requested(requests.ask(self.folder, wanted))

    def end_as_lost(self, claim: Claim, outcome: Lost) -> Ended:
        path = str(self.folder / "ends" / f"{claim.task}.{claim.attempt}")
        end = End(claim.task, claim.attempt, outcome)
        if records.publish(path, [wire.end_data(end)]):
            return Ended(end)
        try:
            return Ended(wire.end_of(records.read_one(path)))
        except records.DamagedError:
            return Ended(replace(end, outcome=Lost("damaged")))


def _unreadable_round(task: str, number: int) -> Round:
    """What stands for a damaged round: of no identity that anybody asks for, so that the next one is opened."""
    return Round(task, number, "", "asked for", aside=True)


def _beat_of(path: Path) -> str | None:
    """The counter as it stands. Raises OSError where it can't be read now."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return None


def _check_name(kind: str, name: str, data: Mapping[str, Any]) -> None:
    """Raises DamagedError for a whole record that lies under the name of another."""
    number = {"claims": "attempt", "ends": "attempt", "rounds": "number"}.get(kind)
    if number is not None and name != f"{data['task']}.{data[number]}":
        raise records.DamagedError("it is another record's")


def names(folder: Path) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if not name.startswith(".tmp-")]  # noqa: PTH208  names, as text
    except (FileNotFoundError, NotADirectoryError):
        return []


def _split(name: str) -> tuple[str, str]:
    """(task, number) of a record's name; number is empty where the name is none of ours."""
    task, _, number = name.rpartition(".")
    return (task, number) if task and number.isdecimal() else (name, "")
