"""What becomes of an attempt whose queue, disk or slot is taken from under it?"""

from __future__ import annotations

import errno
import os
import signal
import socket

import pytest

from parallel_train.core.events import Claimed, Refused, Vanished, Warned
from parallel_train.core.facts import Exited, Lost
from parallel_train.procs import locks, shim
from parallel_train.procs.runner import _Shim
from tests.support.machine import is_gone, machine
from tests.support.wait import wait_until

WAITS = ("sh", "-c", "until test -e go; do sleep 0.01; done")


@pytest.fixture
def made(tmp_path):
    with machine(tmp_path) as one:
        yield one


def said(made, words):
    def look():
        made.listen()
        return any(words in event.text for event in made.events if isinstance(event, Warned))

    wait_until(look, f"'{words}' is said, only {made.events}")


def hidden(made, kind, *, stand_in=False):
    """Take a folder of the queue away; what brings it back."""
    folder, away = made.folder / kind, made.folder / f"{kind}.away"
    folder.rename(away)
    if stand_in:
        folder.write_text("")

    def bring_back():
        if stand_in:
            folder.unlink()
        away.rename(folder)

    return bring_back


# ---- the slot ----


def test_of_two_that_want_a_slot_in_one_moment_one_gets_it(made):
    device = made.device()
    for name in ("one", "two"):  # the second is asked for before the first can have taken it
        made.start(made.task(*WAITS, name=name), device)

    def are_both_told():
        made.listen()
        return len(made.events) == 2

    wait_until(are_both_told, "both are told")
    (claimed,) = (event.claim for event in made.events if isinstance(event, Claimed))
    (refused,) = (event for event in made.events if isinstance(event, Refused))
    assert {claimed.task, refused.task} == {"one", "two"}
    assert (refused.why, refused.slots, refused.text) == ("busy", (device.lock,), str(made.folder))
    (made.project / "go").touch()
    made.ended(claimed.task)


# ---- the claim ----


def order(made):
    return {
        "queue": str(made.folder),
        "project": str(made.project),
        "worker": made.worker,
        "task": "task",
        "attempt": 1,
        "round": 1,
        "identity": "x",
        "needs": {},
        "slots": [],
        "gpus": [],
        "cookie": "c",
        "group": "",
        "made_with": {},
        "lease": 300.0,
        "output": None,
        "log": "logs/x",
    }


def test_whoever_comes_second_by_an_instant_is_refused_and_leaves_no_logs(made, monkeypatch):
    link = os.link

    def beaten(source, target):
        monkeypatch.undo()
        made.publish("claims", "task.1")  # somebody else's, between our look and our link
        link(source, target)

    monkeypatch.setattr(os, "link", beaten)
    with pytest.raises(shim.RefusedError, match="claimed at the same moment") as refused:
        shim._claim(order(made))
    assert refused.value.why == "behind"
    assert list((made.project / "logs").iterdir()) == []


def test_where_only_one_of_two_logs_can_be_made_none_is_left(made, monkeypatch):
    opens = os.open

    def full(path, *rest, **more):
        if str(path).endswith(".err"):
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        return opens(path, *rest, **more)

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(OSError, match="quota"):
        shim._claim(order(made))
    monkeypatch.undo()
    assert list((made.project / "logs").iterdir()) == []


def test_a_shim_that_died_while_the_disk_does_not_say_whether_it_claimed_ends_nobody_else(made):
    bring_back = hidden(made, "claims", stand_in=True)
    with socket.socket() as line:
        dead = _Shim(("task", 1), -1, line)
        died = made.runner._died(dead)
        bring_back()
        assert isinstance(died, Refused)
        assert died.why == "behind"
        assert made.runner._died(dead).why == "trouble"


def test_what_a_killed_shim_told_by_half_stops_nobody(made):
    heard, line = socket.socketpair()
    with heard, line:
        line.send(b'{"claimed": {"task": "ta{"trouble": "process 1 does not die"}\n{"trouble": "more"}\n')
        made.runner._on_line(_Shim(("task", 1), -1, heard))
    assert [event.text for event in made.runner.wait(0.0)] == ["more"]


def test_a_thousand_logs_of_one_name_are_enough(made):
    for number in range(1, 1000):
        (made.project / ("logs/x" + (f"_{number}" if number > 1 else "") + ".log")).touch()
    with pytest.raises(FileExistsError, match="no name is free for a log like this: 'logs/x'"):
        shim._claim(order(made))
    assert not (made.folder / "claims" / "task.1").exists()


# ---- the start ----


@pytest.mark.parametrize("output", ["file/out", "file/deep/out"])
def test_an_output_for_which_no_folder_can_be_made_is_a_failure_that_says_why(made, output):
    (made.project / "file").write_text("")
    end = made.run(made.task("touch", "ran", output=output))
    assert (end.outcome, end.started) == (Exited(126), "")
    assert "could not be started" in end.note
    assert str(made.project / "file") in end.note
    assert not (made.project / "ran").exists()


def test_an_old_output_that_can_not_be_put_aside_stays_and_nothing_is_started(made):
    (made.project / "out").write_text("old")
    (made.folder / "aside").rmdir()
    (made.folder / "aside").write_text("")
    end = made.run(made.task("sh", "-c", "echo new > out", output="out"), round_=2, aside=2)
    assert end.started == ""
    assert (made.project / "out").read_text() == "old"


def test_after_a_takeover_an_attempt_that_is_ended_while_it_waits_starts_nothing(tmp_path):
    with machine(tmp_path, lease=1.2) as made:
        made.start(made.task("touch", "ran"), wait=60.0)
        claim = made.claimed()
        made.queue().end_as_lost(claim, Lost("expired"))
        said(made, "ended by somebody else")
        wait_until(lambda: is_gone(claim.owner.pid), "its shim is gone")
        assert not (made.project / "ran").exists()
        assert made.end().outcome == Lost("expired")


# ---- the end ----


def test_an_end_that_can_not_be_written_is_waited_out(made):
    made.start(made.task(*WAITS))
    made.claimed()
    bring_back = hidden(made, "ends")
    (made.project / "go").touch()
    said(made, "the end can't be written yet")
    bring_back()
    assert made.ended().outcome == made.end().outcome == Exited(0)


@pytest.mark.parametrize("is_made_anew", [False, True])
def test_an_attempt_whose_queue_was_deleted_writes_no_end_into_a_new_one(made, is_made_anew):
    made.start(made.task(*WAITS))
    owner = made.claimed().owner.pid
    (made.folder / "claims" / "task.1").unlink()
    if is_made_anew:
        made.publish("claims", "task.1")
    (made.project / "go").touch()
    said(made, "the queue was deleted under this attempt")
    assert isinstance(made.event(Vanished), Vanished)
    wait_until(lambda: is_gone(owner), "its shim is gone")
    assert list((made.folder / "ends").iterdir()) == []


def test_a_claim_that_can_not_be_seen_just_now_is_not_taken_for_deleted(made):
    made.start(made.task(*WAITS))
    made.claimed()
    bring_back = hidden(made, "claims", stand_in=True)
    (made.project / "go").touch()
    assert made.ended().outcome == Exited(0)
    bring_back()


@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_a_claim_that_was_damaged_is_our_own_all_the_same(made, content):
    made.start(made.task(*WAITS))
    made.claimed()
    path = made.folder / "claims" / "task.1"
    whole = path.read_bytes()
    path.write_bytes(content)
    (made.project / "go").touch()
    assert made.ended().outcome == made.end().outcome == Exited(0)
    path.write_bytes(whole)


@pytest.mark.parametrize("data", [{}, {"task": "task"}, {"outcome": 3}])
def test_an_end_that_nobody_can_read_is_none_for_whoever_watches(made, data):
    """He learns that its owner is dead, and what stands there when he tries to end it."""
    made.start(made.task("sleep", "600"))
    claim = made.claimed()
    made.publish("ends", "task.1", data)
    os.kill(claim.owner.pid, signal.SIGKILL)
    assert made.event(Vanished).why == "killed"
    assert made.queue().end_as_lost(claim, Lost("killed")).end.outcome == Lost("damaged")


def test_a_held_lock_says_whose_it_is(made):
    device = made.device()
    made.start(made.task(*WAITS), device)
    made.claimed()
    assert locks.queue_of_holder(device.lock) == str(made.folder)
    (made.project / "go").touch()
    made.ended()
