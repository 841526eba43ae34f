"""Break one call at a time: every file call on queue, logs, outputs and slots, every fork and exec of three tasks.

At each call: SIGKILL, then each error; at each call of a shim also a cancel while it is held there; a kill of a shim
that has not read its next order; kills inside the recovery; a claim whose pid belongs to a stranger by now. See
crash_life for what must be true then. The calls are those of a run in which nothing is broken, which also shows that
what must not be lost is on the disk before it counts.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.faults import ptrace
from tests.faults.crash_life import AT_ONCE
from tests.faults.crash_scenario import GOOD_SHIM, SLOW_SHIM
from tests.faults.frame import ROOT, Piece, Plan, Verdict
from tests.faults.tracer import Call

ERRORS = ("EIO", "ENOSPC", "EMFILE", "EINTR")
HELD = ("CANCEL", "RIVAL", "ALL")  # at each call of the good task's shim
RECEIVE = "recvfrom"  # the wait for an order, and its reading
DURABLE = ("tasks", "rounds", "requests", "ends")
# What each piece of the full scale does: a kind, and which part of how many.
PIECES = [
    *(("nested", part, 5) for part in range(5)),
    *((kind, 0, 1) for kind in (*HELD, "UNREAD")),
    *((kind, part, 8) for part in range(8) for kind in ("KILL", *ERRORS)),
]
NESTED = 40  # kills inside a recovery, in each piece for them
LOOKS = 8  # at one thing by one process: the schedulers look each second, for as long as the machine needs
# What did harm once, and what that was.
FOUND = {
    "shim-slow327.1:close:.parallel-train/claims/.tmp-*:1 EIO": "the shim died, and its claim stood",
    "shim-again263.1:newfstatat:.parallel-train/claims/7950a38a3c5f5559.1:2 EIO": "the shim died of its own claim",
    "shim-good.1:newfstatat:output:1 EIO": "the task was charged with it",
}


def run(plan: Plan) -> Verdict:
    if not ptrace.is_possible():
        plan.say("crashpoints needs Linux on x86-64, and the right to follow a child: nothing was done")
        return Verdict()
    return plan.in_pieces(one_piece, smoke=1, full=len(PIECES))


def one_piece(piece: Piece) -> None:
    (clean,) = lives(piece.folder, [""])
    calls = calls_of(piece, clean, least=6)  # five ends and a submission
    piece.count(most_calls=len(calls))
    if not piece.is_full:
        judge(piece, lives(piece.folder, a_few(piece, calls)))
        return
    kind, part, parts = PIECES[piece.number]
    if kind == "nested":
        nested(piece, calls)
        return
    chosen = [call for call in calls if call.role == GOOD_SHIM] if kind in HELD else calls
    chosen = on_files(chosen) if kind in ERRORS else waits(chosen) if kind == "UNREAD" else chosen
    own = [call for call in chosen if zlib.crc32(str(call).encode()) % parts == part]  # the same in every run
    judge(piece, lives(piece.folder, [at(call, kind) for call in own]))


def calls_of(piece: Piece, life: dict[str, Any], least: int) -> list[Call]:
    """Those of a run in which nothing was broken, which has to link so many durable records at least."""
    calls = [Call(role, name, tuple(paths), time) for role, name, paths, time in life["calls"]]
    changed = set(changing(calls))
    calls = [call for call in calls if call.time <= LOOKS or call in changed]
    faults = [*life["faults"], *unsynced(calls, least)]
    for fault in faults:
        print(f"FAULT: {fault}", file=sys.stderr, flush=True)
    piece.fault(*faults)
    return calls


def a_few(piece: Piece, calls: Sequence[Call]) -> list[str]:
    """What was found before, and some of everything, others with each seed."""
    chance = piece.chance
    shims = [call for call in calls if call.role.startswith("shim")]
    return [
        *FOUND,
        at(second_look(calls), "STRANGER"),
        at(chance.choice(after_the_command(calls)), "ALL"),
        *(at(call, fate) for fate in ("CANCEL", "RIVAL") for call in chance.sample(before_the_claim(calls), 1)),
        *(at(call, "KILL") for call in chance.sample(shims, 2)),
        *(at(call, fate) for fate in ("KILL", "UNREAD") for call in chance.sample(waits(calls), 1)),
        two_kills(piece, calls),
        *(at(call, "KILL") for call in chance.sample([*calls], 1)),
        *(at(call, error) for error in ERRORS for call in chance.sample(changing(on_files(calls)), 1)),
    ]


def changing(calls: Sequence[Call]) -> list[Call]:
    """Those that change something, not only look."""
    looks = {"newfstatat", "stat", "lstat", "fstat", "lseek", "ioctl", "read", "getdents64", "close"}
    return [call for call in calls if call.name not in looks]


def on_files(calls: Sequence[Call]) -> list[Call]:
    """Those that an error of the machine can meet."""
    return [call for call in calls if call.name != RECEIVE]


def waits(calls: Sequence[Call]) -> list[Call]:
    """Where shims wait for an order that comes: what they read next is that order."""
    reads = [call for call in calls if call.name == RECEIVE]
    return [one for one, other in pairwise(reads) if other.role == one.role and one.time % 2]


def before_the_claim(calls: Sequence[Call]) -> list[Call]:
    """The calls of the good task's shim until it links its claim, this one with them."""
    own = [call for call in calls if call.role == GOOD_SHIM]
    return own[: 1 + next(place for place, call in enumerate(own) if call.name.startswith("link"))]


def second_look(calls: Sequence[Call]) -> Call:
    """It has claimed, and runs nothing yet."""
    return [call for call in calls if call.role == GOOD_SHIM][len(before_the_claim(calls))]


def after_the_command(calls: Sequence[Call]) -> list[Call]:
    """The command is over, its output is there; it has no end yet."""
    own = [call for call in calls if call.role == GOOD_SHIM]
    start = next(place for place, call in enumerate(own) if call.name in {"clone", "clone3", "fork"})
    return own[start + 1 : next(place for place, call in enumerate(own) if place > start and call.name == "link") + 1]


def nested(piece: Piece, calls: Sequence[Call]) -> None:
    """A kill, and then one at a call of what recovers from it: half of these are calls of a recovery only."""
    known = {(call.name, call.paths) for call in calls}
    judge(piece, lives(piece.folder, [at(second_look(calls), "STRANGER")]))
    while piece.counts.get("kills_inside_recovery", 0) < NESTED:
        words = []
        for life in lives(piece.folder, [f"{first_kill(piece, calls)} . SEE" for _ in range(AT_ONCE)]):
            recovery = calls_of(piece, life, least=1)
            news = [call for call in recovery if (call.name, call.paths) not in known]
            for some in (news, recovery):
                seconds = piece.chance.sample(some, min(3, len(some)))
                words += [f"{life['words'].removesuffix(' . SEE')} {at(call, 'KILL')}" for call in seconds]
        judge(piece, lives(piece.folder, words))


def first_kill(piece: Piece, calls: Sequence[Call]) -> str:
    first = piece.chance.choice([call for call in calls if call.role in {"scheduler", GOOD_SHIM}])
    return at(first, "KILL" if first.role == "scheduler" else "ALL")


def two_kills(piece: Piece, calls: Sequence[Call]) -> str:
    """Not every call of a first run comes again in one that recovers: such a life has one kill only."""
    second = piece.chance.choice([call for call in calls if call.role in {"scheduler", "launcher", SLOW_SHIM}])
    return f"{first_kill(piece, calls)} {at(second, 'KILL')}"


def at(call: Call, fate: str) -> str:
    return f"{call} {fate}"


def judge(piece: Piece, told: Sequence[dict[str, Any]]) -> None:
    for life in told:
        words, hits = life["words"].split(), life["hits"]
        planned = len(words) // 2
        piece.count(lives=1, faults_met=len(hits), not_reached=planned - len(hits))
        piece.count(kills_inside_recovery=int(len(hits) > 1))
        again = f"python -m tests.faults.crash_life /tmp/life {shlex.join(words)}"
        piece.fault(*(f"{fault}\n  alone: {again}" for fault in life["faults"]))


# ---- lives ----


def lives(place: Path, words: Sequence[str]) -> list[dict[str, Any]]:
    """What became of each, in a process of its own: one that forks has no threads."""
    folder = place / f"lives{len(list(place.iterdir()))}"
    argv = [sys.executable, "-m", "tests.faults.crash_life", "--serve", str(folder)]
    done = subprocess.run(argv, cwd=ROOT, input="\n".join(words) + "\n", stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


# ---- what is on the disk before it counts ----


def unsynced(calls: Sequence[Call], least: int) -> Iterator[str]:
    """Each record that must not be lost is synced before it is linked, and its folder after."""
    found = 0
    for role in {call.role for call in calls}:
        own = [call for call in calls if call.role == role]
        for place, call in enumerate(own):
            if call.name not in {"link", "linkat"} or not is_durable(call.paths[1]):
                continue
            found += 1
            temporary, record = call.paths
            before = [c.name for c in own[:place] if c.paths == (temporary,) and c.name in {"openat", "write", "fsync"}]
            if before[-1:] != ["fsync"] or "write" not in before:
                yield f"{record} is linked after {before[-3:]}, not synced"
            after = next((c for c in own[place:] if c.name == "fsync"), None)
            if after is None or after.paths != (str(Path(record).parent),):
                yield f"the folder of {record} is not synced after the link"
    if found < least:
        yield f"only {found} records were linked"


def is_durable(record: str) -> bool:
    return Path(record).parent.name in DURABLE
