"""What stands where a task promised its output. Standard library only, Python 3.8 and newer."""

from __future__ import annotations

import glob
import os
from typing import Any


def state(output: str | None, done_when: dict[str, Any] | None) -> str:
    """None (nothing was promised), there, missing, empty, or not done (`done_when` does not hold)."""
    if output:
        if not os.path.lexists(output):
            return "missing"
        if not _holds_anything(output):
            return "empty"
    if done_when and not is_done(done_when["files"], done_when["contains"]):
        return "not done"
    return "there" if output else "none"


def _holds_anything(output: str) -> bool:
    """What can't be looked into (a link to nowhere, a folder closed to us) is no result."""
    try:
        return bool(os.listdir(output) if os.path.isdir(output) else os.path.getsize(output))
    except OSError:
        return False


def found_state(output: str | None, done_when: dict[str, Any] | None) -> str:
    """The same for an output that no attempt of ours made: where there is a `done_when`, it alone decides."""
    if done_when:
        return "there" if is_done(done_when["files"], done_when["contains"]) else "not done"
    return state(output, None)


def is_done(patterns: list[str], contains: str | None) -> bool:
    """Whether the newest file of one of `patterns` is there (and holds `contains`)."""
    for pattern in patterns:
        try:
            found = sorted(glob.glob(pattern), key=os.path.getmtime)
            if not found:
                continue
            if contains is None:
                return True
            with open(found[-1], "rb") as file:
                if contains.encode() in file.read():
                    return True
        except OSError:
            continue  # gone meanwhile, a folder, or not to be read: it does not say that it is done
    return False
