"""Slots on which everything fails at once, while it works elsewhere: a broken card must not use up the whole sweep."""

from __future__ import annotations

from collections.abc import Iterator

from parallel_train.core import policy
from parallel_train.core.facts import Claim, End, verdict
from parallel_train.core.slots import Pool, Slot


def learn(pool: Pool, claim: Claim, end: End) -> None:
    """Note what the end of an attempt says of the slot that it ran on. One on several slots says nothing of any."""
    slot = pool.slots.get(claim.slots[0]) if len(claim.slots) == 1 else None
    if slot is None or end.stopped:
        return
    found = verdict(end)
    if found == "succeeded":
        slot.suspects.clear()
        for other in pool.slots.values():
            other.works_elsewhere |= other is not slot and bool(other.suspects)
    elif found == "failed":
        _clear_of_blame(pool, slot, claim.task)
        if end.seconds < policy.QUICK_FAILURE:
            slot.works_elsewhere &= bool(slot.suspects)
            slot.suspects[claim.task] = claim.attempt


def _clear_of_blame(pool: Pool, slot: Slot, task: str) -> None:
    """A task that fails on another slot as well is broken itself."""
    for other in pool.slots.values():
        if other is not slot and other.suspects.pop(task, None) is not None:
            other.is_sick = False


def found(pool: Pool) -> Iterator[tuple[str, dict[str, int]]]:
    """Slots to put aside, each with the attempts that are not held against their tasks."""
    for name, slot in pool.slots.items():
        if not slot.is_sick and slot.works_elsewhere and len(slot.suspects) >= policy.SICK_AFTER:
            yield name, dict(slot.suspects)
