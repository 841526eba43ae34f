"""Copies of what a worker knows, so that it can be held against its records, or gone back to. Records are shared."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import fields, replace
from typing import Any

from parallel_train.core.limit import Limit
from parallel_train.core.situation import Situation
from parallel_train.core.slots import Pool, Slot
from parallel_train.core.state import Line

_LINE = [f.name for f in fields(Line)]


def situation_like(s: Situation) -> Situation:
    other = copy.copy(s)
    for field in fields(Situation):
        setattr(other, field.name, _like(getattr(s, field.name)))
    return other


def _like(value: Any) -> Any:  # noqa: PLR0911  one case per kind
    match value:
        case Counter():
            return value.copy()
        case dict():
            return {key: _like(inner) for key, inner in value.items()}
        case set() | list():
            return value.copy()
        case Line():
            return Line(*(getattr(value, name) for name in _LINE))
        case Pool():
            return Pool(_like(value.slots), _like(value.extra))
        case Limit():
            return replace(value, took=dict(value.took))
        case Slot():
            return replace(value, suspects=dict(value.suspects))
        case _:
            return value
