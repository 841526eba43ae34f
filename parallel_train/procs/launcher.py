"""The launcher: forks a shim for each order it is sent, hands back its descriptors, and reaps.

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
        self.shims: dict[int, int] = {}  # pid -> its pipe, which we hold open too until nothing that it left lives
        self.unswept: list[int] = []  # the pipes of shims that died
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
        """Fork a shim for `order`; send its pid with a pidfd and the pipe on which it reports."""
        from parallel_train.procs import process  # noqa: PLC0415  its path is known only at run time

        reply: dict[str, Any] = {"task": order["task"], "attempt": order["attempt"]}
        pipe: tuple[int, ...] = ()
        descriptors = []
        try:
            pipe = heard, hears = os.pipe()
            pid = os.fork()
            if pid == 0:
                self.become_shim(order, hears, heard)
            self.shims[pid] = hears
            descriptors = [process.open_pidfd(pid), heard]  # not reaped yet: the pid is this shim's
            reply["pid"] = pid
        except OSError as error:
            reply["error"] = str(error)
        data = json.dumps(reply).encode()
        handed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        try:
            self.connection.sendmsg([LENGTH.pack(len(data)) + data], handed)
        except OSError:
            pass  # the scheduler is gone: the next read says so
        for descriptor in {*descriptors, *pipe} - set(self.shims.values()):
            os.close(descriptor)

    def become_shim(self, order: dict[str, Any], hears: int, heard: int) -> None:
        """In the child: run the shim. Never returns."""
        from parallel_train.procs import shim  # noqa: PLC0415

        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self.connection.close()
            for descriptor in (heard, *self.shims.values(), *self.unswept):
                os.close(descriptor)
            shim.main(order, lambda message: _tell(hears, message))
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
            hears = self.shims.pop(pid, -1)
            if hears >= 0 and status:
                self.since = self.since if self.unswept else time.monotonic()
                self.unswept.append(hears)
            elif hears >= 0:
                os.close(hears)
        if self.unswept:
            self.go_on(self.sweep())

    def go_on(self, left: list[int]) -> None:
        """Let their scheduler see that shims are dead, now that nothing of theirs lives, or does not die."""
        if left and time.monotonic() < self.since + PATIENCE:
            return
        for hears in self.unswept:
            for pid in left:
                _tell(hears, {"trouble": f"process {pid}, left by a task whose supervisor was killed, does not die"})
            os.close(hears)
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


def _tell(descriptor: int, message: dict[str, Any]) -> None:
    try:
        os.write(descriptor, json.dumps(message).encode() + b"\n")
    except OSError:
        pass  # nobody listens any more


def main() -> None:
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.path.append(package)
    from parallel_train.procs import fence, process, shim, watch  # noqa: F401, PLC0415  loaded before the first fork

    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # Blocked too, and so in each fork from its first instant: a stop that comes before the shim listens is kept.
    signal.pthread_sigmask(signal.SIG_BLOCK, watch.SIGNALS - {signal.SIGCHLD})
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
