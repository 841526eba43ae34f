"""How two processes find each other in a folder that both can see, and talk there: by records that each waits for."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from parallel_train.store import records

PREFIX = ".parallel-train-check-"
_LISTEN_AGAIN = 10.0  # seconds that a guest waits on for an answer
_POLL = 0.002


@dataclass(slots=True)
class Talk:
    """One of two, called a and b, who say things to each other in `folder`."""

    folder: str
    me: str
    limit: float = 30.0  # seconds to wait for a word
    pause: float = _POLL

    @property
    def other(self) -> str:
        return "b" if self.me == "a" else "a"

    def say(self, word: str, **more: Any) -> None:
        records.publish(os.path.join(self.folder, f"{self.me}-{word}"), [more], durable=False)

    def hear(self, word: str) -> dict[str, Any]:
        """Raises TimeoutError."""
        name = f"{self.other}-{word}"
        until = time.monotonic() + self.limit
        while name not in os.listdir(self.folder):
            if time.monotonic() > until:
                raise TimeoutError(f"the other process was not heard of for {self.limit:.0f} s")
            time.sleep(self.pause)
        return records.read_one(os.path.join(self.folder, name))

    def together(self, word: str) -> None:
        self.say(word)
        self.hear(word)


@dataclass(frozen=True, slots=True)
class Met:
    folder: str
    me: str
    host: str


def meet(place: str, own: str, here: dict[str, str], seconds: float) -> Met | None:
    """Somebody of another machine who looks for one in `place`, too; None where nobody comes within `seconds`.

    `own` is this process's folder there, `here` where it runs. Of two the one whose folder's name comes first is the
    host: the other leaves word there that it is the guest, and waits for a welcome.
    """
    records.publish(os.path.join(own, "hello"), [here])
    until = time.monotonic() + seconds
    asked: dict[str, str] = {}  # folders where we are the guest, whose they are
    while True:
        names = os.listdir(own)
        if "guest" in names:
            records.publish(os.path.join(own, "welcome"), [here])
            return Met(own, "a", str(records.read_one(os.path.join(own, "guest"))["host"]))
        for folder, theirs in _others(place, own, here):
            with suppress(FileNotFoundError):  # it gives up waiting just now
                if folder not in asked and records.publish(os.path.join(folder, "guest"), [here]):
                    asked[folder] = theirs
        for folder, theirs in asked.items():
            with suppress(FileNotFoundError):
                if "welcome" in os.listdir(folder):
                    return Met(folder, "b", theirs)
        if time.monotonic() > until + (_LISTEN_AGAIN if asked else 0.0):
            return None
        time.sleep(0.1)


def _others(place: str, own: str, here: dict[str, str]) -> Iterator[tuple[str, str]]:
    """(folder, host) of those of other machines that wait there and come before us."""
    for name in sorted(os.listdir(place)):
        if not name.startswith(PREFIX) or name >= os.path.basename(own):
            continue
        folder = os.path.join(place, name)
        try:
            theirs = records.read_one(os.path.join(folder, "hello"))
        except (OSError, records.DamagedError, records.NewerVersionError):
            continue  # it goes, or belongs to another user
        if (theirs.get("host"), theirs.get("machine")) != (here["host"], here["machine"]):
            yield folder, str(theirs.get("host"))
