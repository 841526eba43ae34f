"""Is a process told for certain from another with its pid, its name or its words?"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from parallel_train.core import wire
from parallel_train.procs import process
from parallel_train.procs.runner import is_alive
from tests.support.machine import signal_proven
from tests.support.wait import wait_until


@pytest.fixture
def sleeper():
    """Starts processes that end when told to, or with the test."""
    made = []

    def start(**more):
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, **more)
        made.append(child)
        return child

    yield start
    for child in made:
        child.kill()
        child.wait()
        child.stdin.close()


def test_a_start_time_is_that_of_the_process(sleeper):
    child = sleeper()
    assert process.start_time(child.pid) == process.start_time(child.pid) > 0
    assert process.start_time(child.pid) >= process.start_time(os.getpid())
    ticks = process.start_time(child.pid) / os.sysconf("SC_CLK_TCK")
    assert abs(time.clock_gettime(time.CLOCK_BOOTTIME) - ticks) < 60
    assert process.start_time(2**22 + 1) == 0


def test_a_name_with_brackets_and_blanks_confuses_nobody(tmp_path):
    program = tmp_path / "a) R 1 (b"
    program.write_bytes(b"#!/bin/sh\nread line\n")
    program.chmod(0o700)
    child = subprocess.Popen([str(program)], stdin=subprocess.PIPE)
    assert process.start_time(child.pid) > 0
    assert child.pid in process.descendants(os.getpid())
    child.communicate()


def test_a_zombie_is_dead(sleeper):
    child = sleeper()
    start = process.start_time(child.pid)
    descriptor = process.open_proven(child.pid, start)
    child.stdin.close()
    assert select.select([descriptor], [], [], 20)[0]  # it has ended, and nobody has reaped it
    assert process.start_time(child.pid) == 0
    assert process.open_proven(child.pid, start) is None
    assert not signal_proven(child.pid, start, signal.SIGKILL)
    os.close(descriptor)


def test_only_the_process_that_started_then_is_signalled(sleeper):
    child = sleeper()
    start = process.start_time(child.pid)
    assert not signal_proven(child.pid, start + 1, signal.SIGKILL)
    assert not signal_proven(child.pid, 0, signal.SIGKILL)
    assert child.poll() is None
    assert signal_proven(child.pid, start, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL


def test_a_pid_that_came_round_again_is_another_process():
    """Forced: the kernel is asked for that very number, once the first one's last tick is over."""
    counter = Path("/proc/sys/kernel/ns_last_pid")
    wrong = came_round = 0
    while came_round < 20:  # others fork meanwhile, and may be faster
        first = subprocess.Popen(["sleep", "600"])
        start = process.start_time(first.pid)
        first.kill()
        first.wait()
        until = time.clock_gettime(time.CLOCK_BOOTTIME) + 2 / os.sysconf("SC_CLK_TCK")
        wait_until(lambda until=until: time.clock_gettime(time.CLOCK_BOOTTIME) > until, "the tick is over")
        try:
            counter.write_text(str(first.pid - 1))
        except OSError as error:
            pytest.skip(f"pids can't be chosen here: {error}")
        second = subprocess.Popen(["sleep", "600"])
        if second.pid == first.pid:
            came_round += 1
            owner = {**process.this_process("w"), "pid": first.pid, "start": start}
            wrong += is_alive(wire.owner_of(owner)) is not False
            wrong += signal_proven(first.pid, start, signal.SIGKILL)
            wrong += second.poll() is not None
        second.kill()
        second.wait()
    assert wrong == 0
    assert came_round > 10  # others fork meanwhile


def test_a_number_that_came_to_a_thread_is_no_process():
    is_enough = threading.Event()
    thread = threading.Thread(target=is_enough.wait)
    thread.start()
    try:
        assert process.start_time(thread.native_id) > 0
        assert process.open_proven(thread.native_id, process.start_time(thread.native_id)) is None
        owner = {**process.this_process("w"), "pid": thread.native_id}
        assert is_alive(wire.owner_of(owner)) is False
    finally:
        is_enough.set()
        thread.join()


def test_a_signal_to_what_is_gone_does_no_harm(sleeper):
    child = sleeper()
    descriptor = process.open_pidfd(child.pid)
    child.kill()
    child.wait()
    process.send(descriptor, signal.SIGKILL)
    os.close(descriptor)
    with pytest.raises(ProcessLookupError):
        process.open_pidfd(child.pid)


def test_only_what_carries_the_cookie_is_killed(sleeper):
    cookie = f"task.1.{uuid.uuid4().hex}"
    plain = {"PATH": os.environ["PATH"]}
    carriers = [sleeper(env={**plain, "PARALLEL_TRAIN_COOKIE": cookie}) for _ in range(3)]
    decoys = [
        sleeper(env=plain),  # the same program
        sleeper(env={**plain, "PARALLEL_TRAIN_COOKIE": cookie + "0"}),  # another shim of the same attempt
        sleeper(env={**plain, "MY_PARALLEL_TRAIN_COOKIE": cookie}),
        sleeper(env={**plain, "NOTE": f"PARALLEL_TRAIN_COOKIE={cookie}"}),
    ]
    assert all(process.is_attempt(c.pid) for c in carriers)
    assert [process.is_attempt(d.pid) for d in decoys] == [False, True, False, False]
    assert process.kill_carriers(cookie) == 3
    assert [c.wait() for c in carriers] == [-signal.SIGKILL] * 3
    assert [d.poll() for d in decoys] == [None] * 4
    assert process.kill_carriers(cookie) == 0


def test_carriers_that_breed_are_all_killed():
    cookie = f"task.1.{uuid.uuid4().hex}"
    code = (
        "import subprocess, sys\n"
        "for _ in range(5): subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
        "print(1, flush=True)\n"
        "sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-I", "-c", code],
        env={**os.environ, "PARALLEL_TRAIN_COOKIE": cookie},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        child.stdout.readline()
        bred = process.descendants(child.pid)
        assert len(bred) == 5
        assert process.kill_carriers(cookie) == 6
    wait_until(lambda: not any(process.start_time(pid) for pid in bred), "all are dead")


def test_descendants_come_children_first(sleeper):
    child = subprocess.Popen(["sh", "-c", "sh -c 'cat; :' ; :"], stdin=subprocess.PIPE)
    found = wait_until(lambda: f if len(f := process.descendants(child.pid)) == 2 else None, "both are there")
    assert dict(process.parents())[found[0]] == child.pid
    assert dict(process.parents())[found[1]] == found[0]
    child.communicate()


def test_an_owner_lives_or_not_or_can_not_be_seen():
    me = wire.owner_of(process.this_process("w"))
    assert is_alive(me) is True

    def other(**more):
        return wire.owner_of({**process.this_process("w"), **more})

    assert is_alive(other(start=me.start + 1)) is False  # the pid is another process's now
    assert is_alive(other(boot="an earlier boot")) is False
    assert is_alive(other(boot="an earlier boot", pidns="another")) is False
    assert is_alive(other(pidns="another")) is None
    assert is_alive(other(machine="another")) is None
    assert is_alive(other(machine="another", boot="another")) is None
    assert is_alive(other(host="another", boot="another")) is None  # a copied image: the same machine id


def test_a_child_dies_with_its_parent():
    code = (
        "import os, sys\n"
        "from parallel_train.procs import process\n"
        "parent = os.getpid()\n"
        "if os.fork() == 0:\n"
        "    process.die_with_parent(parent)\n"
        "    print(os.getpid(), flush=True)\n"
        "    import time; time.sleep(1000)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with parent:
        child = int(parent.stdout.readline())
        assert process.start_time(child)
        parent.kill()
    wait_until(lambda: process.start_time(child) == 0, "the child is dead")
