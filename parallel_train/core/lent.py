"""What a worker can still do with its slots and its time: one whose slots are an allocation's leaves them otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice

from parallel_train.core import policy
from parallel_train.core.situation import Situation
from parallel_train.core.state import Line, Waiting


def carried(s: Situation, lines: Iterable[Line]) -> Iterator[Line]:
    """Those of `lines` that this worker has slots for."""
    carries = cache(s.carries)  # asked for many lines, of few widths
    return (line for line in lines if carries(line.task.gpus))


def in_time(s: Situation, lines: Iterator[Line], now: float) -> Iterator[Line]:
    """Those of `lines` that this worker has time for."""
    if not s.limit.is_known:
        return lines
    return (line for line in islice(lines, policy.READY_LOOKED_AT) if s.limit.leaves_room(line.task, now))


def poll(s: Situation, least: float, most: float) -> float:
    """Seconds between two looks at what others wrote. Whoever asked for the allocations looks as often as ever."""
    wanted = least * s.company.size / policy.LOOKERS if s.wishes.is_lent else least
    return max(least, min(wanted, most))


def has_work(s: Situation, now: float) -> bool:
    """Whether something is ready for this worker, or comes due."""
    return bool(s.to_open) or any(True for _ in in_time(s, carried(s, s.to_start()), now))


def is_of_use(s: Situation, now: float) -> bool:
    """Whether a lent worker may come to start something: what runs or waits elsewhere is left to others.

    A repetition that comes due keeps it, whoever ran the task before: that worker may live no more.
    """
    if s.mine:
        return True
    if s.is_paused:
        return False
    is_patient = now < s.wishes.patient_until and any(True for _ in s.running())
    return has_work(s, now) or is_patient or _waits_alone(s)


def is_cut_short(s: Situation) -> bool:
    """Whether a worker that leaves would have gone on, had it more time."""
    if s.stopping or s.is_paused or not s.open:
        return False
    return bool(s.to_open) or any(s.carries(line.task.gpus) for line in s.to_start()) or _waits_alone(s)


def _waits_alone(s: Situation) -> bool:
    """Whether something waits for what runs elsewhere, and nobody would ask for a worker once it is ready."""
    return s.wishes.is_alone and any(
        isinstance(line.state, Waiting) and line.state.why == "needs" and s.carries(line.task.gpus)
        for line in map(s.lines.__getitem__, s.open)
    )
