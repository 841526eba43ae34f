"""Who works at a queue: each worker's record and beat, and what this one knows of the others."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parallel_train.core import contact, wire
from parallel_train.core.contact import Contact
from parallel_train.core.events import Company
from parallel_train.core.facts import Owner
from parallel_train.errors import UsageError
from parallel_train.store import records


@dataclass(frozen=True, slots=True)
class Stranger:
    """Somebody who can't be seen from here, with the beat as it stands."""

    owner: Owner
    lease: float
    beat: str | None


@dataclass(slots=True)
class Presence:
    """`owner` is this process, `is_alive` tells whether another lives (None: can't be seen from here)."""

    folder: Path
    owner: Owner
    is_alive: Callable[[Owner], bool | None]
    about: dict[str, Any] = field(default_factory=dict)  # what others are told of this worker
    lease: float = 300.0  # seconds of silence after which this worker counts as gone on other hosts
    clock: Callable[[], float] = time.monotonic
    # On a disk for one host: the workers of others that were found silent, beside which this one may work.
    silent: frozenset[str] | None = None
    _contacts: dict[str, Contact] = field(default_factory=dict)  # what can't be seen otherwise, by its beat's name
    _company: Company = Company(0, 1)  # noqa: RUF009  a frozen value
    _beats: int = 0
    _beat_due: float = 0.0

    def join(self) -> None:
        path = self.folder / "workers" / self.owner.worker
        try:
            about = {"owner": wire.owner_data(self.owner), "lease": self.lease, **self.about}
            records.publish(str(path), [about], durable=False)
        except OSError as error:
            raise UsageError(f"can't write to the queue folder {self.folder}: {error.strerror}") from error
        for owner, name, _ in self._workers():
            lives = self.is_alive(owner)
            if lives is False:
                (self.folder / "workers" / name).unlink(missing_ok=True)
            elif lives is None and self.silent is not None and name not in {self.owner.worker, *self.silent}:
                self.leave()  # it came at the same moment: each sees the other
                raise UsageError(f"a worker of {owner.host} begins here too, and this disk is for one host at a time")

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
        descriptor = records.open_own(str(self.folder / "beats" / self.owner.worker), os.O_WRONLY)
        try:
            os.pwrite(descriptor, b"%015d\n" % self._beats, 0)
        finally:
            os.close(descriptor)

    def others(self) -> Iterator[Owner]:
        """The other workers that live, as far as can be seen from here."""
        return (owner for owner, _ in self.company())

    def company(self) -> Iterator[tuple[Owner, Mapping[str, Any]]]:
        """The same, with what each says about itself."""
        for owner, _, about in self._workers():
            if owner.worker != self.owner.worker and self._may_live(owner, about):
                yield owner, about

    def share(self, company: Iterable[tuple[Owner, Mapping[str, Any]]]) -> Iterator[Company]:
        """Our place among those that launch the same tasks, where it is another than before."""
        source = self.about.get("source", "")
        names_ = [self.owner.worker]
        for owner, about in company:
            has_slots, theirs = about.get("slots") or about.get("cpu_slots"), about.get("source", "")
            if has_slots and (source == theirs or not source or not theirs):
                names_.append(owner.worker)
        found = Company(sorted(names_).index(self.owner.worker), len(names_))
        if found != self._company:
            self._company = found
            yield found

    def has_strangers(self) -> bool:
        """Whether workers were met here that can't be seen: those of other hosts and containers."""
        return bool(self._contacts)

    def strangers(self) -> dict[str, Stranger]:
        """The workers that can't be seen from here, by the names of their beats. Raises OSError."""
        return {
            name: Stranger(owner, float(about.get("lease", self.lease)), beat_of(self.folder / "beats" / name))
            for owner, name, about in self._workers()
            if self.is_alive(owner) is None
        }

    def _may_live(self, owner: Owner, about: Mapping[str, Any]) -> bool:
        lives = self.is_alive(owner)
        if lives is not None:
            return lives
        return not self._contact(owner.worker, float(about.get("lease", self.lease))).has_expired

    def _contact(self, name: str, lease: float) -> Contact:
        """What is known of somebody who can't be seen, after one more look at its beat."""
        found = self._contacts.setdefault(name, Contact(lease))
        asked = self.clock()
        counter = beat_of(self.folder / "beats" / name)
        found.observe(counter, asked, self.clock())
        return found

    def _workers(self) -> Iterator[tuple[Owner, str, Mapping[str, Any]]]:
        for name in names(self.folder / "workers"):
            path = str(self.folder / "workers" / name)
            try:
                data = records.read_one(path)
                yield wire.owner_of(data["owner"]), name, wire.about_of(data)
            except records.NewerVersionError as error:
                raise UsageError(f"{path}: {error}") from error
            except (OSError, records.DamagedError, KeyError, TypeError, ValueError):
                continue  # it left meanwhile, or nobody can say who it is


def beat_of(path: Path) -> str | None:
    """The counter as it stands. Raises OSError where it can't be read now."""
    try:
        with open(path, encoding="ascii", errors="replace", opener=records.opener) as file:
            return file.read()
    except FileNotFoundError:
        return None


def names(folder: Path) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if not name.startswith(".tmp-")]  # noqa: PTH208  names, as text
    except (FileNotFoundError, NotADirectoryError):
        return []
