"""Does a worker that forgets what has succeeded still know all that decisions hang on?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from parallel_train.core import state
from parallel_train.core.apply import apply
from parallel_train.core.events import Claimed, Ended, Requested, RoundOpened
from parallel_train.core.facts import Owner, Request, claim_in, verdict
from parallel_train.core.situation import abridge
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


def repeating(end, claim):
    """The end as its shim writes it."""
    return replace(end, round=claim.round, identity=claim.identity, needs=claim.needs, worker=claim.owner.worker)


def by_ends(events):
    """The same history for somebody who reads of successes what their ends repeat."""
    claims = {(e.claim.task, e.claim.attempt): e.claim for e in events if isinstance(e, Claimed)}
    told = {}
    for end in (event.end for event in events if isinstance(event, Ended)):
        claim = claims[end.task, end.attempt]
        if verdict(end) == "succeeded":
            told[end.task, end.attempt] = claim_in(repeating(end, claim))
    return [
        replace(e, claim=told.get((e.claim.task, e.claim.attempt), e.claim)) if isinstance(e, Claimed) else e
        for e in events
    ]


@pytest.mark.parametrize("events", HISTORIES.values(), ids=HISTORIES.keys())
def test_what_follows_from_the_ends_of_successes_is_the_same(events):
    whole, brief = situation(NEED, A), situation(NEED, A)
    for each, history in ((whole, events), (brief, by_ends(events))):
        abridge(each)
        for event in history:
            apply(each, event)
    assert brief.lines == whole.lines
    assert brief.to_open == whole.to_open


def test_what_has_succeeded_is_not_run_again_because_its_claim_could_not_be_read_before():
    claim = claimed(A).claim
    unread = replace(claim, owner=Owner("", "", "", "", "", 0, 0), identity="", needs={})
    end = Ended(repeating(ended(A, output="there").end, claim))
    s = situation(NEED, A, events=[*ran(NEED), Claimed(unread), end])
    assert s.lines["a"].state == state.Ended("succeeded", 1)
    assert not s.to_open


def test_an_end_that_does_not_repeat_its_claim_says_none_of_it():
    assert claim_in(ended(A).end) is None


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
    assert s.lines["a"].state == state.Ended("succeeded", 2)
