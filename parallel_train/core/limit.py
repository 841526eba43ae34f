"""The end of an allocation: what can still come to its own end before, and when the rest is told to stop."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import takewhile

from parallel_train.core import policy
from parallel_train.core.facts import TIME_UP, End, verdict
from parallel_train.core.state import Line
from parallel_train.core.task import Kind, Task, kind_of


def cut_off(line: Line) -> int:
    """How many attempts in a row, the last ones of its round, were stopped since their allocation ended."""
    ends = (attempt.end for attempt in reversed(line.tries))
    return sum(1 for _ in takewhile(lambda end: end is not None and end.stopped == TIME_UP, ends))


@dataclass(slots=True)
class Limit:
    """The time that this worker has: for ever, unless it is told otherwise."""

    ends_at: float = math.inf  # monotonic seconds
    span: float = math.inf  # seconds that it had at its beginning, and would have again in another turn
    is_near: bool = False  # the cluster has said so
    has_served: bool = False  # whether it has run anything
    took: dict[Kind, float] = field(default_factory=dict)  # seconds of the longest success

    @property
    def is_known(self) -> bool:
        return self.ends_at < math.inf

    @property
    def stops_at(self) -> float:
        """When what runs is told to stop, so that it is over in time."""
        return self.ends_at - policy.STOP_BEFORE

    def is_over(self, now: float) -> bool:
        """Whether nothing more is started."""
        return self.is_near or now >= self.stops_at

    def learn(self, seconds: float, at: float, *, is_near: bool) -> None:
        self.is_near |= is_near
        if seconds < math.inf:
            self.span = self.span if self.is_known else seconds
            self.ends_at = at + seconds

    def note(self, task: Task, end: End) -> None:
        """Learn how long a task took."""
        if verdict(end) == "succeeded":
            kind = kind_of(task)
            self.took[kind] = max(self.took.get(kind, 0.0), end.seconds)

    def leaves_room(self, task: Task, at: float) -> bool:
        """Whether it is worth starting at that time: it can end before it would be stopped, as far as can be known.

        One that no turn is long enough for starts all the same: it may save its state, and go on in the next.
        """
        if not self.is_known:
            return True
        expected = self.took.get(kind_of(task), task.timeout)
        return expected is None or expected <= self.stops_at - at or expected > self._whole

    @property
    def _whole(self) -> float:
        """Seconds that a task can have in a turn, if it starts with it."""
        return self.span - policy.STOP_BEFORE - policy.SETTLING
