"""When it pays that a second process makes a call that another one is still making: when it is expected to win."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from statistics import median

from parallel_train.core.facts import Claim, verdict
from parallel_train.core.situation import Situation

OVERHEAD = 1.0  # seconds that a copy must save at least
LATE = 1.5  # times as long as expected: until then a call that is late may be over at any moment


def worth_it(s: Situation, first_seen: Mapping[tuple[str, int], float], now: float) -> list[Claim]:
    """The calls of others that this process is expected to end before they do. `first_seen`: when, for each attempt.

    By how long calls took so far, of their owners and here; whoever has ended none is taken to be as fast as all.
    """
    others = [claim for claim in s.unwatched.values() if _is_of_another(s, claim)]
    taken = _taken(s) if others else {}
    if not taken:
        return []
    everybody = median(chain.from_iterable(taken.values()))
    whole = {worker: median(times) for worker, times in taken.items()}
    ours = whole.get(s.wishes.worker, everybody)

    def left(claim: Claim) -> float:
        elapsed = now - first_seen.get((claim.task, claim.attempt), now)
        return _left(elapsed, whole.get(claim.owner.worker, everybody))

    return [claim for claim in others if left(claim) > ours + OVERHEAD]


def _is_of_another(s: Situation, claim: Claim) -> bool:
    """Whether it is a call, of another process, that was not changed meanwhile."""
    task = s.lines[claim.task].task
    return task.is_call and claim.owner.worker != s.wishes.worker and claim.identity == task.identity


def _taken(s: Situation) -> dict[str, list[float]]:
    """The seconds that calls took, by who made them."""
    taken: dict[str, list[float]] = {}
    for line in s.lines.values():
        for attempt in line.attempts:
            if attempt.end is not None and verdict(attempt.end) == "succeeded":
                taken.setdefault(attempt.claim.owner.worker, []).append(attempt.end.seconds)
    return taken


def _left(elapsed: float, whole: float) -> float:
    """Seconds that it is expected to take yet; what is late as long again as it has taken."""
    if elapsed < whole:
        return whole - elapsed
    return 0.0 if elapsed < LATE * whole else elapsed
