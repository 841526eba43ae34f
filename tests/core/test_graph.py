"""Does an order put needs first, and is a circle named from end to end?"""

import pytest

from parallel_train.core.graph import CycleError, closure, did_you_mean, nearest, order


def test_needs_come_first_and_the_rest_keeps_its_order():
    needs = {"c": ["b"], "x": [], "b": ["a"], "a": [], "d": ["a", "x"]}
    assert order(needs) == ["a", "b", "c", "x", "d"]


@pytest.mark.parametrize(
    ("needs", "path"),
    [
        ({"a": ["a"]}, ("a", "a")),
        ({"a": ["b"], "b": ["a"]}, ("a", "b", "a")),
        ({"start": ["a"], "a": ["b", "c"], "b": [], "c": ["d"], "d": ["a"]}, ("a", "c", "d", "a")),
    ],
)
def test_a_circle_is_named(needs, path):
    with pytest.raises(CycleError) as caught:
        order(needs)
    assert caught.value.path == path
    assert str(caught.value) == " -> ".join(path)


def test_a_long_chain_needs_no_deep_stack():
    needs = {i: [i + 1] for i in range(20_000)} | {20_000: []}
    assert order(needs)[0] == 20_000


def test_a_selection_draws_in_its_needs():
    needs = {"a": [], "b": ["a"], "c": ["b"], "d": []}
    assert closure(["c"], needs) == {"a", "b", "c"}
    assert closure([], needs) == set()


@pytest.mark.parametrize(("word", "name"), [("comand", "command"), ("GPUS", "gpus"), ("xyz", None), ("Trian", "train")])
def test_the_nearest_name(word, name):
    assert nearest(word, ["command", "gpus", "train"]) == name


def test_a_hint_is_empty_where_nothing_is_near():
    assert did_you_mean("nois", ["noise"]) == "did you mean 'noise'?"
    assert did_you_mean("nois", ["q"]) == ""
