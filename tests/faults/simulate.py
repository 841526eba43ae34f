"""simulate: the product's own core and loop in a simulated machine, under every order that chance or patience finds.

By chance: stories of several workers, people and faults, each a function of its seed (sim.story). By patience: all
orders there are of a small scene (sim.every). A fault is shown again, as a history that a person can read, by

    python -m tests.faults.simulate SEED.PART      (a story)
    python -m tests.faults.simulate SCENE 0.2.1…   (the way through a scene)
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from itertools import pairwise

from tests.faults.frame import Piece, Plan, Verdict
from tests.faults.sim import every
from tests.faults.sim.story import Story

SEEDS = 100  # of a piece at full scale
LIVES = 100  # that each seed has at least: tasks brought to their end in one of their rounds
STORIES = 100  # pieces of them at full scale
SHORT = 5.0  # seconds of processor time for stories in a smoke run
LONG = 120.0  # the same for each scene at full scale: a larger one is searched as far as that goes
LINES = 30  # of a history that are shown with a fault


def run(plan: Plan) -> Verdict:
    return plan.in_pieces(one_piece, smoke=2, full=STORIES + len(every.SCENES))


def one_piece(piece: Piece) -> None:
    stories = STORIES if piece.is_full else 1
    if piece.number >= stories:
        names = list(every.SCENES) if piece.is_full else ["smoke"]
        search(piece, names[piece.number - stories])
        return
    first = piece.seed * 1_000_000 + piece.number * SEEDS
    until = float("inf") if piece.is_full else time.process_time() + SHORT
    for seed in range(first, first + SEEDS):
        if time.process_time() > until or len(piece.faults) >= 5:  # the sixth says nothing new
            break
        one_seed(piece, seed)


def one_seed(piece: Piece, seed: int) -> None:
    """Stories in fresh places until enough lives were lived: a short history is read fast."""
    lives = part = 0
    counts: Counter[str] = Counter()
    while lives < LIVES:
        story = Story(f"{seed}.{part}")
        try:
            story.tell()
        except Exception as error:  # noqa: BLE001  whatever breaks a story is a finding
            piece.fault(f"{error!r}\n  python -m tests.faults.simulate {seed}.{part}\n{shown(f'{seed}.{part}')}")
            break
        finally:
            counts += story.counts
            counts["steps"] += story.steps
            counts["reused"] += story.world.counts.get("reused", 0)
            counts["takeovers"] += len(story.world.judge.taken)
        lives += story.lives()
        part += 1
    kills = sum(number for name, number in counts.items() if name.startswith("kills"))
    asked = sum(counts[kind] for kind in ("cancel", "retry", "pause", "resume", "add", "priority"))
    piece.count(
        seeds=1, lives=lives, steps=counts["steps"], workers=counts["workers"], reused=counts["reused"], kills=kills
    )
    piece.count(reboots=counts["reboots"], requests=asked, rebuilds=counts["rebuilds"])
    piece.count(cuts=counts["cuts"], suspensions=counts["suspensions"], takeovers=counts["takeovers"])


def shown(name: str) -> str:
    """The end of the history: what happened to the task that it is about."""
    lines, error = history(name)
    told = [line for line in lines if any(f" {word}" in line for word in about(error))] or lines
    return "\n".join(f"    {line[:200]}" for line in told[-LINES:])


def history(name: str) -> tuple[list[str], str]:
    """The whole story, step by step, and how it broke."""
    lines: list[str] = []
    try:
        Story(name, lines.append).tell()
    except Exception as error:  # noqa: BLE001
        return lines, str(error)
    return lines, ""


def about(error: str) -> list[str]:
    """The attempt that an error names, as histories write it."""
    words = error.replace("(", " ").replace(")", " ").replace("'", "").replace(",", "").split()
    tasks = [f"{task}.{number}" for task, number in pairwise(words) if number.isdigit()]
    return [*tasks[:1], "KILLED", "begins"] if tasks else []


def search(piece: Piece, name: str) -> None:
    found = every.explore(every.SCENES[name], seconds=LONG if piece.is_full else SHORT)
    piece.count(states=found.states, transitions=found.transitions, most_depth=found.depth)
    piece.count(scenes=1, scenes_exhausted=int(found.is_exhausted))
    for what, way in found.faults:
        path = ".".join(map(str, way))
        told = "\n".join(f"    {line[:200]}" for line in every.retold(every.SCENES[name], way))
        piece.fault(f"{what}\n  python -m tests.faults.simulate {name} {path}\n{told}")


def main(name: str, way: str = "") -> int:
    if name in every.SCENES:
        lines = every.retold(every.SCENES[name], [int(step) for step in way.split(".")])
        print("\n".join(lines))
        return 1
    lines, error = history(name)
    print("\n".join(line[:250] for line in lines))
    print(error or "it went well")
    return int(bool(error))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
