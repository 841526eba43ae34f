"""Successive halving: which trials go on, and how long each trains. Pure.

Sources: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016,
for halving; Li et al., "Hyperband" (JMLR 18, 2018), algorithm 1, for the brackets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Rung:
    """At most `trials` reach it; a trial that ends there has had `resource` (epochs, say) in all."""

    trials: int
    resource: int


Bracket = tuple[Rung, ...]


def schedule(minimum: int, maximum: int, eta: int) -> tuple[int, ...]:
    """What a trial has had in all at the end of each rung: `maximum` last, each about `eta` times the one before.

    Raises ValueError for numbers that give no schedule.
    """
    if not 1 <= minimum <= maximum:
        raise ValueError(f"the least resource, {minimum}, must be at least 1 and at most the greatest, {maximum}")
    if eta < 2:
        raise ValueError(f"eta is {eta}: of eta trials one goes on, so it must be 2 or more")
    found = [maximum]
    while found[-1] > 1 and maximum // eta ** len(found) >= minimum:
        found.append(maximum // eta ** len(found))
    return tuple(reversed(found))


def halving(resources: Sequence[int], eta: int, trials: int) -> Bracket:
    """One bracket that begins with `trials`: on each rung one of `eta` goes on, and at least one."""
    return tuple(Rung(max(1, trials // eta**level), each) for level, each in enumerate(resources))


def brackets(resources: Sequence[int], eta: int, count: int) -> tuple[Bracket, ...]:
    """HyperBand's: from many trials that begin with little to few that have it all at once; `count` points at most."""
    found: list[Bracket] = []
    most = len(resources)
    for rungs in range(most, 0, -1):
        trials = min(count, -(-most * eta ** (rungs - 1) // rungs))  # rounded up
        if trials:
            found.append(halving(resources[most - rungs :], eta, trials))
        count -= trials
    return tuple(found)


def promoted(metrics: Sequence[float | None], wanted: int, mode: Literal["max", "min"]) -> list[int]:
    """The places of the best `wanted` of a rung that is over, best first; of equals the earlier place.

    None (no result) and NaN never go on, so it may be fewer.
    """
    numbers = [(place, each) for place, each in enumerate(metrics) if each is not None and not math.isnan(each)]
    sign = -1 if mode == "max" else 1
    return [place for place, _ in sorted(numbers, key=lambda one: (sign * one[1], one[0]))[:wanted]]
