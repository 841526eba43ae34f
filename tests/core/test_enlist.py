"""What is asked of a cluster, when again, and who is sent away?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from parallel_train.core import policy
from parallel_train.core.apply import apply
from parallel_train.core.cluster import CANCEL, DRAIN, KILL, STOP, AskCluster, Dismiss, Element, Enlist
from parallel_train.core.decide import decide, wake_at
from parallel_train.core.events import (
    ClusterSilent,
    Dismissed,
    ElementsSeen,
    Enlisted,
    Interrupted,
    Leave,
    NotEnlisted,
    Requested,
    Watched,
)
from parallel_train.core.facts import Array, Lost, Request
from parallel_train.core.roster import Roster, Terms
from parallel_train.core.situation import Wishes
from parallel_train.core.slots import Pool
from tests.support.builders import WORKER, claim, claimed, ended, found, situation, task

A, B, C = (task(name, number=n) for n, name in enumerate("abc", 1))
FOUR = [task(f"t{n}", number=n) for n in range(1, 5)]
TERMS = Terms(workers=2, gpus=1, slots=1)
NOW = 1000.0


def run(*tasks, terms=TERMS, events=(), wishes=None):
    """The coordinator of these tasks, whose cluster holds nothing of ours yet."""
    s = situation(*tasks, wishes=wishes, slots=Pool(), events=[*events])
    s.roster = Roster(terms)
    see(s)
    return s


def see(s, *elements, at=NOW):
    apply(s, ElementsSeen(tuple(elements), at))


def element(index=0, phase="running", array=1, **more):
    return Element(f"9{array}_{index}", array, index, phase, **more)


def send(s, wanted, at=NOW):
    """As the loop does: recorded, and taken by the cluster."""
    number = max([0, *s.roster.arrays]) + 1
    array = replace(wanted.wanted, number=number, by=WORKER)
    apply(s, Enlisted(array, ours=True, is_sent=True, delay=wanted.delay, at=at))
    return array


def enlist(s, *phases, now=NOW):
    """All that is decided on is sent, and its elements are in these phases."""
    wanted = decide(s, now)
    for one in wanted:
        array = send(s, one)
    see(s, *(element(n, phase, array.number) for n, phase in enumerate(phases)))
    return wanted


def only(decisions):
    [one] = decisions
    return one


def works(of, attempt=1):
    """It runs on another machine, and nobody here watches it."""
    elsewhere = claim(of, attempt, gpus="")
    elsewhere = replace(elsewhere, owner=replace(elsewhere.owner, worker="pt1.100.1"))
    return [claimed(of, attempt, gpus="", owner=elsewhere.owner), Watched(of.id, attempt)]


def happen(s, *events):
    for event in events:
        for one in event if isinstance(event, list) else [event]:
            apply(s, one)


# ---- asking ----


def test_the_cluster_is_asked_first_and_then_every_few_seconds():
    s = situation(A, slots=Pool())
    s.roster = Roster(TERMS)
    assert decide(s, NOW) == [AskCluster()]
    see(s)
    enlist(s, "running")
    happen(s, works(A))
    pauses, now = [], NOW
    for _ in range(6):
        assert decide(s, now) == []
        pauses.append(wake_at(s, now) - now)
        now += pauses[-1]
        assert decide(s, now) == [AskCluster()]
        see(s, element(), at=now)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_rounds_come_before_workers():
    s = run(A, events=[found(A)], wishes=Wishes(asked=(("a", 2),)))
    assert [type(one).__name__ for one in decide(s, NOW)] == ["OpenRound"]


def test_it_is_asked_at_once_after_a_submission():
    s = run(A)
    send(s, only(decide(s, NOW)))
    assert decide(s, NOW) == [AskCluster()]


def test_a_silent_cluster_is_asked_ever_more_rarely_and_nothing_is_wanted_of_it():
    s = run(A)
    pauses = []
    now = NOW
    for _ in range(9):
        happen(s, ClusterSilent("down", now))
        assert decide(s, now + 1) == []
        pauses.append(wake_at(s, now + 1) - now)
        now += pauses[-1]
        assert decide(s, now) == [AskCluster()]
    assert pauses[:3] == [10.0, 20.0, 40.0]
    assert pauses[-1] == policy.BACKOFF_MOST
    see(s, at=now)
    assert isinstance(only(decide(s, now)), Enlist)


def test_trouble_with_a_submission_is_silence():
    s = run(A)
    happen(s, NotEnlisted("timed out", is_final=False, at=NOW))
    assert (decide(s, NOW + 1), s.roster.silent) == ([], "timed out")
    see(s)
    assert isinstance(only(decide(s, NOW)), Enlist)


# ---- how many ----


def test_an_array_is_for_all_that_is_open():
    typed = ("--on", "slurm", "--workers", "2")
    s = run(A, B, C, events=[works(C), ended(C)], wishes=Wishes(options=typed))
    wanted = only(decide(s, NOW))
    assert wanted == Enlist(Array(0, 2, ("a", "b"), 1, options=typed), 0.0)


@pytest.mark.parametrize(
    ("terms", "widths", "size"),
    [
        (Terms(workers=8, gpus=1, slots=1), [1] * 4, 4),
        (Terms(workers=3, gpus=1, slots=1), [1] * 4, 3),
        (Terms(workers=8, gpus=4, slots=4), [1] * 4, 1),
        (Terms(workers=8, gpus=4, slots=4), [3] * 4, 4),
        (Terms(workers=8, gpus=4, slots=4), [3, 1, 1, 1], 2),
        (Terms(workers=8, gpus=4, slots=4), [0] * 4, 2),
        (Terms(workers=8, gpus=4, slots=4, cpu_slots=1), [0, 0, 0, 1], 3),
        (Terms(workers=8, gpus=0, slots=3), [1] * 4, 2),
        (Terms(workers=8, gpus=4, slots=4, at_once=2), [1, 1, 0, 0], 2),
    ],
)
def test_there_are_as_many_workers_as_have_something_to_do(terms, widths, size):
    s = run(*(replace(t, gpus=width) for t, width in zip(FOUR, widths, strict=True)), terms=terms)
    assert only(decide(s, NOW)).wanted.size == size


def test_many_workers_are_several_arrays():
    s = run(*FOUR, terms=replace(TERMS, workers=9, most=3))
    assert [one.wanted.size for one in decide(s, NOW)] == [3, 1]


def test_what_runs_counts_as_work_for_those_who_run_it():
    s = run(*FOUR, terms=replace(TERMS, workers=9))
    enlist(s, "running", "running", "waiting", "waiting")
    happen(s, works(FOUR[0]), works(FOUR[1]))
    assert decide(s, NOW) == []


def test_those_who_are_there_are_counted_whoever_asked_for_them():
    s = run(*FOUR)
    happen(s, Enlisted(Array(1, 1, ("t1", "t2"), by="elsewhere.1.1"), ours=False))
    see(s, element())
    assert only(decide(s, NOW)).wanted.size == 1


def test_those_who_work_on_something_else_are_not():
    s = run(*FOUR)
    happen(s, Enlisted(Array(1, 2, ("other",), by="elsewhere.1.1"), ours=False))
    see(s, element(0), element(1), element(0, array=7))
    assert only(decide(s, NOW)).wanted.size == 2


def test_nobody_is_asked_for_while_all_that_is_left_runs():
    s = run(A, B, events=[works(A), works(B)])
    assert decide(s, NOW) == []


def test_nobody_is_asked_for_in_a_pause():
    s = run(A, events=[Requested(Request(1, "pause"))])
    assert decide(s, NOW) == []


def test_what_comes_after_a_need_is_asked_for_when_that_is_met():
    b = task("b", number=2, needs="a")
    s = run(A, b, terms=replace(TERMS, workers=4))
    assert [one.wanted.size for one in enlist(s, "running")] == [1]
    happen(s, works(A), ended(A, output="none"))
    assert decide(s, NOW) == []  # who is there takes it
    see(s, element(0, "over"))
    assert only(decide(s, NOW)).wanted == Array(0, 1, ("b",))


def test_a_failure_is_repeated_by_somebody_after_its_back_off():
    a = replace(A, retries=1)
    s = run(a)
    enlist(s, "over")
    happen(s, works(a), ended(a, outcome=1))
    assert isinstance(only(decide(s, NOW)), Enlist)


def test_what_waits_for_a_canary_is_left_for_later():
    d = task("d", number=4, needs="b")
    s = run(A, B, d, wishes=Wishes(canaries={("", 0): "a"}))
    assert only(decide(s, NOW)).wanted.selection == ("a",)


def test_ignoring_failures_holds_for_the_workers_too():
    s = run(A, wishes=Wishes(ignore_failures=True))
    assert only(decide(s, NOW)).wanted.ignore_failures


# ---- losses ----


def lose(s):
    """What is asked for starts nothing and is over."""
    wanted = only(decide(s, NOW))
    array = send(s, wanted)
    see(s, element(0, "over", array.number))
    return wanted.delay


def test_lost_ones_are_replaced_later_and_later_and_then_no_more():
    s = run(A)
    assert [lose(s) for _ in range(6)] == [0.0, 5.0, 10.0, 20.0, 40.0, 80.0]
    assert decide(s, NOW) == [Leave(1)]


def test_a_claim_begins_the_count_anew():
    s = run(A, B)
    enlist(s, "over", "over")
    for _ in range(4):
        wanted = enlist(s, "over", "over")
    assert wanted[0].delay == 40.0
    happen(s, works(A), ended(A, outcome=Lost("killed")))
    assert only(decide(s, NOW)).delay == 5.0


def test_who_left_in_order_after_some_work_is_no_loss():
    s = run(A, B, terms=replace(TERMS, workers=1))
    enlist(s, "running")
    happen(s, works(A), ended(A))
    see(s, element(phase="over", has_left=True))
    assert only(decide(s, NOW)) == Enlist(Array(0, 1, ("b",), 1), 0.0)
    see(s)  # the cluster forgets it soon
    assert only(decide(s, NOW)).delay == 0.0
    enlist(s, "over")
    assert only(decide(s, NOW)).delay == policy.ENLIST_FIRST


def test_who_left_before_any_work_is_one_as_others_like_it_would_leave_too():
    s = run(A)
    enlist(s, "running")
    see(s, element(phase="over", has_left=True))
    assert only(decide(s, NOW)).delay == policy.ENLIST_FIRST


def test_who_lost_its_host_and_is_put_off_is_replaced_by_one_that_comes_sooner():
    s = run(A)
    enlist(s, "running")
    late = element(0, "waiting", reason="BeginTime")
    see(s, late, at=NOW + policy.PUT_OFF)  # its own next turn may come in seconds
    assert decide(s, NOW + policy.PUT_OFF) == []
    see(s, late, at=NOW + policy.PUT_OFF + 1.0)
    now = NOW + policy.PUT_OFF + 1.0
    away = only(decide(s, now))
    assert away == Dismiss((late.job,), CANCEL)
    apply(s, Dismissed(away.jobs, away.level))
    assert decide(s, now) == []  # told once
    see(s, at=now)
    assert only(decide(s, now)).delay == policy.ENLIST_FIRST


@pytest.mark.parametrize("reason", ["Resources", "Priority"])
def test_who_only_waits_for_room_is_left_alone(reason):
    s = run(A)
    enlist(s, "running")
    see(s, element(0, "waiting", reason=reason), at=NOW + 100.0)
    assert decide(s, NOW + 100.0) == []
    see(s, element(1, "waiting", reason="BeginTime"), at=NOW + 101.0)  # it never ran: we wanted it later
    assert decide(s, NOW + 101.0) == []


def test_nobody_is_replaced_where_nothing_is_left_to_start():
    s = run(A)
    enlist(s, "running")
    happen(s, works(A))
    see(s, element(0, "waiting", reason="BeginTime"), at=NOW + 100.0)
    assert decide(s, NOW + 100.0) == []


def test_who_lives_still_is_waited_for():
    s = run(*FOUR)
    enlist(s, "over", "running")
    for _ in range(5):
        send(s, only(decide(s, NOW)))
        see(s, element(1))
    assert decide(s, NOW) == []
    see(s)
    assert decide(s, NOW) == [Leave(1)]


def test_so_is_what_somebody_else_runs():
    s = run(A, B)
    happen(s, NotEnlisted("invalid partition", is_final=True, at=NOW), works(B))
    assert decide(s, NOW) == []
    happen(s, ended(B))
    assert decide(s, NOW) == [Leave(2)]


def test_what_was_refused_is_asked_for_again_when_there_are_fewer():
    s = run(*FOUR, terms=replace(TERMS, workers=4))
    send(s, replace(only(decide(s, NOW)), wanted=Array(0, 2, ("t1",))))
    see(s, element(0), element(1))
    happen(s, NotEnlisted("too many jobs", is_final=True, at=NOW))
    see(s, element(0), element(1))
    assert decide(s, NOW) == []
    see(s, element(0))
    assert only(decide(s, NOW)).wanted.size == 3
    happen(s, NotEnlisted("too many jobs", is_final=True, at=NOW))
    see(s)
    assert only(decide(s, NOW)).wanted.size == 4
    happen(s, NotEnlisted("too many jobs", is_final=True, at=NOW))
    assert decide(s, NOW) == [Leave(2)]


# ---- leaving ----


def test_a_cluster_that_nothing_was_wanted_of_is_not_asked():
    s = situation(A, slots=Pool(), events=[works(A), ended(A)])
    s.roster = Roster(TERMS)
    assert decide(s, NOW) == [Leave(0)]


def test_at_the_end_those_who_wait_are_sent_away():
    s = run(*FOUR)
    enlist(s, "running", "waiting")
    happen(s, *(works(t) for t in FOUR), *(ended(t) for t in FOUR))
    assert decide(s, NOW + 1) == [AskCluster()]
    see(s, element(0), element(1, "waiting"))
    assert decide(s, NOW) == [Dismiss(("91_1",), CANCEL)]
    happen(s, Dismissed(("91_1",), CANCEL))
    assert decide(s, NOW) == [Leave(0)]


def test_at_the_end_a_silent_cluster_is_not_waited_for():
    s = run(A)
    enlist(s, "running")
    happen(s, works(A), ended(A), ClusterSilent("down", NOW))
    assert decide(s, NOW + 1) == [Leave(0)]


def test_those_that_a_dead_run_left_are_ours_where_all_they_do_is():
    s = run(A, B)
    happen(s, Enlisted(Array(1, 1, ("a", "b")), ours=True), Enlisted(Array(2, 1, ("a", "other")), ours=True))
    see(s, element(0, "waiting"), element(0, "waiting", array=2))
    happen(s, Interrupted(1, 130, NOW))
    assert decide(s, NOW) == [Dismiss(("91_0",), CANCEL)]


def test_a_living_run_answers_for_its_own():
    s = run(A)
    happen(s, Enlisted(Array(1, 1, ("a",)), ours=False))
    see(s, element(0, "waiting"))
    happen(s, Interrupted(1, 130, NOW))
    assert decide(s, NOW) == [Leave(130)]


def test_an_array_that_was_sent_is_told_again_by_its_record():
    s = run(A)
    array = send(s, only(decide(s, NOW)))
    happen(s, Enlisted(array, ours=True))
    assert (s.roster.sent, s.roster.left) == ({1}, set())


def test_each_ctrl_c_goes_to_the_workers_once():
    s = run(*FOUR)
    enlist(s, "running", "waiting")
    told = []
    for level in (1, 2, 3):
        happen(s, Interrupted(level, 130, NOW))
        for one in decide(s, NOW):
            told.append(one)
            happen(s, Dismissed(one.jobs, one.level))
        assert decide(s, NOW) == []
    assert told == [Dismiss(("91_1",), CANCEL), *(Dismiss(("91_0",), level) for level in (DRAIN, STOP, KILL))]
    see(s, element(0), at=NOW + 100)
    see(s, element(0), at=NOW + 200)
    assert wake_at(s, NOW + 200) == NOW + 200 + policy.CLUSTER_HURRY
    see(s, element(0, "over"))
    assert decide(s, NOW) == [Leave(130)]


def test_who_was_sent_away_waiting_and_runs_after_all_is_told():
    s = run(A)
    enlist(s, "waiting")
    happen(s, Interrupted(1, 130, NOW), Dismissed(("91_0",), CANCEL))
    see(s, element())
    assert decide(s, NOW) == [Dismiss(("91_0",), DRAIN)]


def test_the_last_ctrl_c_waits_for_nobody():
    s = run(A)
    enlist(s, "running")
    happen(s, Interrupted(4, 130, NOW), Dismissed(("91_0",), KILL))
    assert decide(s, NOW) == [Leave(130)]


def test_a_cluster_that_is_silent_when_a_person_leaves_is_waited_for():
    s = run(A)
    send(s, only(decide(s, NOW)))
    happen(s, Interrupted(1, 130, NOW), ClusterSilent("down", NOW))
    assert decide(s, NOW + 1) == []
    assert decide(s, NOW + policy.CLUSTER_POLL) == [AskCluster()]


def test_too_many_failures_drain_the_workers():
    s = run(A, B, wishes=Wishes(max_failures=1))
    enlist(s, "running", "running")
    happen(s, works(A), ended(A, outcome=1))
    see(s, element(0), element(1))
    assert decide(s, NOW) == [Dismiss(("91_0", "91_1"), DRAIN)]
    see(s)
    assert decide(s, NOW) == [Leave(1)]


def test_what_fits_into_no_worker_is_said_to_be_left():
    s = run(replace(A, gpus=2))
    assert decide(s, NOW) == [Leave(1)]


# ---- leaving at once ----


def test_a_detached_run_leaves_when_all_is_asked_for():
    s = run(A, terms=replace(TERMS, is_detached=True))
    enlist(s, "waiting")
    assert decide(s, NOW) == [Leave(0)]


def test_or_when_the_cluster_has_taken_it_and_is_silent_since():
    s = run(A, terms=replace(TERMS, is_detached=True))
    send(s, only(decide(s, NOW)))
    happen(s, ClusterSilent("down", NOW))
    assert decide(s, NOW + 1) == [Leave(0)]


def test_or_when_nothing_could_be_asked_for():
    s = run(A, terms=replace(TERMS, is_detached=True))
    happen(s, ClusterSilent("down", NOW))
    assert decide(s, NOW + 1) == [Leave(1)]


# ---- an element for each task ----

EACH = Terms(workers=3, gpus=2, slots=2, is_each=True, most=2)


def test_one_array_for_each_shape_split_where_it_is_too_long():
    tasks = [*FOUR[:3], replace(FOUR[3], gpus=2), task("cpu", number=5, gpus=0)]
    s = run(*tasks, terms=EACH)
    found_ = [(one.wanted.gpus, one.wanted.selection, one.wanted.at_once) for one in decide(s, NOW)]
    assert found_ == [(1, ("t1", "t2"), 3), (1, ("t3",), 3), (2, ("t4",), 3), (0, ("cpu",), 3)]
    assert all(one.wanted.is_each for one in decide(s, NOW))


def test_dependents_follow_at_once_when_their_needs_are_met():
    b = task("b", number=2, needs="a")
    s = run(A, b, terms=EACH)
    assert [one.wanted.selection for one in enlist(s, "running")] == [("a",)]
    assert decide(s, NOW) == []
    happen(s, works(A), ended(A, output="none"))
    assert only(decide(s, NOW)) == Enlist(Array(0, 1, ("b",), 1, is_each=True, at_once=3), 0.0)


def test_a_task_whose_element_is_lost_gets_another_later():
    s = run(A, B, terms=EACH)
    enlist(s, "running", "over")
    wanted = only(decide(s, NOW))
    assert (wanted.wanted.selection, wanted.delay) == (("b",), 5.0)
    for _ in range(5):
        send(s, only(decide(s, NOW)))
        see(s, element(0))
    assert decide(s, NOW) == []
    see(s)
    assert decide(s, NOW) == [Leave(1)]


def test_a_task_whose_element_left_in_order_gets_another_at_once():
    s = run(A, B, terms=EACH)
    enlist(s, "running", "running")
    happen(s, works(A), ended(A))
    see(s, element(1, "over", has_left=True))
    wanted = only(decide(s, NOW))
    assert (wanted.wanted.selection, wanted.delay) == (("b",), 0.0)


def test_elements_of_other_arrays_and_unknown_ones_take_no_task():
    s = run(A, terms=EACH)
    happen(s, Enlisted(Array(1, 1, ("a",)), ours=False))
    see(s, element(0), element(0, array=7))
    assert only(decide(s, NOW)).wanted.selection == ("a",)
