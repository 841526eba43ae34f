"""Does the reader of a task file find all faults at once, and stop in time? The single ones are in tests/corpus."""

import re
import time
from pathlib import Path

import pytest

from parallel_train.errors import TaskFileError, UsageError
from parallel_train.store.taskfile import LoadSettings, load


def faults_of(tmp_path, text, **settings):
    (tmp_path / "tasks.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(TaskFileError) as caught:
        load(Path("tasks.yaml"), LoadSettings(tmp_path, **settings))
    return caught.value.faults


def test_all_faults_come_at_once(tmp_path):
    text = """\
defaults:
  retry: 1
tasks:
  - command: train {sed}
    gpus: many
    seeds: 3
    env: {HF_TOKEN: hf_abc}
  - command: train {seed}
    output: output/x
    output: output/x
    seeds: 2
  - name: late
    command: collate
    timeouts: 3
"""
    faults = faults_of(tmp_path, text)
    assert [f"{f.line}:{f.column} {f.message}" for f in faults] == [
        "2:3 unknown key 'retry'",
        "4:5 unknown placeholder {sed}",
        "5:11 gpus must be a whole number from 0",
        "7:11 a task file can't hold the value of HF_TOKEN",
        "9:5 'train-seed1' and 'train-seed2' have the same output, output/x",
        "10:5 key 'output' is given twice, first in line 9",
        "14:5 unknown key 'timeouts'",
    ]


def test_a_fault_shows_its_line_and_a_caret(tmp_path):
    (fault,) = faults_of(tmp_path, "tasks:\n  - comand: x\n")
    assert str(fault) == (
        "tasks.yaml:2:5: unknown key 'comand' (did you mean 'command'?)\n      - comand: x\n        ^"
    )


@pytest.mark.parametrize("name", ["HF_TOKEN", "wandb_api_key", "CLIENT_SECRET", "PASSWORD"])
def test_a_literal_secret_is_refused_and_not_shown(tmp_path, name):
    faults = faults_of(
        tmp_path,
        f"tasks:\n- command: x\n  env: {{{name}: s3cr3t, B: [1]}}\n- command: x\n  env: {{{name}: 5}}\n",
    )
    said = "\n".join(map(str, faults))
    assert f"secret:{name}" in said
    assert "s3cr3t" not in said


def test_an_alias_bomb_is_counted_before_it_is_built(tmp_path):
    levels = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    (fault,) = faults_of(tmp_path, "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "\n".join(levels))
    assert "at most 500,000 values" in fault.message
    chain = "a0: &a0 [x]\n" + "\n".join(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 100))
    (fault,) = faults_of(tmp_path, chain)
    assert fault.message == "a task file is at most 64 levels deep"


def test_what_nobody_would_read_is_only_counted(tmp_path):
    (tmp_path / "tasks.yaml").write_text("tasks:\n" + "- {command: x, name: a}\n" * 200)
    with pytest.raises(TaskFileError) as caught:
        load(Path("tasks.yaml"), LoadSettings(tmp_path))
    assert str(caught.value).count("two tasks are named 'a'") == 50
    assert str(caught.value).endswith("and 149 faults more")


def test_deep_nesting_neither_crashes_nor_hangs(tmp_path):
    (fault,) = faults_of(tmp_path, "[" * 200_000)
    assert "64 levels" in fault.message


@pytest.mark.parametrize(
    ("content", "place", "words"),
    [
        (b"tasks:\n- command: \xff\n", (2, 12), "not UTF-8"),
        ("tasks:".encode("utf-16"), (1, 1), "this is UTF-16 text"),
        (b"#" * (8 * 1024 * 1024 + 1), (0, 0), "at most 8 MiB"),
    ],
)
def test_what_is_no_text_is_no_task_file(tmp_path, content, place, words):
    (fault,) = faults_of(tmp_path, content)
    assert (fault.line, fault.column) == place
    assert words in fault.message


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"overrides": {"lrr": "1"}}, "no task has a param 'lrr' (did you mean 'lr'?)"),
        ({"trainer": "ce"}, "no task has a param 'trainer'"),
        ({"output_base": "../out"}, "--output-base '../out' lies outside of the project"),
        ({"output_base": ""}, "--output-base"),
        ({"overrides": {"lr": "\0"}}, "a NUL character"),
    ],
)
def test_options_that_can_not_be(tmp_path, settings, words):
    (tmp_path / "tasks.yaml").write_text("tasks: [{command: 'x {lr}', params: {lr: 1}}]")
    with pytest.raises(UsageError, match=re.escape(words)):
        load(Path("tasks.yaml"), LoadSettings(tmp_path, **settings))


@pytest.mark.parametrize("name", ["absent.yaml", "absent.py", "."])
def test_a_file_that_can_not_be_read(tmp_path, name):
    with pytest.raises(UsageError, match="can't read the task file"):
        load(Path(name), LoadSettings(tmp_path))


def test_what_looks_like_a_placeholder_in_a_command_is_noted(tmp_path):
    words = """'{lr:.2f}', '{ lr }', '{"lr": {lr}}', '{print $1}', '${lr:-1}'"""
    text = f"tasks:\n- command: [x, {words}]\n  params: {{lr: 1}}\n"
    (tmp_path / "tasks.yaml").write_text(text)
    file = load(Path("tasks.yaml"), LoadSettings(tmp_path))
    assert file.tasks[0].command == ("x", "{lr:.2f}", "{ lr }", '{"lr": 1}', "{print $1}", "${lr:-1}")
    assert file.notes == tuple(
        f"'{word}' is passed on as it is: a placeholder is {{lr}}" for word in ("{lr:.2f}", "{ lr }")
    )


def test_a_quoted_tilde_is_a_tilde(tmp_path):
    (tmp_path / "tasks.yaml").write_text("""tasks: [{command: "x ~/a '~/b' c~/d \\\\~/e ~"}]""")
    (task,) = load(Path("tasks.yaml"), LoadSettings(tmp_path)).tasks
    assert task.command == ("x", "\0home\0/a", "~/b", "c~/d", "~/e", "\0home\0")


def test_a_fault_far_down_has_its_own_place(tmp_path):
    """The tasks are looked at a thousand at a time."""
    (fault,) = faults_of(tmp_path, "tasks:\n" + "- command: x\n" * 2500 + "- {command: y, gpus: many}\n")
    assert (fault.line, fault.column, fault.message) == (2502, 22, "gpus must be a whole number from 0")


def test_of_endless_keys_the_first_are_said_and_the_right_ones_kept(tmp_path):
    keys = ", ".join(f"k{n}: 0" for n in range(5000))
    found = faults_of(tmp_path, f"tasks: [{{{keys}, command: x, gpus: many}}]")
    assert found[0].message == "unknown key 'k0'"
    assert not any("'command' is missing" in fault.message for fault in found)


@pytest.mark.parametrize("gap", ["{}x", "KEY{}x", "{}# a comment"])
def test_a_long_line_with_the_name_of_a_secret_is_looked_through_at_once(tmp_path, gap):
    text = f"tasks:\n- command: x\n  A_KEY: {gap.format(' ' * 20_000)}\n  B: {'KEY&' * 5_000} x\n  c: 1\n"
    began = time.process_time()
    faults = faults_of(tmp_path, text)
    assert len(faults) >= 3
    assert time.process_time() - began < 2


def test_the_key_of_a_search_is_no_secret_and_what_stands_beside_it_may_be(tmp_path):
    text = """\
tasks:
  - command: train {args}
    search: {space: {key: lr, values: [], default: {key: b, value: [1]}}}
  - command: train {args}
    search: {space: {key: lr, values: []}, API_KEY: abcdef, seed: 0}
"""
    first, second, third = faults_of(tmp_path, text)
    assert first.source.endswith("{space: {key: lr, values: [], default: {key: b, value: [1]}}}")
    assert second.message.startswith("'value' stands where")
    assert third.source.endswith("{key: lr, values: []}, API_KEY: ****************")
