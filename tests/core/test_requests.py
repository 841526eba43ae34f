"""What do people's requests make of tasks, and what does a worker do about them?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from parallel_train.core import asking
from parallel_train.core.apply import apply
from parallel_train.core.decide import decide, exit_code
from parallel_train.core.events import Joined, Launch, Leave, Requested, RoundOpened, Stop, Submitted, Told, Watched
from parallel_train.core.explain import BehindCanary, Cancelled, Paused, reason
from parallel_train.core.facts import Request
from parallel_train.core.situation import Wishes, begin
from parallel_train.core.state import Ended, Ready, Running, Waiting
from parallel_train.report.view import notice
from tests.support.builders import NotStarted, Signalled, claim, claimed, ended, pool, ran, round_, situation, task

A, B, C = task("a", number=1), task("b", number=2), task("c", number=3)
AFTER_A = task("after", needs="a", number=4)


def asked(kind, number=1, /, **tasks):
    return Requested(Request(number, kind, tasks, by="anna@host"))


def added(number, *tasks):
    return [
        Submitted(f"add {number}", tasks),
        Requested(Request(number, "add")),
        Joined(frozenset(t.id for t in tasks)),
    ]


def launched(s, now=0.0):
    return [d.task.id for d in decide(s, now) if isinstance(d, Launch)]


# ---- cancel ----


def failed(attempt=1):
    return ran(A, attempt, 1)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([asked("cancel", a=1)], Ended("cancelled")),
        ([claimed(A), asked("cancel", a=1)], Running(1)),
        ([*ran(A, 1, Signalled(2), stopped="cancel"), asked("cancel", a=1)], Ended("cancelled", 1)),
        # the attempt was stopped by something else first: all the same it is not started again
        ([*ran(A, 1, Signalled(15), stopped="worker"), asked("cancel", a=1)], Ended("cancelled", 1)),
        # it had succeeded before anybody could stop it
        ([*ran(A), asked("cancel", a=1)], Ended("succeeded", 1)),
        ([*failed(), asked("cancel", a=1)], Ended("cancelled", 1)),
        # for later rounds that no person asked for
        ([*failed(), asked("cancel", a=1), RoundOpened(round_(A, 2, "failed before"))], Ended("cancelled")),
        ([*failed(), asked("cancel", a=1), RoundOpened(round_(A, 2, "asked for"))], Ready()),
        # a request of the past says nothing of a round that a person asked for since
        ([RoundOpened(round_(A, 2, "asked for")), asked("cancel", a=1)], Ready()),
        ([RoundOpened(round_(A, 2, "asked for")), asked("cancel", a=2)], Ended("cancelled")),
        ([RoundOpened(round_(A, 2)), asked("cancel", a=2), RoundOpened(round_(A, 3))], Ready()),
        # a success of an earlier round does not undo it
        ([*ran(A), RoundOpened(round_(A, 2, "changed")), asked("cancel", a=2)], Ended("cancelled")),
        # Whoever asked last had not seen the round that was cancelled before.
        ([RoundOpened(round_(A, 2)), asked("cancel", 1, a=2), asked("cancel", 2, a=1)], Ended("cancelled")),
        ([RoundOpened(round_(A, 2)), asked("cancel", 2, a=1), asked("cancel", 1, a=2)], Ended("cancelled")),
        (
            [RoundOpened(round_(A, 2)), asked("cancel", a=2), RoundOpened(round_(A, 3, "changed"))],
            Ended("cancelled"),
        ),
    ],
)
def test_what_a_cancel_makes_of_a_task(events, expected):
    assert situation(A, events=events).lines["a"].state == expected


def test_what_needs_a_cancelled_task_does_not_run():
    s = situation(A, AFTER_A, events=[asked("cancel", a=1)])
    assert s.lines["after"].state == Ended("aborted", because="a")
    assert exit_code(s) == 1
    assert [type(d) for d in decide(s, 0.0)] == [Leave]


def test_a_cancelled_attempt_of_ours_is_told_to_stop_once():
    s = situation(A, B, events=[claimed(A)])
    apply(s, asked("cancel", a=1))
    stops = [d for d in decide(s, 0.0) if isinstance(d, Stop)]
    assert stops == [Stop("a", 1, kill=False)]
    apply(s, Told("a", 1, 2))
    assert not [d for d in decide(s, 0.0) if isinstance(d, Stop)]


def test_a_launch_tells_its_shim_what_is_known_and_which_cancels_hold():
    s = situation(A, events=[RoundOpened(round_(A, 2)), asked("resume", 7)])
    (launch,) = (d for d in decide(s, 0.0) if isinstance(d, Launch))
    assert (launch.heard, launch.asked_round) == (7, 2)


# ---- pause, resume, priority ----


def test_a_paused_queue_starts_nothing_and_its_worker_stays():
    s = situation(A, B, events=[asked("pause")])
    assert decide(s, 0.0) == []
    assert reason(s, "a").why == Paused(Request(1, "pause", by="anna@host"))
    apply(s, asked("resume", 2))
    assert launched(s) == ["a", "b"]


def test_what_is_added_to_a_paused_queue_waits_like_the_rest():
    s = situation(A, events=[asked("pause")])
    for event in added(2, B):
        apply(s, event)
    assert decide(s, 0.0) == []
    apply(s, asked("resume", 3))
    assert launched(s) == ["a", "b"]


def test_the_highest_number_holds_in_whichever_order_requests_are_read():
    for order in ([asked("pause", 1), asked("resume", 2)], [asked("resume", 2), asked("pause", 1)]):
        assert launched(situation(A, events=order)) == ["a"]
    for order in ([asked("pause", 1, a=1), asked("resume", 2, a=1)], [asked("resume", 2, a=1), asked("pause", 1, a=1)]):
        assert situation(A, events=order).lines["a"].state == Ready()


def test_a_paused_task_is_passed_over_and_waited_for():
    s = situation(A, B, events=[asked("pause", a=1)])
    assert s.lines["a"].state == Waiting(why="paused")
    assert launched(s) == ["b"]
    for event in ran(B):
        apply(s, event)
    assert decide(s, 0.0) == []  # it stays, for somebody may resume
    apply(s, asked("resume", 2, a=1))
    assert launched(s) == ["a"]


def test_a_paused_retry_waits_for_the_person_not_for_the_time():
    patient = replace(A, retries=1)
    s = situation(patient, events=[*ran(patient, 1, 1), asked("pause", a=1)])
    assert s.lines["a"].state == Waiting(why="paused")
    assert launched(s, now=1e9) == []


def test_a_pause_changes_nothing_of_what_has_ended():
    for outcome, ending in ((0, "succeeded"), (1, "failed")):
        s = situation(A, events=[*ran(A, 1, outcome), asked("pause", a=1)])
        assert s.lines["a"].state == Ended(ending, 1)


def test_a_pause_of_the_queue_does_not_undo_that_of_a_task():
    s = situation(A, B, events=[asked("pause", 1, a=1), asked("pause", 2), asked("resume", 3)])
    assert launched(s) == ["b"]


def test_a_priority_holds_over_the_task_files_and_survives_an_edit():
    s = situation(A, B, C, events=[asked("priority", c=5)], slots=pool(1))
    assert launched(s) == ["c"]
    apply(s, Submitted("f", (A, B, replace(C, priority=-1))))
    assert launched(s) == ["c"]
    apply(s, asked("priority", 2, c=-1))
    assert launched(s) == ["a"]


def test_requests_about_unknown_tasks_do_no_harm():
    s = situation(A, events=[asked("cancel", nobody=1), asked("priority", 2, nobody=1)])
    assert launched(s) == ["a"]
    assert s.heard == 2


# ---- add and retry join a run ----


def test_what_is_added_is_run_too_and_does_not_count_for_the_exit_code():
    s = situation(A, events=ran(A))
    assert s.open == set()
    for event in added(1, B):
        apply(s, event)
    assert launched(s) == ["b"]
    for event in ran(B, 1, 1):
        apply(s, event)
    assert decide(s, 0.0) == [Leave(0)]
    assert +s.counts == {"succeeded": 1, "failed": 1}


def test_a_retried_task_of_others_brings_its_needs_along():
    s = situation(B)
    for event in [Submitted("other", (A, AFTER_A)), Joined(frozenset({"after"}))]:
        apply(s, event)
    assert launched(s) == ["a", "b"]


def test_a_worker_on_everything_takes_what_anybody_submits():
    s = situation(A, wishes=Wishes(everything=True))
    apply(s, Submitted("other", (B,)))
    assert s.wishes.selection == {"a", "b"}
    assert launched(s) == ["a", "b"]


# ---- what a retry comes to ----

NEED = task("need", number=1)
MID = task("mid", needs="need", number=2)
LAST = task("last", needs="mid", number=3)
BESIDE = task("beside", needs="need", number=4)


def test_a_retry_of_a_failure_frees_what_was_not_run():
    s = situation(NEED, MID, LAST, BESIDE, events=ran(NEED, 1, 1))
    found = asking.retry(s, ["need"], "anna@host")
    assert {name: (r.number, r.why, r.aside, r.by) for name, r in found.rounds.items()} == {
        "need": (2, "asked for", False, "anna@host")
    }
    assert found.freed == {"mid", "last", "beside"}
    for each in found.rounds.values():
        apply(s, RoundOpened(each))
    assert s.lines["need"].state == Ready()
    assert s.lines["last"].state == Waiting(("mid",))


def test_a_retry_of_what_was_not_run_retries_the_need_that_failed():
    s = situation(NEED, MID, LAST, BESIDE, events=ran(NEED, 1, 1))
    found = asking.retry(s, ["last"], "x")
    assert set(found.rounds) == {"need"}
    assert found.due == {"last", "mid"}
    assert found.freed == {"beside"}


def test_a_need_that_several_hang_on_is_retried_once():
    s = situation(NEED, MID, LAST, BESIDE, events=ran(NEED, 1, 1))
    found = asking.retry(s, ["last", "beside", "need", "need"], "x")
    assert set(found.rounds) == {"need"}
    assert (found.due, found.freed) == ({"last", "mid", "beside"}, set())


def test_a_request_to_retry_changes_nothing_by_itself():
    """Its rounds are records of their own."""
    s = situation(A, B, events=[ran(A, 1, 1), asked("retry", a=2), asked("add", 2, b=1)])
    assert s.heard == 2
    assert (s.lines["a"].state, s.lines["b"].state) == (Ended("failed", 1), Ready())


def test_a_retry_runs_a_cancelled_task_after_all():
    s = situation(A, events=[asked("cancel", a=1)])
    found = asking.retry(s, ["a"], "x")
    apply(s, RoundOpened(found.rounds["a"]))
    assert s.lines["a"].state == Ready()


def test_a_retry_leaves_alone_what_runs_and_what_is_due():
    s = situation(A, B, events=[claimed(A)])
    found = asking.retry(s, ["a", "b"], "x")
    assert (found.running, found.due, found.rounds) == ({"a"}, {"b"}, {})


def test_a_success_is_run_again_where_it_is_asked_for_by_name():
    s = situation(A, AFTER_A, events=[*ran(A), *ran(AFTER_A)])
    assert set(asking.retry(s, ["a"], "x").rounds) == {"a"}


def test_who_is_cancelled_and_who_goes_without():
    s = situation(NEED, MID, LAST, BESIDE, events=[claimed(NEED)])
    assert asking.to_cancel(s, ["need", "mid"]) == {"need": 1, "mid": 1}
    assert asking.aborted_by(s, ["need"]) == ["mid", "beside", "last"]
    done = situation(A, AFTER_A, events=[*ran(A), *ran(AFTER_A)])
    assert asking.to_cancel(done, ["a"]) == {}
    assert asking.aborted_by(done, ["a"]) == []
    both = task("both", needs="need mid")
    assert asking.aborted_by(situation(NEED, MID, both), ["need"]) == ["mid", "both"]


# ---- canaries, failures ----

KIND = [task(name, number=n, template=1, source="f") for n, name in enumerate(("one", "two", "three"), 1)]
ELSE = task("else", number=9, template=2, source="f")


def canary_run(*events, ignore_failures=False):
    s = situation(*KIND, ELSE, events=events, slots=pool(4))
    canaries = {("f", 1): "one", ("f", 2): "else"}
    begin(s, replace(s.wishes, canaries=canaries, ignore_failures=ignore_failures))
    return s


def test_of_each_template_one_runs_first_and_the_rest_after_its_success():
    s = canary_run()
    assert launched(s) == ["one", "else"]
    assert reason(s, "two").why == BehindCanary("one", "open")
    for event in ran(KIND[0]):
        apply(s, event)
    assert launched(s) == ["two", "three", "else"]


def test_a_canary_that_fails_holds_the_rest_back_and_the_run_ends():
    s = canary_run()
    for event in [*ran(KIND[0], 1, 1), *ran(ELSE)]:
        apply(s, event)
    assert s.lines["two"].state == Waiting(("one",), "canary")
    assert reason(s, "two").why == BehindCanary("one", "failed")
    assert decide(s, 0.0) == [Leave(1)]


def test_a_canary_that_had_succeeded_before_this_run_lets_the_rest_go():
    """Also where it is looked at after them, since it needs something."""
    first, rest = replace(KIND[0], needs=("a",)), KIND[1]
    s = situation(A, first, rest, events=[*ran(A), *ran(first)])
    begin(s, replace(s.wishes, canaries={("f", 1): "one"}))
    assert launched(s) == ["two"]


def test_a_canary_that_runs_elsewhere_is_waited_for():
    theirs = claimed(KIND[0], owner=replace(claim(A).owner, worker="other"), slots=())
    s = canary_run(theirs, Watched("one", 1), *ran(ELSE))
    assert decide(s, 0.0) == []


def test_what_needs_those_that_are_held_back_ends_the_run_with_them():
    after = task("after", needs="two", number=5)
    s = situation(*KIND, after, slots=pool(4), events=ran(KIND[0], 1, 1))
    begin(s, replace(s.wishes, canaries={("f", 1): "one"}))
    assert s.lines["after"].state == Waiting(("two",))
    assert decide(s, 0.0) == [Leave(1)]


def test_a_run_that_left_something_undone_has_not_succeeded_also_under_i():
    s = canary_run(*ran(KIND[0], 1, 1), *ran(ELSE), ignore_failures=True)
    assert decide(s, 0.0) == [Leave(1)]


def test_a_paused_queue_keeps_its_worker_also_where_nothing_could_start():
    s = canary_run(*ran(KIND[0], 1, 1), *ran(ELSE), asked("pause"))
    assert decide(s, 0.0) == []  # somebody may retry the canary and resume
    assert decide(situation(A, events=[*ran(A), asked("pause")]), 0.0) == [Leave(0)]


def test_a_cancelled_canary_holds_the_rest_back_too():
    s = canary_run(*ran(ELSE))
    apply(s, asked("cancel", one=1))
    assert decide(s, 0.0) == [Leave(1)]


def test_nothing_more_is_started_after_so_many_failures():
    s = situation(A, B, C, wishes=Wishes(max_failures=2), slots=pool(1))
    for event in ran(A, 1, 1):
        apply(s, event)
    assert launched(s) == ["b"]
    for event in ran(B, 1, 1):
        apply(s, event)
    assert decide(s, 0.0) == [Leave(1)]


def test_a_failed_need_counts_as_met_under_i_and_the_exit_code_is_0():
    s = situation(A, AFTER_A, wishes=Wishes(ignore_failures=True), events=ran(A, 1, 1))
    (launch,) = (d for d in decide(s, 0.0) if isinstance(d, Launch))
    assert (launch.task.id, launch.needs["a"].deciding) == ("after", 1)
    for event in [claimed(AFTER_A, needs={"a": 1}), ended(AFTER_A)]:
        apply(s, event)
    assert decide(s, 0.0) == [Leave(0)]


def test_a_failure_that_is_out_of_date_is_not_met_under_i():
    """What it needs would have to run again first, and this run does not."""
    former = replace(A, identity="former")
    s = situation(A, AFTER_A, events=ran(former, 1, 1))
    begin(s, Wishes(selection=frozenset({"after"}), ignore_failures=True))
    assert s.lines["a"].state == Ended("failed", 1, stale="changed")
    assert s.lines["after"].state == Ended("aborted", because="a")


def test_a_need_that_a_person_cancelled_is_not_met_under_i():
    s = situation(A, AFTER_A, wishes=Wishes(ignore_failures=True), events=[asked("cancel", a=1)])
    assert s.lines["after"].state == Ended("aborted", because="a")


def test_why_a_cancelled_task_does_not_run():
    s = situation(A, events=[asked("cancel", a=1)])
    assert reason(s, "a").why == Cancelled(Request(1, "cancel", {"a": 1}, by="anna@host"))


# ---- more than this worker has ----


@pytest.mark.parametrize("wants", [{"gpus": 3}, {"gpus": 0}])
def test_what_joined_and_does_not_fit_here_is_left_to_others(wants):
    big = task("big", number=5, **wants)
    after = task("after-big", needs="big", number=6)
    s = situation(A, slots=pool(2))
    for event in added(1, big, after):
        apply(s, event)
    assert launched(s) == ["a"]
    for event in ran(A):
        apply(s, event)
    assert decide(s, 0.0) == [Leave(0)]
    assert "big wants more than this worker has (2 GPU slots): left to others" in notice(s, 0.0)


def test_what_does_not_fit_here_is_waited_for_while_somebody_runs_it():
    big = task("big", gpus=3)
    s = situation(A, big, events=[*ran(A), claimed(big, owner=replace(claim(big).owner, worker="other"), slots=())])
    assert not [d for d in decide(s, 0.0) if isinstance(d, Leave)]


# ---- together ----


def test_a_task_that_two_files_name_stays_when_one_of_them_drops_it():
    s = situation(A, B, wishes=Wishes(everything=True))
    for event in [Submitted("f", (A, B)), Submitted("g", (B, C)), Submitted("f", (A,))]:
        apply(s, event)
    assert "b" in s.wishes.selection
    apply(s, Submitted("g", (C,)))
    assert s.wishes.selection == {"a", "c"}


def test_a_cancel_that_came_after_the_run_began_is_not_undone_by_its_b():
    s = situation(A, events=ran(A, 1, 1), wishes=Wishes(asked=(("a", 2),)))
    begin(s, replace(s.wishes))
    assert s.to_open
    apply(s, asked("cancel", a=1))
    assert not s.to_open
    assert s.lines["a"].state == Ended("cancelled", 1)


def test_a_b_lifts_a_cancel_that_was_there_before():
    s = situation(A, events=[*ran(A, 1, 1), asked("cancel", a=1)])
    begin(s, replace(s.wishes, asked=(("a", 2),)))
    assert s.to_open


def test_a_priority_counts_for_a_task_in_back_off_too():
    patient = [replace(t, retries=1) for t in (A, B)]
    s = situation(
        *patient, events=[ran(patient[0], 1, 1), ran(patient[1], 1, 1), asked("priority", b=9)], slots=pool(1)
    )
    assert launched(s, now=1e9) == ["b"]


def test_a_retry_of_a_long_chain_or_of_very_many_is_quick():
    chain = [task("t0")] + [task(f"t{n}", needs=f"t{n - 1}") for n in range(1, 3000)]
    found = asking.retry(situation(*chain, events=ran(chain[0], 1, 1)), ["t2999"], "x")
    assert set(found.rounds) == {"t0"}
    assert len(found.due) == 2999


def test_attempts_that_are_not_started_come_ever_more_slowly():
    s = situation(A)
    pauses = []
    for attempt in range(1, 9):
        for event in [claimed(A, attempt), ended(A, attempt, NotStarted("x"), started="")]:
            apply(s, event)
        pauses.append(s.paused_until)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_what_was_made_from_a_failed_need_holds_until_that_is_made_again():
    s = situation(A, AFTER_A, events=[ran(A, 1, 1), ran(AFTER_A)])
    assert s.lines["after"].state == Ended("succeeded", 1)
    apply(s, RoundOpened(round_(A, 2)))
    assert s.lines["after"].state == Waiting(("a",))
    for event in [claimed(A, 2, round=2), ended(A, 2)]:
        apply(s, event)
    assert s.lines["after"].state == Ended("succeeded", 1, "a need changed")
