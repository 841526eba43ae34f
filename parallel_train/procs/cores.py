"""How many cores this process may use: by affinity, by the quota of its cgroups, and by what Slurm granted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from parallel_train.procs import cgroups


def usable_cores(root: str = "/") -> int:
    """How many cores can be busy at once, at least 1. `root` is where `proc` and `sys` are mounted."""
    quotas = [quota for folder in cgroups.folders("cpu", root) for quota in _quota(folder)]
    return max(1, int(min([_allowed(), *quotas, *_granted()])))


def thread_cap(slots: int) -> int:
    """How many threads a task gets where `slots` tasks share the cores."""
    return max(1, usable_cores() // slots)


def _allowed() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _granted() -> Iterator[int]:
    """The cores of an allocation on this machine: not every site holds processes to them."""
    value = os.environ.get("SLURM_CPUS_ON_NODE", "")
    if value.isdecimal() and "SLURM_JOB_ID" in os.environ:
        yield int(value)


def _quota(folder: str) -> Iterator[float]:
    """The cores that one cgroup allows; nothing where it sets no limit."""
    new = cgroups.read(os.path.join(folder, "cpu.max")).split()
    old = [cgroups.read(os.path.join(folder, f"cpu.cfs_{name}_us")).strip() for name in ("quota", "period")]
    for pair in (new, old):
        with suppress(ValueError, ZeroDivisionError):
            quota, period = (int(number) for number in pair)
            if quota > 0:
                yield quota / period
