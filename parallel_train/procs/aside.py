"""Put an old output out of the way. Nothing is ever deleted.

Two renames: into `aside/<task>.<round>.<attempt>.part/`, then that folder to `aside/<task>.<round>`. Only the
last name means that it was done. Standard library only, Python 3.8 and newer.
"""

from __future__ import annotations

import os

from parallel_train.store import records


def put_aside(queue: str, name: str, attempt: int, output: str) -> str:
    """Move `output` into `aside/<name>/` (`name` is task.round); that folder, empty where nothing was there.

    A later attempt finishes what an earlier one began: a filled part is renamed, an empty one removed. Once the
    folder is there nothing is moved any more: what then lies in the output was made in that round.
    """
    base = _base(queue, output)
    final = os.path.join(base, name)
    if os.path.lexists(final):
        return final
    for part in _parts(base, name):
        if os.listdir(part):
            os.rename(part, final)
            records.sync_folder(base)
            return final
        os.rmdir(part)
    os.makedirs(base, mode=0o700, exist_ok=True)
    if not os.path.lexists(output):
        os.mkdir(final, 0o700)
        records.sync_folder(base)
        return final
    part = os.path.join(base, f"{name}.{attempt}.part")
    os.mkdir(part, 0o700)
    os.rename(output, os.path.join(part, os.path.basename(output)))
    records.sync_folder(part)
    os.rename(part, final)
    records.sync_folder(base)
    return final


def _base(queue: str, output: str) -> str:
    """The queue's folder for it, or one beside the output where that is on another disk."""
    inside = os.path.join(queue, "aside")
    place = os.path.dirname(output)
    if not os.path.isdir(place) or os.stat(place).st_dev == os.stat(queue).st_dev:
        return inside
    return os.path.join(place, ".parallel-train-aside")


def _parts(base: str, name: str) -> list[str]:
    try:
        names = os.listdir(base)
    except FileNotFoundError:
        return []
    return [os.path.join(base, n) for n in sorted(names) if n.startswith(name + ".") and n.endswith(".part")]
