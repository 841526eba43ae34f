"""What of a task's past nothing hangs on any more."""

from __future__ import annotations

from parallel_train.core.facts import Attempt, Lost, verdict
from parallel_train.core.state import Line


def attempts(line: Line) -> list[Attempt]:
    """The attempts that count for nothing: neither the last one, nor the last that was started and has ended."""
    ended = [attempt for attempt in line.attempts if attempt.is_started and attempt.end is not None]
    needed = {attempt.number for attempt in (*line.attempts[-1:], *ended[-1:])}
    return [attempt for attempt in line.attempts if attempt.end is not None and attempt.number not in needed]


def is_lost(attempt: Attempt) -> bool:
    """Whether somebody else said its end: its process may live on where it can't be seen."""
    return attempt.end is not None and isinstance(attempt.end.outcome, Lost)


def is_aside_needless(line: Line, round_: int) -> bool:
    """Whether a later attempt than those that made the output which was put aside for this round has succeeded:
    until then it may be the only good one.
    """
    is_running = bool(line.attempts) and line.attempts[-1].end is None
    later = (a.end for a in line.attempts if a.claim.round >= round_ and a.end is not None)
    return not is_running and any(verdict(end) == "succeeded" for end in later)
