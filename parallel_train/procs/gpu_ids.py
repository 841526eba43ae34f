"""Which cards and MIG instances the ids of a list mean: `0,2-3`, UUIDs, MIG ids."""

from __future__ import annotations

import re
from dataclasses import dataclass

from parallel_train.core.machine import Card
from parallel_train.core.slots import Device
from parallel_train.errors import UsageError

FORMS = "auto, 0,1, 0-3, a UUID (GPU-... or MIG-...), cpu:2, fake:4 or fake:FILE"


@dataclass(frozen=True, slots=True)
class Pick:
    """A card, or one MIG instance of it."""

    card: Card
    part: str = ""

    @property
    def uuid(self) -> str:
        return self.part or self.card.uuid

    def device(self, visible: str) -> Device:
        # Old drivers put slashes into MIG ids.
        lock = f"gpu-{self.uuid}".replace("/", "-")
        return Device("gpu", str(self.card.index), visible, lock, uuid=self.uuid, name=self.card.name)


def parse_ids(spec: str) -> list[str]:
    """The single ids of a list, ranges written out."""
    if not spec.strip():
        raise UsageError(f"--gpus is empty (it can be {FORMS})")
    items: list[str] = []
    for part in spec.split(","):
        item = part.strip()
        ends = re.fullmatch(r"([0-9]{1,4})-([0-9]{1,4})", item, re.ASCII)
        if ends:
            first, last = int(ends[1]), int(ends[2])
            if first > last:
                raise UsageError(f"--gpus {spec}: the range {item} runs backwards")
            items += [str(index) for index in range(first, last + 1)]
        elif re.fullmatch(r"[0-9]{1,4}|(GPU|MIG)-[A-Za-z0-9/-]*", item, re.ASCII):
            items.append(item)
        else:
            raise UsageError(f"--gpus {spec}: {item!r} is no GPU (it can be {FORMS})")
    return items


def find(item: str, cards: tuple[Card, ...]) -> Pick:
    """The card or instance of an index, of an id or of its unambiguous beginning."""
    if item.isdecimal():
        found = [Pick(card) for card in cards if card.index == int(item)]
    else:
        every = [Pick(card, part) for card in cards for part in ("", *card.mig)]
        found = [pick for pick in every if item and pick.uuid.startswith(item)]
        found = [pick for pick in found if pick.uuid == item] or found
    if not found:
        raise UsageError(f"there is no GPU {item} here: {existing(cards)}")
    if len(found) > 1:
        raise UsageError(f"GPU {item} is ambiguous: {', '.join(pick.uuid for pick in found)}")
    return found[0]


def existing(cards: tuple[Card, ...]) -> str:
    """The cards that can be named, for an error's text."""
    return "; ".join(", ".join((f"GPU {card.index} ({_about(card)})", *card.mig)) for card in cards)


def _about(card: Card) -> str:
    return ", ".join(word for word in (card.name, card.uuid) if word) if card.state == "ok" else card.state
