"""Does a record come back as it was, and is one that holds something else refused?"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from parallel_train.core import wire
from parallel_train.core.facts import (
    Array,
    Claim,
    End,
    Exited,
    Lost,
    NotStarted,
    Owner,
    Request,
    Round,
    Signalled,
    TimedOut,
)
from parallel_train.core.slots import Device
from parallel_train.core.task import DoneWhen, Metric, Task

OWNER = Owner("one", "host", "machine", "boot", "pidns", 7, 1)
CLAIM = Claim("a", 1, 1, "x", {"need": 3}, OWNER, ("gpu-0",), ("0",), "log", "err", made_with={"script": "f"})
TASK = Task(
    name="a",
    command=("echo", "{x}", "a\udcff", "\0data_root\0/x"),
    env={"HOME": "\0home\0"},
    params={"x": [1, {"y": None}]},
    timeout=5.0,
    output="o",
    done_when=DoneWhen(("f",), "done"),
    metrics=(Metric("acc", "min", "m.json"),),
)
KINDS: dict[str, tuple[Any, Any, Any]] = {
    "claim": (CLAIM, wire.claim_of, asdict),
    "owner": (OWNER, wire.owner_of, wire.owner_data),
    "end": (End("a", 1, Exited(3), output="there", seconds=1.5), wire.end_of, wire.end_data),
    "round": (Round("a", 2, "x", "changed", aside=True, by="one"), wire.round_of, wire.round_data),
    "request": (Request(1, "cancel", {"a": 1}, by="anna@host"), wire.request_of, wire.request_data),
    "array": (
        Array(1, 2, ("a", "b"), 2, is_each=True, at_once=1, options=("--on",), by="one"),
        wire.array_of,
        wire.array_data,
    ),
    "device": (Device("gpu", "0", "0", "lock"), wire.device_of, asdict),
    "task": (TASK, wire.task_of, wire.task_data),
}
OUTCOMES = (Exited(0), Exited(255), Signalled(9), TimedOut(), NotStarted("paused"), Lost("killed"), Lost("damaged"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_comes_back_as_it_was(kind: str):
    value, read, write = KINDS[kind]
    assert read(json.loads(json.dumps(write(value)))) == value


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_an_outcome_comes_back_as_it_was(outcome: Any):
    assert wire.outcome_of(wire.outcome_data(outcome)) == outcome


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("claim", "task", 5),
        ("claim", "attempt", "1"),
        ("claim", "attempt", True),
        ("claim", "attempt", 1.0),
        ("claim", "needs", []),
        ("claim", "needs", {"need": "3"}),
        ("claim", "made_with", {"script": 1}),
        ("claim", "owner", "one"),
        ("claim", "owner", {}),
        ("claim", "slots", "gpu-0"),
        ("claim", "gpus", [0]),
        ("claim", "lease", float("nan")),
        ("claim", "lease", None),
        ("claim", "log", "a\0b"),
        ("claim", "log", "\ud800"),
        ("claim", "gpus", ["9" * 300]),
        ("owner", "pid", -1),
        ("owner", "pid", 2**31),
        ("end", "outcome", None),
        ("end", "outcome", {}),
        ("end", "outcome", {"exited": "0"}),
        ("end", "outcome", {"exited": 0, "lost": "killed"}),
        ("end", "outcome", {"lost": "somehow"}),
        ("end", "outcome", {"flew": "away"}),
        ("end", "output", "perhaps"),
        ("end", "seconds", float("inf")),
        ("round", "aside", 1),
        ("round", "why", "for fun"),
        ("round", "why", ["changed"]),
        ("request", "kind", "dance"),
        ("request", "tasks", ["a"]),
        ("task", "command", "echo"),
        ("task", "command", [1]),
        ("task", "command", []),
        ("task", "command", ["\0nosuch\0"]),
        ("task", "command", ["\0"]),
        ("array", "size", 0),
        ("array", "size", 3),
        ("array", "selection", "a"),
        ("array", "gpus", -1),
        ("array", "options", "--on slurm"),
        ("array", "is_each", 1),
        ("task", "cwd", "\0.\0"),
        ("task", "env", {"A": 1}),
        ("task", "params", [1]),
        ("task", "timeout", "soon"),
        ("task", "output", 5),
        ("task", "done_when", "f"),
        ("task", "done_when", {"files": "f"}),
        ("task", "done_when", {}),
        ("task", "metrics", ["acc"]),
        ("task", "metrics", [{"name": "acc", "mode": "up"}]),
    ],
)
def test_what_holds_something_else_is_refused(kind: str, field: str, value: Any):
    good, read, write = KINDS[kind]
    with pytest.raises((KeyError, TypeError, ValueError)):
        read({**json.loads(json.dumps(write(good))), field: value})


def test_what_a_newer_writer_added_is_passed_over():
    assert wire.round_of({**wire.round_data(KINDS["round"][0]), "colour": "red"}) == KINDS["round"][0]


def test_the_texts_of_a_head():
    assert wire.texts({"source": "f", "at": ""}, "source", "at") == ("f", "")
    with pytest.raises(TypeError, match="no text"):
        wire.texts({"source": 5}, "source")


def test_every_field_is_checked():
    apart = {(Claim, "owner"), (End, "outcome"), (Task, "done_when"), (Task, "metrics")}
    assert {
        (kind, name) for kind, known in wire._FIELDS.items() for name, check in known.items() if check is None
    } == apart


def test_of_what_a_worker_says_only_what_can_be_meant_is_taken():
    device = asdict(Device("gpu", "0", "0", "lock"))
    good = {"source": "f", "tasks": "1-3", "submission": 1, "slots": [device], "lease": 2.0, "words": ["-k"], "at": ""}
    assert wire.about_of(good) == good
    wrong = {"source": 5, "tasks": [], "submission": "1", "lease": -1.0, "words": 5, "ignore_failures": 1, "new": 1}
    assert wire.about_of({**wrong, "slots": [{}], "cpu_slots": [5], "at": "now"}) == {"at": "now", "new": 1}
