"""Which value of a setting holds, and where does it say it came from?"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import typer

from parallel_train.commands import app
from parallel_train.commands.options import SETTINGS
from parallel_train.commands.places import CONFIG_FILE, VARIABLE_PREFIX
from parallel_train.commands.settings import ATTEMPT_VARIABLES
from parallel_train.core.events import Launch
from parallel_train.core.task import Metric
from parallel_train.procs import order
from tests.support.builders import gpu, task
from tests.support.call import Caller, call

__all__ = ["call"]

TASKS = "tasks: [{command: [echo, '{data_root}'], name: a}]\n"


def settings(call: Caller, *argv: str, **variables: str) -> dict[str, tuple]:
    found = call("config", "--json", *argv, **variables)
    assert found.code == 0, found.err
    return {each["name"]: (each["value"], each["source"], each["place"]) for each in json.loads(found.out)["settings"]}


def test_what_is_typed_wins_over_variables_over_the_file_over_defaults(call: Caller):
    call.write(CONFIG_FILE, "# ours\ngpus: cpu:1\nat_once: 2\ncpu_slots: 3\nfail_fast: true\nlog_dir:\n")
    found = settings(call, "-j", "7", PARALLEL_TRAIN_AT_ONCE="5", PARALLEL_TRAIN_GPUS="cpu:9", PARALLEL_TRAIN_PYTHON="")
    assert found["at_once"] == (7, "option", "--at-once")
    assert found["gpus"] == ("cpu:9", "variable", "PARALLEL_TRAIN_GPUS")
    assert found["cpu_slots"] == (3, "file", f"{CONFIG_FILE}:4:12")
    assert found["fail_fast"] == (True, "file", f"{CONFIG_FILE}:5:12")
    assert found["log_dir"] == ("logs", "default", "")  # a key without a value says nothing
    assert found["python"][1:] == ("default", "")
    assert found["python"][0].endswith("python")


def test_the_table_shows_the_same(call: Caller):
    call.write(CONFIG_FILE, "gpus: 0\n")  # a number where text is meant
    rows = [line.split("\t") for line in call("config").out.splitlines()]
    assert rows[0] == ["setting", "value", "from"]
    assert ["gpus", "0", f"{CONFIG_FILE}:1:7"] in rows
    assert ["cpu_slots", "2", "default"] in rows


def test_settings_hold_for_a_run(call: Caller):
    call.write("tasks/default.yaml", TASKS)
    call.write(CONFIG_FILE, "gpus: fake:2\ndata_root: ~/data\n")

    def planned(*argv: str, **variables: str) -> list[str]:
        found = call("-n", "--json", *argv, **variables)
        assert found.code == 0, found.err
        return json.loads(found.out)["tasks"][0]["command"]

    assert planned(HOME="/home/me") == ["echo", "/home/me/data"]
    assert planned(PARALLEL_TRAIN_DATA_ROOT="/d") == ["echo", "/d"]
    assert planned("--data-root", "/typed", PARALLEL_TRAIN_DATA_ROOT="/d") == ["echo", "/typed"]
    assert "nosuch" in call("-n", PARALLEL_TRAIN_GPUS="nosuch").err


def test_the_folder_of_dash_c_says_what_holds(call: Caller):
    call.write(CONFIG_FILE, "at_once: 1\n")
    call.write(f"there/{CONFIG_FILE}", "at_once: 2\n")
    assert settings(call)["at_once"][0] == 1
    assert settings(call, "-C", "there")["at_once"][:2] == (2, "file")
    assert settings(call, f"--directory={call.root}/there")["at_once"][0] == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gpu: 1\n", "configs/parallel-train.yaml:1:1: unknown setting 'gpu' (did you mean 'gpus'?)"),
        (
            "gpus: 1\nlog-dir: x\n",
            "configs/parallel-train.yaml:2:1: unknown setting 'log-dir' (did you mean 'log_dir'?)",
        ),
        ("zzz: 1\n", "unknown setting 'zzz' (parallel-train config lists those that are known)"),
        ("at_once: x\n", "configs/parallel-train.yaml:1:10: at_once: it must be a whole number"),
        ("at_once: true\n", "configs/parallel-train.yaml:1:10: at_once: it must be a whole number"),
        ("cpu_slots: -1\n", "configs/parallel-train.yaml:1:12: cpu_slots: it must be 0 or more"),
        ("fail_fast: perhaps\n", "configs/parallel-train.yaml:1:12: fail_fast: it must be true or false"),
        ("gpus: [0, 1]\n", "configs/parallel-train.yaml:1:7: gpus: one value is needed"),
        ("- gpus\n", "configs/parallel-train.yaml:1:1: this must be a mapping"),
        ("gpus: 1\ngpus: 2\n", "configs/parallel-train.yaml:2:1: key 'gpus' is given twice"),
        ("gpus: {\n", "configs/parallel-train.yaml:"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(call: Caller, text: str, said: str):
    call.write(CONFIG_FILE, text)
    call.write("tasks/default.yaml", TASKS)
    for command in (["config"], ["-n"]):
        found = call(*command)
        assert (found.code, found.out) == (2, "")
        assert said in found.err


def test_every_fault_is_said_at_once(call: Caller):
    call.write(CONFIG_FILE, "gpu: 1\nat_once: x\n")
    assert call("config").err.count(f"{CONFIG_FILE}:") == 2


@pytest.mark.parametrize("text", ["", "# gpus: 0-3\n\n  # nothing yet\n"])
def test_a_file_that_says_nothing_is_none(call: Caller, text: str):
    call.write(CONFIG_FILE, text)
    assert settings(call)["gpus"] == ("auto", "default", "")


def test_a_file_that_cannot_be_read_is_said(call: Caller):
    (call.root / CONFIG_FILE).mkdir(parents=True)
    for command in (["config"], ["-n"]):
        found = call(*command)
        said = f"parallel-train: can't read {CONFIG_FILE}: it is a folder; name a file in it\n"
        assert (found.code, found.err) == (2, said)


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ({"PARALLEL_TRAIN_GPU": "1"}, "unknown variable PARALLEL_TRAIN_GPU (did you mean 'PARALLEL_TRAIN_GPUS'?)"),
        ({"PARALLEL_TRAIN_AT_ONCE": "x"}, "PARALLEL_TRAIN_AT_ONCE=x: it must be a whole number"),
        ({"PARALLEL_TRAIN_CHECK_INTERVAL": "-1"}, "PARALLEL_TRAIN_CHECK_INTERVAL=-1: it must be 0 or more"),
    ],
)
def test_a_variable_that_cannot_be_meant_is_refused(call: Caller, variable: dict, said: str):
    found = call("config", **variable)
    assert (found.code, found.out) == (2, "")
    assert said in found.err


def test_who_only_looks_is_not_held_up(call: Caller):
    call.write(CONFIG_FILE, "nonsense: 1\n")
    found = call("status", PARALLEL_TRAIN_NONSENSE="1")
    assert "no queue" in found.err


def test_within_a_task_its_variables_are_not_settings(call: Caller):
    """A scheduler started by a task: the GPUs are those that the task got, not a person's wish."""
    inside = dict.fromkeys(ATTEMPT_VARIABLES, "7")
    assert settings(call, **inside)["gpus"] == ("auto", "default", "")
    assert settings(call, **inside, PARALLEL_TRAIN_AT_ONCE="2")["at_once"][0] == 2
    assert settings(call, PARALLEL_TRAIN_SH_4711="1")["gpus"][0] == "auto"  # by parallel_train.sh
    # Set by a person who tries a script on its own, they are no mistake either.
    assert settings(call, PARALLEL_TRAIN_SEED="7", PARALLEL_TRAIN_OUTPUT_DIR="x")["gpus"][0] == "auto"


def test_all_variables_of_a_task_are_known(tmp_path):
    made = replace(task("a", params={"seed": 1}, output="o"), metrics=(Metric("m", file="m.json"),))
    around = order.Surroundings(tmp_path, tmp_path, "w", environment={})
    launch = Launch(made, attempt=1, round=1, slots=("gpu-0",), aside=0, needs={})
    env = order.build(launch, [gpu()], around, "stamp")["env"]
    told = {name for name in env if name.startswith(VARIABLE_PREFIX)}
    assert len(told) > 7
    assert told <= ATTEMPT_VARIABLES


def test_going_on_can_be_typed_where_the_file_says_fail_fast(call: Caller):
    call.write(CONFIG_FILE, "fail_fast: true\ngpus: cpu:1\n")
    call.write(
        "tasks/default.yaml", "tasks: [{command: ['false'], name: a, priority: 1}, {command: ['true'], name: b}]\n"
    )
    call("-k")
    endings = {task["name"]: task["ending"] for task in json.loads(call("status", "--json").out)["tasks"]}
    assert endings == {"a": "failed", "b": "succeeded"}


def test_an_option_that_is_a_setting_comes_with_the_folder():
    """Settings are read together with -C: a command that lacks it would not have them."""
    commands = typer.main.get_command(app.app).commands
    kept = {param.name for param in commands["config"].params} - {"as_json", "directory"}
    for name, command in commands.items():
        params = {param.name: param for param in command.params}
        if kept & params.keys():
            assert "directory" in params, name
        shown = {param.name for param in command.params if getattr(param, "rich_help_panel", None) == SETTINGS}
        assert shown == kept & params.keys(), name
