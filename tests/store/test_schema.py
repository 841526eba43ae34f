"""Does the schema for editors take what our reader takes, and no misspelt key?"""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from parallel_train.errors import TaskFileError
from parallel_train.store import schema, yamlfile
from parallel_train.store.taskfile import LoadSettings, load
from tests.support.call import Caller, call

__all__ = ["call"]

TASKS = Path(__file__).parents[2] / "tasks"
SCHEMA = schema.json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def accepts(text: str) -> bool:
    return VALIDATOR.is_valid(yamlfile.read("t.yaml", text.encode()).data)


def test_it_is_a_schema_and_init_prints_it(call: Caller):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(call("init", "--schema").out) == SCHEMA


@pytest.mark.parametrize("path", sorted(TASKS.glob("*.yaml")), ids=lambda path: path.name)
def test_our_examples_are_accepted(path: Path):
    assert accepts(path.read_text())


def test_what_init_writes_is_accepted(call: Caller):
    for name, words in {
        "a.yaml": (),
        "b.yaml": ("python", "train.py", "--lr", "0.1", "--seed", "1", "--x", "a b"),
    }.items():
        assert call("init", "-f", name, "--", *words).code == 0
        assert accepts((call.root / name).read_text())


@pytest.mark.parametrize(
    ("keys", "is_right"),
    [
        ("command: [echo, 1, 0.5, true]", True),
        ("command: echo, timeout: 2h30m", True),
        ("command: echo, timeout: 1.5", True),
        ("command: echo, needs: a, inputs: [b]", True),
        ("command: echo, seeds: 3", True),
        ("command: echo, seeds: [1, 2]", True),
        ("command: echo, env: {A: 1}, name: 7", True),
        ("command: echo, matrix: {lr: [1, a], include: [{lr: 2, x: 1}]}", True),
        ("command: echo, done_when: x, metrics: [{name: a, mode: min}]", True),
        ("command: echo, done_when: {file: [a, b], contains: 3}", True),
        ("command: echo, search: {space: {lr: [1, 2], b: {from: 1, to: 2, step: 1}}}, output: 'o/{point}'", True),
        (
            "command: 'echo {args}', search: {samples: 2, seed: 1, space: {key: a, values: [1, 2], 1: , default: }}",
            True,
        ),
        ("command: 'echo {args}', search: {space: {root: {key: a, values: [1, 2]}, common: {b: 1}}}", True),
        ("command: echo, search: {space: {}}", False),
        ("command: echo, search: {space: {lr: 1}}", False),
        ("command: echo, search: {space: {key: a, value: [1]}}", False),
        ("command: echo, search: {space: {key: a, values: [1], default: 3}}", False),
        ("command: echo, search: {space: {root: {key: a, values: []}}}", False),
        ("command: echo, search: {space: {lr: {from: 1, to: 2}}}", False),
        ("command: echo, search: {space: {lr: [1]}, method: best}", False),
        ("command: echo, search: {samples: 3}", False),
        ("comand: echo", False),
        ("command: echo, gpu: 1", False),
        ("command: echo, gpus: -1", False),
        ("command: echo, gpus: 1.5", False),
        ("command: echo, timeout: soon", False),
        ("command: echo, timeout: 0", False),
        ("command: echo, timeout: ''", False),
        ("command: echo, metrics: {name: a, mode: best}", False),
        ("command: echo, matrix: {lr: 1}", False),
        ("command: echo, shell: 1", False),
        ("command: echo, seeds: []", False),
        ("command: {a: 1}", False),
    ],
)
def test_it_says_what_our_reader_says(tmp_path: Path, keys: str, is_right: bool):
    text = f"tasks: [{{{keys}}}]\n"
    (tmp_path / "t.yaml").write_text(text)
    try:
        load(Path("t.yaml"), LoadSettings(tmp_path))
        is_read = True
    except TaskFileError as error:
        is_read = all("matches no other task" in fault.message for fault in error.faults)
    assert (accepts(text), is_read) == (is_right, is_right)


def test_every_key_is_explained():
    for model in (SCHEMA, *SCHEMA["$defs"].values()):
        assert all(value["description"] for value in model["properties"].values())
