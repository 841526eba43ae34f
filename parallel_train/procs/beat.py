"""The beat of one attempt: shows other hosts that it lives, and learns whether it was cancelled or given to another.

A good beat is one that was written and then found the attempt's end absent; it counts from when it was sent. On a
network disk, and where somebody works who can't be seen from here, it comes from a child: a disk that hangs must not
hold the shim, which has to halt its task then, and whoever stops the shim alone does not make it look dead.
Standard library only, Python 3.8 and newer.
"""

from __future__ import annotations

import errno
import mmap
import os
import signal
import struct
import time
from typing import Any

from parallel_train.procs import process
from parallel_train.procs.asked import Asked
from parallel_train.store import records

_STATE = struct.Struct("d??")  # when the last good beat was sent (as `Beat.now` says), taken, cancelled
_WAKE = 1.0  # seconds: a timer stands still while the machine is suspended, so its end must not be far


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
        self._workers = os.path.join(order["queue"], "workers")
        self._met: set[str] = set()
        self._state = mmap.mmap(-1, _STATE.size)
        self._state[:] = _STATE.pack(since, False, False)
        self.asked = Asked(order)
        self._number = 0
        self._due = since + self.interval
        self.child = 0

    @staticmethod
    def now() -> float:
        """Seconds by a clock of all processes here that goes on while the machine is suspended: that is silence too."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def start(self) -> None:
        """Where the beat is to come from a child: leave it to one from now on."""
        if not self.is_shared:
            return
        shim = os.getpid()
        try:
            self.child = os.fork()
        except OSError:
            return  # no processes: the shim beats itself
        if self.child == 0:
            try:
                process.die_with_parent(shim)
                while True:
                    time.sleep(self.interval)
                    self._send()
            finally:
                os._exit(0)

    def restart(self) -> None:
        """Leave it to a new child: there is none, or it died and was reaped."""
        self.child = 0
        self.start()

    def stop(self) -> None:
        """No more: the task is over. Touches no disk, which may hang while there is something left to sweep."""
        if self.child:
            try:
                os.kill(self.child, signal.SIGKILL)
                os.waitpid(self.child, 0)
            except OSError:
                pass  # it died before, and was reaped with what the task left
            self.child = 0

    def withdraw(self) -> None:
        """Once the end is said, nobody goes by the counter any more."""
        try:
            os.unlink(self._path)
        except OSError:
            pass  # it was never written, or the disk is gone

    def look(self, now: float) -> str:
        """Beat where it is due: "taken" once the attempt was ended by somebody else, "cancelled", "silent" where the
        last good beat is so old that others may soon take over, else "good".
        """
        if not self.child and now >= self._due:
            self._due = now + self.interval
            self._send()
            if not self.is_shared and self._meets_strangers():
                self.is_shared = True
                self.restart()
        sent, is_taken, is_cancelled = _STATE.unpack(self._state[:])
        if is_taken or is_cancelled:
            return "taken" if is_taken else "cancelled"
        return "silent" if self.is_shared and now - sent >= self.lease / 2 else "good"

    def check(self) -> None:
        """Raises OSError where the disk has hung for so long that others may have taken over."""
        if self.look(self.now()) != "good":
            raise OSError(errno.EIO, "the queue's disk does not answer")

    def due(self, now: float) -> float:
        """When to look again."""
        if not self.is_shared:
            return now + self.interval
        sent, _, _ = _STATE.unpack(self._state[:])
        silent = sent + self.lease / 2
        soon = now + min(self.interval, _WAKE)
        return min(soon, silent) if silent > now else soon

    def _meets_strangers(self) -> bool:
        """Whether a worker came that can't be seen from here, and may so take over what is silent."""
        try:
            names = os.listdir(self._workers)
        except OSError:
            return False  # can't be seen now
        # Whoever joins just now writes under a name of no worker yet.
        new = {name for name in names if not name.startswith(".tmp-")} - self._met
        self._met |= new
        return any(map(self._is_stranger, new))

    def _is_stranger(self, worker: str) -> bool:
        here = process.this_machine()
        try:
            owner = records.read_one(os.path.join(self._workers, worker))["owner"]
            if (owner["machine"], owner["host"]) != (here["machine"], here["host"]):
                return True
            return bool(owner["boot"] == here["boot"] and owner["pidns"] != here["pidns"])
        except FileNotFoundError:
            return False  # it left, or was not there yet under this name
        except (OSError, records.DamagedError, records.NewerVersionError, LookupError, TypeError):
            return True  # nobody can say who it is

    def _send(self) -> None:
        sent = self.now()
        self._number += 1
        try:
            descriptor = records.open_own(self._path, os.O_WRONLY)
            try:
                os.pwrite(descriptor, b"%015d\n" % self._number, 0)
            finally:
                os.close(descriptor)
            is_taken = self._name in os.listdir(self._ends)  # listed: a cache may take a file for absent
        except OSError:
            return
        self._state[:] = _STATE.pack(sent, is_taken, False)
        if self._is_cancelled():  # asked only now: a slow answer must not make a good beat late
            self._state[:] = _STATE.pack(sent, is_taken, True)

    def _is_cancelled(self) -> bool:
        try:
            return self.asked.against() == "cancelled"
        except OSError:
            return False  # the next beat asks again
