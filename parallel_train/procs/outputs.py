"""What stands where a task promised its output. Standard library only, Python 3.8 and newer."""

from __future__ import annotations

import glob
import os
from typing import Any, Dict, List, Optional


def state(output: Optional[str], done_when: Optional[Dict[str, Any]]) -> str:
    """none (nothing was promised), there, missing, empty, or not done (`done_when` does not hold)."""
    if output:
        if not os.path.lexists(output):
            return "missing"
        if not (os.listdir(output) if os.path.isdir(output) else os.path.getsize(output)):
            return "empty"
    if done_when and not is_done(done_when["files"], done_when["contains"]):
        return "not done"
    return "there" if output else "none"


def found_state(output: Optional[str], done_when: Optional[Dict[str, Any]]) -> str:
    """The same for an output that no attempt of ours made: where there is a `done_when`, it alone decides."""
    if done_when:
        return "there" if is_done(done_when["files"], done_when["contains"]) else "not done"
    return state(output, None)


def is_done(patterns: List[str], contains: Optional[str]) -> bool:
    """Whether the newest file of one of `patterns` is there (and holds `contains`)."""
    for pattern in patterns:
        found = sorted(glob.glob(pattern), key=os.path.getmtime)
        if not found:
            continue
        if contains is None:
            return True
        with open(found[-1], "rb") as file:
            if contains.encode() in file.read():
                return True
    return False
