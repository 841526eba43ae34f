"""Which GPU a process has chosen for itself: a count per card that others look at, and that refuses nobody.

One file per process in this user's private folder of slot locks; who has died does not count.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from parallel_train.core import wire
from parallel_train.core.slots import Device
from parallel_train.errors import UsageError
from parallel_train.procs import gpus, locks, process, proof
from parallel_train.store import records

_PREFIX = "reserved-"
_PATIENCE = 10.0  # seconds for others who choose at this moment
_TURN = "reservations"  # whoever holds this lock chooses


def find_best_gpu(spec: str | None = None) -> int:
    """The GPU that the fewest processes have chosen so, and of these the one with the most free memory.

    This process counts as one there from now on, while it lives; so do attempts of parallel-train. Its number is the
    one that CUDA has for it: nvidia-smi's, or the place in CUDA_VISIBLE_DEVICES where that is set. `spec` is
    fake:FILE to try things out (also as PARALLEL_TRAIN_GPUS). Raises UsageError where there is no GPU.
    """
    inherited = os.environ.get("PARALLEL_TRAIN_GPUS", "")
    spec = spec or (inherited if inherited.startswith("fake:") else "auto")
    host = gpus.Host("", ours=lambda _: True)  # whoever computes on a card: it is shared
    choice = gpus.choose(spec, host)
    devices = [device for device in choice.devices if device.kind == "gpu"]
    if not devices or choice.provider is None:
        raise UsageError("find_best_gpu: " + ("; ".join(choice.notes) or "there is no GPU here"))
    free = {card.index: float(card.memory_total_mib - card.memory_used_mib) for card in choice.provider.cards()}
    chosen = _reserve({d.lock: free.get(int(d.label), 0.0) for d in devices}, devices)
    is_numbered_anew = spec == "auto" and "CUDA_VISIBLE_DEVICES" in os.environ
    return devices.index(chosen) if is_numbered_anew else int(chosen.label)


def _reserve(free: Mapping[str, float], devices: Sequence[Device]) -> Device:
    """The device with the fewest reservations, then the most free memory, now reserved for this process.

    `free` is each device's free memory by its lock. An attempt of a scheduler on a device counts as one. What this
    process had reserved before is given up. Raises OSError.
    """
    with contextlib.ExitStack() as stack:
        turn = _take_turn()
        if turn is not None:
            stack.callback(os.close, turn)
        mine = _path(os.getpid())
        with contextlib.suppress(FileNotFoundError):
            os.unlink(mine)
        counts = _counts()
        order = {
            d.lock: (counts.get(d.lock, 0) + locks.is_held(d.lock), -free[d.lock], place)
            for place, d in enumerate(devices)
        }
        chosen = min(devices, key=lambda device: order[device.lock])
        who = {"device": chosen.lock, "label": chosen.label, "owner": process.this_process("")}
        records.place(mine, json.dumps(who).encode())
        return chosen


def own() -> tuple[str, ...]:
    """The label of what this process has reserved; none where it has not."""
    found = _read(_path(os.getpid()))
    return (str(found["label"]),) if found and found["owner"] == process.this_process("") else ()


def _take_turn() -> int | None:
    """A descriptor that holds it; None where others are at it for so long that one of them must be stopped."""
    until = time.monotonic() + _PATIENCE
    while (descriptor := locks.take(_TURN)) is None and time.monotonic() < until:
        pass
    return descriptor


def _counts() -> dict[str, int]:
    """Living reservations by device; those of the dead are removed."""
    counts: dict[str, int] = {}
    for name in os.listdir(locks.folder()):
        if not name.startswith(_PREFIX):
            continue
        path = os.path.join(locks.folder(), name)
        found = _read(path)
        if found is None:
            continue
        if proof.is_alive(wire.owner_of(found["owner"])) is False:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        else:  # in another container, perhaps: it may live
            counts[found["device"]] = counts.get(found["device"], 0) + 1
    return counts


def _read(path: str) -> dict[str, Any] | None:
    try:
        with open(path, encoding="utf-8", opener=records.opener) as file:
            found = json.load(file)
        wire.owner_of(found["owner"])
        wire.texts(found, "device", "label")
    except (OSError, ValueError, LookupError, TypeError):
        return None  # gone meanwhile, or nothing of ours
    return dict(found)


def _path(pid: int) -> str:
    mark = process.this_machine()["pidns"].strip("pid:[]")
    return os.path.join(locks.folder(), f"{_PREFIX}{pid}-{mark}")
