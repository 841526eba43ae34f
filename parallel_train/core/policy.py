"""The numbers that a choice hangs on, each with its reason."""

from __future__ import annotations

import hashlib

LOST_LIMIT = 5  # a task that takes its shim down each time must not run for ever
QUICK_FAILURE = 10.0  # seconds: a failure within them may be the slot's
SICK_AFTER = 3  # so many different tasks
BACKOFF_FIRST = 2.0  # seconds before the first repetition
BACKOFF_MOST = 300.0
SLOT_PROBE = 1.0  # seconds until a slot that somebody else holds is tried again
BEHIND_PAUSE = 0.05  # seconds without launches after a shim knew more than we did
NOT_STARTED_MOST = 60.0  # seconds between two attempts that the machine did not start
TROUBLE_PAUSE = 5.0  # seconds without launches after the machine could not start one (no processes, disk full)
PUT_OFF = 15.0  # seconds that an element which ran before may wait for its next turn; Slurm itself takes 120
POLL = 1.0  # seconds between two looks at what other workers wrote
POLL_MOST = 5.0  # the same where many workers share a disk, which lists its folders for each
LOOKERS = 4  # workers in allocations that may look each POLL; the more there are, the longer each waits
STOP_BEFORE = 40.0  # seconds before an allocation ends: INT, TERM and KILL are 10 apart, and the ends take their time
TIME_UP_SAID = 3  # allocations in a row that end before a task does: it may never end so
SETTLING = 60.0  # seconds of an allocation that are spent before the first task starts, at most
READY_LOOKED_AT = 1000  # ready tasks that are looked at for one that can end in time
LOOK_SHARE = 20  # of the time, somebody who only looks spends at most one part in so many on looking
SHARED_AT_ONCE = 1024  # equally urgent tasks among which workers choose theirs, at one time
ROUNDS_AT_ONCE = 64  # rounds opened before the loop looks up again
CLUSTER_POLL = 10.0  # seconds between two questions to a cluster, which many ask; fewer while things change there
CLUSTER_HURRY = 1.0  # the same while a person waits for its elements to leave
ENLIST_LIMIT = 5  # arrays in a row that replace lost ones and claim nothing
ENLIST_FIRST = 5.0  # seconds before the first of them may start


def not_started_pause(times: int) -> float:
    """Seconds without launches after so many attempts in a row that were claimed and not started: doubling."""
    return float(min(SLOT_PROBE * 2 ** min(times - 1, 10), NOT_STARTED_MOST))


def enlist_delay(repeats: int) -> float:
    """Seconds before what replaces lost elements may start, after so many replacements in vain: doubling."""
    return float(ENLIST_FIRST * 2**repeats)


def cluster_poll(patience: float) -> float:
    """Seconds until a cluster that answers is asked again, which are more and more since it was asked for something."""
    return min(max(1.0, 2 * patience), CLUSTER_POLL)


def cluster_pause(silences: int) -> float:
    """Seconds until a cluster is asked again that was silent so many times before: doubling."""
    return float(min(CLUSTER_POLL * 2 ** min(silences, 10), BACKOFF_MOST))


def backoff(task: str, failures: int) -> float:
    """Seconds to wait after `failures` failures: doubling, capped, with jitter of a half.

    The jitter comes from the task and the count, so that tasks that failed together do not come back together
    and every worker computes the same.
    """
    seed = hashlib.sha256(f"{task}.{failures}".encode()).digest()
    jitter = 0.5 + int.from_bytes(seed[:4], "big") / 2**33
    return float(min(BACKOFF_FIRST * 2 ** min(failures - 1, 30), BACKOFF_MOST)) * jitter
