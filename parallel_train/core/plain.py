"""What a user's function is given or gives back, as a value of JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from parallel_train.core.task import Json


def plain(value: Any, *, takes_nan: bool = True) -> Json:
    """`value` as JSON has it: a tuple is a list, a scalar of numpy or torch its number.

    Raises TypeError for what JSON lacks; of NaN, where it is not taken, too.
    """
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return _scalar(value, kind, takes_nan=takes_nan)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {str.__str__(key): plain(inside, takes_nan=takes_nan) for key, inside in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inside, takes_nan=takes_nan) for inside in value]
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        found = value.item()
        if type(found) is not type(value):  # numpy has a longdouble that stays one
            return plain(found, takes_nan=takes_nan)
    raise TypeError(f"{_short(value)} can't be written as JSON")


def _scalar(value: Any, kind: type[str | int | float], *, takes_nan: bool) -> Json:
    """`value` as a plain one where its class is one of its own, such as an Enum's, whose str() is its name."""
    if kind is float and not takes_nan and math.isnan(value):
        raise TypeError("nan is no value: it does not equal itself")
    return str.__str__(value) if kind is str else kind(value)


def _short(value: object) -> str:
    said = repr(value)
    return said if len(said) <= 60 else f"{said[:60]}…"
