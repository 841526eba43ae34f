"""Is a grid what nested loops would give, and is what is no grid refused in a sentence?"""

from __future__ import annotations

import pytest

from parallel_train.core import grid
from parallel_train.errors import UsageError


def test_the_last_list_is_fastest():
    assert grid.points([[16, 64], (1, 2)]) == [(16, 1), (16, 2), (64, 1), (64, 2)]
    assert grid.points(iter([range(2)])) == [(0,), (1,)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([1, 2], "a list for each argument, such as .*, not 1"),
        ("ab", "not 'ab'"),
        ([["a"], "bc"], "not 'bc'"),
        ([], "no point"),
        ([[1], []], "no point"),
    ],
)
def test_what_is_no_grid(given, said):
    with pytest.raises(UsageError, match=said):
        grid.points(given)


def test_points_keep_their_numbers_and_others_take_what_is_free():
    old = {number: grid.params(point) for number, point in enumerate(grid.points([[1, 2], [(1,), (3,)]]))}
    wanted = [grid.params(point) for point in [(5, 5), (2, [3]), (1, (1,)), (6, 6), (7, 7)]]
    assert grid.numbers(wanted, old) == [1, 3, 0, 2, 4]
    twice = [grid.params((1,))] * 2
    assert grid.numbers(twice, {}) == grid.numbers(twice, dict(enumerate(twice))) == [0, 1]
    assert grid.numbers(twice[:1], dict(enumerate(twice))) == [0]


def test_what_is_recorded():
    assert grid.params((16, "a", (1, 2))) == {"arg0": 16, "arg1": "a", "arg2": [1, 2]}
    with pytest.raises(UsageError, match=r"argument 1: .*its name, and look it up"):
        grid.params((1, object()))
