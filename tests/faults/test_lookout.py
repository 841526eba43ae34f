"""Does the onlooker of several hosts see what happens, and can its judge fail?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from parallel_train.store import queue, records
from tests.faults.checker import History
from tests.faults.lookout import LATE_WRITES, STALL, Judge, Lookout, Seen, Strike, late
from tests.support.sweep import Effect
from tests.support.wait import wait_until

A1, A2 = ("A", 1), ("A", 2)
LATER = "1 10.0\n1 11.0\n2 14.0\n1 15.001\n2 15.1\n"


def judge(why: str, silence: float, *strikes: Strike, lines: str = "") -> Judge:
    """Attempt 1 of `a`, on the boot "x", was claimed at 10 and lost at 13 after so much silence."""
    told = History({"A": "a"})
    told.ends = {A1: {"outcome": {"lost": why}}, A2: {"outcome": {"exited": 0}}}
    seen = {
        A1: Seen({"boot": "x", "pid": 11, "start": 1}, 10.0, 13.0 - silence, ended=13.0, lost=why),
        A2: Seen({"boot": "y", "pid": 11, "start": 1}, 13.5, 13.5, ended=20.0),
    }
    made = Judge(told, seen, strikes, lease=2.0)
    made.on_ends()
    made.on_output("a", lines)
    return made


SUSPENDED = Strike("pause", "host", "x", 11.0, 15.0)
POWER_LOSS = Strike("kill", "host", "x", 11.0)
NOT_ITS_OWN = {
    "another host": Strike("kill", "host", "y", 11.0),
    "too early": Strike("kill", "host", "x", 9.0),
    "too late": Strike("kill", "host", "x", 14.0),
    "the same pid on another host": Strike("kill", "shim", "y", 11.0, shim=(11, 1)),
    "another shim": Strike("kill", "shim", "x", 11.0, shim=(12, 1)),
    "its shim in a later attempt": Strike("kill", "shim", "x", 14.0, shim=(11, 1)),
    "the scheduler": Strike("kill", "scheduler", "x", 11.0),
    "the launcher": Strike("kill", "launcher", "x", 11.0),
    "a pause": SUSPENDED,
}


def test_what_was_killed_with_its_host_or_shim_may_be_lost():
    assert judge("killed", 0.1, Strike("kill", "shim", "x", 12.0, shim=(11, 1))).faults == []
    found = judge("rebooted", 0.1, POWER_LOSS)
    assert (found.faults, found.struck, found.starved) == ([], {A1}, 0)


@pytest.mark.parametrize("strike", NOT_ITS_OWN)
def test_what_nobody_killed_may_not(strike: str):
    assert judge("killed", 3.0, NOT_ITS_OWN[strike]).faults == ["a.1 is lost (killed), and nobody killed it"]


def test_a_takeover_needs_a_lease_of_silence_whatever_happened():
    found = judge("expired", 1.5, POWER_LOSS)
    assert found.faults == ["a.1 was taken over after 1.50 s of silence at most"]


def test_silence_that_nobody_made_is_told_apart():
    assert judge("expired", 2.5, SUSPENDED).starved == 0
    found = judge("expired", 2.5, Strike("pause", "scheduler", "x", 11.0, 15.0))
    assert (found.starved, found.faults) == (1, [])


def test_late_writes_are_excused_for_a_moment_after_the_whole_host_came_back():
    found = judge("expired", 2.5, SUSPENDED, lines=LATER)
    assert (found.faults, found.late_writes, round(found.most_late, 3)) == ([], 1, 0.001)


def test_so_are_the_last_words_of_an_attempt_that_was_lost():
    found = judge("expired", 2.5, SUSPENDED)
    late, early = Effect("a", 1, 5, 4, "0", [], 10.0, 15.1, 0), Effect("a", 1, 5, 4, "0", [], 9.5, 9.9, 0)
    other = Effect("a", 2, 5, 4, "0", [], 14.0, 15.1, 0)
    assert list(found.on_effects([late, early, other])) == [replace(late, ended=None, code=None), early, other]
    assert found.late_writes == 1


@pytest.mark.parametrize(
    "strike",
    [
        Strike("pause", "shim", "x", 11.0, 15.0, A1),
        Strike("pause", "host", "x", 11.0, 15.001 - STALL),
        Strike("pause", "host", "y", 11.0, 15.0),
    ],
)
def test_other_late_writes_are_not(strike: Strike):
    (said,) = judge("expired", 2.5, strike, lines=LATER).faults
    assert said.startswith("a.1 wrote to its output after a later attempt had begun to, 1 times")


def test_neither_is_one_that_does_not_stop():
    lines = "1 10.0\n2 14.0\n" + "1 15.001\n" * (LATE_WRITES + 1)
    assert len(judge("expired", 2.5, SUSPENDED, lines=lines).faults) == LATE_WRITES + 1


def test_what_was_stamped_before_the_pause_may_be_written_after_it():
    found = judge("expired", 2.5, SUSPENDED, lines="1 10.0\n2 14.0\n1 11.001\n")
    assert (found.faults, found.late_writes, found.most_late) == ([], 1, 0.0)


def test_writes_one_after_the_other_are_not_late():
    assert list(late("1 1.0\n1 2.0\n2 3.0\n3 4.0\n")) == []


def test_silence_that_was_over_while_the_end_was_written_counts():
    seen = Seen({}, 10.0, 13.0, ended=13.5, silences=[(2.5, 13.0)])
    assert seen.silence == 2.5
    seen.ended = 14.1
    assert seen.silence == pytest.approx(1.1)


def test_silence_is_counted_from_the_last_beat_that_moved(tmp_path: Path):
    queue.create(tmp_path)
    lookout = Lookout(tmp_path)
    began = lookout.looked
    records.publish(str(tmp_path / "claims" / "A.1"), [{"owner": {"boot": "x"}}])
    lookout.look()
    seen = lookout.attempts[A1]
    assert (seen.owner, seen.claimed, seen.moved) == ({"boot": "x"}, began, began)
    (tmp_path / "beats" / "A.1").write_text("1\n")
    before = lookout.looked
    lookout.look()
    assert seen.moved == before
    moved = lookout.looked
    lookout.look()
    assert seen.moved == before < moved
    records.publish(str(tmp_path / "ends" / "A.1"), [{"outcome": {"lost": "expired"}}])
    wait_until(lambda: lookout.look() or not lookout.living(), "its end is seen")
    assert seen.silence >= seen.ended - before > 0
    assert (seen.was_stolen(0.0), seen.was_stolen(60.0)) == (False, True)
