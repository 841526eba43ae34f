"""What only the process that made an agent has: who claims for it, and what it holds."""

from __future__ import annotations

import atexit
import os
import sys
from dataclasses import dataclass

from parallel_train.agents.plan import Plan
from parallel_train.caller import Caller
from parallel_train.held import Held, Why


@dataclass(slots=True)
class Hold:
    """`held` is what was claimed and is not finished yet; nothing of it is for another process, such as a fork."""

    caller: Caller
    plan: Plan
    pid: int
    held: Held | None = None
    before: object = None  # the error that nobody had caught before the claim: a notebook goes on after one

    def claim(self) -> bool:
        """Hold the next trial; False where nothing is free now."""
        while (held := self.caller.next()) is None and (self._ask_for_more() or self.caller.wait_for_retry()):
            pass
        if held is None:
            self.caller.say_pause()
        self.held, self.before = held, getattr(sys, "last_value", None)
        atexit.unregister(self.at_exit)
        atexit.register(self.at_exit)  # what is registered last runs first: before the caller leaves
        return held is not None

    def _ask_for_more(self) -> bool:
        """Put further trials into the queue; False where more can be claimed there already, or there are none."""
        situation = self.caller.situation
        if situation.is_paused or situation.ready_cpu:
            return False
        block = self.plan.more(situation, self.caller.project)
        if block is not None:
            self.caller.submit(*block, keep=True)
        return block is not None

    def release(self) -> Held | None:
        """What is held, which the caller of this ends."""
        held, self.held = self.held, None
        return held

    def is_over(self) -> bool:
        """Whether nothing is left to try, nor is being tried by anybody, as far as was read."""
        return self.caller.is_over and self.plan.more(self.caller.situation, self.caller.project) is None

    def let_go(self, why: Why = "dropped") -> None:
        """The agent is not there any more: what it holds costs nothing, and goes to the next caller."""
        atexit.unregister(self.at_exit)
        if self.pid == os.getpid():
            if (held := self.release()) is not None:
                held.give_back(why)
            self.caller.close()

    def at_exit(self) -> None:
        """As `let_go`, but an error that nobody caught counts as the trial's."""
        error = getattr(sys, "last_value", None)
        is_its = self.pid == os.getpid() and error is not self.before
        if is_its and isinstance(error, Exception) and (held := self.release()) is not None:
            held.fail(f"{type(error).__name__}: {error}")
        self.let_go("interrupted" if is_its and isinstance(error, KeyboardInterrupt) else "left")
