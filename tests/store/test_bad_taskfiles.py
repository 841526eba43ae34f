"""Is every fault of a task file said in plain words, at its line and column, all of them at once?"""

import re
from pathlib import Path

import pytest

from parallel_train.errors import TaskFileError, UsageError
from parallel_train.store.taskfile import LoadSettings, load

JARGON = re.compile(r"pydantic|validat|input\b|instance|Traceback|_error|\bNone\b|\bstr\b|\bdict\b|\bint\b", re.ASCII)

# Each case: the file, then for each of its faults the place and words that stand in it.
SYNTAX = [
    ("", ["1:1 the file is empty"]),
    ("# nothing\n", ["1:1 the file is empty"]),
    ("---\n...\n", ["2:1 the file is empty"]),
    ("- a\n", ["1:1 a task file is a mapping"]),
    ("just text", ["1:1 a task file is a mapping"]),
    ("tasks: [\n", ["2:1 a bracket is never closed"]),
    ("tasks:\n\t- command: x\n", ["2:1 a tab can't indent (use spaces)"]),
    ('tasks: "x\n', ["2:1 a quote is never closed"]),
    ("tasks:\n- command: a: b\n", ["2:13 a ':' that can't stand here"]),
    ("tasks:\n- {command: x, output: {output_base}/x}\n", ["2:37 a ',' or a closing bracket is missing"]),
    ("tasks:\n- command: x\n  output: {output_base}/x\n", ["3:24 this does not fit … quotes"]),
    ("tasks:\n- command: *x\n", ["2:12 '*x' names nothing"]),
    ("tasks: &a [*a]\n", ["1:12 '*a' stands inside what it names"]),
    ("tasks:\n- command: @x\n", ["2:12 a value can't begin with this"]),
    ('tasks:\n- command: "\\d"\n', ["2:13 a backslash that YAML does not know"]),
    ("tasks:\n- command: x\n---\ntasks: []\n", ["3:1 a task file is one document"]),
    ("tasks:\n- command: x\n  gpus: 1\n gpus: 2\n", ["4:2 this does not fit"]),
    ("tasks:\n- command: \x1b[0m\n", ["2:12 a control character"]),
    ("tasks: " + "[" * 70 + "]" * 70, ["1:71 at most 64 levels deep"]),
    ("? [a]\n: 1\ntasks: [{command: x}]\n", ["1:3 a key must be text"]),
    ("tasks:\n- command: x\n  {a}: 1\n", ["3:3 a key must be text"]),
    (
        "tasks: !!python/object:os.system [x]\n",
        ["1:8 the tag '!!python/object:os.system' is not allowed", "1:35 a task must be a mapping"],
    ),
    ("tasks:\n- command: !run x\n", ["2:12 the tag '!run' is not allowed"]),
    ("tasks:\n- command: x\n  gpus: !!float one\n", ["3:9 'one' is no !!float", "3:9 gpus must be"]),
    ('tasks:\n- command: "a\\0b"\n', ["2:12 a NUL character"]),
    ("tasks:\n- command: x\n  gpus: 1\n  gpus: 2\n", ["4:3 key 'gpus' is given twice, first in line 3"]),
    (
        "base: &b {gpus: 1}\ntasks:\n- <<: *b\n  command: x\n",
        ["1:1 unknown key 'base'", "3:3 unknown key '<<'"],
    ),
]
KEYS = [
    ("task:\n- command: x\n", ["1:1 unknown key 'task' (did you mean 'tasks'?)"]),
    ("default: {}\ntasks: [{command: x}]\n", ["1:1 unknown key 'default' (did you mean 'defaults'?)"]),
    ("defaults: {}\n", ["1:1 'tasks' is missing"]),
    ("tasks:\n", ["1:7 tasks must be a list with at least one task"]),
    ("tasks: []\n", ["1:8 tasks must be a list with at least one task"]),
    ("tasks: {command: x}\n", ["1:8 tasks must be a list"]),
    ("tasks: [x]\n", ["1:9 a task must be a mapping with 'command'"]),
    ("tasks:\n- comand: x\n", ["2:3 unknown key 'comand' (did you mean 'command'?)"]),
    ("tasks:\n- name: x\n", ["2:3 'command' is missing"]),
    ("tasks:\n- command: [a, [b]]\n", ["2:16 command must be text, or a list of texts"]),
    ("tasks:\n- command: x\n  gpus: two\n", ["3:9 gpus must be a whole number from 0"]),
    ("tasks:\n- command: x\n  gpus: -1\n", ["3:9 gpus must be a whole number from 0"]),
    ("tasks:\n- command: x\n  gpus: true\n", ["3:9 gpus must be a whole number from 0"]),
    ('tasks:\n- command: x\n  gpus: "1"\n', ["3:9 gpus must be a whole number from 0"]),
    ("tasks:\n- command: x\n  retries: 1.5\n", ["3:12 retries must be a whole number from 0"]),
    ("tasks:\n- command: x\n  shell: yes\n", ["3:10 shell must be true or false"]),
    ("tasks:\n- command: x\n  timeout: soon\n", ["3:12 timeout must be seconds above 0, or text like 2h30m"]),
    ("tasks:\n- command: x\n  timeout: .inf\n", ["3:12 timeout must be seconds above 0"]),
    ("tasks:\n- command: x\n  timeout: 0s\n", ["3:12 timeout must be seconds above 0"]),
    ("tasks:\n- command: x\n  needs: 3.5\n", ["3:10 needs must be a list of names"]),
    ("tasks:\n- command: x\n  inputs: [[a]]\n", ["3:12 inputs must be a list of files"]),
    ("tasks:\n- command: x\n  env: {A: [1]}\n", ["3:12 'A' of env must be text or a number"]),
    ("tasks:\n- command: x\n  params: [a]\n", ["3:11 params must be a mapping of names to values"]),
    ("tasks:\n- command: x\n  matrix: {lr: 0.1}\n", ["3:16 'lr' of matrix must be a list of values"]),
    ("tasks:\n- command: x\n  matrix: {lr: [1], include: {}}\n", ["3:30 include must be a list of mappings"]),
    ("tasks:\n- command: x\n  seeds: 0\n", ["3:10 seeds must be a whole number from 1"]),
    ("tasks:\n- command: x\n  seeds: [1, x]\n", ["3:14 seeds must be"]),
    ("tasks:\n- command: x\n  done_when: {contains: x}\n", ["3:14 'file' is missing"]),
    ("tasks:\n- command: x\n  done_when: {files: x}\n", ["3:15 unknown key 'files' (did you mean 'file'?)"]),
    ("tasks:\n- command: x\n  metrics: {name: a, mode: up}\n", ["3:28 mode must be max or min"]),
    ("tasks:\n- command: x\n  metrics: [{name: a}, {}]\n", ["3:24 'name' is missing"]),
    ("defaults: {gpu: 1}\ntasks: [{command: x}]\n", ["1:12 unknown key 'gpu' (did you mean 'gpus'?)"]),
]
MEANING = [
    ("tasks:\n- command: [a]\n  shell: true\n", ["3:3 shell: true needs the command as one text"]),
    ("tasks:\n- command: []\n", ["2:3 the command is empty"]),
    ('tasks:\n- command: " "\n', ["2:3 the command is empty"]),
    ("tasks:\n- command: it's\n", ["2:3 a quote in the command is never closed"]),
    (
        "tasks:\n- command: x {lrr}\n  params: {lr: 1}\n",
        ["2:3 unknown placeholder {lrr} (did you mean 'lr'?)"],
    ),
    ("tasks:\n- command: x {q}\n", ["2:3 unknown placeholder {q} ({{q}} means the text {q})"]),
    (
        "tasks:\n- command: [x, '{q}', '{r}']\n",
        ["2:16 unknown placeholder {q}", "2:23 unknown placeholder {r}"],
    ),
    ("tasks:\n- command: x {output}\n", ["2:3 {output} is used, but the task has no output"]),
    ("tasks:\n- command: x --a={args}\n", ["2:3 {args} can't stand here (it is several words"]),
    (
        "tasks:\n- command: x\n  output: o/{data_root}\n",
        ["3:3 {data_root} can't stand here (it is only known at"],
    ),
    ("tasks:\n- command: x\n  params: {output: 1}\n", ["3:12 'output' is a name of ours"]),
    ("tasks:\n- command: x\n  params: {a b: 1}\n", ["3:12 'a b' can't be the name of a param"]),
    ("tasks:\n- command: x\n  matrix: {a: []}\n", ["3:12 'a' has no values"]),
    ("tasks:\n- command: x\n  zip: {a: [1], b: [1, 2]}\n", ["3:3 differ in length: a has 1, b has 2"]),
    ("tasks:\n- command: x\n  zip: {a: [1]}\n  matrix: {a: [1]}\n", ["3:9 'a' is in matrix and in zip"]),
    (
        "tasks:\n- command: x\n  seeds: 2\n  matrix: {seed: [1]}\n",
        ["3:3 'seed' is given by seeds and by matrix"],
    ),
    ("tasks:\n- command: x\n  matrix: {lr: [1], exclude: [{l: 1}]}\n", ["3:32 'l' is not in the matrix"]),
    (
        "tasks:\n- command: x\n  matrix: {lr: [1], exclude: [{lr: 1}]}\n",
        ["3:3 exclude leaves no combination"],
    ),
    ("tasks:\n- command: x {b}\n  matrix: {a: [1], include: [{a: 2, b: 1}]}\n", ["2:3 has no value for {b}"]),
    (
        "tasks:\n- command: x\n  output: o\n- command: y\n  output: o/\n",
        ["5:3 'x' and 'y' have the same output, o"],
    ),
    (
        "tasks:\n- command: x\n  output: o\n- command: y\n  output: o/a\n",
        ["5:3 have one output inside the other: o, o/a"],
    ),
    ("tasks:\n- {name: a, command: x}\n- {name: a, command: y}\n", ["3:4 two tasks are named 'a'"]),
    (
        "tasks:\n- {name: a, command: x}\n- {name: b, command: x}\n",
        ["3:13 'a' and 'b' are the same command without"],
    ),
    ("tasks:\n- command: x\n  name: ''\n", ["3:3 a name is empty"]),
    ('tasks:\n- command: x\n  name: "a\\nb"\n', ["3:3 a name holds a control character: 'a\\nb'"]),
    (f"tasks:\n- command: x\n  name: {'é' * 101}\n", ["3:3 a name is longer than 200 bytes"]),
    ("tasks:\n- command: x\n  output: ../o\n", ["3:3 '../o' lies outside of the project"]),
    ("tasks:\n- command: x\n  output: o/{a}\n  params: {a: ..}\n", ["3:3 climb out by '..'"]),
    ("tasks:\n- command: x\n  output: '{a}/o'\n  params: {a: /etc}\n", ["3:3 makes the output absolute"]),
    (
        "tasks:\n- command: x\n  output: 'o/{a}/{b}'\n  matrix: {a: [1, 2], b: ['', c]}\n",
        ["3:3 inside the other: o/1, o/1/c, and 1 more like this"],
    ),
    (
        "tasks:\n- {name: a, command: x, needs: [b]}\n- {name: b, command: y, needs: [a]}\n",
        ["2:25 circle: a -> b -> a"],
    ),
    ("tasks:\n- {name: a, command: x, needs: [a]}\n", ["2:25 circle: a -> a"]),
    (
        "tasks:\n- {name: train, command: x}\n- {command: y, needs: [trian]}\n",
        ["3:24 'trian' matches no … 'train'?"],
    ),
    ("tasks:\n- {stage: s, command: x, needs: [s]}\n", ["2:34 need 's' matches no other task"]),
    (
        "tasks:\n- command: x\n  metrics: {name: a, file: f, regex: (a)}\n",
        ["3:3 a file or a regex, not both"],
    ),
    ("tasks:\n- command: x\n  metrics: {name: a, regex: acc}\n", ["3:22 the regex needs a group"]),
    ("tasks:\n- command: x\n  metrics: [{name: a, regex: (}]\n", ["3:23 the regex can't be read"]),
    ("tasks:\n- command: x\n  env: {A=B: c}\n", ["3:9 'A=B' can't be the name of a variable"]),
    ("defaults: {output: o}\ntasks: [{command: x}, {command: y}]\n", ["1:12 have the same output, o"]),
    ("tasks:\n- {command: x, seeds: 1000000, matrix: {a: [1, 2]}}\n", ["1:1 this makes 2,000,000 tasks"]),
]


def faults_of(tmp_path, text, **settings):
    (tmp_path / "tasks.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(TaskFileError) as caught:
        load(Path("tasks.yaml"), LoadSettings(tmp_path, **settings))
    return caught.value.faults


@pytest.mark.parametrize(("text", "expected"), [*SYNTAX, *KEYS, *MEANING])
def test_a_fault_is_said_where_it_is(tmp_path, text, expected):
    faults = faults_of(tmp_path, text)
    said = [f"{f.line}:{f.column} {f.message}" + (f" ({f.hint})" if f.hint else "") for f in faults]
    assert len(said) == len(expected), said
    for line, words in zip(said, expected, strict=True):
        place, *parts = words.split(" ", 1)
        assert line.startswith(f"{place} "), said
        assert all(part in line for part in parts[0].split(" … ")), said
    assert not JARGON.search("\n".join(said)), said
    for fault in faults:
        assert fault.file == "tasks.yaml"


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
        "10:5 key 'output' is given twice, first in line 9",
        "10:5 'train-seed1' and 'train-seed2' have the same output, output/x",
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
    assert "at most 1,000,000 values" in fault.message
    chain = "a0: &a0 [x]\n" + "\n".join(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 100))
    (fault,) = faults_of(tmp_path, chain)
    assert fault.message == "a task file is at most 64 levels deep"


def test_deep_nesting_neither_crashes_nor_hangs(tmp_path):
    (fault,) = faults_of(tmp_path, "[" * 200_000)
    assert "64 levels" in fault.message


@pytest.mark.parametrize(
    ("content", "place", "words"),
    [
        (b"tasks:\n- command: \xff\n", (2, 12), "not UTF-8"),
        ("tasks:".encode("utf-16"), (1, 1), "not UTF-8"),
        (b"#" * (16 * 1024 * 1024 + 1), (0, 0), "at most 16 MiB"),
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
