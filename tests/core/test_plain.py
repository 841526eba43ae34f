"""What of a user's values does JSON hold?"""

from __future__ import annotations

import enum
import json
from collections import OrderedDict

import pytest

from parallel_train.core.plain import plain


class Name(str):
    __slots__ = ()


class Size(enum.IntEnum):
    BIG = 3


class Colour(str, enum.Enum):
    RED = "red"


class Scalar:
    """As numpy and torch have them."""

    ndim = 0

    def item(self) -> float:
        return 0.5


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, None),
        (True, True),
        (Name("a"), "a"),
        (Size.BIG, 3),
        (Colour.RED, "red"),
        ({Colour.RED: 1}, {"red": 1}),
        (Scalar(), 0.5),
        ((1, [Scalar(), "x"]), [1, [0.5, "x"]]),
        (OrderedDict(a=(1,)), {"a": [1]}),
    ],
)
def test_it_is_plain(value, found):
    result = plain(value)
    assert (result, type(result)) == (found, type(found))
    assert json.loads(json.dumps(result)) == found


class Long:
    """numpy's longdouble: what it gives is no number of Python's."""

    ndim = 0

    def item(self) -> Long:
        return Long()


def test_nan_is_a_value_only_where_it_is_taken():
    assert json.dumps(plain([float("nan")])) == "[NaN]"
    with pytest.raises(TypeError, match="does not equal itself"):
        plain({"a": [float("nan")]}, takes_nan=False)


@pytest.mark.parametrize("value", [Long(), {1: 2}, {1, 2}, object(), b"x", [print], type("Array", (), {"ndim": 1})()])
def test_it_is_not(value):
    with pytest.raises(TypeError):
        plain(value)
