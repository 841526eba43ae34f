"""Which tasks does a template make: matrix, include, exclude, zip, seeds and NAME=VALUE?"""

import pytest

from parallel_train.core.override import override
from parallel_train.core.points import count, points
from parallel_train.core.template import Matrix, Template


def template(**keys):
    return Template(command="x", **keys)


def laid(made, **overrides):
    return [" ".join(f"{k}={v}" for k, v in point.items()) for point, _ in points(override(made, overrides))]


def test_without_anything_there_is_one_task():
    assert laid(template()) == [""]
    assert laid(template(params={"a": 1})) == ["a=1"]


def test_first_key_slowest_seeds_fastest():
    made = template(params={"t": "ce"}, matrix=Matrix({"a": [1, 2], "b": [3, 4]}), seeds=range(1, 3))
    assert laid(made) == [f"t=ce a={a} b={b} seed={s}" for a in (1, 2) for b in (3, 4) for s in (1, 2)]
    assert count(made) == 8
    assert count(template(params={"a": [1, 2]})) == 1
    assert count(template(zipped={"a": [1, 2, 3]}, seeds=[1, 2])) == 6
    assert count(template(matrix=Matrix({}, include=[{"a": 1}, {"a": 2}]))) == 2


def test_zip_goes_in_parallel_and_crosses_the_matrix():
    made = template(matrix=Matrix({"m": [1, 2]}), zipped={"a": "pq", "b": "rs"})
    assert laid(made) == ["m=1 a=p b=r", "m=1 a=q b=s", "m=2 a=p b=r", "m=2 a=q b=s"]


def test_include_and_exclude_as_in_github_actions():
    made = Matrix(
        {"fruit": ["apple", "pear"], "animal": ["cat", "dog"]},
        include=[
            {"color": "green"},
            {"color": "pink", "animal": "cat"},
            {"fruit": "apple", "shape": "circle"},
            {"fruit": "banana"},
            {"fruit": "banana", "animal": "cat"},
        ],
    )
    assert laid(template(matrix=made)) == [
        "fruit=apple animal=cat color=pink shape=circle",
        "fruit=apple animal=dog color=green shape=circle",
        "fruit=pear animal=cat color=pink",
        "fruit=pear animal=dog color=green",
        "fruit=banana",
        "fruit=banana animal=cat",
    ]


def test_include_alone_is_a_list_of_tasks():
    assert laid(template(matrix=Matrix({}, include=[{"a": 1}, {"b": 2}]))) == ["a=1", "b=2"]


def test_exclude_takes_away_what_fits_in_part():
    made = Matrix({"a": [1, 2], "b": [1, True]}, exclude=[{"a": 2}, {"a": 1, "b": True}])
    assert laid(template(matrix=made)) == ["a=1 b=1"]


PAIRS = Matrix({"data": ["p", "q"]}, include=[{"data": "p", "n": 1}, {"data": "q", "n": 2}])


@pytest.mark.parametrize(
    ("made", "given", "expected"),
    [
        (template(params={"a": 1}), {"a": 5}, ["a=5"]),
        (template(params={"a": 1}), {"b": 5}, ["a=1"]),
        (template(matrix=Matrix({"a": [1, 2], "b": [3, 4]})), {"a": 2}, ["a=2 b=3", "a=2 b=4"]),
        (template(matrix=Matrix({"a": [1, 2]})), {"a": 9}, ["a=9"]),
        (template(seeds=range(1, 4)), {"seed": 7}, ["seed=7"]),
        (template(zipped={"a": [1, 2], "b": [3, 4]}), {"a": 2}, ["a=2 b=4"]),
        (template(zipped={"a": [1, 2], "b": [3, 4]}), {"a": 9}, ["a=9 b=3", "a=9 b=4"]),
        (template(zipped={"a": [1, 2]}), {"a": 9}, ["a=9"]),
        (template(matrix=PAIRS), {"data": "q"}, ["data=q n=2"]),
        (template(matrix=PAIRS), {"data": "r", "n": 3}, ["data=r n=3"]),
        (template(matrix=PAIRS), {"n": 3}, ["data=p n=3", "data=q n=3"]),
    ],
)
def test_a_param_is_overridden(made, given, expected):
    assert laid(made, **given) == expected
