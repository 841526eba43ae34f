"""What a folder lies on: which kind of disk, and how much room is left there."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from parallel_train.core.machine import Disk

TABLE = "/proc/self/mountinfo"


@dataclass(frozen=True, slots=True)
class Mount:
    point: str
    kind: str


def disk_of(folder: str) -> Disk:
    """Raises OSError where the folder can't be looked at."""
    with open(TABLE, encoding="utf-8", errors="surrogateescape") as file:
        mount = mount_of(os.path.realpath(folder), parse(file.read()))
    room = os.statvfs(folder)
    return Disk(
        folder=folder,
        mount=mount.point,
        kind=mount.kind,
        free_mib=room.f_bavail * room.f_frsize >> 20,
        free_files=room.f_favail if room.f_files else None,
        is_writable=os.access(folder, os.W_OK | os.X_OK),
    )


def parse(mountinfo: str) -> list[Mount]:
    """The mounts in /proc/self/mountinfo, in its order: a later one covers an earlier one at the same place."""
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        if len(before.split()) > 4 and after:
            found.append(Mount(_unescaped(before.split()[4]), after.split()[0]))
    return found


def mount_of(path: str, mounts: list[Mount]) -> Mount:
    """The mount that `path`, without links in it, lies in."""
    best = Mount("/", "unknown")
    for mount in mounts:
        is_above = path == mount.point or path.startswith(mount.point.rstrip("/") + "/")
        if is_above and len(mount.point) >= len(best.point):
            best = mount
    return best


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
