"""What does a worker start, stop and leave whose slots and time somebody else granted?"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from parallel_train.core import policy
from parallel_train.core.apply import absorb, apply
from parallel_train.core.decide import decide, exit_code, wake_at
from parallel_train.core.events import (
    Company,
    Interrupted,
    Launch,
    Launched,
    Leave,
    OpenRound,
    Requested,
    Stop,
    TimeLeft,
    Told,
    Watched,
)
from parallel_train.core.facts import TIME_UP, Owner, Request, Signalled
from parallel_train.core.lent import is_cut_short, poll
from parallel_train.core.limit import Limit, cut_off
from parallel_train.core.situation import Wishes
from parallel_train.report.view import notice
from tests.support.builders import claimed, ended, found, pool, ran, situation, task

A, B, C = (task(name, number=n) for n, name in enumerate("abc", 1))
STRANGER = Owner("host.200.1", "host", "machine", "boot", "pidns", 200, 1)
LENT, ALONE = Wishes(is_lent=True), Wishes(is_lent=True, is_alone=True)
HOUR = 3600.0


def left(seconds, at=0.0, *, is_near=False):
    return TimeLeft(seconds, at, is_near)


NEAR = left(math.inf, is_near=True)


def launches(s, now=0.0):
    return [d.task.id for d in decide(s, now) if isinstance(d, Launch)]


def elsewhere(of, **more):
    """An attempt on another machine, as this worker watches it."""
    return [replace(claimed(of, gpus="", owner=STRANGER, **more), is_here=False), Watched(of.id, 1)]


def running(s, *tasks):
    """These as this worker runs them."""
    for n, of in enumerate(tasks):
        apply(s, Launched(of.id, 1, (f"gpu-{n}",), 0.0))
        apply(s, claimed(of, gpus=str(n)))
        apply(s, Watched(of.id, 1))


# ---- what is started ----


def test_without_a_limit_everything_is_started():
    assert Limit().leaves_room(replace(A, timeout=1e9), 0.0)
    assert wake_at(situation(A), 0.0) is None


@pytest.mark.parametrize(
    ("timeout", "at", "is_started"),
    [
        (None, HOUR - policy.STOP_BEFORE - 1, True),  # nobody knows how long it takes
        (1000.0, HOUR - policy.STOP_BEFORE - 1000, True),
        (1000.0, HOUR - policy.STOP_BEFORE - 999, False),
        (HOUR, HOUR - policy.STOP_BEFORE - 1, True),  # too long for any turn: it may save its state
        (HOUR - policy.STOP_BEFORE - policy.SETTLING, policy.SETTLING, True),
        (HOUR - policy.STOP_BEFORE - policy.SETTLING, policy.SETTLING + 1, False),  # in the next turn it fits
        (None, HOUR - policy.STOP_BEFORE, False),
    ],
)
def test_what_can_not_end_in_time_is_not_started(timeout, at, is_started):
    s = situation(replace(A, timeout=timeout), events=[left(HOUR)])
    assert launches(s, at) == ["a"] * is_started


def test_what_like_tasks_took_is_known_better_than_a_timeout():
    kin, other = replace(A, timeout=60.0), task("other", number=9, stage="eval", timeout=60.0)
    before = [*ran(B, seconds=1000.0), *ran(C, seconds=10.0)]
    s = situation(kin, B, C, other, events=[*before, left(HOUR)])
    assert launches(s, HOUR - policy.STOP_BEFORE - 1000) == ["a", "other"]
    assert launches(s, HOUR - policy.STOP_BEFORE - 999) == ["other"]


def test_what_ends_meanwhile_is_learnt_from_and_what_failed_is_not():
    s = situation(A, B, C, events=[left(HOUR)])
    running(s, A, B)
    apply(s, ended(A, seconds=1000.0))
    apply(s, ended(B, outcome=1, seconds=2000.0))
    assert launches(s, HOUR - policy.STOP_BEFORE - 1000) == ["c"]
    assert launches(s, HOUR - policy.STOP_BEFORE - 999) == []


def test_what_went_on_from_an_attempt_before_says_nothing_of_the_whole():
    kin = replace(B, retries=1)
    s = situation(A, kin, C, events=[*ran(kin, 1, 1), left(HOUR)])
    apply(s, claimed(kin, 2))
    apply(s, ended(kin, 2, seconds=10.0))
    assert s.limit.took == {}
    assert situation(A, kin, events=[*ran(kin, 1, 1), *ran(kin, 2), left(HOUR)]).limit.took == {}


def test_a_shorter_task_starts_where_a_longer_one_would_not():
    long, short, cpu = replace(A, timeout=1000.0), replace(B, timeout=10.0), replace(C, timeout=1000.0, gpus=0)
    s = situation(long, short, cpu, events=[left(HOUR)], slots=pool(1, 1))
    assert launches(s, HOUR - 500) == ["b"]


def test_only_so_many_are_looked_at_for_one_that_can_end_in_time():
    long = [task(f"t{n:04}", number=n, timeout=1000.0) for n in range(policy.READY_LOOKED_AT)]
    short = task("short", number=9999, timeout=10.0)
    assert launches(situation(*long, short, events=[left(HOUR)]), HOUR - 500) == []
    assert launches(situation(*long[1:], short, events=[left(HOUR)]), HOUR - 500) == ["short"]


def test_a_limit_that_was_extended_is_the_limit_and_another_turn_stays_what_it_was():
    s = situation(replace(A, timeout=1000.0), events=[left(1200.0), left(HOUR, 100.0)])
    assert (s.limit.ends_at, s.limit.span) == (100.0 + HOUR, 1200.0)


# ---- when the end comes ----


def test_near_the_end_nothing_more_is_started_and_what_runs_goes_on():
    s = situation(A, B, C, events=[left(HOUR)])
    running(s, A)
    apply(s, NEAR)
    assert decide(s, 10.0) == []
    assert wake_at(s, 10.0) == HOUR - policy.STOP_BEFORE
    apply(s, ended(A))
    assert decide(s, 10.0) == [Leave(1)]
    assert is_cut_short(s)


def test_near_the_end_no_round_is_opened():
    stale = situation(A, events=[*ran(A), left(HOUR), NEAR])
    stale.lines["a"].task = replace(A, identity="another")
    absorb(stale, [])
    assert not any(isinstance(d, OpenRound) for d in decide(stale, 0.0))
    assert is_cut_short(stale)


def test_before_the_end_what_runs_is_stopped_once():
    s = situation(A, B, events=[left(HOUR)])
    running(s, A, B)
    end = HOUR - policy.STOP_BEFORE
    assert decide(s, end - 0.1) == []
    assert decide(s, end) == [Stop("a", 1, kill=False), Stop("b", 1, kill=False)]
    apply(s, Told("a", 1, 2))
    apply(s, Told("b", 1, 2))
    assert decide(s, end) == []
    assert wake_at(s, end) is None
    apply(s, Interrupted(3, 143, end))
    assert decide(s, end) == [Stop("a", 1, kill=True), Stop("b", 1, kill=True)]


def test_what_was_stopped_by_the_end_costs_nothing_and_is_left_for_another_turn():
    s = situation(A, events=[left(HOUR)])
    running(s, A)
    apply(s, ended(A, stopped="worker"))
    assert decide(s, HOUR - 20) == [Leave(1)]
    assert is_cut_short(s)
    assert s.limit.has_served


def test_whoever_starts_a_task_says_when_a_stop_will_be_the_end_of_its_allocation():
    for events, stops_at in (([left(HOUR)], HOUR - policy.STOP_BEFORE), ([], math.inf)):
        [launch] = decide(situation(A, events=events), 0.0)
        assert launch.stops_at == stops_at


def test_allocations_that_end_before_a_task_are_counted_where_they_follow_each_other_and_cost_nothing():
    def stopped(attempt, by=TIME_UP):
        return ran(A, attempt, Signalled(2), stopped=by)

    for events, number in (
        ([], 0),
        ([stopped(1), stopped(2)], 2),
        ([stopped(1), stopped(2), claimed(A, 3)], 0),
        ([stopped(1), stopped(2, "worker"), stopped(3)], 1),
        ([stopped(1), stopped(2), stopped(3, "worker")], 0),
    ):
        assert cut_off(situation(A, events=events).lines["a"]) == number
    assert launches(situation(A, events=[stopped(n) for n in range(1, 20)])) == ["a"]


def test_whoever_only_watched_has_not_served():
    s = situation(A, events=[left(HOUR), *elsewhere(A)])
    assert not s.limit.has_served


def test_a_run_that_waits_for_nobody_leaves_what_is_too_long():
    long = replace(A, timeout=1000.0)
    assert decide(situation(long, events=[left(HOUR)]), HOUR - 500) == [Leave(1)]
    assert decide(situation(long, B, events=[left(HOUR), *elsewhere(B)]), HOUR - 500) == []


def test_people_are_told_why_nothing_more_starts():
    long = replace(A, timeout=1000.0)
    s = situation(long, events=[left(HOUR)])
    assert notice(s, 0.0) == ""
    assert notice(s, HOUR - 540) == "What is ready takes longer than what is left of the allocation (8m 20s)"
    apply(s, NEAR)
    assert notice(s, 0.0) == "The allocation ends: nothing more is started"
    lent = situation(A, events=elsewhere(A), wishes=LENT)
    assert notice(lent, 0.0) == "What is left runs elsewhere, or waits for that"
    assert notice(situation(A, wishes=LENT), 0.0) == ""


# ---- a lent worker ----


def test_a_lent_worker_leaves_when_all_that_is_left_runs_elsewhere():
    s = situation(A, B, events=[*ran(A), *elsewhere(B)], wishes=LENT)
    assert decide(s, 0.0) == [Leave(0)]
    assert not is_cut_short(s)
    assert decide(situation(A, B, events=[*ran(A), *elsewhere(B)]), 0.0) == []


def test_it_leaves_with_1_where_a_task_failed_and_0_where_all_is_well():
    assert decide(situation(A, B, events=[*ran(A, 1, 1), *elsewhere(B)], wishes=LENT), 0.0) == [Leave(1)]
    assert decide(situation(A, events=ran(A), wishes=LENT), 0.0) == [Leave(0)]
    assert exit_code(situation(A, events=ran(A, 1, 1), wishes=replace(LENT, ignore_failures=True))) == 0


def test_what_it_runs_keeps_it():
    s = situation(A, B, events=elsewhere(B), wishes=LENT)
    running(s, A)
    assert decide(s, 0.0) == []


def test_a_repetition_that_comes_due_keeps_it_whoever_ran_the_task():
    retry = replace(A, retries=1)
    for owner in (claimed(retry).claim.owner, STRANGER):
        s = situation(retry, events=[claimed(retry, owner=owner), ended(retry, outcome=1)], wishes=LENT)
        assert decide(s, 0.0) == []
        assert wake_at(s, 0.0) == s.delayed[0][0]
    wide = replace(retry, gpus=3)
    assert decide(situation(wide, events=ran(wide, 1, 1), wishes=LENT), 0.0) == [Leave(0)]


def test_a_wide_task_that_waits_for_its_slots_keeps_it():
    wide = replace(B, gpus=2)
    s = situation(A, wide, wishes=LENT)
    running(s, A)
    assert decide(s, 0.0) == []
    apply(s, ended(A))
    assert launches(s) == ["b"]


def test_a_slot_whose_lock_is_held_keeps_it():
    s = situation(A, wishes=LENT)
    s.pool.avoid(s.pool.slots, 10.0)
    assert decide(s, 0.0) == []


def test_it_leaves_what_it_has_no_slots_for():
    s = situation(replace(A, gpus=3), replace(B, gpus=0), wishes=LENT)
    assert decide(s, 0.0) == [Leave(0)]
    assert not is_cut_short(s)


@pytest.mark.parametrize(("wishes", "decision"), [(LENT, [Leave(0)]), (ALONE, [])])
def test_what_waits_for_needs_keeps_it_only_where_nobody_would_ask_for_another(wishes, decision):
    dep = task("dep", needs="a", number=2)
    assert decide(situation(A, dep, events=elsewhere(A), wishes=wishes), 0.0) == decision
    wide = replace(dep, gpus=3)
    assert decide(situation(A, wide, events=elsewhere(A), wishes=wishes), 0.0) == [Leave(0)]


def test_what_runs_elsewhere_keeps_it_for_as_long_as_its_owner_may_turn_out_dead():
    s = situation(A, events=elsewhere(A), wishes=replace(LENT, patient_until=300.0))
    assert decide(s, 299.0) == []
    assert wake_at(s, 299.0) == 300.0
    assert decide(s, 300.0) == [Leave(0)]
    assert decide(situation(A, wishes=replace(LENT, patient_until=300.0), slots=pool(0)), 0.0) == [Leave(0)]


def test_a_queue_that_is_paused_lends_nothing():
    pause = Requested(Request(1, "pause"))
    s = situation(A, B, events=[pause], wishes=LENT)
    running(s, A)
    assert decide(s, 0.0) == []
    apply(s, ended(A))
    assert decide(s, 0.0) == [Leave(0)]
    assert not is_cut_short(s)


def test_what_is_too_long_is_left_for_another_turn():
    s = situation(replace(A, timeout=1000.0), events=[left(HOUR)], wishes=LENT)
    assert decide(s, HOUR - 500) == [Leave(0)]
    assert is_cut_short(s)


def test_who_was_told_to_leave_asks_for_no_other_turn():
    s = situation(A, events=[left(HOUR), Interrupted(2, 143, 0.0)], wishes=LENT)
    assert decide(s, 0.0) == [Leave(143)]
    assert not is_cut_short(s)


def test_where_nothing_is_left_there_is_no_other_turn():
    s = situation(A, events=[found(A), *ran(A), left(HOUR), NEAR], wishes=LENT)
    assert not is_cut_short(s)


@pytest.mark.parametrize(
    ("wishes", "size", "seconds"),
    [(LENT, 1, 1.0), (LENT, 4, 1.0), (LENT, 8, 2.0), (LENT, 100, 5.0), (Wishes(), 100, 1.0)],
)
def test_the_more_workers_share_a_disk_the_longer_each_waits_to_look(wishes, size, seconds):
    s = situation(task("a"), wishes=wishes)
    apply(s, Company(0, size))
    assert poll(s, 1.0, 5.0) == seconds
    assert poll(s, 0.2, 0.2) == 0.2  # a short lease is no longer kept otherwise
