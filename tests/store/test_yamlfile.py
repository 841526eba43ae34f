"""Does YAML mean what its author sees: 1e-3 a number, `no` a word, a key a name?"""

import math

import pytest

from parallel_train.store import yamlfile
from parallel_train.store.yamlscalar import scalar


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-1.5e+2", -150.0),
        ("0123", 123),
        ("+7", 7),
        ("0o17", 15),
        ("0x1F", 31),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("true", True),
        ("FALSE", False),
        ("", None),
        ("~", None),
        ("null", None),
        ("no", "no"),
        ("on", "on"),
        ("12:30:00", "12:30:00"),
        ("2001-01-01", "2001-01-01"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("1e", "1e"),
        ("-", "-"),
        ("<<", "<<"),
        ("tRue", "tRue"),
        ("9" * 301, "9" * 301),
    ],
)
def test_plain_words_by_the_core_schema(text, value):
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


def test_nan_is_a_number():
    assert math.isnan(scalar(".nan"))


def test_quotes_tags_and_aliases():
    content = b"a: '1'\nb: \"no\"\nc: !!str 1\nd: !!float 1\ne: &x [1, 2]\nf: *x\ng: |\n  1\nh: ! '1'\n"
    document = yamlfile.read("f", content)
    expected = {"a": "1", "b": "no", "c": "1", "d": 1.0, "e": [1, 2], "f": [1, 2], "g": "1\n", "h": "1"}
    assert document.data == expected
    assert not document.faults


def test_keys_are_names():
    assert yamlfile.read("f", b"on: 1\n1: 2\nnull: 3\n").data == {"on": 1, "1": 2, "null": 3}


def test_a_byte_order_mark_and_other_line_ends_are_fine():
    document = yamlfile.read("f", "\ufeffa: 1\r\nb: é\r\n".encode())
    assert document.data == {"a": 1, "b": "é"}
    assert document.fault(("b",), "wrong").line == 2


def test_a_place_counts_letters_not_bytes():
    fault = yamlfile.read("f", "é: {ü: 1, b: 2}\n".encode()).fault(("é", "b"), "wrong")
    assert (fault.line, fault.column) == (1, 14)
