"""A call that a process has claimed, until it has ended."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from parallel_train.core.facts import GIVEN_BACK
from parallel_train.core.situation import Situation
from parallel_train.core.task import Json, Task
from parallel_train.errors import UsageError
from parallel_train.procs import calls

# Why a call is given back: what its end says then.
_GIVEN_BACK = {
    "left": {"outcome": {"exited": 1}, "note": "its process ended without finishing the call"},
    "dropped": {"outcome": {"exited": 1}, "note": "its process went on without it"},
    "interrupted": {"outcome": {"signalled": 2}, "note": "its process was interrupted (SIGINT)"},
    "terminated": {"outcome": {"signalled": 15}, "note": "its process was told to stop (SIGTERM)"},
}
Why = Literal["left", "dropped", "interrupted", "terminated"]


class Holder(Protocol):
    """Who claimed it."""

    situation: Situation

    def refresh(self) -> None: ...
    def complain(self, trouble: str | OSError) -> None: ...
    def ended(self, held: Held, end: Mapping[str, object] | None) -> None: ...


@dataclass(slots=True)
class Held:
    """A call that this process has claimed. It ends once: by `succeed`, `fail` or `give_back`."""

    caller: Holder
    task: Task
    attempt: int
    round: int
    order: calls.Order
    is_copy: bool = False  # of a call that another process is making
    _began: float = field(default_factory=time.monotonic)
    _cpu: float = field(default_factory=time.process_time)

    def begin(self) -> None:
        """From now on it counts as the call's time."""
        self._began, self._cpu = time.monotonic(), time.process_time()

    def is_taken(self) -> bool:
        """Whether somebody else has ended it: after a lease of silence, by a cancel, or a copy was faster."""
        try:
            return calls.is_taken(self.order)
        except OSError:
            return False  # can't be seen now: the end will tell

    def is_cancelled(self) -> bool:
        """Whether a person has cancelled it. Its result will not count."""
        try:
            self.caller.refresh()
        except OSError:
            return False
        return self.caller.situation.lines[self.task.id].is_cancelled

    def succeed(self, result: Mapping[str, Json]) -> bool:
        """Write `result` to the call's output, as a JSON object; whether it is the one that counts.

        The first result of a round stands, and its end after it. A full disk is waited out; where that does not help
        the call has failed, and UsageError says why. Raises TypeError for what JSON can't hold.
        """
        if self.is_taken():
            self.caller.ended(self, None)
            return False
        try:
            stands = calls.publish(self.order, result, self.caller.complain)
        except OSError as error:
            why = f"its result can't be written to {self.order['output']}: {error.strerror}"
            self.fail(why)
            raise UsageError(f"{self.task.name}: {why}") from error
        return self.end({"outcome": {"exited": 0}, "output": "there"}) and stands

    def fail(self, note: str) -> bool:
        """Say that it failed, and why in one line, such as "ValueError: …"; whether that end stands.

        A copy that fails says nothing: the call itself may succeed.
        """
        if self.is_copy:
            return False
        return self.end({"outcome": {"exited": 1}, "note": note})

    def give_back(self, why: Why) -> None:
        """Free it for others; that costs nothing."""
        if not self.is_copy:
            self.end({**_GIVEN_BACK[why], "stopped": GIVEN_BACK})

    def end(self, how: Mapping[str, object]) -> bool:
        used = {
            "started": self.order["started"],
            "seconds": time.monotonic() - self._began,
            "cpu_seconds": round(time.process_time() - self._cpu, 3),
            "max_rss_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        }
        try:
            end = calls.end(self.order, {**used, **how}, self.caller.complain)
        except OSError as error:
            self.caller.ended(self, None)
            queue = self.order["queue"]
            raise UsageError(f"how {self.task.name} ended can't be written to {queue}: {error.strerror}") from error
        self.caller.ended(self, end)
        return end is not None
