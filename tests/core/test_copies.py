"""Is a straggler's call made a second time only where the second is expected to end it first?"""

from __future__ import annotations

import pytest

from parallel_train.core.copies import worth_it
from parallel_train.core.facts import Attempt, Claim, End, Exited, Owner
from parallel_train.core.situation import Situation, Wishes
from parallel_train.core.slots import Pool
from parallel_train.core.state import Line
from parallel_train.core.task import Task


def claim(task: str, worker: str) -> Claim:
    return Claim(task, 1, 1, "", {}, Owner(worker, "", "", "", "", 1, 1), (), (), "", "")


NOW = 5000.0


def situation(**took: list[float]) -> Situation:
    """What is known where each of these workers has ended calls that took so long; mine is `me`."""
    s = Situation(Wishes(worker="me", calls=True), Pool())
    for worker, times in took.items():
        for number, seconds in enumerate(times):
            name = f"{worker}{number}"
            end = End(name, 1, Exited(0), output="there", seconds=seconds)
            s.lines[name] = Line(Task(name, ("f",), id=name), attempts=(Attempt(claim(name, worker), end),))
    return s


def running(s: Situation, name: str, worker: str = "slow", **task) -> Claim:
    """A call that this worker makes now."""
    made = claim(name, worker)
    s.lines[name] = Line(Task(name, ("f",), id=name, **{"is_call": True, **task}), attempts=(Attempt(made),))
    s.unwatched[name, 1] = made
    return made


@pytest.mark.parametrize(
    ("took", "elapsed", "worth_it_"),
    [
        ({}, 1000, False),  # nobody knows how long a call takes
        ({"me": [10]}, 0, False),  # it takes as long there as here
        ({"me": [10]}, 12, False),  # a little late: it may be over at any moment
        ({"me": [10]}, 16, True),  # late: as long again, as far as anybody knows
        ({"me": [10], "slow": [100]}, 1, True),  # 99 more there, 10 here
        ({"me": [10], "slow": [100]}, 95, False),
        ({"me": [100], "slow": [10]}, 16, False),  # slower here
        ({"me": [100], "slow": [10]}, 150, True),
        ({"other": [10]}, 16, True),  # who has ended none is taken to be as fast as all
        ({"me": [0.1]}, 0.2, False),  # it would save too little
    ],
)
def test_what_is_expected(took, elapsed, worth_it_):
    s = situation(**took)
    made = running(s, "x")
    assert worth_it(s, {("x", 1): NOW - elapsed}, NOW) == [made] * worth_it_


def test_what_runs_still_and_what_failed_says_nothing_of_how_long_a_call_takes():
    s = situation(me=[10])
    failed = Attempt(claim("failed", "slow"), End("failed", 1, Exited(1), seconds=1000))
    s.lines["failed"] = Line(Task("failed", ("f",), id="failed"), attempts=(failed,))
    made = running(s, "x")
    assert worth_it(s, {("x", 1): NOW - 16}, NOW) == [made]


@pytest.mark.parametrize("other", [{"is_call": False}, {"worker": "me"}, {"identity": "changed since"}])
def test_only_calls_of_others_as_they_were_claimed(other):
    s = situation(me=[10])
    running(s, "x", **other)
    assert worth_it(s, {("x", 1): 0.0}, NOW) == []


def test_what_was_never_seen_before_has_just_begun():
    s = situation(me=[10])
    running(s, "x")
    assert worth_it(s, {}, NOW) == []


def test_all_calls_are_judged_in_one_walk_over_the_lines():
    class Lines(dict):
        walks = 0

        def values(self):
            self.walks += 1
            return super().values()

    s = situation(me=[10])
    made = [running(s, name) for name in "abc"]
    s.lines = Lines(s.lines)
    assert worth_it(s, {(name, 1): 0.0 for name in "abc"}, NOW) == made
    assert s.lines.walks == 1
