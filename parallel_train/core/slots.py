"""Devices, and the right to run one task on one of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Device:
    """An accelerator, or a share of the host's cores.

    `label` is how it is shown and named in logs, `visible` the value for CUDA_VISIBLE_DEVICES ("" on a CPU slot),
    `lock` the file name of its slot lock.
    """

    kind: Literal["gpu", "cpu"]
    label: str
    visible: str
    lock: str
    uuid: str = ""
    name: str = ""


Attempted = tuple[str, int]  # task and attempt


@dataclass(slots=True)
class Slot:
    device: Device
    holder: Attempted | None = None
    avoid_until: float = 0.0  # somebody whom we can't see held its lock when we last tried
    suspects: dict[str, int] = field(default_factory=dict)  # tasks that failed at once here, with their attempts
    works_elsewhere: bool = False  # since the first of them another slot had a success
    is_sick: bool = False  # put aside by this worker


@dataclass(slots=True)
class Pool:
    """This worker's slots, in the order of the devices. `extra` are the CPU slots of tasks that want no GPU."""

    slots: dict[str, Slot] = field(default_factory=dict)
    extra: dict[str, Slot] = field(default_factory=dict)

    @staticmethod
    def of(devices: Iterable[Device], extra: Iterable[Device] = ()) -> Pool:
        return Pool({d.lock: Slot(d) for d in devices}, {d.lock: Slot(d) for d in extra})

    def carries(self, gpus: int) -> bool:
        """Whether a task that wants `gpus` GPUs fits in here at all, with what was put aside left out."""
        return gpus <= self.width if gpus else bool(self.extra)

    @property
    def width(self) -> int:
        """How many GPUs a task may want here."""
        return sum(not slot.is_sick for slot in self.slots.values())

    def free(self, now: float) -> list[str]:
        return [name for name, slot in self.slots.items() if _is_free(slot, now)]

    def free_cpu(self, now: float) -> list[str]:
        return [name for name, slot in self.extra.items() if _is_free(slot, now)]

    def hold(self, names: Iterable[str], holder: Attempted) -> None:
        for name in names:
            slot = self.slots.get(name) or self.extra.get(name)
            if slot is not None:
                slot.holder = holder

    def release(self, holder: Attempted) -> bool:
        """Whether it held any."""
        held = [slot for slot in (*self.slots.values(), *self.extra.values()) if slot.holder == holder]
        for slot in held:
            slot.holder = None
        return bool(held)

    def avoid(self, names: Iterable[str], until: float) -> None:
        for name in names:
            slot = self.slots.get(name) or self.extra.get(name)
            if slot is not None:
                slot.avoid_until = until

    def devices(self, names: Iterable[str]) -> tuple[Device, ...]:
        both = {**self.slots, **self.extra}
        return tuple(both[name].device for name in names if name in both)


def _is_free(slot: Slot, now: float) -> bool:
    return slot.holder is None and slot.avoid_until <= now and not slot.is_sick
