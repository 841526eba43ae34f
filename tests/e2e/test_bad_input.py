"""What is wrong is said in a sentence, with exit code 2 or 3, before anything starts. And who looks writes nothing."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.support.sweep import QUEUE, Project

TRUE = {"name": "a", "command": ["true"]}


def refused(project: Project, *arguments: str, code: int = 2, gpus: str | None = "fake:2") -> str:
    """What is said where nothing may start: no traceback, and no task has left a log."""
    found = project.run(*arguments, gpus=gpus)
    assert "Traceback" not in found.text
    assert found.code == code, found.text
    assert found.out == ""
    assert not list(project.root.glob("logs/*"))
    return found.err


# ---- options ----


@pytest.mark.parametrize(
    ("gpus", "said"),
    [
        ("99", "--gpus 99: no GPU"),
        ("", "--gpus"),
        ("fake:0", "needs a number from 1 to 9999"),
        ("cpu:x", "needs a number from 1 to 9999"),
        ("fake:nowhere.json", "nowhere.json: No such file or directory"),
        ("GPU-nonsense", "GPU-nonsense"),
    ],
)
def test_devices_that_are_not_there(project: Project, gpus: str, said: str):
    project.tasks(TRUE)
    hidden = "99" if gpus == "99" and Path("/dev/nvidiactl").exists() else said
    assert hidden in refused(project, gpus=gpus)
    assert not (project.root / QUEUE / "claims").exists()


@pytest.mark.parametrize(
    ("cards", "said"),
    [
        ([{"index": 0, "state": "gone"}], "it is gone"),
        (
            [{"index": 0, "processes": [{"pid": 1, "user": "bob", "memory_mib": 9}]}],
            "bob computes on it (pid 1, 9 MiB)",
        ),
    ],
)
def test_cards_that_are_not_free(project: Project, cards: list, said: str):
    project.tasks(TRUE)
    project.write("cards.json", json.dumps({"gpus": cards}))
    found = refused(project, gpus="fake:cards.json")
    assert "no GPU is free" in found
    assert said in found


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--nonsense"], "No such option: --nonsense"),
        (["-j", "x"], "'-j'"),
        (["-C", "nowhere"], "-C nowhere: no such folder"),
        (["nowhere.yaml"], "there is no nowhere.yaml in"),
        (["lr=3"], "lr"),
        (["--custom-tasks"], "neither tasks/custom.yaml nor tasks/custom.py is there"),
        (["--output-base", "../up"], "--output-base"),
    ],
)
def test_options_that_cannot_be_meant(project: Project, arguments: list[str], said: str):
    project.tasks(TRUE)
    assert said in refused(project, *arguments)


@pytest.mark.parametrize(
    "arguments", [["nosuch"], ["--only", "nosuch*"], ["--failed"], ["99"], ["a", "--only", "b"], ["statsu"]]
)
def test_a_selection_that_matches_nothing(project: Project, arguments: list[str]):
    project.tasks(TRUE)
    refused(project, *arguments, code=3)


def test_the_nearest_name_is_offered(project: Project):
    project.tasks(
        {"name": "train-{lr}", "command": ["true"], "params": {"lr": 1}, "stage": "training"}, {**TRUE, "name": "b"}
    )
    assert "did you mean 'training'" in refused(project, "trainign", code=3)
    assert "did you mean 'lr'" in refused(project, "lrr=1")


def test_no_task_file(project: Project):
    found = refused(project)
    assert "there is no tasks/default.yaml" in found
    assert not (project.root / QUEUE).exists()


# ---- task files ----


def test_every_fault_of_a_task_file_is_said_at_once(project: Project):
    """Each with its place; a secret is not repeated."""
    project.write(
        "tasks/default.yaml",
        "tasks:\n"
        "  - comand: [true]\n"
        "  - command: echo {nosuch}\n"
        "    retries: many\n"
        "  - {name: up, command: echo, output: ../up}\n"
        "  - {name: keys, command: echo, env: {WANDB_API_KEY: c4n4ry}}\n",
    )
    found = refused(project)
    for place, said in {
        "2:5": "did you mean 'command'",
        "3:": "{nosuch}",
        "4:": "retries",
        "5:": "../up",
        "6:": "secret:WANDB_API_KEY",
    }.items():
        assert f"tasks/default.yaml:{place}" in found
        assert said in found
    assert "c4n4ry" not in found.replace("WANDB_API_KEY: c4n4ry", "")  # the line itself is shown


def test_outputs_that_collide(project: Project):
    project.tasks(
        {**TRUE, "output": "o"},
        {"name": "same", "command": ["true"], "output": "o"},
        {"name": "inside", "command": ["true"], "output": "o/in"},
    )
    found = refused(project)
    assert "'a' and 'same' have the same output, o" in found
    assert "'a' and 'inside' have one output inside the other: o, o/in" in found


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ([{**TRUE, "needs": ["b"]}, {"name": "b", "command": ["true"], "needs": ["a"]}], "circle: a -> b -> a"),
        ([{**TRUE, "needs": ["nosuch"]}], "nosuch"),
        ([{**TRUE, "gpus": 3}], "a wants 3 GPUs; --gpus gives 2"),
        ([], "tasks"),
    ],
)
def test_task_files_that_cannot_be_meant(project: Project, tasks: list, said: str):
    project.tasks(*tasks)
    assert said in refused(project)


# ---- what would fail at once ----


def test_what_would_fail_at_once_is_said_before_the_first_start(project: Project):
    """A warning in a dry run, since the file may be on its way."""
    project.tasks(
        {"name": "fine", "command": ["true"]},
        {"name": "a", "command": ["nosuchprogram"]},
        {"name": "b", "command": ["{python}", "train.py"]},
        {"name": "c", "command": ["true", "--config-file", "configs/nosuch.yaml"]},
        {"name": "d", "command": ["true"], "cwd": "nosuch"},
        {"name": "e", "command": ["true"], "inputs": ["data.csv"]},
        {"name": "f", "command": ["true"], "output": "tasks/default.yaml/o"},
    )
    planned = project.run("-n")
    assert planned.code == 0
    found = refused(project)
    assert "nothing was started" in found
    for said in (
        "the program nosuchprogram is not found (a)",
        "the file train.py is missing (b)",
        "the file configs/nosuch.yaml is missing (c)",
        "the folder nosuch is missing (d)",
        "the input data.csv is missing (e)",
        "the output tasks/default.yaml/o can't be written",
    ):
        assert said in planned.err
        assert said in found


def test_an_interpreter_that_is_not_there(project: Project):
    project.tasks({"name": "a", "command": ["{python}", "-c", "pass"]})
    assert "the program /nosuch/python is not found" in refused(project, "--python", "/nosuch/python")


def test_a_log_folder_that_cannot_be(project: Project):
    project.tasks(TRUE)
    project.write("notes", "a file")
    found = refused(project, "--log-dir", "notes/logs")
    assert "logs can't be written" in found
    assert "notes is no folder" in found


def test_a_queue_folder_that_cannot_be(project: Project):
    project.tasks(TRUE)
    project.write(QUEUE, "a file")
    assert "can't make the queue folder" in refused(project)


# ---- records ----


def test_looking_where_no_queue_is(project: Project):
    for command in ("status", "logs", "results"):
        assert "nothing was run here yet" in refused(project, command, gpus=None)
    project.tasks(TRUE)
    assert project.run().code == 0
    below = project.root / "below"
    below.mkdir()
    found = project.run("status", gpus=None, cwd=below, env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))})
    assert found.code == 2
    assert f"there is one in {project.root}: use -C {project.root}" in found.err


@pytest.mark.parametrize("kind", ["tasks", "claims", "ends", "workers"])
def test_a_record_of_a_newer_version_is_refused(finished: Project, kind: str):
    newer = '{"something": "new"}\n{"v": 2, "bytes": 1, "crc32": 1}\n'
    finished.write(f"{QUEUE}/workers/somebody", "" if kind != "workers" else newer)
    for record in finished.queue(kind):
        record.write_text(newer)
    for found in (finished.run(), finished.ask("status"))[: 1 if kind == "workers" else 2]:
        assert found.code == 2, found.text
        assert "Traceback" not in found.text
        assert "newer parallel-train" in found.err


@pytest.mark.parametrize("damage", [b"", b'{"source": 1}\n{"v": 1}\n'], ids=["empty", "altered"])
def test_a_damaged_submission_is_named_and_stops_nobody(finished: Project, damage: bytes):
    record = finished.queue("tasks")[0]
    record.write_bytes(damage)
    for found, code in ((finished.ask("status"), 2), (finished.run(), 0), (finished.ask("status"), 0)):
        assert found.code == code, found.text
        assert f"the record {record} is damaged: run its task file again" in found.text
    assert record.read_bytes() == damage
    assert finished.endings() == {"a": "succeeded"}
    assert len(finished.queue("claims")) == 1


@pytest.mark.parametrize(
    ("kind", "damage"), [("claims", b""), ("ends", b"[1]\n"), ("ends", bytes(100))], ids=["claim", "end", "zeros"]
)
def test_other_damaged_records_are_said_and_stop_nobody(finished: Project, kind: str, damage: bytes):
    finished.write(f"{QUEUE}/workers/somebody", "not json")
    for record in finished.queue(kind):
        record.write_bytes(damage)
    for command, code in (("status", 0), ("logs", 0), ("results", 3)):
        found = finished.ask(command)
        assert (found.code, "Traceback" in found.text) == (code, False), found.text
        assert "is damaged" in found.err
    again = finished.run()
    assert again.code == 0, again.text
    assert "is damaged" in again.text
    assert finished.endings() == {"a": "succeeded"}


@pytest.fixture
def finished(project: Project) -> Project:
    """A project in which all is done."""
    project.tasks({**TRUE, "metrics": {"name": "acc", "regex": "acc (.*)"}, "command": ["echo", "acc 3"]})
    assert project.run().code == 0
    return project


# ---- looking writes nothing ----


def test_looking_writes_nothing(project: Project):
    """Not even where a dead scheduler left attempts that the next run has to look after."""
    project.write("data.csv", "1\n")
    project.tasks(
        project.recording("lost", more={"until": "never"}), project.recording("done", inputs=["data.csv"]), TRUE
    )
    scheduler = project.start(gpus="fake:2")
    shim = project.until_started("lost", "done")[0].shim
    scheduler.kill()
    scheduler.wait()
    os.kill(shim, 9)
    project.until_quiet()
    project.write("data.csv", "2\n")
    before = project.tree()
    for arguments in ("status", "status --all --json", "logs", "logs lost --err", "results"):
        found = project.ask(*arguments.split())
        assert found.code in {0, 3}, found.text
        assert "Traceback" not in found.text
    for arguments in ("-n", "-n --json -B"):
        assert project.run(*arguments.split()).code in {0, 3}
    assert project.tree() == before
