"""Does every value reach the command byte for byte, whatever it holds?"""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from parallel_train.store.taskfile import LoadSettings, load

AWKWARD = [
    "'",
    '"',
    "$(touch x)",
    "`x`",
    "a\nb",
    "{v}",
    "{{v}}",
    "{output}",
    "--flag",
    "-",
    "~/x",
    "*",
    "\\",
    "",
    " ",
]
VALUES = st.one_of(
    st.sampled_from(AWKWARD),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    st.lists(st.sampled_from(AWKWARD), min_size=2, max_size=4).map("".join),
)


PAIR = re.compile(r"\\u(d[89ab]..)\\u(d[c-f]..)")


def _as_yaml_escapes_it(pair):
    high, low = int(pair[1], 16), int(pair[2], 16)
    return f"\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08x}"


def tasks_of(folder, template):
    # JSON is YAML, but for how it escapes what is beyond 16 bits: the file holds exactly these values.
    text = json.dumps({"tasks": [template]})
    (folder / "t.yaml").write_text(PAIR.sub(_as_yaml_escapes_it, text))
    return load(Path("t.yaml"), LoadSettings(folder)).tasks


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("round-trip")


@settings(max_examples=200, deadline=None)
@given(value=VALUES)
@example(value="\u2028\x85\ufeff\U0001f600")
def test_a_value_stays_one_argument(folder, value):
    (task,) = tasks_of(folder, {"command": 'x {v} a{v}b \'{"k": "{v}"}\' {args}', "params": {"v": value}})
    assert task.command == ("x", value, f"a{value}b", f'{{"k": "{value}"}}', "--v", value)
    (task,) = tasks_of(folder, {"command": ["{v}", "{v}"], "params": {"v": value}, "env": {"A": "{v}"}})
    assert task.command == (value, value)
    assert task.env["A"] == value


@settings(max_examples=100, deadline=None)
@given(value=VALUES)
def test_a_shell_reads_back_the_value(folder, value):
    (task,) = tasks_of(folder, {"command": "x {v}", "shell": True, "params": {"v": value}})
    assert shlex.split(task.command[0]) == ["x", value]


@pytest.mark.parametrize("value", [v for v in AWKWARD if v])
def test_a_real_shell_and_a_real_program_get_it(folder, value):
    (task,) = tasks_of(folder, {"command": "printf %s {v}", "shell": True, "params": {"v": value}})
    assert subprocess.check_output(["/bin/sh", "-c", task.command[0]], cwd=folder).decode() == value
    (task,) = tasks_of(folder, {"command": "printf %s {v}", "params": {"v": value}})
    assert subprocess.check_output(task.command, cwd=folder).decode() == value
    assert not (folder / "x").exists()
