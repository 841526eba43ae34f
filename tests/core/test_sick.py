"""Is a slot put aside that spoils everything, and no other, and what becomes of the tasks that failed on it?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from parallel_train.core.apply import apply
from parallel_train.core.decide import decide
from parallel_train.core.events import Launch, Leave, PutSlotAside, Requested, SlotPutAside
from parallel_train.core.facts import Lost, Request
from parallel_train.core.state import Ended, Ready
from parallel_train.report.view import notice
from tests.support.builders import claimed, ended, pool, situation, task

TASKS = [task(f"t{n}", number=n) for n in range(8)]


def run(s, of, slot, code, *, seconds=1.0, attempt=1, **more):
    apply(s, claimed(of, attempt, gpus=slot))
    apply(s, ended(of, attempt, code, seconds=seconds, **more))


def after(*runs, slots=3):
    """Runs of (task number, slot, exit code) or (…, seconds), one after the other."""
    s = situation(*TASKS, slots=pool(slots))
    for number, slot, code, *seconds in runs:
        run(s, TASKS[number], slot, code, seconds=(seconds or [1.0])[0])
    return s


def aside(s):
    return {d.slot: set(d.tasks) for d in decide(s, 1e6) if isinstance(d, PutSlotAside)}


def test_three_quick_failures_on_one_slot_with_a_success_elsewhere():
    s = after((0, "0", 1), (1, "1", 0, 60), (2, "0", 1), (3, "0", 1))
    assert aside(s) == {"gpu-0": {"t0", "t2", "t3"}}


def test_what_speaks_against_it():
    quick = [(0, "0", 1), (1, "1", 0), (2, "0", 1), (3, "0", 1)]
    assert aside(after(*quick[:3])) == {}  # two
    assert aside(after(quick[0], quick[2], quick[3])) == {}  # no success elsewhere
    assert aside(after(quick[1], quick[0], quick[2], quick[3])) == {}  # it was before
    assert aside(after(*quick[:3], (3, "0", 1, 11.0))) == {}  # a slow one
    assert aside(after(*quick[:3], (4, "0", 0), quick[3])) == {}  # it works here too
    assert aside(after(quick[0], quick[1], quick[2], (3, "2", 1))) == {}  # on another slot


def test_one_task_that_fails_again_and_again_says_nothing_of_its_slot():
    patient = task("t", retries=5)
    s = situation(patient, TASKS[1], slots=pool(2))
    run(s, patient, "0", 1)
    run(s, TASKS[1], "1", 0)
    for attempt in (2, 3, 4):
        run(s, patient, "0", 1, attempt=attempt)
    assert aside(s) == {}


def test_an_attempt_that_was_told_to_stop_says_nothing():
    s = after((0, "0", 1), (1, "1", 0), (2, "0", 1))
    run(s, TASKS[3], "0", 1, stopped="cancel")
    assert aside(s) == {}


def test_what_happens_on_another_host_says_nothing_of_the_slots_here():
    s = after((0, "0", 1), (1, "1", 0), (2, "0", 1))
    apply(s, replace(claimed(TASKS[3], gpus="0"), is_here=False))
    apply(s, ended(TASKS[3], outcome=1, seconds=1.0))
    assert aside(s) == {}
    run(s, TASKS[4], "0", 1)
    assert aside(s) == {"gpu-0": {"t0", "t2", "t4"}}


def put_aside():
    """GPU 0 is put aside; t0, t2 and t3 had failed on it."""
    s = after((0, "0", 1), (1, "1", 0), (2, "0", 1), (3, "0", 1))
    (found,) = (d for d in decide(s, 1e6) if isinstance(d, PutSlotAside))
    apply(s, Requested(Request(1, "excuse", found.tasks, by="w")))
    apply(s, SlotPutAside(found.slot, found.tasks))
    return s


def test_its_tasks_run_again_elsewhere_without_a_retry_of_their_own():
    s = put_aside()
    assert aside(s) == {}
    assert s.lines["t0"].state == Ready()
    launched = {d.task.id: d.slots for d in decide(s, 1e6) if isinstance(d, Launch)}
    assert launched == {"t0": ("gpu-1",), "t2": ("gpu-2",)}
    assert "GPU 0" in notice(s, 1e6)


def test_a_task_that_is_too_wide_without_it_waits_for_nobody_and_keeps_no_slot():
    wide = task("wide", gpus=3, number=9, priority=1)
    s = situation(*TASKS[:5], wide, slots=pool(3))
    for number, slot, code in ((0, "0", 1), (1, "1", 0), (2, "0", 1), (3, "0", 1)):
        run(s, TASKS[number], slot, code)
    apply(s, SlotPutAside("gpu-0", {}))
    assert [d.task.id for d in decide(s, 1e6) if isinstance(d, Launch)] == ["t4"]
    run(s, TASKS[4], "1", 0)
    assert decide(s, 1e6) == [Leave(1)]
    assert "wide wants more than this worker has (2 GPU slots)" in notice(s, 1e6)


def test_they_have_failed_where_they_fail_elsewhere_too_and_the_slot_is_cleared():
    s = put_aside()
    run(s, TASKS[0], "1", 1, attempt=2)
    assert s.lines["t0"].state == Ended("failed", 2)
    assert not s.pool.slots["gpu-0"].is_sick


def test_they_have_succeeded_where_they_succeed_elsewhere():
    s = put_aside()
    run(s, TASKS[0], "1", 0, attempt=2)
    assert s.lines["t0"].state == Ended("succeeded", 2)
    assert s.pool.slots["gpu-0"].is_sick


@pytest.mark.parametrize(("times", "expected"), [(4, Ready()), (5, Ended("failed", 5))])
def test_nothing_is_excused_for_ever(times, expected):
    s = situation(TASKS[0])
    for attempt in range(1, times + 1):
        run(s, TASKS[0], "0", 1, attempt=attempt)
        apply(s, Requested(Request(attempt, "excuse", {"t0": attempt})))
    assert s.lines["t0"].state == expected


def test_what_was_lost_and_what_was_excused_are_free_together():
    s = situation(TASKS[0])
    for attempt in (1, 2, 3, 4, 5):
        assert s.lines["t0"].state == Ready()
        run(s, TASKS[0], "0", 1 if attempt % 2 else Lost("killed"), attempt=attempt)
        apply(s, Requested(Request(attempt, "excuse", {"t0": attempt} if attempt % 2 else {})))
    assert s.lines["t0"].state == Ended("failed", 5)
