"""Is the guessed end of a run near the truth, and cheap?"""

from __future__ import annotations

import time

import pytest

from parallel_train.core.eta import Pace
from tests.support.builders import claimed, ended, pool, ran, situation, task

TASKS = [task(f"t{n}", params={"lr": n, "net": "small" if n % 2 else "large"}) for n in range(6)]


def guess(*events, running=None, slots=2):
    s = situation(*TASKS, events=events, slots=pool(slots))
    return Pace.of(s).eta(s, 0.0, running or {})


def test_nothing_is_guessed_before_a_finish():
    assert guess() is None
    assert guess(ran(TASKS[0], outcome=1, seconds=9.0)) is None


def test_the_rest_is_spread_over_the_slots():
    assert guess(ran(TASKS[0], seconds=10.0)) == pytest.approx(5 * 10 / 2)


def test_like_tasks_take_alike():
    events = [ran(TASKS[0], seconds=10.0), ran(TASKS[1], seconds=2.0)]
    assert guess(*events) == pytest.approx((2 * 10 + 2 * 2) / 2)


def test_the_longest_one_bounds_it():
    assert guess(ran(TASKS[0], seconds=10.0), slots=64) == pytest.approx(10.0)


def test_time_that_was_run_is_subtracted():
    finished = [ran(t, seconds=10.0) for t in TASKS[:5]]
    assert guess(*finished, claimed(TASKS[5]), running={"t5": 4.0}) == pytest.approx(6.0)


def test_the_overdue_gives_no_guess():
    finished = [ran(t, seconds=10.0) for t in TASKS[:5]]
    assert guess(*finished, claimed(TASKS[5]), running={"t5": 40.0}) is None


def test_one_that_runs_for_long_makes_its_kind_longer():
    finished = [ran(TASKS[0], seconds=10.0)]
    assert guess(*finished, claimed(TASKS[2]), running={"t2": 100.0}, slots=64) == pytest.approx(100.0)


def test_between_two_guesses_it_runs_down():
    s = situation(*TASKS, events=[ran(TASKS[0], seconds=10.0)])
    pace = Pace.of(s)
    first = pace.eta(s, 0.0, {})
    assert first is not None
    assert pace.eta(s, 0.5, {}) == pytest.approx(first - 0.5)


def test_an_end_makes_it_guess_anew():
    s = situation(*TASKS, events=[ran(TASKS[0], seconds=10.0)])
    pace = Pace.of(s)
    pace.eta(s, 0.0, {})
    pace.note(TASKS[1], ended(TASKS[1], seconds=1.0).end)
    assert pace.eta(s, 0.1, {}) == pytest.approx((2 * 10 + 3 * 1) / 2)


def test_ten_thousand_tasks_cost_little():
    many = [task(f"t{n}", params={"lr": n, "net": f"net{n % 7}"}) for n in range(10_000)]
    s = situation(*many, events=[ran(many[0])])
    pace = Pace.of(s)
    began = time.process_time()
    assert pace.eta(s, 0.0, {}) is not None
    assert time.process_time() - began < 1  # where each is compared with each, minutes
