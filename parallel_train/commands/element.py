"""worker --array: a worker in an element of an array, whose slots and time a cluster grants."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TextIO

from parallel_train.cluster import slurm
from parallel_train.core import contact, lent
from parallel_train.core.facts import Array
from parallel_train.core.situation import Situation, Wishes
from parallel_train.errors import ClusterError, UsageError
from parallel_train.procs.grant import grant_of
from parallel_train.report import workers as sentences
from parallel_train.store.queue import DiskQueue
from parallel_train.store.submissions import Submission


def tasks(array: Array) -> frozenset[str]:
    """What this element is for. Raises UsageError where nobody says which it is."""
    if not array.is_each:
        return frozenset(array.selection)
    grant = grant_of(os.environ)
    if grant is None or grant.element is None or grant.element >= array.size:
        raise UsageError(f"--array {array.number}: each of its elements runs one task, and this is none of them")
    return frozenset([array.selection[grant.element]])


def sources(array: Array, newest: Mapping[str, Submission]) -> set[str]:
    """Whose later submissions it follows; an element for one task follows none, and nothing joins it."""
    chosen = set() if array.is_each else set(array.selection)
    return {source for source, found in newest.items() if any(task.id in chosen for task in found.tasks)}


def wishes(usual: Wishes, array: Array, disk: DiskQueue, lease: float) -> Wishes:
    """As `usual`, for slots that are lent: it leaves them as soon as they are of no use here."""
    is_restarted = os.environ.get("SLURM_RESTART_COUNT", "0") != "0"  # whoever was here before may have died
    return replace(
        usual,
        selection=usual.selection & tasks(array) if array.is_each else usual.selection,
        everything=False,
        ignore_failures=array.ignore_failures,
        options=array.options,
        is_lent=True,
        is_alone=array.by not in {owner.worker for owner in disk.others()},
        patient_until=time.monotonic() + lease + 2 * contact.interval(lease) if is_restarted else 0.0,
    )


def leave(s: Situation, out: TextIO) -> int:
    """Ask for another turn where there was not enough time. Slurm may end this process meanwhile.

    The exit code is for Slurm: 0 unless work is left that nobody comes back for. How tasks ended is told by the run.
    """
    grant = grant_of(os.environ)
    if grant is None or not lent.is_cut_short(s):
        return 0
    if not s.limit.has_served:
        print(sentences.no_time_at_all(), file=out)
        return 1
    print(sentences.another_turn(grant.job), file=out, flush=True)
    try:
        slurm.requeue(grant.job)
    except (ClusterError, OSError) as error:
        print(sentences.no_other_turn(grant.job, str(error)), file=out)
        return 1
    return 0
