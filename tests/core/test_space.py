"""Are the points of a search space counted, found and drawn as if all were laid out, and are its faults all named?"""

import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallel_train.core.axis import plain
from parallel_train.core.space import SpaceError, from_lists, from_matrix, from_tree, order
from tests.support.dahps import config

NAMES = "abcdefgh"


def trees(depth=0):
    """Trees in which no key stands twice on a path: the key's name tells its depth."""
    values = st.lists(
        st.sampled_from([1, 2.5, "x", "default", "key", None, True, False, (1, 2)]), min_size=1, max_size=4
    )
    values = values.map(lambda some: [v for i, v in enumerate(some) if plain(v) not in [plain(w) for w in some[:i]]])
    branch = st.none() if depth == 3 else st.none() | st.deferred(lambda: trees(depth + 1))

    def node(drawn):
        key, listed, default, cases = drawn
        made = {"key": f"{key}{depth}", "values": listed, "default": default}
        given = [value for value, case in zip(listed, cases, strict=False) if case != "none"]
        own = {value: cases[listed.index(value)] for value in given if value not in ("default", "key")}
        return {**made, **own}

    cases = st.lists(st.just("none") | branch, max_size=4)
    return st.tuples(st.sampled_from("ab"), values, branch, cases).map(node)


def walked(node):
    """Every point of a tree, the plain way."""
    if node is None:
        return [{}]
    points = []
    for value in node["values"]:
        has_case = value in node and value not in ("key", "values", "default")
        case = next((k for k in node if has_case and k == value and type(k) is type(value)), "default")
        points += [{node["key"]: plain(value), **rest} for rest in walked(node[case])]
    return points


@given(trees())
@settings(max_examples=150)
def test_a_tree_is_counted_and_walked_in_the_documents_order(tree):
    space = from_tree({"root": tree, "common": {"epochs": 3}})
    points = [{**point, "epochs": 3} for point in walked(tree)]
    assert [list(point.items()) for point in space] == [list(point.items()) for point in points]
    assert space.count() == len(points)
    assert [space.index(point) for point in points] == list(range(len(points)))
    assert set(space.params) == {name for point in points for name in point}
    assert space.everywhere == {name for name in space.params if all(name in point for point in points)}


@given(st.integers(1, 10**12), st.integers(), st.integers(1, 40))
@settings(max_examples=100)
def test_a_sample_repeats_nothing_and_begins_like_a_longer_one(count, seed, k):
    space = from_matrix({"a": range(count)})
    drawn = space.sample(k, seed)
    assert len(set(drawn)) == len(drawn) == min(k, count)
    assert all(0 <= index < count for index in drawn)
    assert drawn == space.sample(k + 1, seed)[: len(drawn)]
    assert [space.index(space.point(index)) for index in drawn] == drawn


@given(st.integers(1, 400), st.integers(0, 10**9))
@settings(max_examples=60)
def test_an_order_is_a_permutation(count, seed):
    assert sorted(map(order(count, seed), range(count))) == list(range(count))


def test_an_order_is_the_same_everywhere_and_reaches_every_permutation():
    assert [order(882_816, 0)(position) for position in range(3)] == [241381, 390982, 664169]
    orders = {tuple(map(order(4, seed), range(4))) for seed in range(400)}
    assert orders == set(itertools.permutations(range(4)))
    for position in (-1, 4):
        with pytest.raises(IndexError):
            order(4, 0)(position)


def test_the_documents_config_has_three_faults():
    with pytest.raises(SpaceError) as caught:
        from_tree(config())
    assert {fault.path: fault.repair.split()[0] for fault in caught.value.faults} == {
        "root.shearlet.value": "rename",
        "root.default.deit.values": "write",
        "root.default.default.default.default.default": "remove",
    }
    assert str(caught.value).count("\n") == 2


def test_repaired_it_has_so_many_points():
    space = from_tree(config(), lenient=True)
    assert space.count() == 882_816
    assert len(space.notes) == 3
    assert "activation" not in space.params
    assert from_tree(config(), lenient=True, empty_is_dead=True).count() == 46_464
    mended = from_tree(config(comma=False, value=False, activations=("gelu", "relu")))
    assert mended.count() == 882_816 + 33 * 25_344
    assert mended.notes == ()


def test_lists_are_a_grid_in_the_order_of_nested_loops():
    lists = [[16, 64], ["a"], [0.1, 0.2, 0.3]]
    assert [tuple(point.values()) for point in from_lists(lists)] == list(itertools.product(*lists))
    assert list(from_lists([[1], [[2, 3]]], names=["width", "sizes"])) == [{"width": 1, "sizes": [2, 3]}]


def test_a_billion_points_are_quick():
    digits = {f"d{n}": list(range(10)) for n in range(9)}
    began = time.process_time()
    space = from_matrix(digits)
    assert space.count() == 10**9
    drawn = space.sample(1000, seed=7)
    assert [space.index(space.point(index)) for index in drawn] == drawn
    assert time.process_time() - began < 1
