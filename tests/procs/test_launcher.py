"""Does the launcher answer each order, whatever the machine refuses, and end when nobody listens?"""

from __future__ import annotations

import os
import resource
import socket
from pathlib import Path

from parallel_train.procs import process
from parallel_train.procs.launcher import LENGTH, Launcher, receive

ORDER = {"task": "a", "attempt": 1}


def in_child(deed):
    """Run `deed` in a process of its own; its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            deed()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_without_a_free_descriptor_it_says_so_and_lives_on():
    ours, theirs = socket.socketpair()

    def answer_twice():
        assert process.this_machine()  # loaded, as it is before the first order
        highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest, highest))
        launcher = Launcher(theirs)
        for attempt in (1, 2):
            free = []
            try:
                while True:
                    free.append(os.dup(theirs.fileno()))
            except OSError:
                launcher.answer({**ORDER, "attempt": attempt})
            for descriptor in free:
                os.close(descriptor)

    with ours, theirs:
        assert in_child(answer_twice) == 0
        replies = [receive(ours), receive(ours)]
    assert [reply["attempt"] for reply in replies] == [1, 2]
    assert all("Too many open files" in reply["error"] for reply in replies)


def test_half_a_message_is_none():
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            ours.sendall(LENGTH.pack(100) + b"{")
        assert receive(theirs) is None
        assert receive(theirs) is None


def test_it_ends_when_the_scheduler_is_gone():
    ours, theirs = socket.socketpair()
    with theirs:
        ours.close()
        assert in_child(Launcher(theirs).serve) == 0
