"""Does a worker that forgets what has succeeded still know all that decisions hang on?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from parallel_train.core.apply import apply
from parallel_train.core.events import Requested, RoundOpened
from parallel_train.core.facts import Request
from parallel_train.core.situation import abridge
from parallel_train.core.state import Ended
from tests.support.builders import NotStarted, claimed, ended, found, ran, round_, situation, task

NEED = task("need", number=1)
A = task("a", number=2, output="out/a", needs="need", retries=1)
AGAIN = [RoundOpened(round_(A)), claimed(A, 2, round=2)]
DONE = [*ran(NEED), *ran(A, output="there")]
HISTORIES = {
    "nothing": [],
    "it runs": [*ran(NEED), claimed(A)],
    "it failed": [*ran(NEED), *ran(A, 1, 1)],
    "it succeeded": DONE,
    "at the second attempt": [*ran(NEED), *ran(A, 1, 1), *ran(A, 2, output="there")],
    "it is asked for again": [*DONE, *AGAIN[:1]],
    "it runs again": [*DONE, *AGAIN],
    "it failed then": [*DONE, *AGAIN, ended(A, 2, 1)],
    "it was not started then": [*DONE, *AGAIN, ended(A, 2, NotStarted("paused"))],
    "it succeeded again": [*DONE, *AGAIN, ended(A, 2, output="there")],
    "another identity": [*DONE, RoundOpened(round_(replace(A, identity="x")))],
    "its need ran again": [*DONE, RoundOpened(round_(NEED)), claimed(NEED, 2, round=2), ended(NEED, 2)],
    "its output is gone": [*DONE, found(A, "missing")],
    "a cancel came too late": [*DONE, Requested(Request(1, "cancel", {"a": 1}))],
    "the second round was cancelled": [*DONE, *AGAIN[:1], Requested(Request(1, "cancel", {"a": 2}))],
    "the first one, after the second": [
        *DONE,
        RoundOpened(round_(A, why="changed")),
        claimed(A, 2, round=2),
        ended(A, 2, output="there"),
        Requested(Request(1, "cancel", {"a": 1})),
    ],
    "the first one, that had failed": [
        *ran(NEED),
        *ran(A, 1, 1),
        *ran(A, 2, 1),
        RoundOpened(round_(A, why="failed before", aside=False)),
        claimed(A, 3, round=2),
        ended(A, 3, output="there"),
        Requested(Request(1, "cancel", {"a": 1})),
    ],
    "was made from something else": [*ran(NEED), *ran(replace(A, identity="former"), output="there")],
}


def facts(line):
    return (
        line.state,
        line.round,
        line.next_attempt,
        line.has_succeeded,
        line.is_untouched,
        line.aside_due,
        line.is_cancelled,
        sorted(line.rounds_succeeded),
    )


@pytest.mark.parametrize("events", HISTORIES.values(), ids=HISTORIES.keys())
def test_what_follows_from_a_history_is_the_same(events):
    whole, brief, late = situation(NEED, A), situation(NEED, A), situation(NEED, A)
    abridge(brief)
    for event in events:
        for each in (whole, brief, late):
            apply(each, event)
    abridge(late)
    for name in ("need", "a"):
        assert facts(brief.lines[name]) == facts(late.lines[name]) == facts(whole.lines[name])
    assert brief.to_open == late.to_open == whole.to_open


def test_nothing_is_kept_of_what_succeeded_and_all_of_the_rest():
    s = situation(NEED, A, events=[*ran(NEED), *ran(A, 1, 1)])
    abridge(s)
    assert (len(s.lines["need"].attempts), len(s.lines["a"].attempts)) == (0, 1)
    for event in ran(A, 2, output="there"):
        apply(s, event)
    assert s.lines["a"].attempts == ()
    for event in (claimed(A, 2), ended(A, 2, 1)):  # told again
        apply(s, event)
    assert s.lines["a"].state == Ended("succeeded", 2)
