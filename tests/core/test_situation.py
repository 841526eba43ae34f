"""What does one event change in what a worker knows?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from parallel_train.core import policy
from parallel_train.core.apply import absorb, apply
from parallel_train.core.events import (
    Claimed,
    HungUp,
    Interrupted,
    Joined,
    Launched,
    Looked,
    OpenRound,
    Refused,
    RoundOpened,
    Submitted,
    Told,
    Vanished,
    Warned,
    Watched,
)
from parallel_train.core.facts import Owner, Round
from parallel_train.core.situation import Wishes, begin
from parallel_train.core.state import Ended, Ready, Running, Waiting
from tests.support.builders import (
    WORKER,
    Exited,
    Lost,
    NotStarted,
    claim,
    claimed,
    ended,
    found,
    pool,
    ran,
    round_,
    situation,
    task,
)

A, B = task("a", number=1), task("b", number=2)
OUT = task("a", output="out/a")
OTHER_WORKER = Owner("host.200.1", "host", "machine", "boot", "pidns", 200, 1)


def after(*events, tasks=(A, B), **more):
    """`tasks` with each of `events` applied on its own."""
    made = situation(*tasks, **more)
    for event in events:
        apply(made, event)
    return made


def holders(s):
    return {name: slot.holder for name, slot in (*s.pool.slots.items(), *s.pool.extra.items()) if slot.holder}


# ---- slots and what this worker answers for ----


def test_an_attempt_holds_its_slot_from_its_launch_to_its_end():
    s = after(Launched("a", 1, ("gpu-1",), 0.0))
    assert holders(s) == {"gpu-1": ("a", 1)}
    assert list(s.mine) == [("a", 1)]
    apply(s, claimed(A, gpus="1"))
    assert holders(s) == {"gpu-1": ("a", 1)}
    assert s.unwatched == {}  # its shim tells us
    apply(s, ended(A))
    assert (holders(s), s.mine) == ({}, {})


@pytest.mark.parametrize("why", ["busy", "behind", "trouble"])
def test_a_refused_launch_gives_everything_back(why):
    s = after(Launched("a", 1, ("gpu-0",), 0.0), Refused("a", 1, why, 50.0, ("gpu-0",)))
    assert (holders(s), s.mine, s.lines["a"].state) == ({}, {}, Ready())
    assert s.is_behind == (why == "behind")
    pause = {"busy": 0.0, "behind": 50.0 + policy.BEHIND_PAUSE, "trouble": 50.0 + policy.TROUBLE_PAUSE}
    assert s.paused_until == pause[why]
    assert s.pool.slots["gpu-0"].avoid_until == (50.0 + policy.SLOT_PROBE if why == "busy" else 0.0)


def test_an_attempt_of_another_worker_is_watched_and_not_answered_for():
    s = after(claimed(A, owner=OTHER_WORKER))
    assert (list(s.unwatched), s.mine) == ([("a", 1)], {})
    assert holders(s) == {"gpu-0": ("a", 1)}
    apply(s, Watched("a", 1))
    assert s.unwatched == {}


def test_an_orphan_is_taken_over():
    s = after(Claimed(claim(A, owner=OTHER_WORKER), orphan=True))
    assert (list(s.unwatched), list(s.mine)) == ([("a", 1)], [("a", 1)])


def test_an_attempt_on_another_machine_holds_none_of_our_slots():
    s = after(Claimed(claim(A, owner=OTHER_WORKER), is_here=False))
    assert (holders(s), list(s.unwatched)) == ({}, [("a", 1)])


def test_slots_that_this_worker_does_not_offer_are_left_alone():
    s = after(Launched("a", 1, ("gpu-1",), 0.0), claimed(B, gpus="0 7", owner=OTHER_WORKER))
    apply(s, Refused("a", 1, "busy", 1.0, ("gpu-7", "gpu-1")))
    assert holders(s) == {"gpu-0": ("b", 1)}
    assert sorted(s.pool.slots) == ["gpu-0", "gpu-1"]
    assert s.pool.slots["gpu-1"].avoid_until > 1.0


def test_those_that_run_are_named_on_whichever_worker_and_of_this_run_only():
    s = after(claimed(A, owner=OTHER_WORKER), Launched("b", 1, ("gpu-1",), 0.0))
    assert {line.task.id for line in s.running()} == {"a", "b"}
    begin(s, Wishes(WORKER, frozenset({"b"})))
    assert [line.task.id for line in s.running()] == ["b"]


def test_a_claim_of_another_worker_for_the_attempt_we_asked_for_is_theirs():
    s = after(Launched("a", 1, ("gpu-1",), 0.0), claimed(A, owner=OTHER_WORKER))
    assert (list(s.unwatched), s.mine, holders(s)) == ([("a", 1)], {}, {"gpu-0": ("a", 1)})
    apply(s, Refused("a", 1, "behind", 1.0))
    assert (list(s.unwatched), s.mine, holders(s)) == ([("a", 1)], {}, {"gpu-0": ("a", 1)})
    assert s.unwatched["a", 1].owner == OTHER_WORKER
    assert s.lines["a"].state == Running(1)


def test_a_shim_that_claimed_and_died_before_it_said_so_is_looked_for():
    s = after(Launched("a", 1, ("gpu-0",), 0.0), claimed(A), Refused("a", 1, "behind", 1.0))
    assert (list(s.unwatched), holders(s)) == ([("a", 1)], {"gpu-0": ("a", 1)})


def test_what_is_told_twice_counts_once():
    s = after(*ran(A), claimed(A), ended(A, 1, 1))
    assert s.lines["a"].state == Ended("succeeded", 1)
    assert (len(s.lines["a"].attempts), holders(s), s.mine, s.unwatched) == (1, {}, {}, {})


def test_an_end_is_of_the_attempt_with_its_number_whatever_became_of_earlier_records():
    """Somebody deleted them, or the disk shows them late."""
    s = after(claimed(A, 2), ended(A, 1, 1))
    assert s.lines["a"].state == Running(2)
    apply(s, ended(A, 2))
    assert s.lines["a"].state == Ended("succeeded", 2)
    apply(s, claimed(A, 1))
    assert [attempt.number for attempt in s.lines["a"].attempts] == [2]


def test_records_of_unknown_tasks_are_passed_over():
    stranger = task("x")
    s = after(claimed(stranger), ended(stranger), RoundOpened(round_(stranger)))
    assert sorted(s.lines) == ["a", "b"]


def test_the_first_end_stands():
    s = after(claimed(A), ended(A, 1, Lost("killed")), ended(A, 1, 0))
    assert s.lines["a"].state == Ready()


def test_an_attempt_of_ours_that_was_not_started_means_that_our_view_is_old():
    s = after(Launched("a", 1, ("gpu-0",), 0.0), claimed(A), ended(A, 1, NotStarted("a need runs again")))
    assert s.is_behind
    apply(s, Looked(1.0))
    assert not s.is_behind


def test_the_more_of_ours_in_a_row_are_not_started_the_longer_is_the_pause():
    s = after()
    refused, pauses = NotStarted("the queue's disk does not answer"), []

    def attempt(number, outcome, of=A, **more):
        apply(s, claimed(of, number, **more))
        apply(s, replace(ended(of, number, outcome), at=1000.0 * number))

    for number in (1, 2, 3):
        attempt(number, refused)
        pauses.append(s.paused_until - 1000.0 * number)
    assert pauses == [policy.not_started_pause(n) for n in (1, 2, 3)] == [1.0, 2.0, 4.0]
    attempt(1, 0, B, owner=OTHER_WORKER)  # what others do says nothing of us
    attempt(4, refused)
    assert s.paused_until == 4008.0
    attempt(5, Lost("rebooted"))
    attempt(6, refused)
    assert s.paused_until == 6001.0


def test_what_others_did_not_start_is_theirs():
    s = after(claimed(A, owner=OTHER_WORKER), ended(A, 1, NotStarted("its worker left")))
    assert (s.is_behind, s.paused_until) == (False, 0.0)


def test_a_late_end_of_an_earlier_attempt_changes_nothing_of_what_the_last_one_left():
    s = after(claimed(OUT), claimed(OUT, 2), ended(OUT, 2, output="there"), tasks=(OUT,))
    apply(s, ended(OUT, 1, 1, output="missing"))
    assert s.lines["a"].state == Ended("succeeded", 2)


def test_a_round_that_is_told_again_is_the_same():
    s = after(RoundOpened(round_(A)), RoundOpened(round_(A)))
    assert s.lines["a"].rounds == (round_(A),)


def test_vanished_told_and_interrupted_are_remembered():
    s = after(claimed(A), Vanished("a", 1), Told("a", 1, 2), Interrupted(2, 143, 0.0), Interrupted(1, 130, 0.0))
    assert (s.vanished, s.told, s.stopping) == ({("a", 1): "killed"}, {("a", 1): 2}, 2)
    apply(s, ended(A, 1, Lost("killed")))
    assert (s.vanished, s.told) == ({}, {})


def test_what_is_for_people_changes_nothing():
    s, same = after(), after(HungUp(), Warned("x"))
    assert (s.lines, s.counts, s.open) == (same.lines, same.counts, same.open)


# ---- counting ----


def test_counts_and_open_follow():
    s = after(Launched("a", 1, ("gpu-0",), 0.0), claimed(A))
    assert (+s.counts, s.open) == ({"running": 1, "ready": 1}, {"a", "b"})
    apply(s, ended(A, 1, 1))
    assert (+s.counts, s.open) == ({"failed": 1, "ready": 1}, {"b"})
    assert s.failures == 1


def test_only_selected_tasks_count_and_only_failures_that_this_run_saw():
    s = situation(A, B, events=ran(A, 1, 1))
    assert s.failures == 0
    begin(s, Wishes(WORKER, frozenset({"b"})))
    assert (+s.counts, s.open) == ({"ready": 1}, {"b"})


def test_ready_tasks_stand_in_the_order_of_priority_and_submission():
    tasks = [task("c", number=3), task("b", number=2), task("a", number=9, priority=1), task("d", number=1, gpus=0)]
    s = situation(*tasks)
    assert [key[2] for key in s.ready] == ["a", "b", "c"]
    assert [key[2] for key in s.ready_cpu] == ["d"]


def test_a_task_that_waits_for_its_readers_is_ready_when_the_last_has_ended():
    need, dep = task("need", number=1, output="x"), task("dep", number=2, needs="need")
    s = after(*ran(need, output="there"), claimed(dep), RoundOpened(round_(need)), tasks=(need, dep))
    assert s.lines["need"].state == Waiting(("dep",), "readers")
    apply(s, ended(dep))
    assert s.lines["need"].state == Ready()
    assert [key[2] for key in s.ready] == ["need"]


def test_a_task_is_ready_once_the_last_of_its_needs_has_ended():
    """Whichever need ends first, whichever it waits for."""
    dep = task("dep", needs="a b", number=3)
    for first, second in ((A, B), (B, A)):
        s = after(*ran(first), tasks=(A, B, dep))
        assert s.lines["dep"].state == Waiting((second.id,))
        for event in ran(second):
            apply(s, event)
        assert s.lines["dep"].state == Ready()


# ---- rounds that this run asks for ----


def wish(s, name="a"):
    found_ = s.to_open.get(name)
    return None if found_ is None else (found_.round.number, found_.round.why, found_.round.aside)


@pytest.mark.parametrize(
    ("events", "wishes", "expected"),
    [
        (ran(A), Wishes(), None),
        (ran(A), Wishes(asked=(("a", 2),)), (2, "asked for", True)),
        (ran(replace(A, identity="old")), Wishes(), (2, "changed", True)),
        ([*ran(OUT, output="there"), found(OUT, "missing")], Wishes(), (2, "output gone", True)),
        (ran(A, 1, 1), Wishes(), None),
        (ran(A, 1, 1), Wishes(repeat=frozenset("a")), (2, "failed before", False)),
        (ran(A), Wishes(repeat=frozenset("a")), None),
        # what runs is left alone
        ([claimed(A)], Wishes(asked=(("a", 2),)), None),
        ([claimed(replace(A, identity="old"))], Wishes(), None),
        # whoever asked for round 2 and finds it opened, has it
        ([*ran(A), RoundOpened(round_(A))], Wishes(asked=(("a", 2),)), None),
        # a round of another identity is none of ours: ask for the next
        ([*ran(A), RoundOpened(round_(replace(A, identity="x")))], Wishes(), (3, "changed", True)),
    ],
)
def test_the_round_that_a_run_asks_for(events, wishes, expected):
    of = OUT if any(getattr(e, "output", None) for e in events) else A
    assert wish(situation(of, events=events, wishes=wishes)) == expected


def test_a_failure_that_is_to_be_repeated_is_repeated_once_in_a_run():
    s = situation(A, events=ran(A, 1, 1), wishes=Wishes(repeat=frozenset("a")))
    for event in (RoundOpened(round_(A, why="failed before", aside=False), ours=True), claimed(A, 2, round=2)):
        apply(s, event)
    apply(s, ended(A, 2, 1))
    assert (wish(s), s.lines["a"].state, s.open) == (None, Ended("failed", 2), set())


def test_a_run_opens_at_most_one_round_of_a_task_and_then_says_stale():
    old = replace(A, identity="old")
    s = situation(A, events=ran(old))
    apply(s, RoundOpened(round_(A, why="changed"), ours=True))
    apply(s, RoundOpened(round_(old, 3)))  # another worker, with another file
    assert (wish(s), s.lines["a"].state, s.open) == (None, Ended("aborted", stale="changed"), set())
    assert +s.counts == {"stale": 1}


def test_two_workers_that_ask_for_the_same_round_make_one():
    s = situation(A, events=ran(A), wishes=Wishes(asked=(("a", 2),)))
    apply(s, RoundOpened(round_(A)))  # the other's, read before we opened ours
    assert (wish(s), s.lines["a"].state) == (None, Ready())
    for event in (claimed(A, 2, round=2), ended(A, 2)):
        apply(s, event)
    assert (wish(s), s.open) == (None, set())


@pytest.mark.parametrize(
    "theirs", [round_(A, aside=False), round_(replace(A, identity="x"))], ids=["kept", "another identity"]
)
def test_whoever_lost_to_a_round_of_another_kind_asks_for_the_next(theirs):
    s = situation(A, events=ran(A), wishes=Wishes(asked=(("a", 2),)))
    apply(s, RoundOpened(theirs, ours=False))
    assert wish(s) == (3, "asked for", True)
    apply(s, RoundOpened(theirs, ours=False))  # told again, by the folder
    assert wish(s) == (3, "asked for", True)
    apply(s, s_opened := RoundOpened(s.to_open["a"].round, ours=True))
    assert s_opened.round.number == 3
    assert (wish(s), s.lines["a"].state) == (None, Ready())


def test_a_task_that_was_asked_for_while_it_ran_gets_its_round_when_it_ends():
    s = situation(A, events=[claimed(A)], wishes=Wishes(asked=(("a", 2),)))
    assert wish(s) is None
    apply(s, ended(A))
    assert wish(s) == (2, "asked for", True)


def test_a_changed_need_makes_its_dependents_run_again_in_turn():
    need, dep = task("need", number=1), task("dep", number=2, needs="need")
    s = situation(need, dep, events=[*ran(need), *ran(dep)], wishes=Wishes(asked=(("need", 2),)))
    assert list(s.to_open) == ["need"]
    for event in (RoundOpened(round_(need), ours=True), claimed(need, 2, round=2), ended(need, 2)):
        apply(s, event)
    assert wish(s, "dep") == (2, "a need changed", True)


def test_only_selected_tasks_get_rounds():
    s = situation(A, B, events=[*ran(replace(A, identity="old")), *ran(replace(B, identity="old"))])
    begin(s, Wishes(WORKER, frozenset({"b"})))
    assert list(s.to_open) == ["b"]


def test_a_late_round_with_a_smaller_number_changes_nothing():
    s = after(RoundOpened(round_(A, 3)), RoundOpened(Round("a", 2, "x", "changed", aside=True)))
    assert s.lines["a"].round == 3


# ---- submissions ----


def test_an_edited_file_adds_withdraws_and_goes_on():
    c = task("c", number=3)
    s = after(Submitted("f", (A, B)), Launched("a", 1, ("gpu-0",), 0.0), claimed(A))
    apply(s, Submitted("f", (c,)))
    assert s.wishes.selection == {"a", "c"}  # b is withdrawn; a runs and goes on
    apply(s, ended(A))
    assert s.open == {"c"}


def test_a_need_that_was_taken_out_of_the_file_is_read_by_nobody():
    need, dep = task("need", number=1, output="x"), task("dep", number=2, needs="need")
    s = after(*ran(need, output="there"), Submitted("f", (need, dep)), tasks=(need, dep))
    apply(s, Submitted("f", (need, replace(dep, needs=()))))
    for event in (claimed(dep, needs={}), RoundOpened(round_(need))):
        apply(s, event)
    assert s.lines["need"].state == Ready()


def test_what_joined_is_withdrawn_with_its_file_too():
    s = after(Submitted("f", (A, B, task("c"))))
    begin(s, Wishes(WORKER, frozenset({"a"})))
    apply(s, Joined(frozenset({"b", "nobody"})))
    assert s.open == {"a", "b"}
    apply(s, Submitted("f", (A,)))
    assert s.open == {"a"}


def test_a_run_of_a_part_of_a_file_does_not_grow_with_it():
    s = after(Submitted("f", (A, B)))
    begin(s, Wishes(WORKER, frozenset({"a"})))
    apply(s, Submitted("f", (A, B, task("c"))))
    assert s.wishes.selection == {"a"}


def test_a_new_wording_of_a_task_holds_from_now_on():
    s = after(Submitted("f", (A, B)), *ran(A))
    apply(s, Submitted("f", (replace(A, identity="new", retries=3), B)))
    assert s.lines["a"].task.retries == 3
    assert wish(s) == (2, "changed", True)


# ---- many at once ----


def test_absorbing_a_history_gives_what_its_events_give_one_by_one():
    need, dep = task("need", number=1, output="x", retries=1), task("dep", number=2, needs="need", gpus=0)
    events = [
        claimed(need),
        ended(need, 1, Exited(1), output="missing"),
        claimed(need, 2),
        ended(need, 2, output="there"),
        claimed(dep, needs={"need": 2}),
        RoundOpened(round_(need)),
        ended(dep),
    ]
    one, other = situation(need, dep, slots=pool(1, 1)), situation(need, dep, slots=pool(1, 1))
    for event in events:
        apply(one, event)
    absorb(other, events)
    for name in ("to_open", "ready", "ready_cpu", "delayed", "open", "unwatched", "mine"):
        assert getattr(one, name) == getattr(other, name), name
    assert {n: line.state for n, line in one.lines.items()} == {n: line.state for n, line in other.lines.items()}
    assert isinstance(one.lines["dep"].state, Waiting)
    assert isinstance(one.to_open.get("need", OpenRound(round_(need))), OpenRound)
