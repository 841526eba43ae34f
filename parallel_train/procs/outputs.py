"""What stands where a task promised its output. Standard library only, Python 3.8 and newer."""

from __future__ import annotations

import errno
import glob
import os
import stat
import time
from typing import Any

from parallel_train.store import records

# All else is trouble of the disk or of this machine (no free descriptor, no memory), which does not say.
_SAYS_NO = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG)


def state(output: str | None, done_when: dict[str, Any] | None) -> str:
    """None (nothing was promised), there, missing, empty, or not done (`done_when` does not hold).

    Raises OSError where the disk does not say: that is no result, and no want of one.
    """
    if output:
        if not _is_there(output):
            return "missing"
        if not _holds_anything(output):
            return "empty"
    if done_when and not is_done(done_when["files"], done_when["contains"]):
        return "not done"
    return "there" if output else "none"


def state_in_the_end(order: dict[str, Any]) -> str:
    """What an attempt leaves. A disk that does not say is asked again for a lease: by then others have taken over."""
    delay, until = 0.1, time.monotonic() + order["lease"]
    while True:
        try:
            return state(order["output"], order["done_when"])
        except OSError:
            if time.monotonic() > until:
                return "missing"
            time.sleep(delay)
            delay = min(2 * delay, 5.0)


def _is_there(output: str) -> bool:
    try:
        return records.exists(output)
    except OSError as error:
        if error.errno not in _SAYS_NO:
            raise
        return False


def _holds_anything(output: str) -> bool:
    """What can't be looked into (a link to nowhere, a folder closed to us) is no result."""
    try:
        status = os.stat(output)
        return bool(os.listdir(output) if stat.S_ISDIR(status.st_mode) else status.st_size)
    except OSError as error:
        if error.errno not in _SAYS_NO:
            raise
        return False


def found_state(output: str | None, done_when: dict[str, Any] | None) -> str:
    """The same for an output that no attempt of ours made: where there is a `done_when`, it alone decides."""
    if done_when:
        return "there" if is_done(done_when["files"], done_when["contains"]) else "not done"
    return state(output, None)


def is_done(patterns: list[str], contains: str | None) -> bool:
    """Whether the newest file of one of `patterns` is there (and holds `contains`). Raises OSError as `state` does."""
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
        except OSError as error:
            if error.errno not in (*_SAYS_NO, errno.EISDIR):
                raise
            continue  # gone meanwhile, a folder, or not to be read: it does not say that it is done
    return False
