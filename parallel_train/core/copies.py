"""When it pays that a second process makes a call that another one is still making: when it is expected to win."""

from __future__ import annotations

from statistics import median

from parallel_train.core.facts import Claim, verdict
from parallel_train.core.situation import Situation

OVERHEAD = 1.0  # seconds that a copy must save at least
LATE = 1.5  # times as long as expected: until then a call that is late may be over at any moment


def is_worth_it(s: Situation, claim: Claim, elapsed: float) -> bool:
    """Whether this process is expected to make the call first that `claim` is for, made for `elapsed` seconds by now.

    By how long calls took so far, of its owner and here; whoever has ended none is taken to be as fast as all.
    """
    taken: dict[str, list[float]] = {}
    for line in s.lines.values():
        for attempt in line.attempts:
            if attempt.end is not None and verdict(attempt.end) == "succeeded":
                taken.setdefault(attempt.claim.owner.worker, []).append(attempt.end.seconds)
    everybody = [seconds for some in taken.values() for seconds in some]
    if not everybody:
        return False
    theirs, ours = (median(taken.get(worker, everybody)) for worker in (claim.owner.worker, s.wishes.worker))
    return _left(elapsed, theirs) > ours + OVERHEAD


def _left(elapsed: float, whole: float) -> float:
    """Seconds that it is expected to take yet; what is late as long again as it has taken."""
    if elapsed < whole:
        return whole - elapsed
    return 0.0 if elapsed < LATE * whole else elapsed
