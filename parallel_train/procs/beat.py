"""The beat of one attempt: shows other hosts that it lives, and learns whether it was cancelled or given to another.

A good beat is one that was written and then found the attempt's end absent; it counts from when it was sent. On a
network disk it comes from a child, since a disk that hangs must not hold the shim, which has to halt its task then.
Standard library only, Python 3.8 and newer.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import time
from typing import Any

from parallel_train.procs import process
from parallel_train.procs.asked import Asked

# When the last good beat was sent (monotonic seconds, one clock for all processes), taken, cancelled.
_STATE = struct.Struct("d??")


class Beat:
    """`since` is when the claim was sent: the claim is the first beat."""

    def __init__(self, order: dict[str, Any], since: float) -> None:
        self.lease = float(order["lease"])
        self.interval = float(order["beat"])
        self.is_shared = bool(order["shared"])
        name = "{}.{}".format(order["task"], order["attempt"])
        self._path = os.path.join(order["queue"], "beats", name)
        self._ends = os.path.join(order["queue"], "ends")
        self._name = name
        self._state = mmap.mmap(-1, _STATE.size)
        self._state[:] = _STATE.pack(since, False, False)
        self.asked = Asked(order)
        self._number = 0
        self._due = since + self.interval
        self.child = 0

    def start(self) -> None:
        """On a network disk: leave it to a child from now on."""
        if not self.is_shared:
            return
        shim = os.getpid()
        self.child = os.fork()
        if self.child == 0:
            try:
                process.die_with_parent(shim)
                while True:
                    time.sleep(self.interval)
                    self._send()
            finally:
                os._exit(0)

    def stop(self) -> None:
        """No more: the task is over."""
        if self.child:
            try:
                os.kill(self.child, signal.SIGKILL)
                os.waitpid(self.child, 0)
            except OSError:
                pass  # it died before, and was reaped with what the task left
            self.child = 0
        try:
            os.unlink(self._path)
        except OSError:
            pass  # it was never written, or the disk is gone: its end says more

    def look(self, now: float) -> str:
        """Beat where it is due: "taken" once the attempt was ended by somebody else, "cancelled", "silent" where the
        last good beat is so old that others may soon take over, else "good".
        """
        if not self.child and now >= self._due:
            self._due = now + self.interval
            self._send()
        sent, is_taken, is_cancelled = _STATE.unpack(self._state[:])
        if is_taken or is_cancelled:
            return "taken" if is_taken else "cancelled"
        return "silent" if self.is_shared and now - sent >= self.lease / 2 else "good"

    def due(self, now: float) -> float:
        """When to look again (monotonic seconds)."""
        sent, _, _ = _STATE.unpack(self._state[:])
        silent = sent + self.lease / 2
        return min(now + self.interval, silent) if self.is_shared and silent > now else now + self.interval

    def _send(self) -> None:
        sent = time.monotonic()
        self._number += 1
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self._path, flags, 0o600)
            try:
                os.pwrite(descriptor, b"%015d\n" % self._number, 0)
            finally:
                os.close(descriptor)
            is_taken = self._name in os.listdir(self._ends)  # listed: a cache may take a file for absent
            is_cancelled = self.asked.against() == "cancelled"
        except OSError:
            return
        self._state[:] = _STATE.pack(sent, is_taken, is_cancelled)
