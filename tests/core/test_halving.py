"""Do the rungs and brackets of successive halving equal the published ones, and do only good trials go on?"""

from __future__ import annotations

import math

import pytest

from parallel_train.core.halving import Rung, brackets, halving, promoted, schedule


@pytest.mark.parametrize(
    ("minimum", "maximum", "eta", "expected"),
    [
        (1, 81, 3, (1, 3, 9, 27, 81)),
        (1, 100, 3, (1, 3, 11, 33, 100)),
        (2, 16, 2, (2, 4, 8, 16)),
        (5, 5, 3, (5,)),
        (4, 10, 3, (10,)),
        (1, 1, 2, (1,)),
    ],
)
def test_the_schedule_ends_with_all_there_is(minimum, maximum, eta, expected):
    assert schedule(minimum, maximum, eta) == expected


@pytest.mark.parametrize(("minimum", "maximum", "eta"), [(0, 9, 3), (10, 9, 3), (1, 9, 1)])
def test_numbers_that_give_no_schedule_are_refused(minimum, maximum, eta):
    with pytest.raises(ValueError, match="must be"):
        schedule(minimum, maximum, eta)


def test_the_brackets_are_those_of_the_paper():
    """Table 1 of the paper: R = 81, eta = 3."""
    found = brackets(schedule(1, 81, 3), 3, 10**9)
    assert [[(rung.trials, rung.resource) for rung in bracket] for bracket in found] == [
        [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
        [(34, 3), (11, 9), (3, 27), (1, 81)],
        [(15, 9), (5, 27), (1, 81)],
        [(8, 27), (2, 81)],
        [(5, 81)],
    ]


def test_a_small_space_is_not_drawn_from_twice():
    found = brackets((1, 3, 9), 3, 11)
    assert [bracket[0].trials for bracket in found] == [9, 2]  # 5 are wanted for the second, none is left for a third
    assert sum(bracket[0].trials for bracket in brackets((1, 3, 9), 3, 10**6)) == 9 + 5 + 3
    assert brackets((1, 3), 3, 0) == ()


def test_one_of_eta_goes_on_and_at_least_one():
    assert halving((1, 3, 9), 3, 7) == (Rung(7, 1), Rung(2, 3), Rung(1, 9))


def test_only_numbers_go_on_and_of_equals_the_earlier():
    assert promoted([0.5, math.nan, 0.9, None, 0.9, -math.inf, math.inf], 3, "max") == [6, 2, 4]
    assert promoted([0.5, math.nan, 0.9, None, 0.1], 2, "min") == [4, 0]
    assert promoted([math.nan, None], 2, "max") == []
