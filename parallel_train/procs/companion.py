"""The companion of a process that makes calls: it beats for it, hears of a cancel, and says at once when it dies.

A process of its own, since the call may keep Python's lock for as long as it likes, and no fork, since the caller may
hold a GPU. It is run by path under `python -I -S`; standard library only, Python 3.8 and newer. It hears from its
owner on its standard input, a JSON line each: {"hold": order}, {"let_go": [task, attempt]} and {"leave": true}.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
from typing import Any

LOOK = 1.0  # seconds between two looks at what was asked: a cancel waits for no beat


class Companion:
    """`about` says who the owner is: queue, worker, pid, start, and the seconds between two beats."""

    def __init__(self, about: dict[str, Any]) -> None:
        from parallel_train.procs import process  # noqa: PLC0415  its path is known only at run time

        self.queue, self.worker, self.interval = about["queue"], about["worker"], float(about["beat"])
        self.owner = process.open_proven(about["pid"], about["start"])
        self.order: dict[str, Any] = {}  # the call that the owner makes now
        self.beat: Any = None
        self.beats = 0
        self.due = 0.0
        self.heard = b""
        self.is_left = False

    def serve(self) -> None:
        """Until the owner is dead or says that it leaves."""
        poll = select.poll()
        poll.register(0, select.POLLIN)
        os.set_blocking(0, False)
        if self.owner is not None:
            poll.register(self.owner, select.POLLIN)
        is_dead = self.owner is None
        while not is_dead:
            ready = {descriptor for descriptor, _ in poll.poll(min(LOOK, self.interval) * 1000)}
            is_dead = self.owner in ready
            if 0 in ready and not self.hear():
                poll.unregister(0)  # closed, as by an exec: its death will tell
            if self.is_left:
                break
            with contextlib.suppress(OSError):  # the disk does not answer: tried again
                self.look()
        with contextlib.suppress(BlockingIOError):  # a child of the owner holds the pipe open
            while self.hear():
                pass  # what it said last, or at all: it may have died before this process had begun
        self.leave(is_dead=is_dead)

    def hear(self) -> bool:
        """Take in what the owner said; False once it will say nothing more."""
        from parallel_train.procs.beat import Beat  # noqa: PLC0415

        data = os.read(0, 65536)
        *lines, self.heard = (self.heard + data).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "hold" in said:
                self.order = said["hold"]
                self.beat = Beat(self.order, self.order["sent"])
            elif "leave" in said:
                self.is_left = True
            elif said["let_go"] == [self.order.get("task"), self.order.get("attempt")]:
                self.order, self.beat = {}, None
        return bool(data)

    def look(self) -> None:
        """Beat where that is due; a call that was cancelled ends now, though its process goes on."""
        from parallel_train.procs.beat import Beat  # noqa: PLC0415

        now = Beat.now()
        if now >= self.due:
            self.due = now + self.interval
            self.beats += 1
            self.count()
        if self.beat is not None and self.beat.look(now) != "taken" and self.beat.asked.against() == "cancelled":
            self.end({"outcome": {"exited": 1}, "stopped": "cancel"})

    def count(self) -> None:
        """The beat of the owner as a worker."""
        from parallel_train.store import records  # noqa: PLC0415

        descriptor = records.open_own(os.path.join(self.queue, "beats", self.worker), os.O_WRONLY)
        try:
            os.pwrite(descriptor, b"%015d\n" % self.beats, 0)
        finally:
            os.close(descriptor)

    def end(self, how: dict[str, Any]) -> None:
        """Link the end of the owner's call, unless it has one."""
        from parallel_train.procs.beat import Beat  # noqa: PLC0415
        from parallel_train.procs.shim import stamp  # noqa: PLC0415
        from parallel_train.store import records  # noqa: PLC0415

        order, self.order = self.order, {}
        names = ("task", "attempt", "started")
        end = {**{name: order[name] for name in names}, "output": "none", "seconds": Beat.now() - order["sent"]}
        path = os.path.join(self.queue, "ends", "{}.{}".format(order["task"], order["attempt"]))
        try:
            records.publish(path, [dict(end, ended=stamp(), **how)])
        except OSError:
            self.order = order
            raise
        self.beat.withdraw()
        self.beat = None

    def leave(self, is_dead: bool) -> None:
        """What a dead owner can't do any more. Where the disk refuses, others will find that it is dead."""
        with contextlib.suppress(OSError):
            if is_dead and self.order:
                self.end({"outcome": {"lost": "killed"}})
        for kind in ("workers", "beats"):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self.queue, kind, self.worker))


def main() -> None:
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.path.append(package)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # what its owner is sent with all its group must not end it first
    Companion(json.loads(sys.argv[1])).serve()


if __name__ == "__main__":
    main()
