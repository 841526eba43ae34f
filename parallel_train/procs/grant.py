"""What Slurm granted to this process: inside an allocation the cards that it may use, and names for its slots' locks.

The grant is the exclusion: whoever else computes on a card of it was let onto it by Slurm, and an allocation beside
ours on one machine has slots of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from parallel_train.core.machine import Card
from parallel_train.core.slots import Device
from parallel_train.errors import UsageError
from parallel_train.procs.gpu_ids import Pick, find

# What stands in CUDA_VISIBLE_DEVICES where there is no GPU; the last is Slurm's word.
HIDDEN = frozenset({"", "-1", "NoDevFiles"})


@dataclass(frozen=True, slots=True)
class Grant:
    """An allocation, from inside."""

    job: str  # as Slurm's commands take it and people read it: 123, or 123_4 for an element of an array
    mark: str  # what the names of its slot locks begin with
    cards: tuple[str, ...] = ()  # as they stand in CUDA_VISIBLE_DEVICES; none in a login shell, or without a GPU
    element: int | None = None  # which of its array
    is_here: bool = True  # and not a login shell that holds an allocation of other machines

    def owns(self, device: Device) -> Device:
        """The device with the name that its slot lock has in here."""
        return replace(device, lock=f"{self.mark}-{device.lock}")

    def pick(self, known: Sequence[Card]) -> list[tuple[str, Pick | None]]:
        """The granted cards, each with what the driver says of it, if anything."""
        return [(item, _found(item, tuple(known))) for item in self.cards]

    def device(self, item: str, pick: Pick | None) -> Device:
        """A granted card. By its UUID where it is known: the processes of one step may each call theirs 0."""
        if pick is not None and pick.uuid:
            made = pick.device(item)
            return replace(made, lock=f"{self.mark}-{_plain(pick.uuid)}")
        label = item if item.isdecimal() else str(self.cards.index(item))
        return Device("gpu", label, item, f"{self.mark}-{_plain(item)}", uuid="" if item.isdecimal() else item)


def grant_of(environ: Mapping[str, str]) -> Grant | None:
    """The allocation that a process with this environment runs in; None outside."""
    number = environ.get("SLURM_JOB_ID", "")
    if not number.isdecimal():
        return None
    # An element's own number may also be its whole array's: commands that are given that one mean all of it.
    array, element = environ.get("SLURM_ARRAY_JOB_ID", ""), environ.get("SLURM_ARRAY_TASK_ID", "")
    is_element = array.isdecimal() and element.isdecimal()
    return Grant(
        job=f"{array}_{element}" if is_element else number,
        mark=f"slurm-{_plain(environ.get('SLURM_CLUSTER_NAME', ''))}-{number}",
        cards=_items(environ.get("CUDA_VISIBLE_DEVICES", "")),
        element=int(element) if is_element else None,
        is_here="SLURMD_NODENAME" in environ,
    )


def _items(visible: str) -> tuple[str, ...]:
    """For CUDA, too, an entry that names nothing ends the list."""
    items: list[str] = []
    for item in map(str.strip, visible.split(",")):
        if item in HIDDEN:
            break
        items.append(item)
    return tuple(dict.fromkeys(items))


def _found(item: str, known: tuple[Card, ...]) -> Pick | None:
    try:
        return find(item, known)
    except UsageError:
        return None


def _plain(text: str) -> str:
    """As part of a file's name."""
    return re.sub(r"[^\w.-]", "-", text)
