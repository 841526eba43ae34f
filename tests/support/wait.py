"""Wait for a fact, with a deadline: no test sleeps for as long as it hopes something takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def wait_until(fact: Callable[[], Found], what: str, seconds: float = 60) -> Found:
    """What `fact` says once that is true. Raises AssertionError, naming `what`, after `seconds`."""
    until = time.monotonic() + seconds
    while True:
        found = fact()
        if found:
            return found
        if time.monotonic() > until:
            raise AssertionError(f"after {seconds} s still not: {what}")
        time.sleep(0.005)
