"""What people asked for: one immutable, numbered record each."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from parallel_train.core import wire
from parallel_train.core.facts import Request
from parallel_train.errors import UsageError
from parallel_train.store import records
from parallel_train.store.presence import names


def ask(folder: Path, wanted: Request) -> Request:
    """Record what a person wants. Raises UsageError where that can't be done."""
    try:
        return record(folder, wanted)
    except OSError as error:
        raise UsageError(f"can't write to the queue folder {folder}: {error.strerror}") from error


def record(folder: Path, wanted: Request) -> Request:
    """Record `wanted` in the queue `folder` under the next free number."""
    number = 0
    while True:
        number = max(number, last(folder)) + 1
        request = replace(wanted, number=number)
        if records.publish(str(folder / "requests" / str(request.number)), [wire.request_data(request)]):
            return request


def last(folder: Path) -> int:
    """The highest number in use, 0 where nothing was asked yet."""
    return max(_numbers(folder), default=0)


def read_all(folder: Path) -> list[Request]:
    """What was asked in the queue `folder`, oldest first, without what is damaged."""
    found = []
    for number in sorted(_numbers(folder)):
        with suppress(OSError, records.DamagedError, records.NewerVersionError, KeyError, TypeError, ValueError):
            found.append(wire.request_of(records.read_one(str(folder / "requests" / str(number)))))
    return found


def _numbers(folder: Path) -> list[int]:
    return [number for number in map(records.number, names(folder / "requests")) if number]
