"""Are the points of a search space counted, found and drawn as if all were laid out, and are its faults all named?"""

import contextlib
import enum
import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallel_train.core.plain import plain
from parallel_train.core.space import SpaceError, from_lists, from_matrix, from_tree, order
from tests.support.dahps import choice, config

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
@settings(max_examples=60)
def test_a_tree_is_counted_and_walked_in_the_documents_order(tree):
    space = from_tree({"root": tree, "common": {"epochs": 3}})
    points = [{**point, "epochs": 3} for point in walked(tree)]
    assert [list(point.items()) for point in space] == [list(point.items()) for point in points]
    assert space.count() == len(points)
    assert [space.index(point) for point in points] == list(range(len(points)))
    assert set(space.params) == {name for point in points for name in point}
    assert space.everywhere == {name for name in space.params if all(name in point for point in points)}


@given(st.integers(1, 10**12), st.integers(), st.integers(1, 40))
@settings(max_examples=50)
def test_a_sample_repeats_nothing_and_begins_like_a_longer_one(count, seed, k):
    space = from_matrix({"a": range(count)})
    drawn = space.sample(k, seed)
    assert len(set(drawn)) == len(drawn) == min(k, count)
    assert all(0 <= index < count for index in drawn)
    assert drawn == space.sample(k + 1, seed)[: len(drawn)]
    assert [space.index(space.point(index)) for index in drawn] == drawn


@given(st.integers(1, 400), st.integers(0, 10**9))
@settings(max_examples=30)
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


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        ({"from": 1e-4, "to": 0.1, "count": 4, "log": True}, [0.0001, 0.001, 0.01, 0.1]),
        ({"from": 16, "to": 256, "count": 5, "log": True}, [16, 32, 64, 128, 256]),
        ({"from": 1, "to": 8, "count": 4, "log": True}, [1, 2, 4, 8]),
        ({"from": 0.001, "to": 0.1, "count": 5, "log": True}, [0.001, 0.00316228, 0.01, 0.0316228, 0.1]),
        ({"from": 1, "to": 4, "count": 3, "log": True}, [1, 2, 4]),
        ({"from": 0, "to": 1, "step": 0.3}, [0.0, 0.3, 0.6, 0.9]),
        ({"from": 0, "to": 10, "step": 4}, [0, 4, 8]),
        ({"from": 1, "to": 10, "count": 4}, [1, 4, 7, 10]),
        ({"from": 0.0, "to": 1, "count": 4}, [0.0, 0.333333333333, 0.666666666667, 1.0]),
        ({"from": -1, "to": 1, "count": 3}, [-1, 0, 1]),
        (range(3, 9, 2), [3, 5, 7]),
        (range(3, 0, -1), [3, 2, 1]),
    ],
)
def test_a_range(spec, values):
    space = from_matrix({"x": spec})
    assert [point["x"] for point in space] == values
    assert [type(point["x"]) for point in space] == [type(value) for value in values]
    assert [space.index({"x": value}) for value in values] == list(range(len(values)))
    for stranger in (values[0] - 0.5, values[0] + 0.01, max(values) + 1, "x", True, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="no value of 'x'"):
            space.index({"x": stranger})


@given(st.integers(2, 10**9), st.sampled_from([(1e-5, 1.0), (1, 10**18), (0.5, 7e8)]), st.booleans(), st.data())
@settings(max_examples=40)
def test_a_long_range_is_found_again(count, ends, is_log, data):
    first, last = ends
    with contextlib.suppress(SpaceError):  # too many to be told apart
        space = from_matrix({"x": {"from": first, "to": last, "count": count, "log": is_log}})
        index = data.draw(st.integers(0, count - 1))
        assert space.index(space.point(index)) == index


@pytest.mark.parametrize(
    ("ends", "works"),
    [
        ((1, 8, 6), False),  # 1, 1.5 and 2.3 would be 1, 2 and 2
        ((1, 3, 3), True),  # 1.7 is 2
        ((10, 20, 30), False),
        ((1.0, 1.0000000000001, 2), False),
        ((1.0, 1.0001, 20), True),
        ((10**15, 2 * 10**15, 10**12), False),
    ],
)
def test_even_factors_that_fall_together(ends, works):
    first, last, count = ends
    spec = {"from": first, "to": last, "count": count, "log": True}
    if works:
        assert len({point["x"] for point in from_matrix({"x": spec})}) == count
    else:
        with pytest.raises(SpaceError, match="can't be told apart"):
            from_matrix({"x": spec})


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"frm": 1, "to": 2, "count": 3}, "unknown key 'frm' in a range (did you mean 'from'?)"),
        ({"x": 1, "from": 1, "to": 2, "count": 3}, "unknown key 'x' in a range (write for example"),
        ({"from": 1, "to": 2}, "'count' is missing"),
        ({"from": 1, "to": 2, "count": 2.0}, "'count' must be a whole number"),
        ({"from": True, "to": 2, "count": 2}, "'from' must be a number"),
        ({"from": 1, "to": float("inf"), "step": 2}, "'to' must be a number"),
        ({"from": 1, "to": 2, "count": 2, "log": 1}, "'log' must be true or false"),
        ({"from": 1, "to": 2, "count": 2, "step": 1}, "'step' or 'count', not both"),
        ({"from": 1, "to": 2, "step": 1, "log": True}, "'step' or 'log', not both"),
        ({"from": 2, "to": 1, "count": 2}, "must be below"),
        ({"from": 1, "to": 2, "step": 3}, "'step' (3) leads beyond 'to' (2) at once"),
        ({"from": 1, "to": 2, "count": 1}, "at least 2 values"),
        ({"from": 1, "to": 2, "step": 0}, "'step' (0) must be above 0"),
        ({"from": 0, "to": 2, "count": 2, "log": True}, "'from' (0) must be above 0"),
        (
            {"from": 1, "to": 3, "count": 4},
            "4 values from 1 to 3 can't be told apart (write fewer, or ends with a point",
        ),
        ({"from": 0.1, "to": 0.2, "count": 10**13}, "can't be told apart (write fewer)"),
    ],
)
def test_a_range_that_can_not_be_meant(spec, says):
    with pytest.raises(SpaceError) as caught:
        from_matrix({"x": spec})
    assert any(says in str(fault) for fault in caught.value.faults)


class Colour(str, enum.Enum):
    RED = "red"


class Scalar:
    """As numpy has them."""

    def __init__(self, value, ndim=0):
        self.value, self.ndim = value, ndim

    def item(self):
        return self.value


class Half(float):
    def __repr__(self):
        return "np.float64(0.5)"


def test_a_number_of_numpy_stands_in_a_range_too():
    space = from_matrix({"x": {"from": Half(0.5), "to": 2.0, "step": Half(0.5)}})
    assert [point["x"] for point in space] == [0.5, 1.0, 1.5, 2.0]
    assert space.index({"x": Half(0.5)}) == 0


class Array:
    def tolist(self):
        return [0.1, 0.2]


def test_values_become_what_json_has():
    space = from_lists([[Colour.RED, None, (1, (2,)), {"a": [1]}, Scalar(7), True], Array()])
    found = [point["arg0"] for point in space][::2]
    assert found == ["red", None, [1, [2]], {"a": [1]}, 7, True]
    assert [type(value) for value in found] == [str, type(None), list, dict, int, bool]
    assert [point["arg1"] for point in space][:2] == [0.1, 0.2]
    assert space.index({"arg0": (1, (2,)), "arg1": 0.2}) == 5
    for stranger in (object(), {1: 2}, 1.5, False):
        with pytest.raises(ValueError, match="no value of 'arg0'"):
            space.index({"arg0": stranger, "arg1": 0.1})


def test_a_value_that_json_lacks():
    for value in (object(), Scalar(1, ndim=1), {1: 2}, float("nan"), "x".join):
        with pytest.raises(SpaceError) as caught:
            from_lists([[1, value]])
        assert [fault.keys for fault in caught.value.faults] == [(0, 1)]
    assert len(str(caught.value)) < 200


def test_an_index_says_what_does_not_fit():
    space = from_tree({"root": choice("a", [1, 2], two=None), "common": {"c": [1]}}, lenient=True)
    assert space.index({"c": [1], "a": 2}) == 1
    for point, error, says in [
        ({"c": [1]}, KeyError, "no 'a'"),
        ({"a": 1}, KeyError, "no 'c'"),
        ({"a": 3, "c": [1]}, ValueError, "3 is no value of 'a'"),
        ({"a": 1, "c": 2}, ValueError, "'c' is \\[1\\] in every point"),
        ({"a": 1, "c": [1], "b": 1}, ValueError, "has no 'b'"),
    ]:
        with pytest.raises(error, match=says):
            space.index(point)
    for index in (-1, 2):
        with pytest.raises(IndexError, match="the space has 2"):
            space.point(index)
    assert repr(space) == "<Space of 2 points: a, c>"


def faults(tree, **more):
    """(path, first words of what is wrong) of each fault."""
    with pytest.raises(SpaceError) as caught:
        from_tree({"root": tree, **more})
    return {fault.path: fault.what for fault in caught.value.faults}


def only(tree, **more):
    ((path, what),) = faults(tree, **more).items()
    return path, what


def test_every_fault_is_named_with_its_path():
    good = choice("b", [1])
    assert only(None) == ("the search space", "'root' is missing")
    assert only("x") == ("root", "this is no branch")
    assert only(choice("a", [1], [good, good])) == ("root.default", "this is no branch")
    assert only(choice("a", [1], [good]))[1].startswith("a list with a branch in it")
    assert only({"values": [1], "default": None}) == ("root", "'key' is missing")
    assert only(choice(7, [1])) == ("root.key", "the name of what is chosen here must be text")
    assert only({"key": "a", "default": good}) == ("root", "'values' is missing")
    assert only(choice("a", "xyz")) == ("root.values", "the values must be a list or a range")
    assert only(choice("a", None)) == ("root.values", "the values must be a list or a range")
    assert only(choice("a", {1, 2})) == ("root.values", "a set has no order")
    assert only(choice("a", [[1], "x"]))[0] == "root.values[0]"
    assert only(choice("a", [1, object()]))[0] == "root.values[1]"
    assert only(choice("a", ["x y"], **{"x z": good}))[0] == "root['x z']"
    assert only(choice("a", [1], choice("b", [2], choice("a", [3])))) == (
        "root.key",
        "'a' is chosen a second time on a path that begins here",
    )
    assert from_tree(choice("a", [1], choice("a", [2])) | {1: None}).count() == 1  # nobody goes that way
    assert only(choice("a", [1, 1.0]), check_unique=True) == ("root.values[1]", "the value 1.0 is listed a second time")
    assert only(choice("a", [1]), repetitions=True)[0] == "repetitions"
    assert only(choice("a", [1]), check_unique="no")[0] == "check_unique"
    assert only(choice("a", [1]), constants={})[0] == "constants"
    assert only(choice("a", [1]), common=[1])[0] == "common"
    assert only(choice("a", [1]), common={"a": 1})[0] == "common.a"
    assert set(faults(choice("a", [1]), common={1: 1, "x": object()})) == {"common[1]", "common.x"}
    assert set(faults(choice("a", [], choice("b", [])))) == {"root.values", "root.default.values"}
    with pytest.raises(SpaceError, match="no search space"):
        from_tree([good])


@pytest.mark.parametrize(
    ("values", "case", "repair"),
    [
        ([64, 128], "64", "write 64 without quotes"),
        (["deit", "resnet"], "diet", "did you mean 'deit'?"),
        ([1, 2], "defualt", "did you mean 'default'?"),
        ([1, 2], (3,), "add it to the values"),
        ([1, 2], frozenset(), "add it to the values"),
        ({"from": 1, "to": 4, "step": 1}, 7, "add it to the values"),
    ],
)
def test_a_case_that_no_value_matches(values, case, repair):
    tree = choice("a", values) | {case: choice("b", [1])}
    with pytest.raises(SpaceError, match="no value of 'a' is left") as caught:
        from_tree({"root": tree})
    assert repair in caught.value.faults[0].repair
    assert caught.value.faults[0].keys == ("root", case)
    assert "b" not in from_tree({"root": tree}, lenient=True).params


def test_a_tree_that_holds_itself():
    tree = choice("a", [1, 2])
    tree["default"] = choice("b", [1], tree)
    assert "go round in a circle" in only(tree)[1]


def test_what_is_shared_is_one_fault_and_nobody_reads_a_thousand():
    wrong = choice("c", [])
    assert only(choice("a", [1, 2], choice("b", [1], wrong)) | {1: wrong})[0] == "root[1].values"
    assert (
        len(faults(choice("a", [object() for _ in range(200)], choice("b", {"from": "x", "to": 2, "step": 1})))) == 50
    )
    many = {"root": choice("a", [1, 2]) | {f"x{n}": None for n in range(200)}}
    assert len(from_tree(many, lenient=True).notes) == 50


def test_what_is_mended_is_noted():
    good = choice("b", [1, 2])
    tree = {"key": "a", "value": [1, [2], 1, 3, 4], 3: (good,), 4: choice("c", [], good), 5: good}
    space = from_tree({"root": tree, "check_unique": True, "common": {"b": 7}, "other": 1}, lenient=True)
    assert list(space) == [
        {"a": a, **b} for a, bs in [(1, [{}]), ([2], [{}]), (3, [{"b": 1}, {"b": 2}])] for b in bs
    ] + [
        {"a": 4, "b": 1},
        {"a": 4, "b": 2},
    ]
    assert [note.path for note in space.notes] == [
        *("other", "root.value", "root.value[1]", "root.value[2]", "root[5]", "root", "root[3]", "root[4].values"),
        "common.b",
    ]


def test_values_that_stand_twice_count_twice_where_nobody_minds():
    assert from_tree({"root": choice("a", [1, 1])}).count() == 2
    assert from_tree({"root": choice("a", [1, 1]), "check_unique": False, "repetitions": 3}).repetitions == 3


def test_a_choice_alone_is_a_space_too():
    assert list(from_tree(choice("a", [1, True], default=None))) == [{"a": 1}, {"a": True}]
    assert from_tree({"values": [1], "key": "a"}).notes[0].path == "the search space"
    assert from_tree({"key": "a", "values": ["x"], "x": None}).notes == ()


def test_text_cases_stand_for_numbers_in_a_file():
    read = {"64": 64, "0.001": 0.001, "true": True}
    tree = {"key": "a", "values": [64, "64", True, [1]], "64": choice("b", [1]), "true": choice("c", [2])}
    space = from_tree(tree, read_case=lambda text: read.get(text, text))
    assert list(space) == [{"a": 64}, {"a": "64", "b": 1}, {"a": True, "c": 2}, {"a": [1]}]
    with pytest.raises(SpaceError, match="listed a second time"):
        from_tree({"key": "a", "values": [1, 1]}, read_case=str)
    with pytest.raises(SpaceError, match="is left for the branch '64'"):
        from_tree(tree | {"values": ["x", True]}, read_case=lambda text: read.get(text, text))


def test_a_param_can_be_fixed():
    space = from_tree(config(), lenient=True)
    cifar = space.where({"dataset": "cifar10", "learning_rate": 0.5})
    assert cifar.count() == 882_816 // 44 * 6 // 2
    assert {(p["dataset"], p["learning_rate"]) for p in map(cifar.point, cifar.sample(50, 0))} == {("cifar10", 0.5)}
    assert space.where({"dataset": "imagenet"}).count() == 882_816 // 44 * 8
    assert space.where({}).count() == space.count()
    common = from_tree({"root": choice("a", [1.0, 2]), "common": {"b": 1}}).where({"b": 2, "a": 1})
    assert list(common) == [{"a": 1.0, "b": 2}]


def test_what_tells_points_apart():
    """What has several values, in one branch or among all, and what only some points have; in the document's order."""
    shared = choice("shared", ["x"], choice("alone", [1]))
    other = choice("width", [64], shared)
    tree = choice("kind", ["a", "b"], choice("width", [128], shared)) | {"b": choice("extra", [True], other)}
    space = from_tree({"root": tree, "common": {"epochs": 3}})
    assert space.params == ("kind", "extra", "width", "shared", "alone", "epochs")
    assert space.varying == ("kind", "extra", "width")


def test_a_grid_of_nothing():
    for lists in ([[]], [[1], []]):
        with pytest.raises(SpaceError, match="has no values"):
            from_lists(lists)
    assert list(from_lists([])) == [{}]
    assert (from_lists([]).params, from_lists([]).everywhere, from_lists([]).index({})) == ((), frozenset(), 0)
    assert from_lists([]).varying == ()
    with pytest.raises(SpaceError, match="too many"):
        from_matrix({f"x{n}": [1] for n in range(1001)})
    with pytest.raises(SpaceError, match="no point is left"):
        from_tree({"root": choice("a", [])}, lenient=True, empty_is_dead=True)
