"""Who may not work here together: on a disk where two hosts can't be kept off one task, only one works at a time."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from parallel_train.core import contact
from parallel_train.core.machine import Disk
from parallel_train.errors import UsageError
from parallel_train.procs import mounts
from parallel_train.report import workers as sentences
from parallel_train.store.queue import DiskQueue

_BEATS = contact.READS_PER_GAP  # so many that do not come are a gap
_LOOKS_PER_BEAT = 5


def refuse_other_hosts(disk: DiskQueue, project: Path) -> None:
    """Raises UsageError where a worker or an attempt of another host lives and the disk is for one host.

    One that does not beat for a few beats is dead, or as good as that: its attempts are taken over after their lease,
    as everywhere, and the rest is free.
    """
    found = mounts.disk_of(str(disk.folder if disk.folder.is_dir() else project))
    if not found.is_for_one_host:
        return
    strangers = disk.strangers()
    if strangers:
        beat = contact.interval(max(stranger.lease for stranger in strangers.values()))
        print(sentences.looks_for_a_sign(strangers, _BEATS * beat), file=sys.stderr, flush=True)
        _watch(disk, found, beat)
    disk.silent = frozenset(strangers)


def _watch(disk: DiskQueue, found: Disk, beat: float) -> None:
    before = disk.strangers()
    until = time.monotonic() + _BEATS * beat
    while before and time.monotonic() < until:
        time.sleep(beat / _LOOKS_PER_BEAT)
        now = disk.strangers()
        for name, stranger in now.items():
            if before.get(name) != stranger:
                raise UsageError(sentences.for_one_host(found, stranger.owner.host, name))
        before = now
