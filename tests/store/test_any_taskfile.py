"""Can any file at all end in anything but tasks or faults?"""

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from parallel_train.errors import TaskFileError
from parallel_train.store.keys import DoneWhenKeys, MetricKeys, SearchKeys, TemplateKeys
from parallel_train.store.taskfile import LoadSettings, load

KEYS = [*TemplateKeys.model_fields, *DoneWhenKeys.model_fields, *MetricKeys.model_fields, *SearchKeys.model_fields]
KEYS += ["key", "values", "default", "root", "common", "from", "to", "count", "step", "log"]
KEYS += ["include", "exclude", "defaults", "tasks", "seed", "lr", "A_TOKEN", "", "comand"]
WORDS = [
    "x",
    "",
    "{lr}",
    "{output}",
    "{args}",
    "{python} a.py",
    "t*",
    "x [",
    "~",
    "..",
    "/a",
    "1m",
    "max",
    "(a)",
]
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-1, 3), st.floats(), st.sampled_from(WORDS))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)),
    max_leaves=8,
)
TEMPLATES = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6)
SEARCHES = VALUES.map(lambda space: {"command": "x {args}", "search": {"space": space, "samples": 2}})
RUNNABLE = TEMPLATES.map(lambda template: {"command": "x {lr}", "matrix": {"lr": [1, 2]}} | template)
FILES = st.fixed_dictionaries(
    {"tasks": st.lists(st.one_of(TEMPLATES, RUNNABLE, SEARCHES, VALUES), max_size=3)}, optional={"defaults": VALUES}
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("any")


def loads_or_says_why(folder, content):
    (folder / "t.yaml").write_bytes(content)
    said = []
    try:
        made = load(Path("t.yaml"), LoadSettings(folder)).tasks
    except TaskFileError as error:
        made, said = (), error.faults
    assert bool(made) != bool(said)
    assert "Traceback" not in "".join(map(str, said))


@settings(max_examples=200, deadline=None)
@example(data={"tasks": [{}], "defaults": {"command": None}})
@given(data=st.one_of(FILES, VALUES))
@example(data={"defaults": 5, "tasks": [{"command": "x", "env": {"A_TOKEN": "a"}}]})
@example(data={"defaults": {"env": {"A_TOKEN": "a"}}, "tasks": [5]})
def test_any_structure(folder, data):
    loads_or_says_why(folder, json.dumps(data).encode())


@settings(max_examples=200, deadline=None)
@given(text=st.text("tasks:- {}[]&*!|>'\"%@`,?#~\\\n\t\ré\0ab1.", max_size=60), tail=st.binary(max_size=3))
def test_any_text(folder, text, tail):
    loads_or_says_why(folder, text.encode() + tail)
