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
from typing import Any

LENGTH = struct.Struct("!I")


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
        self.shims: set[int] = set()
        self.is_sweeping = False

    def serve(self) -> None:
        wake, wakes = os.pipe()
        os.set_blocking(wakes, False)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        poll.register(wake, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if wake in ready:
                os.read(wake, 4096)
                self.reap()
            if self.connection.fileno() in ready:
                order = receive(self.connection)
                if order is None:
                    return
                self.answer(order)

    def answer(self, order: dict[str, Any]) -> None:
        """Fork a shim for `order`; send its pid with a pidfd and the pipe on which it reports."""
        from parallel_train.procs import process  # noqa: PLC0415  its path is known only at run time

        heard, hears = os.pipe()
        reply: dict[str, Any] = {"task": order["task"], "attempt": order["attempt"]}
        descriptors = []
        try:
            pid = os.fork()
            if pid == 0:
                self.become_shim(order, hears, heard)
            self.shims.add(pid)
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
        for descriptor in {*descriptors, heard, hears}:
            os.close(descriptor)

    def become_shim(self, order: dict[str, Any], hears: int, heard: int) -> None:
        """In the child: run the shim. Never returns."""
        from parallel_train.procs import shim  # noqa: PLC0415

        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self.connection.close()
            os.close(heard)
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
            self.is_sweeping |= pid in self.shims and status != 0
            self.shims.discard(pid)
        if self.is_sweeping:
            self.is_sweeping = self.sweep()

    def sweep(self) -> bool:
        """Kill what a dead shim left: all children of this subreaper that are not shims; whether there were any.

        The children of those come here in their turn: whoever is reaped, this is asked again.
        """
        from parallel_train.procs import process  # noqa: PLC0415

        own = os.getpid()
        left = [pid for pid, parent in process.parents() if parent == own and pid not in self.shims]
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)  # ours to reap, so the pid can't be another's
        return bool(left)


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
