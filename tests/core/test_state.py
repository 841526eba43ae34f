"""Which state follows from which history?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from parallel_train.core import policy
from parallel_train.core.events import Launched, RoundOpened
from parallel_train.core.facts import End, verdict
from parallel_train.core.situation import Wishes
from parallel_train.core.state import Ended, Ready, Running, Waiting, count
from tests.support.builders import (
    Exited,
    Lost,
    NotStarted,
    Signalled,
    TimedOut,
    claimed,
    ended,
    found,
    ran,
    round_,
    situation,
    task,
)

A = task("a")
OUT = task("a", output="out/a")
RETRY = task("a", retries=2)
CALL = task("a", retries=2, is_call=True)
FAILED = [event for number in (1, 2, 3) for event in ran(CALL, number, 1)]
OTHER = replace(A, identity="another")


def state(*events, of=A):
    return situation(of, events=events).lines[of.id].state


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (End("a", 1, Exited(0)), "succeeded"),
        (End("a", 1, Exited(0), output="there"), "succeeded"),
        (End("a", 1, Exited(0), output="missing"), "failed"),
        (End("a", 1, Exited(0), output="empty"), "failed"),
        (End("a", 1, Exited(0), output="not done"), "failed"),
        (End("a", 1, Exited(1)), "failed"),
        (End("a", 1, Exited(1), output="there"), "failed"),
        (End("a", 1, Signalled(11)), "failed"),
        (End("a", 1, TimedOut()), "failed"),
        (End("a", 1, TimedOut(), stopped="timeout"), "failed"),
        (End("a", 1, Exited(0), stopped="worker", output="there"), "free"),
        (End("a", 1, Exited(130), stopped="worker"), "free"),
        (End("a", 1, Signalled(9), stopped="worker"), "free"),
        (End("a", 1, NotStarted("a newer round was opened")), "free"),
        (End("a", 1, Lost("rebooted")), "free"),
        (End("a", 1, Lost("killed")), "lost"),
        (End("a", 1, Lost("damaged")), "lost"),
    ],
)
def test_what_an_end_means(end, expected):
    assert verdict(end) == expected


@pytest.mark.parametrize(
    ("events", "of", "expected"),
    [
        # nothing of ours
        ([], A, Ready()),
        ([], OUT, Ready()),
        ([found(OUT, "there")], OUT, Ended("skipped")),
        ([found(OUT, "empty")], OUT, Ready()),
        ([found(OUT, "not done")], OUT, Ready()),
        ([found(A, "none")], A, Ready()),
        # running
        ([Launched("a", 1, ("gpu-0",), 0.0)], A, Running(1, claimed=False)),
        ([claimed(A)], A, Running(1)),
        # ended
        (ran(A), A, Ended("succeeded", 1)),
        (ran(A, 1, 3), A, Ended("failed", 1)),
        (ran(OUT, output="there"), OUT, Ended("succeeded", 1)),
        (ran(OUT, output="missing"), OUT, Ended("failed", 1)),
        ([*ran(OUT, output="there"), found(OUT, "missing")], OUT, Ended("succeeded", 1, stale="output gone")),
        ([*ran(OUT, output="there"), found(OUT, "empty")], OUT, Ended("succeeded", 1, stale="output gone")),
        # an output beside a failed or interrupted attempt of ours proves nothing
        ([*ran(OUT, 1, 1), found(OUT, "there")], OUT, Ended("failed", 1)),
        ([*ran(OUT, 1, Lost("killed")), found(OUT, "there")], OUT, Ready()),
        ([*ran(OUT, 1, 0, stopped="worker"), found(OUT, "there")], OUT, Ready()),
        # an attempt that was not started leaves the task untouched
        ([*ran(OUT, 1, NotStarted("its worker left")), found(OUT, "there")], OUT, Ended("skipped")),
        # another identity
        (ran(OTHER), A, Ended("succeeded", 1, stale="changed")),
        (ran(OTHER, 1, 1), A, Ended("failed", 1, stale="changed")),
        (ran(OTHER, 1, Lost("killed")), A, Ended("failed", 1, stale="changed")),
        # rounds
        ([*ran(A), RoundOpened(round_(A))], A, Ready()),
        ([*ran(A), RoundOpened(round_(OTHER))], A, Ended("aborted", stale="changed")),
        ([RoundOpened(round_(OUT)), found(OUT, "there")], OUT, Ready()),
        # an attempt of an old round decides nothing for the new one
        ([*ran(A, 1, 1), RoundOpened(round_(A)), *ran(A, 2)], A, Ready()),
        ([*ran(A, 1, 1), RoundOpened(round_(A)), claimed(A, 2, round=2)], A, Running(2)),
        (
            [*ran(A), RoundOpened(round_(A)), claimed(A, 2, round=2), ended(A, 2, 1)],
            A,
            Ended("failed", 2),
        ),
        ([claimed(A), RoundOpened(round_(A)), ended(A)], A, Ready()),
        # a call that had failed is tried once more, not as often as at first
        (FAILED, CALL, Ended("failed", 3)),
        (
            [*FAILED, RoundOpened(round_(CALL, why="failed before")), claimed(CALL, 4, round=2), ended(CALL, 4, 1)],
            CALL,
            Ended("failed", 4),
        ),
        ([claimed(A), RoundOpened(round_(A))], A, Running(1)),
    ],
)
def test_the_state_after(events, of, expected):
    assert state(*events, of=of) == expected


def test_failures_are_repeated_within_the_round_and_only_so_often():
    for failures in (1, 2):
        got = state(*[ran(RETRY, n, 1) for n in range(1, failures + 1)], of=RETRY)
        assert got == Waiting(why="back-off", until=policy.backoff("a", failures))
    assert state(*[ran(RETRY, n, 1) for n in (1, 2, 3)], of=RETRY) == Ended("failed", 3)


def test_a_time_out_is_a_failure_that_is_repeated():
    assert isinstance(state(*ran(RETRY, 1, TimedOut()), of=RETRY), Waiting)
    assert state(*ran(A, 1, TimedOut())) == Ended("failed", 1)


def test_a_back_off_counts_from_the_end_as_this_process_learnt_of_it():
    seen = ended(RETRY, 1, 1)
    got = state(claimed(RETRY), replace(seen, at=500.0), of=RETRY)
    assert got == Waiting(why="back-off", until=500.0 + policy.backoff("a", 1))


@pytest.mark.parametrize("free", [NotStarted("x"), Lost("rebooted"), "stopped"])
def test_what_costs_nothing_may_come_any_number_of_times(free):
    events = []
    for n in range(1, 10):
        stopped = {"stopped": "worker"} if free == "stopped" else {}
        events += ran(RETRY, n, Signalled(15) if free == "stopped" else free, **stopped)
    assert state(*events, of=RETRY) == Ready()
    # and the failures after it are counted from the first
    assert isinstance(state(*events, *ran(RETRY, 10, 1), *ran(RETRY, 11, 1), of=RETRY), Waiting)
    assert state(*events, *[ran(RETRY, n, 1) for n in (10, 11, 12)], of=RETRY) == Ended("failed", 12)


def test_lost_costs_nothing_but_not_for_ever():
    assert state(*[ran(A, n, Lost("killed")) for n in range(1, 5)]) == Ready()
    assert state(*[ran(A, n, Lost("killed")) for n in range(1, 6)]) == Ended("failed", 5)


def test_a_new_round_begins_to_count_again():
    lost = [ran(A, n, Lost("killed")) for n in range(1, 6)]
    again = [RoundOpened(round_(A)), claimed(A, 6, round=2), ended(A, 6, Lost("killed"))]
    assert state(*lost, *again) == Ready()


@pytest.mark.parametrize(
    ("events", "has_succeeded", "claims"),
    [
        ([], False, 0),
        ([claimed(OUT)], False, 1),
        ([ran(OUT, 1, NotStarted("paused")), ran(OUT, 2, 1)], False, 2),
        ([ran(OUT, output="there")], True, 1),
        # also where it would have to run again to be true now
        ([ran(OUT, output="there"), found(OUT, "missing")], True, 1),
        ([ran(OUT, output="there"), RoundOpened(round_(OUT))], False, 0),
        ([ran(OUT, output="there"), RoundOpened(round_(OUT)), claimed(OUT, 2, round=2)], False, 1),
    ],
)
def test_what_the_newest_round_has_come_to(events, has_succeeded, claims):
    line = situation(OUT, events=events).lines["a"]
    assert (line.has_succeeded, line.attempts_of_round) == (has_succeeded, claims)
    assert line.deciding is None or line.deciding.end is not None
    assert count(line, "failed") == sum(a.end is not None and a.end.outcome == Exited(1) for a in line.attempts)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], True),
        ([ran(OUT, 1, NotStarted("paused"))], True),
        ([claimed(OUT)], False),
        ([ran(OUT, 1, 1)], False),
        ([RoundOpened(round_(OUT))], False),
    ],
)
def test_what_lies_in_an_output_is_not_ours_where_we_never_started_anything(events, expected):
    assert situation(OUT, events=events).lines["a"].is_untouched == expected


def test_the_last_that_was_started_is_of_whichever_round():
    line = situation(OUT, events=[ran(OUT, 1, 1), RoundOpened(round_(OUT)), *ran(OUT, 2, NotStarted("paused"))]).lines
    assert line["a"].last_started is line["a"].attempts[0]
    assert situation(OUT, events=ran(OUT, 1, NotStarted("paused"))).lines["a"].last_started is None


KEPT, ASIDE = round_(OUT, aside=False), round_(OUT)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], False),
        (ran(OUT), False),
        (ran(OUT, 1, 1), True),
        (ran(OUT, 1, TimedOut()), True),
        (ran(OUT, 1, 0, stopped="worker"), True),
        (ran(OUT, 1, Lost("killed")), True),
        (ran(OUT, 1, NotStarted("paused")), False),
        ([*ran(OUT, 1, 1), *ran(OUT, 2, NotStarted("paused"))], True),
        ([claimed(OUT)], False),
        ([*ran(OUT, 1, 1), RoundOpened(KEPT)], True),
        ([*ran(OUT, 1, 1), RoundOpened(ASIDE)], False),
        ([*ran(OUT, 1, 1), RoundOpened(ASIDE), claimed(OUT, 2, round=2), ended(OUT, 2, 1)], True),
        ([*ran(OUT, 1, 1), RoundOpened(ASIDE), claimed(OUT, 2, round=2), ended(OUT, 2, Lost("killed"))], True),
    ],
)
def test_a_script_can_go_on_from_what_an_attempt_left_that_did_not_come_to_its_end(events, expected):
    assert situation(OUT, events=events).lines["a"].is_interrupted == expected


# ---- needs ----

NEED = task("need")
DEP = task("dep", needs="need")


def dependent(*events, wishes=None):
    return situation(NEED, DEP, events=events, wishes=wishes).lines["dep"].state


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], Waiting(("need",))),
        ([claimed(NEED)], Waiting(("need",))),
        (ran(NEED), Ready()),
        (ran(NEED, 1, 1), Ended("aborted", because="need")),
        (ran(NEED, 1, Lost("killed")), Waiting(("need",))),
        # made from the deciding attempt of its need
        ([*ran(NEED), *ran(DEP)], Ended("succeeded", 1)),
        ([*ran(NEED), *ran(DEP, 1, 1)], Ended("failed", 1)),
        # the need's round is open: it waits, whatever it was
        ([*ran(NEED), *ran(DEP), RoundOpened(round_(NEED))], Waiting(("need",))),
        (
            [*ran(NEED), *ran(DEP), RoundOpened(round_(NEED)), claimed(NEED, 2, round=2), ended(NEED, 2, 1)],
            Ended("aborted", because="need"),
        ),
    ],
)
def test_a_dependent_after(events, expected):
    assert dependent(*events) == expected


def test_a_new_deciding_attempt_of_a_need_makes_what_was_made_from_the_old_one_stale():
    again = [*ran(NEED), *ran(DEP), RoundOpened(round_(NEED)), claimed(NEED, 2, round=2), ended(NEED, 2)]
    assert dependent(*again) == Ended("succeeded", 1, stale="a need changed")
    # also one that failed, or was interrupted: its folder holds what came of the old need
    for outcome, more in ((1, {}), (Lost("killed"), {}), (0, {"stopped": "worker"})):
        before = [*ran(NEED), *ran(DEP, 1, outcome, **more), *again[4:]]
        assert dependent(*before) == Ended("failed", 1, stale="a need changed")


def test_a_need_that_is_only_skipped_counts_as_attempt_none():
    need = task("need", output="x")
    got = situation(need, DEP, events=[found(need), *ran(DEP)])
    assert got.lines["dep"].state == Ended("succeeded", 1, stale="a need changed")
    got = situation(need, DEP, events=[found(need), claimed(DEP, needs={"need": 0}), ended(DEP)])
    assert got.lines["dep"].state == Ended("succeeded", 1)


def test_an_abort_goes_down_the_whole_chain_and_names_the_need():
    chain = [task("a"), task("b", needs="a"), task("c", needs="b")]
    got = situation(*chain, events=ran(chain[0], 1, 1))
    assert [got.lines[n].state for n in "bc"] == [Ended("aborted", because="a"), Ended("aborted", because="b")]


def test_whoever_depends_on_a_task_about_to_run_again_waits_for_it():
    got = situation(NEED, DEP, events=[*ran(NEED), *ran(DEP)], wishes=Wishes(asked=(("need", 2),)))
    assert got.lines["dep"].state == Waiting(("need",))
    assert list(got.to_open) == ["need"]


# ---- putting aside ----


def test_an_output_is_put_aside_once_for_its_round():
    line = situation(OUT, events=[*ran(OUT, output="there"), RoundOpened(round_(OUT))]).lines["a"]
    assert line.aside_due == 2
    line = situation(OUT, events=[*ran(OUT), RoundOpened(round_(OUT)), claimed(OUT, 2, round=2)]).lines["a"]
    assert line.aside_due == 0


def test_a_kept_round_puts_nothing_aside_but_does_not_hide_an_earlier_one():
    kept = [*ran(OUT, 1, 1), RoundOpened(round_(OUT, aside=False))]
    assert situation(OUT, events=kept).lines["a"].aside_due == 0
    both = [*ran(OUT, 1, 1), RoundOpened(round_(OUT)), RoundOpened(round_(OUT, 3, aside=False))]
    assert situation(OUT, events=both).lines["a"].aside_due == 2
    both = [*ran(OUT, 1, 1), RoundOpened(round_(OUT)), RoundOpened(round_(OUT, 3))]
    assert situation(OUT, events=both).lines["a"].aside_due == 3  # once, for the newest


@pytest.mark.parametrize(
    "outcome", [NotStarted("a need runs again"), Lost("killed"), Lost("rebooted"), Exited(126)], ids=repr
)
def test_an_attempt_that_may_have_died_before_it_put_the_output_aside_leaves_that_to_the_next(outcome):
    events = [*ran(OUT), RoundOpened(round_(OUT)), claimed(OUT, 2, round=2), ended(OUT, 2, outcome, started="")]
    assert situation(OUT, events=events).lines["a"].aside_due == 2


def test_putting_aside_waits_for_running_readers():
    need, dep = task("need", output="x"), task("dep", needs="need")
    events = [*ran(need, output="there"), claimed(dep), RoundOpened(round_(need))]
    assert situation(need, dep, events=events).lines["need"].state == Waiting(("dep",), "readers")
    assert situation(need, dep, events=[*events, ended(dep)]).lines["need"].state == Ready()
    kept = [*events[:3], RoundOpened(round_(need, aside=False))]
    assert situation(need, dep, events=kept).lines["need"].state == Ready()
