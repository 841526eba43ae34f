"""What should happen now, and what does deciding it cost?"""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from parallel_train.core import policy
from parallel_train.core.apply import absorb, apply
from parallel_train.core.decide import decide, exit_code, wake_at
from parallel_train.core.events import (
    Claimed,
    Company,
    Interrupted,
    Launch,
    Launched,
    Leave,
    Look,
    Looked,
    NeedSeen,
    OpenRound,
    Reclaim,
    Refused,
    RoundOpened,
    Silent,
    Stop,
    Told,
    Vanished,
    Watch,
    Watched,
)
from parallel_train.core.facts import Owner
from parallel_train.core.situation import Situation, Wishes, begin, load
from parallel_train.core.state import Running
from tests.support.builders import (
    WORKER,
    Lost,
    NotStarted,
    TimedOut,
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

A, B, C = (task(name, number=n) for n, name in enumerate("abc", 1))
STRANGER = Owner("host.200.1", "host", "machine", "boot", "pidns", 200, 1)


def running(of, gpus="0", **more):
    """An attempt that was there when this worker came, as it watches it."""
    return [claimed(of, gpus=gpus, **more), Watched(of.id, 1)]


def launches(s, now=0.0):
    """{task: slots} of what would be launched."""
    return {d.task.id: d.slots for d in decide(s, now) if isinstance(d, Launch)}


def launched(s, now=0.0):
    """Do what `decide` says as far as it is launches; the names."""
    names = []
    for d in decide(s, now):
        if isinstance(d, Launch):
            apply(s, Launched(d.task.id, d.attempt, d.slots, now))
            names.append(d.task.id)
    return names


# ---- launches ----


def test_ready_tasks_take_the_free_slots_in_order():
    assert launches(situation(C, B, A)) == {"a": ("gpu-0",), "b": ("gpu-1",)}
    urgent = situation(A, B, replace(C, priority=5), slots=pool(1))
    assert launches(urgent) == {"c": ("gpu-0",)}


def test_a_launch_says_what_it_is_made_from():
    need, dep = task("need", output="x"), task("dep", needs="need")
    s = situation(
        need,
        dep,
        events=[
            *ran(need, 1, 1),
            *(RoundOpened(round_(need)), Looked(0.0)),
            *(claimed(need, 2, round=2), ended(need, 2)),
        ],
    )
    (launch,) = decide(s, 0.0)
    assert launch == Launch(dep, 1, 1, {"need": NeedSeen(2, 2, 2)}, ("gpu-0",), 0)


def test_a_need_whose_output_was_not_ours_counts_as_attempt_none():
    need, dep = task("need", output="x"), task("dep", needs="need")
    (launch,) = decide(situation(need, dep, events=[found(need)]), 0.0)
    assert launch.needs == {"need": NeedSeen(1, 0, 0)}


def test_a_new_round_is_launched_as_the_next_attempt_with_the_old_output_aside():
    out = task("a", output="x")
    s = situation(out, events=[*ran(out), RoundOpened(round_(out))])
    (launch,) = decide(s, 0.0)
    assert (launch.attempt, launch.round, launch.aside) == (2, 2, 2)
    s = situation(out, events=[*ran(out, 1, 1), RoundOpened(round_(out, aside=False))])
    assert decide(s, 0.0)[0].aside == 0


def test_nothing_is_launched_twice():
    s = situation(A, B, C)
    assert launched(s) == ["a", "b"]
    assert decide(s, 0.0) == []
    apply(s, claimed(A))
    assert decide(s, 0.0) == []
    apply(s, ended(A))
    assert launches(s) == {"c": ("gpu-0",)}


def test_workers_share_what_is_equally_urgent_and_take_the_others_part_from_its_end():
    tasks = [task(name, number=n) for n, name in enumerate("abcdefg", 1)]
    for place, mine in ((0, "bdf"), (1, "aceg")):
        s = situation(*tasks, slots=pool(7))
        apply(s, Company(place, 2))
        others = [t.id for t in reversed(tasks) if t.id not in mine]
        assert list(launches(s)) == [*mine, *others]
        assert list(launches(situation(*tasks, slots=pool(2)))) == ["a", "b"]  # alone


def test_urgency_and_width_come_before_shares():
    wide = task("wide", number=4, gpus=2)
    s = situation(replace(A, priority=1), B, C, wide, slots=pool(5))
    apply(s, Company(0, 2))  # b and wide
    assert list(launches(s)) == ["a", "b", "wide", "c"]
    s = situation(A, wide, slots=pool(1))
    apply(s, Company(0, 2))
    assert launches(s) == {"a": ("gpu-0",)}  # wide fits nowhere here


def test_tasks_without_a_gpu_are_shared_too():
    tasks = [task(name, number=n, gpus=0) for n, name in enumerate("abcd", 1)]
    s = situation(*tasks, slots=pool(1, cpus=2))
    apply(s, Company(0, 2))
    assert list(launches(s)) == ["b", "d"]


def test_a_wide_task_at_the_head_keeps_what_comes_free():
    wide = task("wide", number=0, gpus=2)
    s = situation(wide, A, B, events=running(B))
    assert launches(s) == {}  # gpu-1 is free, and kept
    apply(s, ended(B))
    assert launches(s) == {"wide": ("gpu-0", "gpu-1")}


def test_slots_are_kept_for_a_wide_task_however_many_come_free():
    wide = task("wide", number=0, gpus=3)
    s = situation(wide, A, B, C, slots=pool(3), events=running(C))
    assert launches(s) == {}
    apply(s, ended(C))
    assert launches(s) == {"wide": ("gpu-0", "gpu-1", "gpu-2")}


def test_what_stands_before_a_wide_task_starts_and_what_stands_behind_it_waits():
    tasks = [A, task("wide", number=2, gpus=2), C]
    assert launches(situation(*tasks, slots=pool(2))) == {"a": ("gpu-0",)}
    assert launches(situation(*tasks, slots=pool(4))) == {
        "a": ("gpu-0",),
        "wide": ("gpu-1", "gpu-2"),
        "c": ("gpu-3",),
    }


def test_tasks_without_gpus_take_the_extra_slots_only():
    cpus = [task(f"c{n}", number=n, gpus=0) for n in range(3)]
    assert launches(situation(*cpus, A, slots=pool(1, 2))) == {
        "c0": ("cpu-0",),
        "c1": ("cpu-1",),
        "a": ("gpu-0",),
    }
    wide = task("wide", number=0, gpus=2)
    assert launches(situation(wide, *cpus, slots=pool(1, 2))) == {"c0": ("cpu-0",), "c1": ("cpu-1",)}


def test_at_once_limits_all_kinds_together():
    cpu = task("cpu", number=9, gpus=0)
    tasks = (A, B, C, cpu)
    assert list(launches(situation(*tasks, slots=pool(3, 1), wishes=Wishes(at_once=2)))) == ["a", "b"]
    s = situation(*tasks, slots=pool(3, 1), wishes=Wishes(at_once=2), events=[claimed(A)])
    assert list(launches(s)) == ["b"]
    theirs = [claimed(A, owner=STRANGER), claimed(B, owner=STRANGER, gpus="1"), Watched("a", 1), Watched("b", 1)]
    s = situation(*tasks, slots=pool(3, 1), wishes=Wishes(at_once=1), events=theirs)
    assert list(launches(s)) == ["c"]  # -j is per worker


@pytest.mark.parametrize(("at_once", "expected"), [(0, "ab01"), (4, "ab01"), (3, "ab0"), (2, "ab"), (1, "a")])
def test_what_wants_no_gpu_counts_like_the_rest(at_once, expected):
    cpus = [task(str(n), number=n + 8, gpus=0) for n in range(2)]
    s = situation(A, B, *cpus, slots=pool(2, 2), wishes=Wishes(at_once=at_once))
    assert "".join(launches(s)) == expected
    s = situation(*cpus, slots=pool(2, 2), wishes=Wishes(at_once=at_once))
    assert "".join(launches(s)) == "01"[: at_once or 2]


def test_what_can_not_fit_here_keeps_nobody_waiting():
    wide = task("wide", number=0, gpus=2)
    assert launches(situation(wide, A, slots=pool(1))) == {"a": ("gpu-0",)}


def test_a_slot_that_was_held_is_left_alone_for_a_while():
    s = situation(
        A, slots=pool(1), events=[Launched("a", 1, ("gpu-0",), 0.0), Refused("a", 1, "busy", 10.0, ("gpu-0",))]
    )
    assert decide(s, 10.0) == []
    assert wake_at(s, 10.0) == 10.0 + policy.SLOT_PROBE
    assert launches(s, 10.0 + policy.SLOT_PROBE) == {"a": ("gpu-0",)}


def test_a_busy_slot_does_not_hold_up_the_others():
    s = situation(A, events=[Launched("a", 1, ("gpu-0",), 0.0), Refused("a", 1, "busy", 10.0, ("gpu-0",))])
    assert launches(s, 10.0) == {"a": ("gpu-1",)}


def test_after_trouble_nothing_is_launched_for_a_while():
    s = situation(A, B, events=[Launched("a", 1, ("gpu-0",), 0.0), Refused("a", 1, "trouble", 10.0)])
    assert decide(s, 10.0) == []
    assert wake_at(s, 10.0) == 10.0 + policy.TROUBLE_PAUSE
    assert list(launches(s, 10.0 + policy.TROUBLE_PAUSE)) == ["a", "b"]


def test_a_back_off_is_waited_out_and_keeps_its_place_in_the_order():
    first = task("first", number=0, retries=3)
    s = situation(first, A, slots=pool(1), events=[claimed(first), replace(ended(first, 1, 1), at=100.0)])
    due = 100.0 + policy.backoff("first", 1)
    assert launches(s, 100.0) == {"a": ("gpu-0",)}
    assert wake_at(s, 100.0) == due
    assert launches(s, due) == {"first": ("gpu-0",)}


def test_a_back_off_ends_on_the_kind_of_slot_that_the_task_wants():
    on_cpu, on_gpu = task("on-cpu", gpus=0, retries=1), task("on-gpu", retries=1)
    events = [claimed(on_cpu, slots=("cpu-0",)), ended(on_cpu, 1, 1), *ran(on_gpu, 1, 1)]
    s = situation(on_cpu, on_gpu, slots=pool(1, 1), events=events)
    assert decide(s, 0.0) == []  # nobody leaves while something comes due
    assert launches(s, 1e9) == {"on-gpu": ("gpu-0",), "on-cpu": ("cpu-0",)}


def test_the_next_look_is_at_the_earliest_of_what_comes_due():
    patient = task("p", number=9, retries=1)
    s = situation(A, B, patient, events=[claimed(patient), replace(ended(patient, 1, 1), at=100.0)])
    due = 100.0 + policy.backoff("p", 1)
    assert wake_at(s, 100.0) == due
    for event in (Launched("a", 1, ("gpu-0",), 100.0), Refused("a", 1, "busy", 100.0, ("gpu-0",))):
        apply(s, event)
    assert wake_at(s, 100.0) == min(due, 100.0 + policy.SLOT_PROBE)
    for event in (Launched("b", 1, ("gpu-1",), 100.0), Refused("b", 1, "trouble", 100.0)):
        apply(s, event)
    assert wake_at(s, 100.0) == min(due, 100.0 + policy.SLOT_PROBE)
    assert wake_at(s, 103.0) == 100.0 + policy.TROUBLE_PAUSE
    assert wake_at(s, 100.0 + policy.TROUBLE_PAUSE) is None  # now is not later


def test_whose_back_off_is_over_stands_among_those_that_are_ready():
    tasks = [task(f"t{n}", number=n, retries=1) for n in range(5)]
    again = [tasks[1], tasks[3]]
    s = situation(*tasks, slots=pool(5), events=[[claimed(t), ended(t, 1, 1)] for t in again])
    assert list(launches(s, 0.0)) == ["t0", "t2", "t4"]
    assert list(launches(s, 1e9)) == ["t0", "t1", "t2", "t3", "t4"]
    s = situation(*tasks, slots=pool(5), events=[[claimed(t), ended(t, 1, 1)] for t in tasks])
    assert list(launches(s, 1e9)) == ["t0", "t1", "t2", "t3", "t4"]


@pytest.mark.parametrize("failures", [1, 2, 3, 8, 100])
def test_the_back_off_doubles_with_jitter_up_to_a_limit(failures):
    whole = min(policy.BACKOFF_FIRST * 2 ** (failures - 1), policy.BACKOFF_MOST)
    waits = {policy.backoff(f"task{n}", failures) for n in range(50)}
    assert all(whole / 2 <= wait <= whole for wait in waits)
    assert len(waits) == 50  # tasks that failed together do not come back together
    assert policy.backoff("a", failures) == policy.backoff("a", failures)


# ---- rounds, watching, reclaiming, looking ----


def test_rounds_are_opened_a_few_at_a_time_and_before_launches():
    tasks = [task(f"t{n}", number=n) for n in range(policy.ROUNDS_AT_ONCE + 9)]
    s = situation(*tasks, A, events=[ran(replace(t, identity="old")) for t in tasks])
    decisions = decide(s, 0.0)
    assert [type(d) for d in decisions] == [OpenRound] * policy.ROUNDS_AT_ONCE + [Launch]


def test_an_attempt_of_another_is_watched_once():
    s = situation(A, B, events=[claimed(A, owner=STRANGER)])
    assert [d for d in decide(s, 0.0) if isinstance(d, Watch)] == [Watch(claim(A, owner=STRANGER))]
    apply(s, Watched("a", 1))
    assert not [d for d in decide(s, 0.0) if isinstance(d, Watch)]


@pytest.mark.parametrize("why", ["killed", "rebooted", "expired"])
def test_a_dead_owner_is_ended_as_lost(why):
    s = situation(A, events=[claimed(A, owner=STRANGER), Watched("a", 1), Vanished("a", 1, why)])
    assert decide(s, 0.0) == [Reclaim(claim(A, owner=STRANGER), why)]
    apply(s, ended(A, 1, Lost("killed")))
    assert launches(s) == {"a": ("gpu-0",)}


def test_what_is_asked_for_again_does_not_start_in_its_old_round():
    s = situation(A, wishes=Wishes(asked=(("a", 2),)))
    (opening,) = decide(s, 0.0)
    assert isinstance(opening, OpenRound)
    apply(s, RoundOpened(opening.round, ours=True))
    assert [(d.task.id, d.round) for d in decide(s, 0.0)] == [("a", 2)]


def test_an_owner_that_is_heard_again_is_not_ended():
    silent = [claimed(A, owner=STRANGER), Watched("a", 1), Vanished("a", 1, "expired"), Silent("a", 1)]
    assert [type(d) for d in decide(situation(A, events=silent), 0.0)] == [Reclaim]
    assert decide(situation(A, events=[*silent, Silent("a", 1, is_back=True)]), 0.0) == []


def test_nobody_leaves_before_all_is_done_that_he_should_do():
    s = situation(A, B, events=[*ran(B), *running(A, owner=STRANGER), Vanished("a", 1)])
    begin(s, Wishes(WORKER, frozenset({"b"})))
    assert decide(s, 0.0) == [Reclaim(claim(A, owner=STRANGER), "killed")]
    apply(s, ended(A, 1, Lost("killed")))
    assert decide(s, 0.0) == [Leave(0)]


@pytest.mark.parametrize(("gpus", "slot"), [(1, "gpu-0"), (0, "cpu-0")])
def test_a_slot_that_somebody_else_holds_is_waited_for(gpus, slot):
    mine = task("mine", gpus=gpus)
    s = situation(mine, A, slots=pool(1, 1), events=running(A, owner=STRANGER, slots=(slot,)))
    begin(s, Wishes(WORKER, frozenset({"mine"})))
    assert decide(s, 0.0) == []
    apply(s, ended(A))
    assert launches(s) == {"mine": (slot,)}


def test_nobody_stays_for_an_orphan_that_he_was_not_asked_for():
    s = situation(A, B, events=[*ran(B), Claimed(claim(A, owner=STRANGER), orphan=True), Watched("a", 1)])
    begin(s, Wishes(WORKER, frozenset({"b"})))
    assert list(s.mine) == [("a", 1)]
    assert decide(s, 0.0) == [Leave(0)]


def test_a_silent_owner_that_is_heard_again_is_not_reclaimed():
    s = situation(A, events=[claimed(A, owner=STRANGER), Watched("a", 1), Vanished("a", 1, "expired")])
    apply(s, Silent("a", 1, is_back=True))
    assert decide(s, 0.0) == []
    apply(s, Vanished("a", 1, "killed"))
    apply(s, Silent("a", 1, is_back=True))
    assert decide(s, 0.0) == [Reclaim(claim(A, owner=STRANGER), "killed")]


def test_a_dead_owner_is_reclaimed_even_by_a_worker_that_is_told_to_leave():
    s = situation(A, events=[*running(A), Interrupted(1, 130, 0.0), Vanished("a", 1)])
    assert decide(s, 0.0) == [Reclaim(claim(A), "killed")]


def test_an_attempt_that_another_has_followed_is_not_reclaimed():
    """It has an end, which is read a moment later than the claim that followed it."""
    s = situation(A, events=[*running(A), Vanished("a", 1), claimed(A, 2, owner=STRANGER), Watched("a", 2)])
    assert decide(s, 0.0) == []
    apply(s, ended(A, 1, 1))
    assert s.vanished == {}
    assert s.lines["a"].state == Running(2)


def test_an_old_view_is_mended_before_anything_is_started():
    s = situation(A, B, events=[Launched("a", 1, ("gpu-0",), 0.0), Refused("a", 1, "behind", 0.0)])
    assert decide(s, 0.0) == [Look()]
    apply(s, Looked(0.0))
    assert launches(s) == {}  # a view that stays old must not spin
    assert list(launches(s, policy.BEHIND_PAUSE)) == ["a", "b"]


# ---- stopping and leaving ----


def test_a_drain_starts_nothing_and_waits_for_what_runs():
    s = situation(A, B, events=[*running(A), Interrupted(1, 130, 0.0)])
    assert decide(s, 0.0) == []
    apply(s, ended(A))
    assert decide(s, 0.0) == [Leave(130)]


def test_a_drain_leaves_running_what_is_not_ours():
    s = situation(A, B, events=[claimed(A, owner=STRANGER), Watched("a", 1), Interrupted(1, 130, 0.0)])
    assert decide(s, 0.0) == [Leave(130)]


@pytest.mark.parametrize(("level", "kill"), [(2, False), (3, True)])
def test_what_we_answer_for_is_told_once_per_level(level, kill):
    orphan = Claimed(claim(B, owner=STRANGER, gpus="1"), orphan=True)
    events = [*running(A), orphan, Watched("b", 1), Interrupted(level, 143, 0.0)]
    s = situation(A, B, C, events=events)
    assert decide(s, 0.0) == [Stop("a", 1, kill=kill), Stop("b", 1, kill=kill)]
    for name in "ab":
        apply(s, Told(name, 1, level))
    assert decide(s, 0.0) == []
    for name in (A, B):
        apply(s, ended(name, 1, 130, stopped="worker"))
    assert decide(s, 0.0) == [Leave(143)]


def test_a_kill_follows_a_stop():
    s = situation(A, events=[*running(A), Interrupted(2, 130, 0.0), Told("a", 1, 2), Interrupted(3, 130, 1.0)])
    assert decide(s, 0.0) == [Stop("a", 1, kill=True)]


def test_what_does_not_die_is_waited_for_until_nobody_wants_to():
    s = situation(A, events=[*running(A), Interrupted(3, 130, 0.0), Told("a", 1, 3)])
    assert decide(s, 1e6) == []
    apply(s, Interrupted(4, 130, 1.0))
    assert decide(s, 0.0) == [Leave(130)]


def test_a_shim_that_has_claimed_nothing_yet_is_stopped_too():
    s = situation(A, events=[Launched("a", 1, ("gpu-0",), 0.0), Interrupted(2, 130, 0.0)])
    assert decide(s, 0.0) == [Stop("a", 1, kill=False)]


def test_a_drain_opens_no_round():
    s = situation(A, events=[*ran(A), Interrupted(1, 130, 0.0)], wishes=Wishes(asked=(("a", 2),)))
    assert decide(s, 0.0) == [Leave(130)]


def test_fail_fast_starts_nothing_more_and_lets_what_runs_end():
    s = situation(A, B, C, events=running(B, "1"), wishes=Wishes(max_failures=1))
    for event in (claimed(A), ended(A, 1, 1)):
        apply(s, event)
    assert decide(s, 0.0) == []
    apply(s, ended(B))
    assert decide(s, 0.0) == [Leave(1)]


def test_fail_fast_is_not_set_off_by_failures_that_are_repeated_or_old():
    patient = replace(A, retries=1)
    s = situation(patient, B, wishes=Wishes(max_failures=1))
    for event in (claimed(patient), ended(patient, 1, 1)):
        apply(s, event)
    assert launches(s)
    old = situation(A, B, events=ran(A, 1, 1), wishes=Wishes(max_failures=1))
    assert launches(old) == {"b": ("gpu-0",)}


@pytest.mark.parametrize(
    ("events", "code"),
    [
        ([*ran(A), *ran(B)], 0),
        ([*ran(A), *ran(B, 1, 1)], 1),
        ([*ran(A), *ran(B, 1, TimedOut())], 1),
        ([*ran(A), *[ran(B, n, Lost("killed")) for n in range(1, 6)]], 1),
        ([*ran(A), *ran(B, output="missing")], 1),
    ],
)
def test_the_exit_code_says_whether_all_is_done(events, code):
    s = situation(A, B, events=events)
    assert decide(s, 0.0) == [Leave(code)]
    assert exit_code(s) == code


def test_skipped_is_done_and_aborted_is_not():
    out = task("a", output="x")
    assert decide(situation(out, events=[found(out)]), 0.0) == [Leave(0)]
    dep = task("dep", needs="a")
    assert decide(situation(A, dep, events=ran(A, 1, 1)), 0.0) == [Leave(1)]


def test_a_run_counts_its_own_selection_only():
    s = situation(A, B, events=[*ran(A, 1, 1), *ran(B)])
    begin(s, Wishes(WORKER, frozenset({"b"})))
    assert decide(s, 0.0) == [Leave(0)]


def test_nobody_leaves_while_a_selected_task_runs_elsewhere():
    s = situation(A, events=[claimed(A, owner=STRANGER), Watched("a", 1)])
    assert decide(s, 0.0) == []
    apply(s, ended(A))
    assert decide(s, 0.0) == [Leave(0)]


def test_waiting_for_a_reader_outside_the_selection_is_not_being_stuck():
    need, dep = task("need", output="x"), task("dep", needs="need")
    events = [*ran(need, output="there"), claimed(dep, owner=STRANGER), Watched("dep", 1), RoundOpened(round_(need))]
    s = situation(need, dep, events=events)
    begin(s, Wishes(WORKER, frozenset({"need"})))
    assert decide(s, 0.0) == [Look()]  # somebody may have begun to read just before the round was opened
    kept = situation(need, dep, events=[*events[:-1], RoundOpened(round_(need, aside=False))])
    assert not kept.is_behind
    apply(s, Looked(0.0))
    assert decide(s, 0.0) == []


def test_what_can_never_come_is_said_and_not_waited_for():
    one, other = task("one", needs="other"), task("other", needs="one")  # no task file can say so
    s = Situation(Wishes(WORKER, frozenset({"one", "other"})), pool())
    load(s, [one, other])
    begin(s, s.wishes)
    s.open = {"one", "other"}
    assert decide(s, 0.0) == [Leave(1, stuck=("one", "other"))]


# ---- purity and cost ----


class Counting(dict):
    """A dict that counts how often something is looked up or listed in it."""

    touched = 0

    def __getitem__(self, key):
        self.touched += 1
        return super().__getitem__(key)

    def get(self, key, default=None):
        self.touched += 1
        return super().get(key, default)

    def __iter__(self):
        for key in super().__iter__():
            self.touched += 1
            yield key

    def values(self):
        for key in self:
            yield super().__getitem__(key)

    def items(self):
        for key in self:
            yield key, super().__getitem__(key)


def crowd(number):
    need = task("need", number=0)
    tasks = [task(f"t{n:05}", number=n, gpus=n % 3, needs="need" if n % 7 == 0 else "") for n in range(1, number)]
    return [need, *tasks]


def test_deciding_changes_nothing():
    tasks = crowd(40)
    events = [
        *ran(replace(tasks[3], identity="old")),
        claimed(tasks[1], gpus="1"),
        claimed(tasks[4], owner=STRANGER, slots=()),
        Vanished("t00004", 1),
        Interrupted(2, 130, 0.0),
    ]
    for several in (events[:1], events[:3], events[:4], events):
        s = situation(*tasks, events=several, slots=pool(4, 2))
        before = copy.deepcopy(s)
        assert decide(s, 5.0)
        assert s == before
        assert decide(s, 5.0) == decide(before, 5.0)


def test_deciding_costs_by_the_slots_and_not_by_the_tasks():
    tasks = crowd(20_000)
    s = Situation(Wishes(WORKER, frozenset(t.id for t in tasks)), pool(8, 2), lines=Counting())
    load(s, tasks)
    absorb(s, [*ran(tasks[0]), *[e for t in tasks[1:2000] for e in ran(t)]])
    s.lines.touched = 0
    decisions = decide(s, 0.0)
    assert len(decisions) >= 5
    assert s.lines.touched < 100
    for d in decisions:  # nor does taking in what comes of them
        s.lines.touched = 0
        apply(s, Launched(d.task.id, d.attempt, d.slots, 0.0))
        apply(s, claimed(d.task, slots=d.slots))
        apply(s, ended(d.task))
        assert s.lines.touched < 100
        assert not s.mine
    s.lines.touched = 0
    assert s.open
    decide(s, 0.0)
    assert s.lines.touched < 100


def taken(of, attempt=1, lease=300.0):
    return [claimed(of, attempt, lease=lease), ended(of, attempt, Lost("expired"))]


def waits(*events):
    (launch,) = [d for d in decide(situation(A, events=[*events, Looked(0.0)]), 60.0) if isinstance(d, Launch)]
    return launch.wait


NEVER_RAN = {"stopped": NotStarted("its worker left"), "killed": Lost("killed"), "rebooted": Lost("rebooted")}


def test_after_a_takeover_an_attempt_waits_as_long_as_the_lease_of_the_former_owner_asks_for():
    assert waits() == waits(*ran(A, outcome=Lost("killed"))) == 0.0
    assert waits(*taken(A)) == 160.0
    assert waits(*taken(A, lease=2.0)) == pytest.approx(4 / 3)
    assert waits(*taken(A, lease=60.0), *taken(A, 2, lease=2.0)) == 40.0


@pytest.mark.parametrize("how", NEVER_RAN)
def test_an_attempt_that_may_not_have_waited_leaves_that_to_the_next(how):
    assert waits(*taken(A), claimed(A, 2), ended(A, 2, NEVER_RAN[how], started="")) == 160.0


def test_an_attempt_that_ran_has_waited_for_those_after_it():
    stopped = [claimed(A, 2), ended(A, 2, 0, stopped="worker")]
    assert waits(*taken(A), *stopped) == 0.0
