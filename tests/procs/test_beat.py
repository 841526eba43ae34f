"""Does an attempt show that it lives, halt when it can't, and give up what was taken from it?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from parallel_train.core import contact, wire
from parallel_train.core.facts import End, Exited, Lost, NotStarted, Signalled
from parallel_train.procs import process, shim
from parallel_train.procs.beat import Beat
from parallel_train.store import queue, records
from tests.support.machine import lives, machine
from tests.support.wait import wait_until

LEASE = 1.2


@pytest.fixture(params=[False, True], ids=["local", "network"])
def made(tmp_path, request):
    with machine(tmp_path, lease=LEASE, is_shared=lambda: request.param) as found:
        yield found


def beat_of(made):
    path = made.folder / "beats" / "task.1"
    return path.read_text() if path.exists() else ""


def state_of(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_living_attempt_beats_and_takes_its_beat_along(made):
    made.start(made.task("sleep", "600"))
    claim = made.claimed()
    assert claim.lease == LEASE
    first = wait_until(lambda: beat_of(made), "it beats")
    wait_until(lambda: beat_of(made) != first, "it beats again")
    made.runner.stop("task", 1, kill=True)
    assert made.ended().outcome == Signalled(signal.SIGKILL)
    assert not (made.folder / "beats" / "task.1").exists()


def test_a_short_attempt_writes_no_beat(made):
    before = sorted((made.folder / "beats").iterdir())
    assert made.run(made.task("true")).outcome == Exited(0)
    assert sorted((made.folder / "beats").iterdir()) == before == []


def test_an_attempt_that_was_ended_by_another_kills_its_task(made):
    made.start(made.python("import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)"))
    claim = made.claimed()
    pid = int(made.until_file("pid"))
    made.publish("ends", "task.1", wire.end_data(End("task", 1, Lost("expired"))))
    wait_until(lambda: not lives(pid), "its task is gone")
    wait_until(lambda: not lives(claim.owner.pid), "it gave up")
    assert made.end().outcome == Lost("expired")


def test_a_silent_attempt_halts_on_a_network_disk_and_goes_on_when_the_disk_answers(made):
    """On a local disk a beat that can't be written stops nothing."""
    made.start(made.python("import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)"))
    made.claimed()
    pid = int(made.until_file("pid"))
    wait_until(lambda: beat_of(made), "it beats")
    (made.folder / "beats").rename(made.folder / "away")
    if made.is_shared():
        wait_until(lambda: state_of(pid) == "T", "it is halted")
        (made.folder / "away").rename(made.folder / "beats")
        wait_until(lambda: state_of(pid) == "S", "it goes on")
    else:
        until = time.monotonic() + LEASE
        wait_until(lambda: time.monotonic() > until, "a lease is over")
        assert state_of(pid) == "S"
        (made.folder / "away").rename(made.folder / "beats")
    made.runner.stop("task", 1, kill=False)
    assert made.ended().outcome == Signalled(signal.SIGINT)


def test_a_halted_attempt_that_is_stopped_does_not_run_on_first(tmp_path):
    with machine(tmp_path, lease=LEASE, is_shared=lambda: True) as made:
        made.start(made.python("import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)"))
        made.claimed()
        pid = int(made.until_file("pid"))
        (made.folder / "beats").rename(made.folder / "away")
        wait_until(lambda: state_of(pid) == "T", "it is halted")
        made.runner.stop("task", 1, kill=False)
        assert made.ended().outcome == Signalled(signal.SIGKILL)


def test_after_a_takeover_the_next_attempt_waits_until_the_former_one_has_halted(made):
    began = time.monotonic()
    assert made.run(made.task("true"), wait=contact.halted_after(LEASE)).outcome == Exited(0)
    assert time.monotonic() - began >= LEASE / 2 + LEASE / 6


def test_whoever_waits_after_a_takeover_can_be_stopped(made):
    made.start(made.task("true"), wait=60.0)
    made.claimed()
    made.runner.stop("task", 1, kill=False)
    assert made.ended().outcome == NotStarted("its worker stopped it")


def test_nothing_is_started_where_the_disk_hung_while_the_output_was_prepared(tmp_path):
    queue.create(tmp_path)
    (tmp_path / "workers" / "w").touch()
    order = {"queue": str(tmp_path), "task": "a", "attempt": 1, "round": 1, "needs": {}, "worker": "w"}
    order.update(
        identity="same", lease=60.0, beat=10.0, shared=True, heard=0, asked_round=1, wait=0.0, group="", done_when=None
    )
    order.update(output=str(tmp_path / "out" / "a"), aside=0, umask=0o022)

    class Hung(Beat):
        looks = iter(["good", "silent"])

        def look(self, _):
            return next(self.looks)

    end = shim._run(order, ([], -1, -1), Hung(order, Beat.now()), print)
    assert list(end["outcome"]) == ["not_started"]
    assert not end["started"]


def test_a_beat_counts_from_when_it_was_sent(tmp_path):
    """A disk that hangs for long must not make an old beat look young."""
    queue.create(tmp_path)
    order = {"queue": str(tmp_path), "task": "a", "attempt": 1, "lease": 60.0, "beat": 10.0, "shared": True}
    order.update(heard=0, asked_round=1)
    since = Beat.now()
    beat = Beat(order, since)
    beat.child = -1  # somebody else beats
    assert beat.look(since + 29.9) == "good"
    assert beat.look(since + 30.0) == "silent"
    assert beat.due(since + 29.5) == since + 30.0


def test_on_a_network_disk_it_looks_often_since_a_suspended_machine_stops_its_timers(tmp_path):
    order = {"queue": str(tmp_path), "task": "a", "attempt": 1, "lease": 300.0, "beat": 10.0, "heard": 0}
    order["asked_round"] = 1
    assert Beat({**order, "shared": True}, 0.0).due(50.0) == 51.0
    assert Beat({**order, "shared": False}, 0.0).due(50.0) == 60.0


def test_a_beating_child_that_is_killed_is_replaced(tmp_path):
    with machine(tmp_path, lease=LEASE, is_shared=lambda: True) as made:
        made.start(made.task("sh", "-c", "echo > began; exec sleep 600"))
        shim = made.claimed().owner.pid
        wait_until((made.project / "began").exists, "the task runs")  # before that it is a fork of its shim as well
        first = wait_until(lambda: beats_for(shim), "a child beats")
        os.kill(first[0], signal.SIGKILL)
        wait_until(lambda: beats_for(shim) not in ([], first), "another one does")
        before = beat_of(made)
        wait_until(lambda: beat_of(made) != before, "it beats on")


STRANGERS = {
    "other machine": {"machine": "another"},
    "copied machine": {"host": "another", "boot": "another"},
    "container": {"pidns": "another"},
    "newer version": None,
}


@pytest.mark.parametrize("who", STRANGERS)
def test_the_beat_is_left_to_a_child_once_somebody_came_who_cannot_be_seen(tmp_path, who):
    with machine(tmp_path, lease=LEASE) as made:
        made.start(made.task("sleep", "600"))
        shim = made.claimed().owner.pid
        first = wait_until(lambda: beat_of(made), "it beats")
        assert beats_for(shim) == []
        stranger = STRANGERS[who]
        about = {"owner": {**process.this_process("x"), **stranger}} if stranger else {}
        made.publish("workers", "stranger", about)
        wait_until(lambda: beats_for(shim), "a child beats")
        os.kill(shim, signal.SIGSTOP)
        wait_until(lambda: beat_of(made) != first, "it beats though its shim is stopped")
        os.kill(shim, signal.SIGCONT)


def test_who_is_dead_is_no_stranger(tmp_path):
    queue.create(tmp_path)
    order = {"queue": str(tmp_path), "task": "a", "attempt": 1, "lease": 6.0, "beat": 1.0, "shared": False}
    order.update(heard=0, asked_round=1)
    here = process.this_process("x")
    records.publish(str(tmp_path / "workers" / "former"), [{"owner": {**here, "boot": "before", "pidns": "y"}}])
    records.publish(str(tmp_path / "workers" / "neighbour"), [{"owner": here}])
    beat = Beat(order, 0.0)
    beat.look(2.0)
    assert (beat.is_shared, beat.child) == (False, 0)


def test_who_is_just_writing_itself_down_is_no_stranger(tmp_path):
    queue.create(tmp_path)
    order = {"queue": str(tmp_path), "task": "a", "attempt": 1, "lease": 6.0, "beat": 1.0, "shared": False}
    order.update(heard=0, asked_round=1)
    (tmp_path / "workers" / ".tmp-1-a").touch()  # half written: see records.publish
    beat = Beat(order, 0.0)
    beat.look(2.0)
    assert (beat.is_shared, beat.child) == (False, 0)


def test_where_there_are_no_processes_the_shim_beats_itself(tmp_path, monkeypatch):
    """The claim is linked by then: to end here would cost the task an attempt."""
    queue.create(tmp_path)
    order = {"queue": str(tmp_path), "task": "a", "attempt": 1, "lease": 6.0, "beat": 1.0, "shared": True}
    order.update(heard=0, asked_round=1)

    def refuses():
        raise BlockingIOError

    monkeypatch.setattr(os, "fork", refuses)
    beat = Beat(order, Beat.now() - 2.0)
    beat.start()
    assert beat.look(Beat.now()) == "good"
    assert (tmp_path / "beats" / "a.1").read_text() == "000000000000001\n"


def beats_for(shim):
    """The children of a shim that beat for it: forks of it, so of the same command."""
    children = [pid for pid, parent in process.parents() if parent == shim]
    found = []
    for pid in children:
        with suppress(OSError):  # it has ended since
            if b"launcher.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


STOPPED_BEFORE_ITS_COMMAND_BEGAN = """
import os, signal
from parallel_train.procs import beat, process, watch

signal.pthread_sigmask(signal.SIG_BLOCK, watch.SIGNALS)
own, pid = os.getpid(), os.fork()
if pid == 0:
    process.die_with_parent(own)
    os.setsid()
    os.execvp("sleep", ["sleep", "600"])
order = {"queue": "/nowhere", "task": "a", "attempt": 1, "lease": 3600.0, "beat": 600.0, "shared": False}
shown = beat.Beat({**order, "heard": 0, "asked_round": 1}, beat.Beat.now())
shown._state[:] = beat._STATE.pack(0.0, True, False)
told = {"grace": 1.0, "timeout": None, "stops_at": None, "log": "", "group": ""}
watched = watch.Watch(pid, told, [], shown, say=print)
watched.wait()
print(watched.outcome()["stopped"])
"""


def test_what_was_taken_before_its_command_began_is_ended_without_a_beat_between():
    """Its whole host may have been stopped just then."""
    script = [sys.executable, "-c", STOPPED_BEFORE_ITS_COMMAND_BEGAN]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("takeover\n", "")
