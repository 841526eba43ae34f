"""The values of one param: listed, or a range that is counted and never laid out."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from parallel_train.core.plain import plain
from parallel_train.core.task import Json

_DIGITS = 12  # of a number between the ends: 0.001, not 0.0010000000000000002
_NEAREST = 1e-11  # what they can still tell apart
_FEW_DIGITS = 6  # of one between even factors, which is never a round one: 0.000562341
_NEAREST_OF_FEW = 1e-5
_HALF = Fraction(1, 2)


@dataclass(frozen=True, slots=True, eq=False)
class Listed:
    """Values in the order in which they are listed."""

    values: tuple[Json, ...]
    _places: dict[tuple[str, Json], int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for position, value in enumerate(self.values):
            self._places.setdefault(_known_as(value), position)

    def __len__(self) -> int:
        return len(self.values)

    def value(self, position: int) -> Json:
        return self.values[position]

    def position(self, value: Json) -> int | None:
        """Where `value` stands first, or None."""
        try:
            return self._places.get(_known_as(value_of(value)))
        except TypeError:
            return None


def _known_as(value: Json) -> tuple[str, Json]:
    # Python holds True and 1 for equal; a search does not. 1 and 1.0 are the same value.
    if value is None or isinstance(value, str | bool):
        return type(value).__name__, value
    if isinstance(value, int | float):
        return "number", value
    return "json", json.dumps(value, sort_keys=True)


@dataclass(frozen=True, slots=True)
class Range:
    """`count` numbers from `first` to `last`, both included: evenly spaced, or by even factors where `is_log`.

    Between whole ends every number is whole (rounded); others have so many digits. Made by `span` or `stepped`.
    """

    first: int | float
    last: int | float
    count: int
    is_log: bool = False
    digits: int = _DIGITS

    def __len__(self) -> int:
        return self.count

    @property
    def is_whole(self) -> bool:
        return isinstance(self.first, int) and isinstance(self.last, int)

    def value(self, position: int) -> int | float:
        if position == 0:
            return self.first
        if position == self.count - 1:
            return self.last
        between = self._between(position)
        return math.floor(between + _HALF) if self.is_whole else float(f"{float(between):.{self.digits}g}")

    def _between(self, position: int) -> Fraction:
        part = Fraction(position, self.count - 1)
        if not self.is_log:
            return _exact(self.first) + (_exact(self.last) - _exact(self.first)) * part
        low, high = math.log(self.first), math.log(self.last)
        # Logarithms are not the same to the last digit everywhere.
        return _exact(float(f"{math.exp(low + (high - low) * float(part)):.{_DIGITS}g}"))

    def position(self, value: Json) -> int | None:
        """Which of its numbers `value` is, or None."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.first <= value <= self.last:
            return None
        if self.is_log:
            low, high = math.log(self.first), math.log(self.last)
            near = round((math.log(value) - low) / (high - low) * (self.count - 1))
        else:
            wide = _exact(self.last) - _exact(self.first)
            near = round((_exact(value) - _exact(self.first)) / wide * (self.count - 1))
        # Rounding may have moved it by one.
        tried = range(max(0, near - 1), min(self.count, near + 2))
        return next((position for position in tried if self.value(position) == value), None)


Axis = Listed | Range


def _exact(number: float) -> Fraction:
    """As it is written: 0.1 is a tenth."""
    return Fraction(number if isinstance(number, int) else repr(float(number)))  # numpy's says that it is numpy's


def span(first: float, last: float, count: int, *, is_log: bool = False) -> Range:
    """`count` numbers from `first` to `last`. Raises ValueError(what, repair) where they can't be."""
    _check_ends(first, last)
    if count < 2:
        raise ValueError("a range has at least 2 values", "write a list: [0.1]")
    if is_log and first <= 0:
        raise ValueError(f"'from' ({first}) must be above 0 for even factors", "begin above 0, or take 'log' away")
    if not (isinstance(first, int) and isinstance(last, int)):
        first, last = float(first), float(last)
    made = Range(first, last, count, is_log)
    if is_log and _factor(made) >= _NEAREST_OF_FEW:
        made = replace(made, digits=_FEW_DIGITS)
    if not _are_apart(made):
        repair = "write fewer, or ends with a point: 1.0" if made.is_whole else "write fewer"
        raise ValueError(f"{count:,} values from {first} to {last} can't be told apart", repair)
    return made


def stepped(first: float, last: float, step: float) -> Range:
    """Numbers from `first` in steps of `step`, up to `last` where a step hits it. Raises ValueError as `span` does."""
    _check_ends(first, last)
    if not step > 0:
        raise ValueError(f"'step' ({step}) must be above 0", "turn 'from' and 'to' round for a step down")
    steps = math.floor((_exact(last) - _exact(first)) / _exact(step))
    if steps == 0:
        raise ValueError(f"'step' ({step}) leads beyond 'to' ({last}) at once", "write a smaller one")
    end = _exact(first) + steps * _exact(step)
    is_whole = isinstance(first, int) and isinstance(step, int)
    return span(first if is_whole else float(first), int(end) if is_whole else float(end), steps + 1)


def _check_ends(first: float, last: float) -> None:
    if not first < last:
        raise ValueError(f"'from' ({first}) must be below 'to' ({last})", "turn them round")


def _are_apart(made: Range) -> bool:
    gaps = made.count - 1
    if not made.is_log:
        wide, far = _exact(made.last) - _exact(made.first), max(abs(made.first), abs(made.last))
        return wide >= gaps if made.is_whole else wide / gaps >= far * Fraction(_NEAREST)
    factor = _factor(made)
    if factor < _NEAREST or not made.is_whole:
        return factor >= _NEAREST
    # The gaps grow: once they are above 1, no two numbers fall together. (Rounding may have added a half.)
    position, number = 0, made.first
    while position < gaps and (number - 0.5) * factor < 1:
        position, before, number = position + 1, number, made.value(position + 1)
        if number == before:
            return False
    return True


def _factor(made: Range) -> float:
    """By which part each number is above the one before."""
    return math.expm1((math.log(made.last) - math.log(made.first)) / (made.count - 1))


def value_of(value: object) -> Json:
    """`value` as one of JSON that a point can hold. Raises TypeError."""
    return plain(value, takes_nan=False)


def listed(values: Sequence[object]) -> Axis:
    """The axis of a list; a Python `range` is not laid out. Raises TypeError as `value_of` does."""
    if isinstance(values, range) and values.step > 0 and len(values) > 1:
        return Range(values[0], values[-1], len(values))
    return Listed(tuple(value_of(value) for value in values))
