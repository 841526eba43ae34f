"""sharedfs: the product's own code on several simulated hosts, over a shared disk that is late, lies and fails.

Store, shim, beat, watch, core and loop are the product's, with a simulated disk, clock and machine in place of the
real ones (shared.product). A story is shown again by

    python -m tests.faults.sharedfs SEED
"""

from __future__ import annotations

import sys
import time
from collections import Counter

from tests.faults.frame import Piece, Plan, Verdict
from tests.faults.shared.story import Story

SEEDS = 100  # of a piece at full scale
PIECES = 20
SHORT = 5.0  # seconds of processor time in a smoke run


def run(plan: Plan) -> Verdict:
    return plan.in_pieces(one_piece, smoke=1, full=PIECES)


def one_piece(piece: Piece) -> None:
    first = piece.seed * 1_000_000 + piece.number * SEEDS
    until = float("inf") if piece.is_full else time.process_time() + SHORT
    for seed in range(first, first + SEEDS):
        if time.process_time() > until or len(piece.faults) >= 5:
            break
        counts: Counter[str] = Counter()
        story = Story(str(seed))
        try:
            counts.update(story.tell())
        except Exception as error:  # noqa: BLE001  whatever breaks a story is a finding
            piece.fault(f"{error!r}\n  python -m tests.faults.sharedfs {seed}")
        piece.count(seeds=1, **counts)


def main(seed: str) -> int:
    try:
        print(Story(seed, print).tell())
    except AssertionError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
