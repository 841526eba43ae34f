"""What a person or the system asks of this process by signals, as events."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable
from types import FrameType

from parallel_train.core.decide import LEAVE, STOP
from parallel_train.core.events import Event, HungUp, Interrupted, TimeLeft

_EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Signals:
    """Ctrl-C drains, stops, kills, leaves; TERM is Ctrl-C twice; HUP goes on without the terminal.

    Inside an allocation USR1 says that its end is near; `time_left` asks for the seconds, None where nobody knows.
    `wakeup` becomes readable when one came. A signal that was ignored when we started (nohup) stays ignored.
    """

    def __init__(self, time_left: Callable[[], float | None] | None = None) -> None:
        self.wakeup, self._wakes = os.pipe()
        os.set_blocking(self.wakeup, False)
        os.set_blocking(self._wakes, False)
        self._came: list[int] = []
        self._level = 0
        self._time_left = time_left
        self._before = signal.set_wakeup_fd(self._wakes, warn_on_full_buffer=False)
        self._handlers = {
            number: signal.signal(number, self._note)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH)
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        if time_left is not None:
            self._handlers[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, self._note)

    def _note(self, number: int, _: FrameType | None) -> None:
        self._came.append(number)

    def take(self) -> list[Event]:
        """What came since the last time."""
        try:
            os.read(self.wakeup, 4096)
        except BlockingIOError:
            return []
        came, self._came = self._came, []
        return [self._event(number) for number in came if number != signal.SIGWINCH]  # that one only wakes the loop

    def _event(self, number: int) -> Event:
        if number == signal.SIGHUP:
            return HungUp()
        if number == signal.SIGUSR1:
            left = self._time_left() if self._time_left else None
            return TimeLeft(math.inf if left is None else left, time.monotonic(), is_near=True)
        least = STOP if number == signal.SIGTERM else 0
        self._level = min(max(self._level + 1, least), LEAVE)
        return Interrupted(self._level, _EXIT_CODES[signal.Signals(number)], time.monotonic())

    def close(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._before)
        os.close(self.wakeup)
        os.close(self._wakes)
