"""What an onlooker of several hosts sees of their queue, and what it says of takeovers: bounds, never guesses.

It looks every few milliseconds, with its own eyes and its own clock: which attempts are claimed, when each beat moved,
when each end was there. So it can say how long an attempt was silent at most before it was taken over. All times are by
CLOCK_TAI: the one clock that is the same on every host, and that a changed wall clock leaves alone.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tests.faults.checker import History, Key
from tests.support.sweep import Effect

# Seconds in which whoever found an attempt silent for a lease must have written so.
LATE = 1.0
# How often an attempt that comes back with its whole host may write before it has stopped: a second's worth of its own
# time. When it gets that is the affair of a machine that may be busy, for so many seconds at most.
LATE_WRITES, STALL = 100, 5.0


def clock() -> float:
    return time.clock_gettime(time.CLOCK_TAI)


@dataclass(frozen=True)
class Strike:
    """What the campaign did: to a process of a host, or to all of it."""

    deed: Literal["kill", "pause"]
    what: Literal["scheduler", "launcher", "shim", "beat", "host"]
    boot: str
    at: float
    until: float = float("inf")  # when all had been told that the pause was over
    shim: tuple[int, int] | None = None  # which one, or whose beat: its pid there and its start time


@dataclass
class Seen:
    owner: dict[str, Any]
    claimed: float  # not earlier
    moved: float  # when it was last heard: not earlier
    beat: str | None = None
    ended: float = float("inf")  # not later
    lost: str = ""  # why, where its end says that it is

    silences: list[tuple[float, float]] = field(default_factory=list)  # (seconds at most, when they were over)

    def hear(self, beat: str | None, before: float) -> None:
        """`before` is when its beat was still another."""
        self.silences.append((clock() - self.moved, before))
        self.beat, self.moved = beat, before

    @property
    def silence(self) -> float:
        """Seconds at most that somebody may have seen who ended it: just before, or those that were over while he wrote
        the end.
        """
        return max([self.ended - self.moved, *(s for s, until in self.silences if self.ended - until < LATE)])

    def was_stolen(self, lease: float) -> bool:
        """Whether it was taken over before a lease of silence was over, whatever had happened to it."""
        return self.lost == "expired" and self.silence < lease


@dataclass
class Lookout:
    queue: Path
    attempts: dict[Key, Seen] = field(default_factory=dict)
    looked: float = field(default_factory=clock)  # when the last look began

    def look(self) -> None:
        before, self.looked = self.looked, clock()
        for key in _names(self.queue / "claims") - self.attempts.keys():
            claim = _first_line(self.queue / "claims" / f"{key[0]}.{key[1]}")
            self.attempts[key] = Seen(claim["owner"], before, before)
        for key, seen in self.living():
            beat = _beat(self.queue / "beats" / f"{key[0]}.{key[1]}")
            if beat != seen.beat:
                seen.hear(beat, before)
        ends = _names(self.queue / "ends")
        for key, seen in self.living():
            if key in ends:
                end = _first_line(self.queue / "ends" / f"{key[0]}.{key[1]}")
                seen.ended, seen.lost = clock(), end["outcome"].get("lost", "")

    def living(self) -> list[tuple[Key, Seen]]:
        return [(key, seen) for key, seen in self.attempts.items() if seen.ended == float("inf")]


def _names(folder: Path) -> set[Key]:
    names = os.listdir(folder) if folder.is_dir() else ()  # noqa: PTH208  names, as text
    split = (name.rpartition(".") for name in names if not name.startswith("."))
    return {(task, int(number)) for task, _, number in split}


def _first_line(path: Path) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(path.read_text().splitlines()[0])
    return line


def _beat(path: Path) -> str | None:
    with suppress(FileNotFoundError):
        return path.read_text()
    return None


# ---- the judge ----


@dataclass
class Judge:
    """Holds what happened against what was done: what was lost, and what was written late."""

    told: History
    seen: Mapping[Key, Seen]
    strikes: Collection[Strike]
    lease: float
    faults: list[str] = field(default_factory=list)
    struck: set[Key] = field(default_factory=set)  # attempts that a strike, or want of the processor, may have cost
    starved: int = 0  # taken over after a lease of silence, though nobody had struck them
    late_writes: int = 0  # of attempts that came back with their whole host
    most_late: float = 0.0  # seconds after they came back

    def on_ends(self) -> None:
        for key in self.told.ends:
            if self.seen[key].lost:
                self._on_lost(key, self.seen[key])
            elif any(strike.deed == "kill" for strike in self._strikes_on(key)):
                self.struck.add(key)  # it was shot while its end was on its way

    def on_output(self, name: str, lines: str) -> None:
        """What stands in the output of the task `name`."""
        ids = {name: task for task, name in self.told.names.items()}
        writes = list(late(lines))
        times = Counter(attempt for attempt, _ in writes)
        for attempt, at in writes:
            if times[attempt] > LATE_WRITES or not self._is_excused((ids[name], attempt), at):
                self.faults.append(
                    f"{name}.{attempt} wrote to its output after a later attempt had begun to, {times[attempt]} times, "
                    f"and {', '.join(f'{at - strike.until:.2f}' for strike in self.strikes)} s after what was done"
                )

    def on_effects(self, effects: Iterable[Effect]) -> Iterator[Effect]:
        """What the tasks said, but for the last words of those that were lost, as they came back with their host."""
        ids = {name: task for task, name in self.told.names.items()}
        for effect in effects:
            key = (ids[effect.name], effect.attempt)
            is_late = effect.ended is not None and bool(self.seen[key].lost) and self._is_excused(key, effect.ended)
            yield replace(effect, ended=None, code=None) if is_late else effect

    def _is_excused(self, key: Key, at: float) -> bool:
        """Whether it was stopped with its whole host then, or had come back just before; in that case it is counted."""
        pauses = [strike for strike in self._strikes_on(key) if (strike.deed, strike.what) == ("pause", "host")]
        delays = [at - strike.until for strike in pauses if strike.at - LATE < at < strike.until + STALL]
        self.late_writes += bool(delays)
        self.most_late = max([self.most_late, *delays])
        return bool(delays)

    def _on_lost(self, key: Key, seen: Seen) -> None:
        name = f"{self.told.names.get(key[0], key[0])}.{key[1]}"
        strikes = self._strikes_on(key)
        self.struck.add(key)
        if seen.lost != "expired" and not any(strike.deed == "kill" for strike in strikes):
            self.faults.append(f"{name} is lost ({seen.lost}), and nobody killed it")
        if seen.was_stolen(self.lease):
            self.faults.append(f"{name} was taken over after {seen.silence:.2f} s of silence at most")
        self.starved += seen.lost == "expired" and not strikes

    def _strikes_on(self, key: Key) -> list[Strike]:
        """Those that may have met this attempt while it lived: its shim may have had another one just before."""
        seen = self.seen[key]
        shim = (seen.owner["pid"], seen.owner["start"])
        return [
            strike
            for strike in self.strikes
            if seen.claimed <= strike.at <= seen.ended
            and strike.boot == seen.owner["boot"]
            and (strike.shim == shim if strike.shim else strike.what == "host")
        ]


def late(lines: str) -> Iterator[tuple[int, float]]:
    """(attempt, when) of each write that comes after one of a later attempt."""
    newest = 0
    for line in lines.splitlines():
        attempt, at = line.split()
        if int(attempt) < newest:
            yield int(attempt), float(at)
        newest = max(newest, int(attempt))
