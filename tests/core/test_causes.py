"""Does the chain of causes end where the fault is, and do the steps fit what is found there?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from parallel_train.core import explain
from parallel_train.core.causes import Outlook, Place, Step, chain, order, place, standing, steps
from parallel_train.core.differences import Change, changes
from parallel_train.core.events import Launched, Requested, RoundOpened, Submitted
from parallel_train.core.facts import Request
from parallel_train.core.situation import Wishes
from tests.support.builders import Lost, NotStarted, Signalled, claimed, ended, found, ran, round_, situation, task

A = task("a", output="out/a", number=1)
B = task("b", needs="a", number=2)
C = task("c", needs="b", number=3)
TRIAL = replace(A, is_call=True)
OLD = {"identity": "old"}
NOBODY = Outlook(is_worked_on=False, sources=dict.fromkeys("abc", "f.yaml"))
SOMEBODY = replace(NOBODY, is_worked_on=True)
UNNAMED = Outlook(is_worked_on=True, sources={})
NO_FILE = Outlook(is_worked_on=True, sources=dict.fromkeys("abc", ""))


def asked(kind: str, *tasks: str, number: int = 1, value: int = 1) -> Requested:
    return Requested(Request(number, kind, dict.fromkeys(tasks, value)))  # type: ignore[arg-type]


FAILED = [ran(A, outcome=3)]
CHAINS = {
    "alone": ([], "a", "a", explain.FirstRun),
    "a need of a need that failed": (FAILED, "c", "cba", explain.Failed),
    "a need of a need that was cancelled": ([asked("cancel", "a")], "c", "cba", explain.Cancelled),
    "a need of a need that waits for a person": ([asked("pause", "a")], "c", "cba", explain.Paused),
    "the queue waits for a person": ([asked("pause")], "c", "cba", explain.Paused),
    "a need that runs": ([claimed(A)], "b", "ba", explain.RunsNow),
    "a need that is stale": ([claimed(A, **OLD), ended(A)], "c", "cba", explain.Changed),
    "readers": (
        [claimed(A, **OLD), ended(A), claimed(B), RoundOpened(round_(A, why="changed"))],
        "a",
        "ab",
        explain.RunsNow,
    ),
    "done": ([ran(A), ran(B)], "c", "c", explain.FirstRun),
}


@pytest.mark.parametrize("case", CHAINS.values(), ids=CHAINS.keys())
def test_a_chain_ends_where_it_hangs_on_no_other(case):
    events, of, names, root = case
    links = chain(situation(A, B, C, events=events), of)
    assert "".join(link.task for link in links) == names
    assert type(links[-1].reason.why) is root


def test_the_canary_is_in_the_chain():
    wishes = Wishes(canaries={("", 0): "a"})
    links = chain(situation(A, task("b", number=2), events=FAILED, wishes=wishes), "b")
    assert [link.task for link in links] == ["b", "a"]


STEPS = {
    "first": ([], "a", NOBODY, [Step("worker", "a")]),
    "worked on": ([], "a", SOMEBODY, []),
    "failed": (FAILED, "a", NOBODY, [Step("logs", "a"), Step("retry", "a")]),
    "aborted": (FAILED, "c", SOMEBODY, [Step("logs", "a"), Step("retry", "c")]),
    "cancelled": ([asked("cancel", "a")], "a", NOBODY, [Step("retry", "a")]),
    "done": ([ran(A)], "a", NOBODY, [Step("again", "a")]),
    "done, of no file": ([ran(A)], "a", NO_FILE, [Step("retry", "a")]),
    "found": ([found(A)], "a", NOBODY, [Step("again", "a")]),
    "stale": ([claimed(A, **OLD), ended(A)], "a", NOBODY, [Step("run", "a")]),
    "behind a stale one": ([claimed(A, **OLD), ended(A)], "c", NOBODY, [Step("run", "c")]),
    "runs": ([claimed(A)], "a", SOMEBODY, [Step("follow", "a"), Step("cancel", "a")]),
    "a trial of a search, which has no log": (
        [Submitted("s", (TRIAL,)), claimed(TRIAL, log="")],
        "a",
        SOMEBODY,
        [Step("cancel", "a")],
    ),
    "a trial of a search, which has no log, and failed": (
        [Submitted("s", (TRIAL,)), claimed(TRIAL, log=""), ended(TRIAL, 1, 3)],
        "a",
        SOMEBODY,
        [Step("retry", "a")],
    ),
    "is being started": ([Launched("a", 1, ("gpu-0",), 0.0)], "a", SOMEBODY, [Step("cancel", "a")]),
    "behind one that runs": ([claimed(A)], "b", SOMEBODY, [Step("follow", "a"), Step("cancel", "a")]),
    "paused": ([asked("pause", "a")], "a", NOBODY, [Step("resume", "a")]),
    "queue paused": ([asked("pause")], "a", NOBODY, [Step("resume all", "a")]),
    "paused behind one that runs": (
        [claimed(A), asked("pause", "b"), asked("pause", number=2)],
        "b",
        SOMEBODY,
        [Step("resume all", "b"), Step("resume", "b"), Step("follow", "a"), Step("cancel", "a")],
    ),
    "resumed": ([asked("pause"), asked("resume", number=2)], "a", SOMEBODY, []),
    "superseded": ([RoundOpened(replace(round_(A), identity="x"), ours=True)], "a", NOBODY, [Step("run", "a")]),
    "no file names it": (FAILED, "a", UNNAMED, [Step("logs", "a")]),
    "no file names it, ready": ([], "a", UNNAMED, []),
}


@pytest.mark.parametrize("case", STEPS.values(), ids=STEPS.keys())
def test_only_steps_that_fit_are_named(case):
    events, of, outlook, expected = case
    s = situation(A, B, C, events=events)
    assert list(steps(s, chain(s, of), outlook)) == expected


def test_a_back_off_needs_nobody():
    s = situation(replace(A, retries=2), events=FAILED)
    assert list(steps(s, chain(s, "a"), SOMEBODY)) == [Step("logs", "a")]


# ---- the order ----


def test_the_place_is_by_priority_then_number_and_by_kind_of_slot():
    tasks = [task(name, number=number) for number, name in enumerate("abcdef", start=1)]
    tasks[3] = replace(tasks[3], priority=5)
    tasks[4] = replace(tasks[4], gpus=0)
    s = situation(*tasks, events=[claimed(tasks[0]), asked("priority", "f", value=7)])
    everyone = order(s, set("abcdef"))
    assert place(everyone, s.lines["c"]).ahead == ("f", "d", "b")
    assert place(everyone, s.lines["c"]).running == ("a",)
    assert place(everyone, s.lines["f"]).ahead == ()
    assert place(everyone, s.lines["e"]) == Place((), ())
    assert place(order(s, set("abcde")), s.lines["c"]).ahead == ("d", "b")  # nothing starts what no file names
    assert steps(s, chain(s, "c"), SOMEBODY, ("f", "d"))[-1] == Step("priority", "c", 8)


# ---- which attempt decides ----


def test_each_attempt_has_its_standing():
    events = [
        [claimed(A), ended(A, outcome=NotStarted("paused"))],
        ran(A, 2, 1),
        RoundOpened(round_(A)),
        [claimed(A, 3, round=2), ended(A, 3, Lost("killed"))],
    ]
    s = situation(A, events=events)
    line = s.lines["a"]
    assert [standing(line, a) for a in line.attempts] == ["not started", "earlier round", "last"]
    s = situation(A, events=[*events, [claimed(A, 4, round=2), ended(A, 4, 1)]])
    assert [standing(s.lines["a"], a) for a in s.lines["a"].attempts[2:]] == ["followed", "decides"]
    s = situation(A, events=[*events, claimed(A, 4, round=2)])
    assert [standing(s.lines["a"], a) for a in s.lines["a"].attempts[2:]] == ["followed", "runs"]


def test_an_attempt_that_was_stopped_is_only_the_last_so_far():
    s = situation(A, events=[ran(A, outcome=Signalled(2), stopped="worker")])
    assert standing(s.lines["a"], s.lines["a"].attempts[0]) == "last"


# ---- what changed ----


def of(name: str, identity: str, **more: object):
    return task(name, identity=identity, **more)


THEN = {t.id: t for t in (of("a", "a1", inputs=("x", "y")), of("b", "b1", needs="a"), of("c", "c1", needs="b"))}
CHANGES = {
    "nothing": ({}, "c", ()),
    "an input": ({"a": of("a", "a2", inputs=("x", "y"))}, "a", (Change("a", inputs=("x", "y")),)),
    "the wording of a need of a need": (
        {"a": of("a", "a2", inputs=("x", "y"), params={"n": 1}), "b": of("b", "b2", needs="a")},
        "b",
        (Change("a", ("params.n: added (1)",)),),
    ),
    "itself and a need": (
        {"a": of("a", "a2", inputs=("z",)), "b": of("b", "b2", needs="a", cwd="sub")},
        "b",
        (Change("b", ("cwd: . -> sub",)), Change("a", ('inputs: ["x", "y"] -> ["z"]',))),
    ),
    "a need that is new": (
        {"b": of("b", "b2", needs="a d"), "d": of("d", "d1")},
        "b",
        (Change("b", ("needs: changed",)),),
    ),
}


@pytest.mark.parametrize("case", CHANGES.values(), ids=CHANGES.keys())
def test_what_changed_is_named_where_it_changed(case):
    now, name, expected = case
    assert changes(THEN, THEN | now, name) == expected
