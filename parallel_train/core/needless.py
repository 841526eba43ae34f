"""What of a task's past nothing hangs on any more."""

from __future__ import annotations

from parallel_train.core.facts import Attempt, Lost
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
    """Whether no attempt asks any more if the output was put aside for this round."""
    is_running = bool(line.attempts) and line.attempts[-1].end is None
    last_run = max((attempt.claim.round for attempt in line.attempts if attempt.has_run), default=0)
    return not is_running and round_ <= last_run
