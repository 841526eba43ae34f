"""What was asked of a cluster: one immutable, numbered record for each array, made before the cluster is asked."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from parallel_train.core import wire
from parallel_train.core.events import Enlisted
from parallel_train.core.facts import Array
from parallel_train.errors import UsageError
from parallel_train.store import records
from parallel_train.store.presence import names

FOLDER = "arrays"


def record(queue: Path, wanted: Array) -> Array:
    """Record `wanted` under the next free number. Raises OSError."""
    number = 0
    while True:
        number = max([number, *numbers(queue)]) + 1
        array = replace(wanted, number=number, at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
        if records.publish(str(queue / FOLDER / str(number)), [wire.array_data(array)]):
            return array


def told(data: Mapping[str, Any], living: Collection[str]) -> Enlisted:
    """What is known of the array that a record holds, with the other workers that live."""
    array = wire.array_of(data)
    return Enlisted(array, ours=array.by not in living)


def read(queue: Path, number: int) -> Array:
    """Raises UsageError where it can't be read."""
    path = queue / FOLDER / str(number)
    try:
        return wire.array_of(records.read_one(str(path)))
    except FileNotFoundError:
        raise UsageError(f"there is no array {number} in {queue}") from None
    except (records.DamagedError, records.NewerVersionError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error


def numbers(queue: Path) -> list[int]:
    """Of all arrays, in their order."""
    return sorted(int(name) for name in names(queue / FOLDER) if records.number(name))
