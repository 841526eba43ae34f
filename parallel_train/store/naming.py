"""The names of records: TASK.NUMBER in most folders, a number alone where a record is of no one task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from parallel_train.store import records

_NUMBERED = {"requests", "arrays"}


def check(kind: str, name: str, data: Mapping[str, Any]) -> None:
    """Raises DamagedError for a whole record that lies under the name of another."""
    number = data["attempt" if kind in {"claims", "ends"} else "number"]
    if name != (f"{number}" if kind in _NUMBERED else f"{data['task']}.{number}"):
        raise records.DamagedError("it is another record's")


def in_order(names: Iterable[str]) -> list[str]:
    """Records in the order of their numbers; other names are none."""
    numbered = [(task, int(number), name) for name in names for task, number in [split(name)] if number]
    return [name for _, _, name in sorted(numbered)]


def split(name: str) -> tuple[str, str]:
    """(task, number) of a record's name; number is empty where the name is none of ours."""
    task, _, number = name.rpartition(".")
    return (task, number) if task and records.number(number) else (name, "")
