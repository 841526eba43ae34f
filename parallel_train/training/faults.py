"""Everything that is wrong with several things, at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from parallel_train.errors import UsageError


def all_of(*makers: Callable[[], Any]) -> list[Any]:
    """What each of them gives. Raises one UsageError for all that they raise."""
    found, faults = [], []
    for make in makers:
        try:
            found.append(make())
        except UsageError as error:
            faults.append(str(error))
    if faults:
        raise UsageError("\n".join(faults))
    return found
