"""The attempts of other workers on this machine: told to stop, and their processes watched for their death.

A process that lives may have gone on to another attempt: where there is an end, the attempt is over.
"""

from __future__ import annotations

import os
import selectors
import time
from dataclasses import dataclass
from pathlib import Path

from parallel_train.core import wire
from parallel_train.core.events import Ended, Event, Vanished
from parallel_train.core.facts import Claim, LostBy, Owner
from parallel_train.procs import process
from parallel_train.procs.proof import lives, stop
from parallel_train.store import records

Key = tuple[str, int]


@dataclass(slots=True)
class _Watched:
    """A process: its pidfd, and those of its attempts that had no end when they were last looked at."""

    pidfd: int
    claims: dict[Key, Claim]


class Others:
    """Their processes are registered with `selector` by their owners."""

    def __init__(self, queue: Path, selector: selectors.BaseSelector) -> None:
        self._queue = queue
        self._selector = selector
        self._watched: dict[Owner, _Watched] = {}

    def watch(self, claim: Claim) -> Event | None:
        """What became of it, where that can be said at once. Raises OSError for what can't be seen now."""
        key = (claim.task, claim.attempt)
        ended = end_of(self._queue, key)
        if ended is not None:
            return ended
        known = self._watched.get(claim.owner)
        if known is not None:
            for over in [key for key in known.claims if end_of(self._queue, key)]:
                del known.claims[over]
            known.claims[key] = claim
            return None
        alive = lives(claim.owner)
        if alive is None:
            return None  # another host's: its end is read from the disk
        pidfd = process.open_proven(claim.owner.pid, claim.owner.start) if alive else None
        if pidfd is None:
            return found_dead(self._queue, key, "killed" if claim.owner.boot == process.boot_id() else "rebooted")
        self._watched[claim.owner] = _Watched(pidfd, {key: claim})
        self._selector.register(pidfd, selectors.EVENT_READ, claim.owner)
        return None

    def stop(self, key: Key, *, kill: bool) -> None:
        for claim in [watched.claims[key] for watched in self._watched.values() if key in watched.claims]:
            stop(claim, kill=kill)

    def died(self, owner: Owner) -> list[Event]:
        """A process that is registered is gone: what became of its attempts."""
        watched = self._watched.pop(owner)
        self._selector.unregister(watched.pidfd)
        os.close(watched.pidfd)
        return [found_dead(self._queue, key) for key in watched.claims]

    def close(self) -> None:
        for watched in self._watched.values():
            os.close(watched.pidfd)
        self._watched.clear()


def found_dead(queue: Path, key: Key, why: LostBy = "killed") -> Event:
    """Its process is gone: it has ended, or has vanished."""
    return end_of(queue, key) or Vanished(*key, why)


def end_of(queue: Path, key: Key) -> Ended | None:
    path = queue / "ends" / f"{key[0]}.{key[1]}"
    try:
        return Ended(wire.end_of(records.read_one(str(path))), time.monotonic())
    except (OSError, records.DamagedError, records.NewerVersionError, KeyError, TypeError, ValueError):
        return None  # whoever ends it as lost finds the same, and says so
