"""What people asked for while an attempt was on its way. Standard library only, Python 3.8 and newer."""

from __future__ import annotations

import os
from typing import Any

from parallel_train.procs.child import PASSING
from parallel_train.store import records


class Asked:
    """Reads the requests that are newer than those its scheduler knew, each once.

    The same rule as core.state.Line has (is_cancelled, is_paused), for one attempt that has not succeeded yet. One
    that is damaged or closed to us, or that a newer version wrote, says nothing: no attempt hangs on it.
    """

    def __init__(self, order: dict[str, Any]) -> None:
        self._folder = os.path.join(order["queue"], "requests")
        self._task = order["task"]
        self._round = order["asked_round"]
        self._last = order["heard"]
        self._paused = {"": False, self._task: False}
        self.is_cancelled = False

    def against(self) -> str:
        """What speaks against the attempt now: cancelled, paused or nothing. Raises OSError: ask again."""
        try:
            numbers = sorted(map(records.number, os.listdir(self._folder)))
        except FileNotFoundError:
            numbers = []
        for number in numbers:
            if number > self._last:
                self._hear(number)
        if self.is_cancelled:
            return "cancelled"
        return "paused" if any(self._paused.values()) else ""

    def _read(self, number: int) -> dict[str, Any]:
        try:
            return records.read_one(os.path.join(self._folder, str(number)))
        except (records.DamagedError, records.NewerVersionError):
            return {}
        except OSError as error:
            if error.errno in PASSING:
                raise
            return {}

    def _hear(self, number: int) -> None:
        request = self._read(number)
        self._last = number
        kind, tasks = request.get("kind"), request.get("tasks")
        if not isinstance(tasks, dict):
            return
        if kind == "cancel":
            named = tasks.get(self._task)
            self.is_cancelled |= isinstance(named, int) and named >= self._round
        elif kind in ("pause", "resume"):
            for name in tasks or ("",):
                if name in self._paused:
                    self._paused[name] = kind == "pause"
