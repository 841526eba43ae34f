"""Slot locks: kernel locks on local files, held by a shim and by its task, free when both are dead.

Standard library only, Python 3.8 and newer.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import stat
import time
from typing import Any

from parallel_train.store import records

_INHERITED_FROM = 101  # above the descriptors that scripts use by number
_PATIENCE = 0.05  # seconds: another worker's look at a lock takes it for a moment


def folder() -> str:
    """This user's folder of slot locks. Raises PermissionError where it is not ours alone."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(place(), 0o700)
    check()
    return place()


def place() -> str:
    return f"/tmp/parallel-train-{os.getuid()}"  # noqa: S108  one place for all queues, checked below


def check() -> bool:
    """Whether the folder is there. Raises PermissionError where it is not ours alone."""
    try:
        found = os.lstat(place())
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{place()} is not a folder of yours: whoever made it, or root, must move it away")
    if found.st_mode & 0o022:
        raise PermissionError(f"others can write to {place()}: chmod 700 {place()}")
    return True


def holders() -> dict[str, dict[str, Any]]:
    """Who is written into the locks, by their names; it may have died since. Looks only."""
    found = {}
    for name in _signed() if check() else ():
        try:
            descriptor = os.open(os.path.join(place(), name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # gone since, or nothing of ours
        try:
            who = holder(descriptor)
        finally:
            os.close(descriptor)
        if who:
            found[name] = who
    return found


def _signed() -> list[str]:
    """Those that hold anything: of the others there may be thousands."""
    with os.scandir(place()) as entries:
        names = []
        for entry in entries:
            with contextlib.suppress(OSError):  # gone since
                if entry.stat(follow_symlinks=False).st_size:
                    names.append(entry.name)
        return names


def take(name: str) -> int | None:
    """A descriptor that holds the lock `name`, or None where somebody else does."""
    path = os.path.join(folder(), name)
    until = time.monotonic() + _PATIENCE
    while True:
        descriptor = records.open_own(path, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            if time.monotonic() >= until:
                return None
            time.sleep(0.002)
            continue
        if _is_at(descriptor, path):
            high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _inherited_from())
            os.close(descriptor)
            return high
        os.close(descriptor)  # somebody cleaned /tmp in between: that file is nobody's lock any more


def _inherited_from() -> int:
    """Above the descriptors that scripts use by number, as far as this process may have so many."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _INHERITED_FROM if limit == resource.RLIM_INFINITY else min(_INHERITED_FROM, limit // 2)


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def is_held(name: str) -> bool:
    """Whether somebody holds the lock `name` now."""
    path = os.path.join(folder(), name)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def holder(descriptor: int) -> dict[str, Any]:
    """Who wrote itself into the lock and did not take its name out again; empty where nobody."""
    try:
        found = json.loads(os.pread(descriptor, 65536, 0) or b"{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def queue_of_holder(name: str) -> str:
    """The queue whose attempt holds the lock `name` now, as it wrote there; empty where nobody says so."""
    return str(holder_of(name).get("queue", ""))


def holder_of(name: str) -> dict[str, Any]:
    """Who wrote itself into the lock `name`, as `holder` says."""
    try:
        descriptor = os.open(os.path.join(folder(), name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return {}
    try:
        return holder(descriptor)
    finally:
        os.close(descriptor)


def sign(descriptor: int, who: dict[str, Any]) -> None:
    """Write into the lock who holds it; an empty `who` takes the name out."""
    os.ftruncate(descriptor, 0)
    if who:
        os.pwrite(descriptor, json.dumps(who).encode(), 0)


def touch(descriptor: int) -> None:
    """Keep cleaners of /tmp off a lock that is held."""
    os.utime(descriptor)
