"""Is nothing called needless that something still hangs on?"""

from __future__ import annotations

import pytest

from parallel_train.core import needless
from parallel_train.core.events import RoundOpened
from tests.support.builders import Lost, NotStarted, claimed, ended, ran, round_, situation, task

A = task("a", output="out/a")


def line(*events):
    return situation(A, events=events).lines["a"]


def again(attempt, outcome=0):
    return [claimed(A, attempt, round=2), ended(A, attempt, outcome, output="there")]


@pytest.mark.parametrize(
    ("events", "spare"),
    [
        ([], []),
        ([ran(A)], []),
        ([ran(A, 1, 1), ran(A, 2)], [1]),
        # the last that was started tells how it went, and the last of all what is going on
        ([ran(A, 1, 1), ran(A, 2, 1), claimed(A, 3)], [1]),
        ([ran(A, 1, 1), ran(A, 2, NotStarted("paused")), ran(A, 3, NotStarted("paused"))], [2]),
        ([ran(A, 1, NotStarted("paused")), claimed(A, 2)], [1]),
        # one without an end may still write
        ([claimed(A, 1), claimed(A, 2)], []),
    ],
)
def test_attempts_that_count_for_nothing(events, spare):
    assert [attempt.number for attempt in needless.attempts(line(*events))] == spare


@pytest.mark.parametrize(
    ("events", "is_needless"),
    [
        ([], False),
        ([again(2, 1)], False),
        ([claimed(A, 2, round=2)], False),
        ([again(2)], True),
        ([again(2), again(3, 1)], True),
        # while it runs its own output is no good one yet
        ([again(2), claimed(A, 3, round=2)], False),
    ],
)
def test_an_output_that_was_put_aside_is_kept_until_a_later_attempt_has_succeeded(events, is_needless):
    found = line(ran(A, output="there"), RoundOpened(round_(A)), *events)
    assert needless.is_aside_needless(found, 2) == is_needless


def test_an_attempt_that_somebody_else_ended_may_live_on():
    lost, own, running = line(ran(A, 1, Lost("expired")), ran(A, 2, 1), claimed(A, 3)).attempts
    assert [needless.is_lost(each) for each in (lost, own, running)] == [True, False, False]
