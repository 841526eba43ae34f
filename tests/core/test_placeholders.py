"""What becomes of `{name}` and of every other brace?"""

import pytest

from parallel_train.core.outputs import clashes, seen_from, settle
from parallel_train.core.placeholders import arguments, cut, is_unicode, written
from parallel_train.core.task import late

VALUES = {"x": "1", "a.b-c": "2", "brace": "{x}"}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("", ""),
        ("{x}", "1"),
        ("a{x}b{x}", "a1b1"),
        ("{a.b-c}", "2"),
        ("{brace}", "{x}"),
        ("{{x}}", "{x}"),
        ("{{unknown}}", "{unknown}"),
        ('{"a": {x}, "b": {}}', '{"a": 1, "b": {}}'),
        ("{ x } {0} {x!r} {x:.3f} {", "{ x } {0} {x!r} {x:.3f} {"),
        ("}{x}{", "}1{"),
        ("\\d{2}", "\\d{2}"),
    ],
)
def test_texts_are_filled_once(text, filled):
    assert cut(text).fill(VALUES) == filled


def test_late_values_become_marks_only_where_they_may():
    assert cut("{python}/{x}", late_allowed=True).fill(VALUES) == late("python") + "/1"
    assert cut("{python}").names == ("python",)


def test_a_shell_keeps_its_own_braces():
    assert cut("${x} {x}", shell=True).fill(VALUES) == "${x} 1"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.5"),
        (1e-3, "0.001"),
        (1e22, "1e+22"),
        (3, "3"),
        (True, "true"),
        (None, "null"),
        ("é {x}", "é {x}"),
        ([1, "a"], '[1, "a"]'),
        ({"a": None}, '{"a": null}'),
        (float("inf"), "inf"),
    ],
)
def test_values_are_written(value, text):
    assert written(value) == text


def test_args_are_options_in_the_written_order():
    params = {"lr": 0.1, "flag": True, "off": False, "none": None, "name": "", "n": -1}
    assert arguments(params) == ["--lr", "0.1", "--flag", "--name", "", "--n", "-1"]


@pytest.mark.parametrize(
    ("promised", "value", "path"),
    [
        ("output/{v}", "a", "output/a"),
        ("./output//{v}/", "a", "output/a"),
        ("a/../b", "", "b"),
        ("/scratch/{v}", "a", "/scratch/a"),
        ("//scratch/{v}", "a", "/scratch/a"),
        ("output/{v}", "/a", "output/a"),
    ],
)
def test_outputs_have_one_spelling(promised, value, path):
    text = cut(promised)
    assert settle(text, text.fill({"v": value}), "/project") == path


@pytest.mark.parametrize(
    ("promised", "value"),
    [
        ("output/{v}", ".."),
        ("output/{v}", "a/../b"),
        ("{v}{v}/x", "."),
        ("{v}/x", "/etc"),
        ("../x", ""),
        ("a/../../x", ""),
        (".", ""),
        ("/", ""),
        ("~/x", ""),
        (".parallel-train/x", ""),
        ("output/{v}", "x" * 256),
        ("output/{v}", "a\nb"),
    ],
)
def test_outputs_that_leave_the_project_are_refused(promised, value):
    text = cut(promised)
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        settle(text, text.fill({"v": value}), "/project")


@pytest.mark.parametrize("path", ["/home", "/home/anna/", "/home/anna/x/..", "/home/anna/project/.."])
def test_an_output_does_not_hold_the_project(path):
    with pytest.raises(ValueError, match="the project folder lies in '/home"):
        settle(cut(path), path, "/home/anna/project")
    assert settle(cut("/home/ann"), "/home/ann", "/home/anna/project") == "/home/ann"


@pytest.mark.parametrize(
    ("cwd", "path", "seen"),
    [
        (".", "o/x", "o/x"),
        ("src", "o/x", "../o/x"),
        ("src", "/o/x", "/o/x"),
        ("../other", "o/x", "../project/o/x"),
        ("/elsewhere", "o/x", "/home/project/o/x"),
        (late("data_root"), "o/x", "/home/project/o/x"),
    ],
)
def test_a_command_sees_its_output_from_its_own_folder(cwd, path, seen):
    assert seen_from(cwd, path, "/home/project") == seen


@pytest.mark.parametrize(
    ("paths", "pairs"),
    [
        (["a", "b", "ab", "a-b"], []),
        (["a", "a"], [(1, 0)]),
        (["a/b", "a-", "a", "a/c/d"], [(2, 0), (3, 2)]),
        (["/p/a", "a"], [(1, 0)]),
        (["/p", "a"], [(1, 0)]),
    ],
)
def test_outputs_in_each_others_way(paths, pairs):
    assert sorted(clashes(enumerate(paths), "/p")) == pairs


def test_bytes_that_are_no_text_can_not_be_written():
    assert is_unicode("ünï \U0001f600")
    assert not is_unicode(b"caf\xe9".decode(errors="surrogateescape"))
