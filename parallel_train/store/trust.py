"""Whose word a queue is: the user's alone, unless it was chosen to share it with a group.

What stands in a queue decides which commands run, and as whom. So nobody else may be able to write there, and nobody
else may have chosen the folder, by a link or by making it first.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from parallel_train.errors import UsageError
from parallel_train.store import records

_SHARED = 0o2770  # the mode of folders that `share` has opened to a group


def check(folder: Path, *, shared: bool) -> None:
    """Raises UsageError where others have a say in the queue `folder`, if there is one, and that was not chosen."""
    if not shared and (found := next(_others(folder), None)):
        fact, fix = found
        raise UsageError(f"{fact}, and so could run commands as you: {fix}, or trust them with --shared-group")


def doubt(folder: Path) -> str:
    """What somebody who only looks at the queue is told about that; empty for one that a group shares by choice."""
    with suppress(OSError):
        if stat.S_IMODE(folder.stat().st_mode) == _SHARED:
            return ""
    found = next(_others(folder), None)
    return f"{found[0]}: what it says may be theirs" if found else ""


def _others(folder: Path) -> Iterator[tuple[str, str]]:
    """For the queue and its folders: who else has a say there, and what to do about it."""
    yield from _of(folder, folder)
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir():
                yield from _of(Path(entry.path), folder)


def _of(place: Path, folder: Path) -> Iterator[tuple[str, str]]:
    try:
        entry, found = place.lstat(), place.stat()
    except FileNotFoundError:
        return
    for status, what in ((entry, f"the link {place}"), (found, str(place))):
        if status.st_uid not in {0, os.geteuid()} and (status is found or stat.S_ISLNK(status.st_mode)):
            yield f"{what} belongs to {_name(status.st_uid)}, who decides what is in it", "work in a folder of your own"
    if found.st_mode & 0o022:
        yield f"others can write to {place} (mode {stat.S_IMODE(found.st_mode):04o})", f"chmod -R go-w {folder}"


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def share(folder: Path) -> None:
    """Let the group of the project's folder read and write our queue; one that is shared already stays as it is.

    Raises UsageError where we are not in that group.
    """
    found, group = folder.stat(), folder.parent.stat().st_gid
    if found.st_mode & stat.S_IWGRP or found.st_uid != os.geteuid():
        return
    try:
        os.chown(folder, -1, group)
    except PermissionError as error:
        raise UsageError(
            f"--shared-group shares the queue with the group of {folder.parent}, and you are not in it: "
            f"chgrp one of yours to {folder.parent}"
        ) from error
    folder.chmod(_SHARED)
    for path in (each for kind in folder.iterdir() for each in (kind, *_inside(kind))):
        with suppress(OSError):  # a link, a pipe, or gone meanwhile
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            records.belong(descriptor, str(folder))
            os.close(descriptor)


def share_folder(folder: Path, queue: Path) -> None:
    """Let the group that shares the queue write in a folder of ours beside it, such as one that was there before."""
    with suppress(OSError):  # a link, which is the user's own business, or somebody else's folder
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            if not found.st_mode & stat.S_IWGRP:
                os.fchown(descriptor, -1, queue.stat().st_gid)
                os.fchmod(descriptor, stat.S_IMODE(found.st_mode) | 0o2070)
        finally:
            os.close(descriptor)


def _inside(kind: Path) -> list[Path]:
    return list(kind.iterdir()) if kind.is_dir() and not kind.is_symlink() else []
