"""How many files, processes and how much memory this process and its children may use."""

from __future__ import annotations

import os
import resource

from parallel_train.core.machine import Limits
from parallel_train.procs import cgroups

_NO_LIMIT = 1 << 60  # bytes; what version 1 of the cgroups says where there is none lies above


def limits(root: str = "/") -> Limits:
    """`root` is where `proc` and `sys` are mounted."""
    rooms = [_pids_left(folder) for folder in cgroups.folders("pids", root)]
    rooms.append(_user_processes_left())
    sizes = [
        cgroups.number(folder, "memory.max", "memory.limit_in_bytes") for folder in cgroups.folders("memory", root)
    ]
    told = [size for size in sizes if size is not None and size < _NO_LIMIT]
    return Limits(
        open_files=_soft(resource.RLIMIT_NOFILE),
        processes=min((room for room in rooms if room is not None), default=None),
        memory_mib=min(told) >> 20 if told else None,
        installed_mib=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20,
    )


def _soft(which: int) -> int | None:
    soft, _ = resource.getrlimit(which)
    return None if soft == resource.RLIM_INFINITY else soft


def _pids_left(folder: str) -> int | None:
    most = cgroups.number(folder, "pids.max")
    return None if most is None else max(0, most - (cgroups.number(folder, "pids.current") or 0))


def _user_processes_left() -> int | None:
    """What RLIMIT_NPROC leaves; the kernel counts every thread of the user's, and none of root's."""
    most = _soft(resource.RLIMIT_NPROC)
    if most is None or os.getuid() == 0:
        return None
    threads = 0
    for name in os.listdir("/proc"):
        path = f"/proc/{name}/task"
        try:
            if name.isdecimal() and os.stat(f"/proc/{name}").st_uid == os.getuid():
                threads += os.stat(path).st_nlink - 2
        except OSError:
            continue  # it has ended
    return max(0, most - threads)
