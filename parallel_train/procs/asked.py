"""What people asked for while an attempt was on its way. Standard library only, Python 3.8 and newer."""

from __future__ import annotations

import os
from typing import Any, Iterator

from parallel_train.store import records


def against(order: dict[str, Any]) -> str:
    """What requests newer than those its scheduler knew say against the attempt: cancelled, paused or nothing."""
    task = order["task"]
    paused = {"": False, task: False}
    for request in _since(os.path.join(order["queue"], "requests"), order["heard"]):
        kind, tasks = request["kind"], request["tasks"]
        if kind == "cancel" and tasks.get(task, 0) >= order["asked_round"]:
            return "cancelled"
        if kind in ("pause", "resume"):
            paused.update({name: kind == "pause" for name in (tasks or ("",)) if name in paused})
    return "paused" if any(paused.values()) else ""


def _since(folder: str, number: int) -> Iterator[dict[str, Any]]:
    """The requests after `number`, oldest first; a damaged one says nothing."""
    try:
        numbers = sorted(int(name) for name in os.listdir(folder) if name.isdigit())
    except FileNotFoundError:
        return
    for found in numbers:
        if found > number:
            try:
                yield records.read_one(os.path.join(folder, str(found)))
            except (records.DamagedError, records.NewerVersionError):
                continue
