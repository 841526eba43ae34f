"""Put an old output out of the way. Nothing is ever deleted.

Two renames: into `aside/<task>.<round>.<attempt>.part/`, then that folder to `aside/<task>.<round>`. Only the
last name means that it was done. Standard library only, Python 3.8 and newer.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Callable

from parallel_train.store import records


def put_aside(queue: str, name: str, attempt: int, output: str, *, check: Callable[[], object] = lambda: None) -> str:
    """Move `output` into `aside/<name>/` (`name` is task.round); that folder.

    `check` is asked last of all, and raises OSError where what stands there by now may be somebody else's.

    A later attempt finishes what an earlier one began: a filled part is renamed, an empty one removed. Where
    nothing was there the folder is empty: what stands at `output` from then on is the new round's.
    """
    for base in _bases(queue, output):
        final = os.path.join(base, name)
        if records.exists(final):
            return final
        for part in _parts(base, name):
            if os.listdir(part):
                return _finish(part, final)
            os.rmdir(part)
    for base in _bases(queue, output):
        with contextlib.suppress(FileExistsError):
            records.make_folder(base, queue)
        part = os.path.join(base, f"{name}.{attempt}.part")
        records.make_folder(part, queue)
        if _move(output, part, check):
            return _finish(part, os.path.join(base, name))
        os.rmdir(part)
    raise OSError(errno.EXDEV, "the old output can't be moved", output)


def place_of(queue: str, name: str, output: str) -> str:
    """The folder that `put_aside` has made; empty where it was not done."""
    folders = [os.path.join(base, name) for base in _bases(queue, output)]
    return next((folder for folder in folders if os.path.lexists(folder)), "")


def _move(output: str, part: str, check: Callable[[], object]) -> bool:
    """Move `output`, if it is there, into `part`; False where that is on another disk or mount."""
    if not records.exists(output):
        return True
    check()
    try:
        os.rename(output, os.path.join(part, os.path.basename(output)))
    except OSError as error:
        if error.errno == errno.EXDEV:
            return False
        raise
    records.sync_folder(part)
    return True


def _finish(part: str, final: str) -> str:
    os.rename(part, final)
    records.sync_folder(os.path.dirname(final))
    return final


def _bases(queue: str, output: str) -> list[str]:
    """Where old outputs go: the queue's folder for it, else one beside the output, by a name of this queue's own."""
    return [os.path.join(queue, "aside"), os.path.join(os.path.dirname(output), beside(queue))]


def beside(queue: str) -> str:
    """The name of this queue's folders beside outputs. Raises OSError as `queue_id` does."""
    return ".parallel-train-aside-" + queue_id(queue)


def queue_id(queue: str) -> str:
    """What tells this queue from every other, also from a later one in its place.

    Raises OSError where it can't be read or is damaged.
    """
    path = os.path.join(queue, "id")
    with open(path, "rb") as file:
        mark = file.read(100).strip()
    if not mark or mark.strip(b"0123456789abcdef"):
        raise OSError(errno.EINVAL, "it is damaged: hex digits stood there", path)
    return mark.decode()


def _parts(base: str, name: str) -> list[str]:
    try:
        names = os.listdir(base)
    except FileNotFoundError:
        return []
    return [os.path.join(base, n) for n in sorted(names) if n.startswith(name + ".") and n.endswith(".part")]
