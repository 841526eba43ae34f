"""What every campaign shares: a plan in seeded pieces, a verdict, and a state file with which a long one is resumed.

A campaign is a module with `run(plan) -> Verdict`, most simply

    def run(plan: Plan) -> Verdict:
        return plan.in_pieces(one_piece, smoke=1, full=20)

    def one_piece(piece: Piece) -> None:
        ...  # all chance from piece.chance, all files in piece.folder
        piece.count(kills=50, tasks=100)
        piece.fault("t7 ran twice")

A piece is a function of its seed alone, so that the replay line of a fault runs that piece and no other.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

Scale = Literal["smoke", "full"]
ROOT = Path(__file__).parents[2]
STATE = "state.json"


@dataclass(frozen=True)
class Failure:
    what: str
    replay: str  # one line that shows it again


@dataclass
class Verdict:
    """Counts are summed over the pieces; those that begin with `most_` are the largest of any."""

    counts: dict[str, float] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    done: int = 1
    pieces: int = 1

    @property
    def is_complete(self) -> bool:
        return self.done == self.pieces

    @property
    def is_good(self) -> bool:
        return not self.failures


@dataclass
class Piece:
    """One part of a campaign, repeatable by its seed."""

    campaign: str
    scale: Scale
    number: int
    seed: int  # of the whole campaign
    folder: Path  # empty, and its own; kept where a fault was found
    counts: dict[str, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @cached_property
    def chance(self) -> random.Random:
        return random.Random(f"{self.campaign} {self.seed} {self.number}")

    @property
    def is_full(self) -> bool:
        return self.scale == "full"

    @property
    def replay(self) -> str:
        return f"python -m tests.faults {self.campaign} --scale {self.scale} --seed {self.seed} --piece {self.number}"

    def count(self, **more: float) -> None:
        """Add to the counts; those that begin with `most_` keep the largest."""
        add(self.counts, more)

    def fault(self, *what: str) -> None:
        self.faults += what


@dataclass(frozen=True)
class Plan:
    campaign: str
    scale: Scale
    seed: int
    folder: Path
    resume: bool = False
    only: int | None = None  # this piece alone
    minutes: float = float("inf")  # begin no piece after so long
    say: Callable[[str], object] = print

    def in_pieces(self, do: Callable[[Piece], None], *, smoke: int, full: int) -> Verdict:
        """Do each piece that was not done before. What a piece raises is a fault of it."""
        total = smoke if self.scale == "smoke" else full
        state = self._state()
        until = time.monotonic() + 60 * self.minutes
        for number in range(total) if self.only is None else [self.only]:
            if str(number) in state["pieces"]:
                continue
            if time.monotonic() > until:
                break
            piece = self._run(do, number)
            state["pieces"][str(number)] = {
                "counts": piece.counts,
                "faults": piece.faults,
                "replay": piece.replay,
                "commit": commit(),
            }
            self._keep(state)
            self.say(f"  piece {number + 1} of {total}: {said(piece.counts)}; {len(piece.faults)} faults")
        return _sum(state, 1 if self.only is not None else total)

    def _run(self, do: Callable[[Piece], None], number: int) -> Piece:
        piece = Piece(self.campaign, self.scale, number, self.seed, self.folder / str(number))
        shutil.rmtree(piece.folder, ignore_errors=True)
        piece.folder.mkdir(parents=True)
        began = time.monotonic()
        try:
            do(piece)
        except Exception as error:  # noqa: BLE001  whatever goes wrong is what the campaign is there to find
            is_said = isinstance(error, AssertionError) and str(error)
            piece.fault(str(error) if is_said else "".join(traceback.format_exception(error)))
        piece.count(seconds=round(time.monotonic() - began, 1))
        if not piece.faults:
            shutil.rmtree(piece.folder, ignore_errors=True)
        return piece

    def _state(self) -> dict[str, Any]:
        path = self.folder / STATE
        if self.resume and path.exists():
            state: dict[str, Any] = json.loads(path.read_text())
            assert state["seed"] == self.seed, "it was begun with another seed"
            return state
        return {"campaign": self.campaign, "scale": self.scale, "seed": self.seed, "pieces": {}}

    def _keep(self, state: dict[str, Any]) -> None:
        fresh = self.folder / (STATE + ".new")
        fresh.write_text(json.dumps(state, indent=1))
        fresh.rename(self.folder / STATE)


def add(counts: dict[str, float], more: dict[str, float]) -> None:
    for name, value in more.items():
        before = counts.get(name, 0)
        counts[name] = max(before, value) if name.startswith("most_") else before + value


def _sum(state: dict[str, Any], pieces: int) -> Verdict:
    verdict = Verdict(done=len(state["pieces"]), pieces=pieces)
    for piece in state["pieces"].values():
        add(verdict.counts, piece["counts"])
        verdict.failures += [Failure(what, piece["replay"]) for what in piece["faults"]]
    return verdict


def said(counts: dict[str, float]) -> str:
    return ", ".join(f"{round(value, 1):,} {name.replace('_', ' ')}" for name, value in counts.items())


def report(plan: Plan, verdict: Verdict) -> str:
    """The lines at the end of a campaign, as RESULTS.md keeps them."""
    head = f"{plan.campaign} --scale {plan.scale} --seed {plan.seed} (commit {commit()}, "
    lines = [f"{head}pieces {verdict.done} of {verdict.pieces}): {said(verdict.counts)}"]
    for what, times in Counter(failure.what for failure in verdict.failures).items():
        replay = next(failure.replay for failure in verdict.failures if failure.what == what)
        lines.append(f"FAULT{f' ({times} times)' if times > 1 else ''}: {what.rstrip()}\n  replay: {replay}")
    left = "" if verdict.is_complete else "; not finished: go on with --resume"
    lines.append(f"{'ok' if verdict.is_good else 'FAILED'}: {len(verdict.failures)} faults{left}")
    return "\n".join(lines)


def commit() -> str:
    asked = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
