"""Does a shim that has ended one attempt own the next one as if it were new, and does nobody wait for it in vain?"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from parallel_train.core.events import Refused, Vanished
from parallel_train.core.facts import Exited, Lost
from parallel_train.procs import proof, shim, watch
from parallel_train.procs.runner import LocalRunner
from tests.support.machine import is_gone, machine, waits_for_an_order
from tests.support.wait import wait_until

WAITS = ("sh", "-c", "until test -e go; do sleep 0.01; done")
DESCRIPTORS = Path("/proc/self/fd")
LOOK = """
import os
print(os.getcwd(), sorted(os.environ), os.umask(0), len(os.listdir("/proc/self/fd")))
print([line for line in open("/proc/self/status") if line.startswith(("SigBlk", "SigIgn", "SigPnd", "ShdPnd"))])
"""


@pytest.fixture
def made(tmp_path):
    with machine(tmp_path) as one:
        yield one


def owner_of(made, task, *devices):
    """Run `task`; the process that owned it."""
    made.run(task, *devices)
    return made.claimed(task.id).owner


def first(made, name="first"):
    return owner_of(made, made.task("true", name=name))


# ---- as if it were new ----


def test_attempts_one_after_another_have_one_process_and_cookies_of_their_own(made):
    owners = {first(made, name).pid for name in ("a", "b", "c")}
    assert len(owners) == 1
    assert len({made.claim(name).cookie for name in ("a", "b", "c")}) == 3


def test_attempts_at_one_time_have_a_process_each(made):
    made.start(made.task(*WAITS, name="a"))
    made.start(made.task(*WAITS, name="b"))
    owners = {made.claimed(name).owner.pid for name in ("a", "b")}
    (made.project / "go").touch()
    for name in ("a", "b"):
        made.ended(name)
    assert {first(made, "c").pid, owner_of(made, made.task("false", name="d")).pid} <= owners
    assert len(owners) == 2


def test_nothing_of_one_attempt_is_found_by_the_next(made):
    (made.project / "sub").mkdir()
    before = {"env": {"LEFT": "over"}, "cwd": "sub", "output": "out/before", "timeout": 1000.0}
    end_of_before = made.python("import os; os.umask(0); os.mkdir('../out/before')", name="before", **before)
    owners = [
        owner_of(made, made.python(LOOK, name="as first")),
        owner_of(made, end_of_before),
        owner_of(made, made.python(LOOK, name="as third")),
    ]
    assert len(set(owners)) == 1
    assert made.log("as third") == made.log("as first") != ""


def test_no_descriptor_stays_open_from_one_attempt_to_the_next(made):
    owner = first(made)
    open_ones = Path(f"/proc/{owner.pid}/fd")
    before = len(list(open_ones.iterdir()))
    missing = made.task("no-such-program", name="missing")
    assert made.run(missing).outcome == Exited(127)
    tasks = [made.task("true", name="fine"), made.task("sh", "-c", "sleep 1000 & exit 3", name="leaves")]
    assert {owner_of(made, task) for task in tasks} == {owner}
    assert made.end("leaves").swept == 1
    assert len(list(open_ones.iterdir())) == before


@pytest.mark.parametrize("left", ["nothing", "a stop", "a child"])
def test_a_process_with_something_left_of_an_attempt_owns_no_other(left):
    pid = os.fork()
    if pid == 0:
        signal.pthread_sigmask(signal.SIG_BLOCK, watch.SIGNALS)
        if left == "a stop":
            signal.raise_signal(signal.SIGTERM)
        if left == "a child" and os.fork() == 0:
            os._exit(0)
        os._exit(shim._is_as_it_began())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == (left == "nothing")


def test_no_more_wait_for_an_order_than_leave_descriptors_for_all_else(made, monkeypatch):
    monkeypatch.setattr(os, "sysconf", {"SC_OPEN_MAX": 8}.__getitem__)
    names = ("a", "b", "c", "d")
    for name in names:
        made.start(made.task(*WAITS, name=name))
    owners = [made.claimed(name).owner.pid for name in names]
    (made.project / "go").touch()
    for name in names:
        made.ended(name)
    wait_until(lambda: sum(map(is_gone, owners)) == 2, "two of four are gone")
    assert len(made.runner._idle) == 2


# ---- nobody is stopped for another ----


def test_a_shim_that_was_stopped_ends_with_its_attempt(made):
    made.start(made.task(*WAITS, name="stopped"))
    owner = made.claimed("stopped").owner
    made.runner.stop("stopped", 1, kill=False)
    assert made.ended("stopped").stopped == "worker"
    assert first(made, "next") != owner
    wait_until(lambda: is_gone(owner.pid), "its process is gone")


def test_a_shim_whose_end_does_not_stand_ends_with_its_attempt(made):
    made.start(made.task(*WAITS, name="taken"))
    claim = made.claimed("taken")
    made.queue().end_as_lost(claim, Lost("killed"))
    (made.project / "go").touch()
    assert made.ended("taken").outcome == Lost("killed")
    wait_until(lambda: is_gone(claim.owner.pid), "its process is gone")


def test_a_shim_that_was_stopped_as_it_told_its_end_is_given_no_order(made):
    made.start(made.task(*WAITS, name="first"))
    owner = made.claimed("first").owner
    (made.project / "go").touch()
    wait_until(lambda: waits_for_an_order(owner.pid), "it has told its end, which is not read")
    made.runner.stop("first", 1, kill=False)
    made.ended("first")
    assert made.runner._idle == []
    assert first(made, "next") != owner


def test_a_stop_that_comes_while_the_end_is_written_stops_no_other_attempt(made):
    made.start(made.task(*WAITS, name="first"))
    owner = made.claimed("first").owner
    hidden = (made.folder / "ends").rename(made.folder / "away")
    (made.project / "go").touch()
    made.warned("the end can't be written yet")
    os.kill(owner.pid, signal.SIGTERM)
    hidden.rename(made.folder / "ends")
    assert made.ended("first").outcome == Exited(0)
    assert made.runner._idle == []
    assert first(made, "next") != owner


def test_whoever_stops_an_attempt_that_is_over_does_not_stop_the_one_that_its_process_has_now(made):
    first(made)
    made.start(made.task(*WAITS, name="next"))
    assert made.claimed("next").owner == made.claim("first").owner
    assert not proof.stop(made.claim("first"))
    assert proof.stop(made.claim("next"))
    assert made.ended("next").stopped == "worker"
    wait_until(lambda: is_gone(made.claim("next").owner.pid), "its process is gone")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT, signal.SIGKILL])
def test_an_idle_shim_may_be_ended_by_anybody(made, number):
    owner = first(made)
    os.kill(owner.pid, number)
    wait_until(lambda: is_gone(owner.pid), "it is dead")
    other = first(made, "next")
    assert other != owner
    assert first(made, "last") == other


# ---- nobody waits in vain ----


def test_an_order_that_a_halted_shim_can_not_hold_goes_to_another(made):
    owner = first(made)
    os.kill(owner.pid, signal.SIGSTOP)
    big = made.task("true", *["x" * 100_000] * 4, name="big")
    assert owner_of(made, big) != owner
    os.kill(owner.pid, signal.SIGCONT)
    wait_until(lambda: is_gone(owner.pid), "half an order makes it end")


def test_an_order_goes_to_no_dead_shim_whose_line_its_launcher_holds(made):
    owner = first(made)
    launcher = made.runner._process.pid
    os.kill(launcher, signal.SIGSTOP)  # as if it saw to it that nothing lives that another dead shim left
    os.kill(owner.pid, signal.SIGKILL)
    wait_until(lambda: is_gone(owner.pid), "it is dead")
    made.start(made.task("true", name="next"))
    os.kill(launcher, signal.SIGCONT)
    assert made.ended("next").outcome == Exited(0)
    assert not any(isinstance(event, Refused) for event in made.events)


def test_an_order_that_its_shim_has_not_read_as_it_dies_is_no_attempt(made):
    owner = first(made)
    os.kill(owner.pid, signal.SIGSTOP)
    made.start(made.task("true", name="next"))
    os.kill(owner.pid, signal.SIGKILL)
    assert made.refused("next").why == "behind"
    assert not any(isinstance(event, Vanished) for event in made.events)
    assert first(made, "next") != owner


def test_idle_shims_end_with_their_scheduler(made):
    owner = first(made)
    made.runner.close()
    wait_until(lambda: is_gone(owner.pid), "it is gone")
    made.runner = LocalRunner(made.around)


def test_idle_shims_end_with_their_launcher_that_would_sweep_what_they_leave(made):
    owner = first(made)
    made.start(made.task(*WAITS, name="runs"))
    first(made, "second")
    made.runner._process.kill()
    wait_until(lambda: made.listen() or made.runner._launcher is None, "its scheduler has heard of it")
    (made.project / "go").touch()
    made.ended("runs")
    assert first(made, "next") not in {owner, made.claim("second").owner}
    wait_until(lambda: is_gone(owner.pid), "it is gone")


def test_the_death_of_another_workers_process_is_learnt_for_the_attempt_that_it_has_now(made):
    other = LocalRunner(made.around)
    try:
        made.run(made.task("true", name="a"))
        other.watch(made.claim("a"))
        assert [event.end.task for event in other.wait(0)] == ["a"]
        open_before = len(list(DESCRIPTORS.iterdir()))
        for name in ("b", "c"):
            (made.project / "go").unlink(missing_ok=True)
            made.start(made.task(*WAITS, name=name))
            claim = made.claimed(name)
            other.watch(claim)
            assert len(list(DESCRIPTORS.iterdir())) == open_before + 1
            if name == "b":
                (made.project / "go").touch()
                made.ended(name)
        assert claim.owner == made.claim("a").owner
        os.kill(claim.owner.pid, signal.SIGKILL)
        told = []
        wait_until(lambda: told.extend(other.wait(0.05)) or told, "its death is heard")
        assert told == [Vanished("c", 1, "killed")]
    finally:
        other.close()
