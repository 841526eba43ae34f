"""The launcher: forks a shim for each order it is sent, hands back its descriptors, and reaps.

A shim takes further orders from the scheduler itself, on the line on which it reports, and ends where that is closed.

A small single-threaded process, since a fork of it costs about a millisecond and a new interpreter sixty. It is run
by path under `python -I -S`; standard library only, Python 3.8 and newer. It ends when the scheduler is gone.
"""

from __future__ import annotations

import array
import contextlib
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence
from typing import Any

LENGTH = struct.Struct("!I")
PATIENCE = 60.0  # seconds for what a dead shim left to die, before its scheduler may go on without


def receive(connection: socket.socket) -> dict[str, Any] | None:
    """The next message, or None once the other side is gone."""
    head = _exactly(connection, LENGTH.size)
    if head is None:
        return None
    body = _exactly(connection, LENGTH.unpack(head)[0])
    return None if body is None else json.loads(body)


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        try:
            part = connection.recv(size - len(data))
        except ConnectionError:
            return None
        if not part:
            return None
        data += part
    return data


class Launcher:
    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        # pid -> its end of its line, which we hold open too until nothing that it left lives
        self.shims: dict[int, socket.socket] = {}
        self.unswept: list[socket.socket] = []  # those of shims that died
        self.since = 0.0

    def serve(self) -> None:
        wake, wakes = os.pipe()
        os.set_blocking(wakes, False)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        poll.register(wake, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(1000 if self.unswept else None)}
            if wake in ready:
                os.read(wake, 4096)
            if wake in ready or self.unswept:
                self.reap()
            if self.connection.fileno() in ready:
                order = receive(self.connection)
                if order is None:
                    return
                self.answer(order)

    def answer(self, order: dict[str, Any]) -> None:
        """Fork a shim for `order`; send its pid with a pidfd and the other end of its line."""
        from parallel_train.procs import process  # noqa: PLC0415  its path is known only at run time

        reply: dict[str, Any] = {"task": order["task"], "attempt": order["attempt"]}
        descriptors: list[int] = []
        try:
            theirs, line = socket.socketpair()
        except OSError as error:
            self.send(dict(reply, error=str(error)))
            return
        with theirs:
            try:
                pid = os.fork()
                if pid == 0:
                    theirs.close()
                    self.become_shim(order, line)
                self.shims[pid] = line
                descriptors = [process.open_pidfd(pid)]  # not reaped yet: the pid is this shim's
                self.send(dict(reply, pid=pid), [*descriptors, theirs.fileno()])
            except OSError as error:
                self.send(dict(reply, error=str(error)))
        for descriptor in descriptors:
            os.close(descriptor)

    def send(self, reply: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        data = json.dumps(reply).encode()
        handed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        with contextlib.suppress(OSError):  # the scheduler is gone: the next read says so
            self.connection.sendmsg([LENGTH.pack(len(data)) + data], handed)

    def become_shim(self, order: dict[str, Any] | None, line: socket.socket) -> None:
        """In the child: run the shim. Never returns."""
        from parallel_train.procs import shim  # noqa: PLC0415

        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for other in (self.connection, *self.shims.values(), *self.unswept):
                other.close()
            shim.begin()
            while order is not None:
                order = _next_order(line) if shim.main(order, lambda message: _tell(line, message)) else None
            code = 0
        finally:
            if code:
                sys.excepthook(*sys.exc_info())
                sys.stderr.flush()
            os._exit(code)

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            line = self.shims.pop(pid, None)
            if line is not None and status:
                self.since = self.since if self.unswept else time.monotonic()
                self.unswept.append(line)
            elif line is not None:
                line.close()
        if self.unswept:
            self.go_on(self.sweep())

    def go_on(self, left: list[int]) -> None:
        """Let their scheduler see that shims are dead, now that nothing of theirs lives, or does not die."""
        if left and time.monotonic() < self.since + PATIENCE:
            return
        for line in self.unswept:
            for pid in left:
                _tell(line, {"trouble": f"process {pid}, left by a task whose supervisor was killed, does not die"})
            line.close()
        self.unswept.clear()

    def sweep(self) -> list[int]:
        """Kill what dead shims left: all children of this subreaper that are not shims; which there were.

        The children of those come here in their turn: whoever is reaped, this is asked again.
        """
        from parallel_train.procs import process  # noqa: PLC0415

        own = os.getpid()
        left = [pid for pid, parent in process.parents() if parent == own and pid not in self.shims]
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)  # ours to reap, so the pid can't be another's
        return left


def _tell(line: socket.socket, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        line.sendall(json.dumps(message).encode() + b"\n")


def _next_order(line: socket.socket) -> dict[str, Any] | None:
    """What a shim is to do next; None once nobody can ask it. Who stops it meanwhile stops no attempt."""
    from parallel_train.procs import watch  # noqa: PLC0415

    signal.pthread_sigmask(signal.SIG_UNBLOCK, watch.STOPS)
    order = receive(line)
    signal.pthread_sigmask(signal.SIG_BLOCK, watch.STOPS)
    return order


def main() -> None:
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.path.append(package)
    from parallel_train.procs import fence, process, shim, watch  # noqa: F401, PLC0415  loaded before the first fork

    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # Blocked too, and so in each fork from its first instant: a stop that comes before the shim listens is kept.
    signal.pthread_sigmask(signal.SIG_BLOCK, watch.STOPS)
    os.setsid()
    process.become_subreaper()
    process.this_machine()
    fence.place()
    fence.tidy()
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.set_inheritable(False)
    gc.disable()
    gc.freeze()
    Launcher(connection).serve()


if __name__ == "__main__":
    main()
