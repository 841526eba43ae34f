"""Does `explain` give the true reason for each way a task can stand?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from parallel_train.core import explain
from parallel_train.core.apply import apply
from parallel_train.core.events import Launched, RoundOpened
from parallel_train.core.explain import Reason, differences, reason
from parallel_train.core.facts import TIME_UP
from parallel_train.core.situation import Wishes
from parallel_train.core.task import late
from tests.support.builders import (
    Lost,
    Signalled,
    claim,
    claimed,
    ended,
    found,
    ran,
    round_,
    situation,
    task,
)

A = task("a", output="out/a")
B = task("b", needs="a")
OLD = {"identity": "old"}


def old_run(outcome: int = 0) -> list:
    return [claimed(A, **OLD), ended(A, outcome=outcome, output="there")]


CASES = {
    "first": ([A], [], "run", explain.FirstRun),
    "done": ([A], [ran(A, output="there")], "skip", explain.DoneByUs),
    "found": ([A], [found(A)], "skip", explain.OutputExists),
    "stale runs": ([A], [old_run()], "run", explain.Changed),
    "gone": ([A], [ran(A, output="there"), found(A, "missing")], "run", explain.OutputGone),
    "failed": ([A], [ran(A, outcome=3)], "skip", explain.Failed),
    "cut off": ([A], [ran(A, outcome=Signalled(2), stopped="worker")], "run", explain.GoesOn),
    "out of time": ([A], [ran(A, outcome=Signalled(2), stopped=TIME_UP)], "run", explain.GoesOn),
    "lost": ([A], [ran(A, outcome=Lost("killed"))], "run", explain.GoesOn),
    "asked": ([A], [RoundOpened(round_(A))], "run", explain.AskedFor),
    "running": ([A], [claimed(A)], "wait", explain.RunsNow),
    "back-off": ([task("a", retries=2)], [ran(A, outcome=3, seconds=1.0)], "wait", explain.BackOff),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_each_way_to_stand(case):
    tasks, events, decision, why = case
    got = reason(situation(*tasks, events=events), "a")
    assert (got.decision, type(got.why)) == (decision, why)


def test_a_launch_without_a_claim_is_starting():
    s = situation(A)
    apply(s, Launched("a", 1, ("gpu-0",), 0.0))
    assert reason(s, "a") == Reason("wait", explain.RunsNow(1, None))


def test_needs():
    c = task("c", needs="a b")
    s = situation(A, B, c)
    assert reason(s, "b") == Reason("wait", explain.NeedOpen("a", 0))
    assert reason(s, "c") == Reason("wait", explain.NeedOpen("b", 1))
    s = situation(A, B, c, events=[ran(A, outcome=1)])
    assert reason(s, "b") == Reason("abort", explain.NeedFailed("a", "failed"))
    assert reason(s, "c") == Reason("abort", explain.NeedFailed("a", "failed"))


def test_a_need_made_again_is_named():
    events = [ran(A), ran(B), RoundOpened(round_(A)), claimed(A, 2, round=2), ended(A, 2)]
    assert reason(situation(A, B, events=events), "b") == Reason("run", explain.NeedChanged(("a",)))


def test_readers_hold_back_an_output():
    events = [*old_run(), claimed(B), RoundOpened(replace(round_(A, why="changed"), aside=True))]
    assert reason(situation(A, B, events=events), "a") == Reason("wait", explain.HasReaders(("b",)))


def test_failures_are_repeated_only_when_wished():
    s = situation(A, events=[ran(A, outcome=3)], wishes=Wishes(repeat=frozenset("a")))
    got = reason(s, "a")
    assert got.decision == "run"
    assert isinstance(got.why, explain.FailedBefore)
    assert got.why.end == s.lines["a"].attempts[0].end


def test_what_may_not_open_another_round_is_stale():
    s = situation(A, events=[old_run()])
    s.opened.add("a")
    s.to_open.clear()
    assert reason(s, "a") == Reason("skip", explain.Stale("succeeded", "changed"))


def test_another_wording_may_supersede():
    s = situation(A, events=[RoundOpened(replace(round_(A), identity="another"), ours=True)])
    assert reason(s, "a") == Reason("abort", explain.Superseded())


def test_running_names_its_claim():
    assert reason(situation(A, events=[claimed(A, gpus="1")]), "a").why == explain.RunsNow(1, claim(A, gpus="1"))


def test_the_former_wording_says_what_changed():
    former = task("a", output="out/a", params={"lr": 0.1})
    s = situation(replace(A, params={"lr": 0.01}), events=[old_run()])
    assert reason(s, "a", former).why == explain.Changed(("params.lr: 0.1 -> 0.01",))


NOTHING = task("t")
DIFFERENCES = [
    ({}, {}, ()),
    ({"params": {"lr": 0.1}}, {"params": {"lr": 0.01}}, ("params.lr: 0.1 -> 0.01",)),
    ({"params": {"n": 1}}, {"params": {"n": 1.0}}, ("params.n: 1 -> 1.0",)),
    ({"params": {"n": float("nan")}}, {"params": {"n": float("nan")}}, ()),
    ({"params": {"a": 1}}, {"params": {"b": "x"}}, ("params.a: removed (1)", "params.b: added (x)")),
    (
        {"command": ("a", "b")},
        {"command": ("a", "c", "d")},
        ("command: word 2: b -> c", "command: word 3 added (d)"),
    ),
    ({"command": ("a", "b")}, {"command": ("a",)}, ("command: word 2 removed (b)",)),
    ({"command": (late("python"),)}, {"command": ("py",)}, ("command: word 1: {python} -> py",)),
    ({"env": {"X": "1"}}, {"env": {"X": "2"}}, ("env.X: 1 -> 2",)),
    ({"env": {"HF_TOKEN": "old"}}, {"env": {"HF_TOKEN": "new"}}, ("env.HF_TOKEN: changed",)),
    ({"output": None}, {"output": "out"}, ("output: none -> out",)),
    ({"retries": 1}, {"retries": 2}, ()),
]


@pytest.mark.parametrize(("old", "new", "expected"), DIFFERENCES)
def test_differences(old, new, expected):
    assert differences(replace(NOTHING, **old), replace(NOTHING, **new)) == expected


@pytest.mark.parametrize(
    ("inputs", "needs", "said"),
    [
        (("a.csv",), (), "the content of a.csv"),
        (("a.csv", "b.csv"), (), "the content of an input"),
        (("a.csv",), ("n",), "the content of a.csv, or what it needs"),
        ((), ("n",), "what it needs"),
    ],
)
def test_where_the_wording_is_the_same_what_lies_behind_it_has_changed(inputs, needs, said):
    new = replace(NOTHING, inputs=inputs, needs=needs)
    assert differences(new, new) == ()
    assert differences(replace(new, identity="other"), new) == (said,)


def test_differences_are_bounded():
    old, new = ({f"p{n}": letter * 1000 for n in range(1000)} for letter in "ab")
    got = differences(replace(NOTHING, params=old), replace(NOTHING, params=new))
    assert len(got) == 7
    assert got[-1] == "and 994 more"
    assert max(map(len, got)) < 120
