"""What a user's function is given or gives back, as a value of JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from parallel_train.core.task import Json


def plain(value: Any) -> Json:
    """`value` for JSON; a scalar of numpy or torch is its number, a tuple a list.

    Raises TypeError, with the reason, for what JSON can't hold.
    """
    if value is None or type(value) in {str, int, float, bool}:
        return value  # type: ignore[no-any-return]
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("its keys are no texts")
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, str | int | float):  # of a class of its own, such as numpy.float64
        return next(kind(value) for kind in (str, int, float) if isinstance(value, kind))
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return plain(value.item())
    raise TypeError(f"JSON holds no {type(value).__name__}")
