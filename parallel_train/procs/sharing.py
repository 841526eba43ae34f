"""What a disk does when two processes, of one host or of two, work on it at the same time."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from parallel_train.core.machine import Sharing
from parallel_train.procs import apart, process
from parallel_train.procs.meeting import PREFIX, Talk, meet
from parallel_train.store import records

RACES = 300
LONGEST = 75.0  # seconds: a name that is not seen by then is not seen; NFS caches for up to 60
_HOPS = 10
_MORE = 30.0  # seconds that one waits for the word of the other, beyond what it may wait for a name
_RACING = 15.0  # seconds: a slow disk sees fewer races
_LIMIT = 240.0  # seconds for all of it, after the meeting: a disk that hangs must not hold us


def check(place: str, wait: float, here: dict[str, str] | None = None, longest: float = LONGEST) -> Sharing:
    """Try the disk of the folder `place`, from another process: one that hangs there is left.

    Waits `wait` seconds for a process of another host that tries it too; else two of this one do. Everything is
    written in a new folder there, which is removed. `here` is where this process runs.
    """
    try:
        found = apart.ask(
            lambda: asdict(_in_a_folder(place, wait, here or process.this_machine(), longest)), _LIMIT + wait
        )
    except TimeoutError as error:
        return Sharing(trouble=f"{error}; what was made there is left: {PREFIX}*")
    except OSError as error:
        return Sharing(trouble=str(error))
    return Sharing(**found)


def _in_a_folder(place: str, wait: float, here: dict[str, str], longest: float) -> Sharing:
    try:
        own = tempfile.mkdtemp(prefix=PREFIX, dir=place)
    except OSError as error:
        return Sharing(trouble=f"nothing can be made there: {error.strerror}")
    try:
        records.publish(os.path.join(own, "try"), [{}])
        met = meet(place, own, here, wait) if wait else None
        if met is not None:
            return replace(_Side(Talk(met.folder, met.me, longest + _MORE, 0.02), longest).run(), host=met.host)
        return _alone(own, longest)
    except OSError as error:
        if records.NO_LINKS in str(error):
            return Sharing(has_links=False)
        return Sharing(trouble=str(error))
    finally:
        _remove(own)


def _alone(folder: str, longest: float) -> Sharing:
    """With a second process of this host."""
    second = os.fork()
    if second == 0:
        with suppress(BaseException):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            _Side(Talk(folder, "b", longest + _MORE), longest).run()
        os._exit(0)
    try:
        return _Side(Talk(folder, "a", longest + _MORE), longest).run()
    finally:
        apart.end(second)


def _remove(folder: str) -> None:
    for _ in range(50):  # what another host still holds open is a file of another name for a while
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return
        time.sleep(0.1)


@dataclass
class _Side:
    """What one of the two does. Both find the same where both see it; the rest is told to the other."""

    talk: Talk
    longest: float
    found: dict[str, Any] = field(default_factory=dict)

    def run(self) -> Sharing:
        try:
            for name in ("race", "made", "names/in", "anew/in"):  # in one whose own folder does not change
                os.makedirs(self._path(name), exist_ok=True)
            self.talk.together("begin")
            for step in (self._links, self._exclusive, self._renames, self._delays, self._rest):
                step()
            if self.talk.me == "a":
                self.talk.hear("end")  # then the folder, which is a's, goes
            else:
                self.talk.say("end")
        except (OSError, records.DamagedError) as error:
            return Sharing(**self.found, trouble=str(error))
        return Sharing(**self.found)

    def _path(self, *names: str) -> str:
        return os.path.join(self.talk.folder, *names)

    def _links(self) -> None:
        won, wrong, run = [], 0, 0
        self.talk.together("races")
        until = time.monotonic() + _RACING
        for number in range(RACES):  # in the same order: who is behind loses, and is faster for that
            if time.monotonic() > until:
                break
            run += 1
            path = self._path("race", str(number))
            mark = self._path(f"{self.talk.me}{number}")
            descriptor = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(descriptor, records.encode([{"by": self.talk.me}]))
            os.close(descriptor)
            try:
                os.link(mark, path)
                won.append(number)
            except OSError as error:
                if os.path.samefile(mark, path):
                    wrong += 1
                    won.append(number)
                elif error.errno != errno.EEXIST:
                    raise
            os.unlink(mark)
        self.talk.say("raced", won=won, wrong=wrong, run=run)
        theirs = self.talk.hear("raced")
        races = min(run, theirs["run"])  # that both took part in
        sides = {self.talk.me: set(won), self.talk.other: set(theirs["won"])}
        names = set(os.listdir(self._path("race")))
        half = sum(not records.is_whole(self._path("race", name)) for name in names)
        self.found.update(
            races=races,
            both_won=len(sides["a"] & sides["b"]),
            none_won=len(set(range(races)) - sides["a"] - sides["b"]),
            wrong_answers=wrong + theirs["wrong"],
            half_read=half,
        )

    def _exclusive(self) -> None:
        made = []
        self.talk.together("exclusive")
        until = time.monotonic() + _RACING
        for number in random.sample(range(RACES), RACES // 3):
            if time.monotonic() > until:
                break
            with suppress(FileExistsError):
                os.close(os.open(self._path("made", str(number)), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
                made.append(number)
        self.talk.say("made", made=made)
        self.found["both_created"] = len(set(made) & set(self.talk.hear("made")["made"]))

    def _renames(self) -> None:
        """A file over another one, which the other side has read; a folder not over one that holds anything."""
        path = self._path("renamed")
        if self.talk.me == "a":
            _write(path, b"old")
            self.talk.together("written")
            _write(path + ".new", b"new")
            os.rename(path + ".new", path)
            for name in ("full", "other"):
                os.mkdir(self._path(name))
                _write(self._path(name, "file"), b"")
            wrong = ""
            with suppress(OSError):
                os.rename(self._path("other"), self._path("full"))
                wrong = "a folder took the place of one that was not empty"
            self.talk.say("renamed", wrong=wrong)
            self.found["rename"] = wrong or self.talk.hear("reread")["wrong"]
        else:
            self.talk.together("written")
            _read(path)
            wrong = self.talk.hear("renamed")["wrong"]
            wrong = wrong or ("" if _read(path) == b"new" else "the file that was there before is still read")
            self.talk.say("reread", wrong=wrong)
            self.found["rename"] = wrong

    def _delays(self) -> None:
        """What a writes, and how long b takes to see it, beyond the hop to b by which b hears that it is there."""
        hop = self._hop()
        self.found["by_listing"] = hop
        self.found["by_name"] = self._seen("name", "names/in", os.path.lexists)
        self.found["by_anew"] = self._seen("anew", "anew/in", records.exists)
        counters: dict[str, int] = {}

        def has_moved(path: str) -> bool:
            before = counters.setdefault(path, 0)
            counters[path] = int(_read(path) or b"0")
            return counters[path] > before

        self.found["by_content"] = self._seen("content", "beat", has_moved)

    def _hop(self) -> float:
        """Until a word is heard, by listing: the longest of a few."""
        longest = 0.0
        for number in range(_HOPS):
            began = time.monotonic()
            if self.talk.me == "a":
                self.talk.say(f"ping{number}")
                self.talk.hear(f"pong{number}")
            else:
                self.talk.hear(f"ping{number}")
                self.talk.say(f"pong{number}")
            longest = max(longest, (time.monotonic() - began) / 2)
        return longest

    def _seen(self, word: str, place: str, looks: Callable[[str], bool]) -> float | None:
        """How long b takes to see by `looks` what a writes, after b has looked when it was not there yet."""
        path = self._path(place, "new") if place != "beat" else self._path(place)
        if self.talk.me == "b":
            looks(path)
            self.talk.say(f"{word}-looked")
            self.talk.hear(f"{word}-written")
            began = time.monotonic()
            while not (seen := looks(path)) and time.monotonic() - began < self.longest:
                time.sleep(self.talk.pause)
            self.talk.say(f"{word}-seen", delay=time.monotonic() - began if seen else None)
            return time.monotonic() - began if seen else None
        self.talk.hear(f"{word}-looked")
        _write(path, b"1")
        self.talk.say(f"{word}-written")
        delay = self.talk.hear(f"{word}-seen")["delay"]
        return None if delay is None else float(delay)

    def _rest(self) -> None:
        """What each finds out for itself, and whether a lock of the one holds off the other."""
        began = time.monotonic()
        descriptor = os.open(self._path(f"{self.talk.me}-synced"), os.O_WRONLY | os.O_CREAT, 0o600)
        os.write(descriptor, b"1")
        self.found["clock"] = os.fstat(descriptor).st_mtime - time.time()
        with suppress(OSError):
            os.fsync(descriptor)
            self.found["sync"] = time.monotonic() - began
        os.close(descriptor)
        with open(self._path("lock"), "a") as file:
            if self.talk.me == "a":
                held = _locks(file.fileno())
                self.talk.say("locked", held=held)
                self.found["has_flock"] = held and not self.talk.hear("tried")["held"]
            else:
                held = self.talk.hear("locked")["held"]
                mine = _locks(file.fileno())
                self.talk.say("tried", held=mine)
                self.found["has_flock"] = held and not mine


def _locks(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _write(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(descriptor, data)
    os.close(descriptor)


def _read(path: str) -> bytes:
    with suppress(OSError), open(path, "rb") as file:
        return file.read()
    return b""
