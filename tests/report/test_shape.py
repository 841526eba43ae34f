"""Is the JSON exactly what was promised?"""

from __future__ import annotations

import json

from parallel_train.core.apply import apply
from parallel_train.core.events import Launched, RoundOpened
from parallel_train.core.explain import reason
from parallel_train.report.shape import plan_json, task_json
from tests.support.builders import (
    Lost,
    NotStarted,
    Signalled,
    TimedOut,
    claimed,
    ended,
    found,
    ran,
    round_,
    situation,
    task,
)

A = task("a", output="out/a", params={"lr": 0.1})


def shape(*events):
    return task_json(situation(A, events=events).lines["a"])


def test_a_finished_task():
    assert shape(ran(A, output="there")) == {
        "id": "a",
        "name": "a",
        "params": {"lr": 0.1},
        "state": "ended",
        "ending": "succeeded",
        "attempts": 1,
        "exit_code": 0,
        "gpu": ["0"],
        "started": "2026-01-02T03:04:05Z",
        "ended": "2026-01-02T04:27:50Z",
        "output": "out/a",
        "log": "logs/gpu0_a.log",
    }


def test_a_task_that_was_never_started():
    got = shape()
    assert (got["state"], got["ending"], got["attempts"], got["gpu"]) == ("ready", None, 0, [])
    assert all(got[name] is None for name in ("exit_code", "started", "ended", "log"))
    got = shape(ran(A, outcome=NotStarted("its worker left")))
    assert (got["attempts"], got["exit_code"], got["started"]) == (1, None, None)


def test_an_output_that_is_not_ours():
    got = shape(found(A))
    assert (got["state"], got["ending"]) == ("ended", "skipped")


def test_a_running_task():
    got = shape(claimed(A, gpus="0 1"))
    assert (got["state"], got["ending"], got["exit_code"], got["ended"]) == ("running", None, None, None)
    assert (got["gpu"], got["started"]) == (["0", "1"], "2026-01-02T03:04:05Z")
    s = situation(A, events=[ran(A, outcome=Signalled(2), stopped="worker")])
    apply(s, Launched("a", 2, ("gpu-0",), 0.0))
    assert task_json(s.lines["a"])["log"] is None


def test_exit_codes():
    assert shape(ran(A, outcome=3))["exit_code"] == 3
    assert shape(ran(A, outcome=Signalled(9)))["exit_code"] == -9
    assert shape(ran(A, outcome=TimedOut()))["exit_code"] is None
    assert shape(ran(A, outcome=Lost("killed")))["exit_code"] is None


def test_a_new_round_has_no_deciding_attempt_yet():
    got = shape(ran(A, outcome=3), RoundOpened(round_(A)))
    assert (got["attempts"], got["exit_code"], got["log"]) == (0, None, None)
    got = shape(ran(A, outcome=3), RoundOpened(round_(A)), claimed(A, 2, round=2), ended(A, 2, 4))
    assert (got["attempts"], got["exit_code"]) == (1, 4)


def test_a_plan():
    a = task("a", params={"x": float("nan"), "y": [1, {"z": float("inf")}]}, gpus=2)
    b = task("b", needs="a")
    s = situation(a, b)
    env = {"OMP_NUM_THREADS": "2", "HF_TOKEN": "hush", "API_KEY": "secret:API_KEY"}
    got = plan_json(s, s.lines["a"], reason(s, "a"), command=["python", "x"], env=env)
    assert got == {
        "id": "a",
        "name": "a",
        "params": {"x": None, "y": [1, {"z": None}]},
        "command": ["python", "x"],
        "env": {"OMP_NUM_THREADS": "2", "HF_TOKEN": "***", "API_KEY": "secret:API_KEY"},
        "output": None,
        "needs": [],
        "gpus": 2,
        "decision": "run",
        "reason": "first run",
    }
    json.dumps(got, allow_nan=False)
    got = plan_json(s, s.lines["b"], reason(s, "b"), command=["x"], env={})
    assert (got["needs"], got["decision"], got["reason"]) == (["a"], "wait", "waits for a")
