"""The grid of a MultiRunner: a list for each argument -> points, and what is recorded of one."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from parallel_train.core.plain import plain
from parallel_train.core.task import Json
from parallel_train.errors import UsageError

Point = tuple[Any, ...]


def points(given: Iterable[Iterable[Any]]) -> list[Point]:
    """Every combination of one value of each list, the last list fastest. Raises UsageError."""
    lists: list[Any] = [given] if isinstance(given, str) else list(given)
    for values in lists:
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise UsageError(f"the grid needs a list for each argument, such as [[16, 64], [1, 2]], not {values!r}")
    found = list(itertools.product(*map(list, lists))) if lists else []
    if not found:
        raise UsageError("the grid has no point: it needs a list for each argument, and every list a value")
    return found


def params(point: Point) -> dict[str, Json]:
    """The arguments by their places: arg0, arg1, … Raises UsageError for what JSON can't hold."""
    return {f"arg{place}": _recorded(value, place) for place, value in enumerate(point)}


def numbers(wanted: Sequence[Mapping[str, Json]], before: Mapping[int, Mapping[str, Json]]) -> list[int]:
    """A number for each of `wanted`: one that was there `before` keeps its own, the others take what is free."""
    known: dict[str, list[int]] = {}
    for number in sorted(before, reverse=True):
        known.setdefault(_text(before[number]), []).append(number)
    kept = [own.pop() if (own := known.get(_text(params))) else None for params in wanted]
    taken = set(kept)
    free = (number for number in itertools.count() if number not in taken)
    return [next(free) if number is None else number for number in kept]


def _text(params: Mapping[str, Json]) -> str:
    """As it is written: a list that was read is the tuple that was given, and NaN is NaN."""
    return json.dumps(params, sort_keys=True)


def _recorded(value: Any, place: int) -> Json:
    try:
        return plain(value)
    except TypeError as error:
        raise UsageError(
            f"argument {place}: {value!r} can't be written down for other processes ({error}): give a number, a text "
            "or a list, such as its name, and look it up in your function"
        ) from None
