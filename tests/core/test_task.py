"""What makes a task this task, and what is filled in only when it starts?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from parallel_train.core.machine import Disk
from parallel_train.core.task import Task, assigned, fill, has_late, identity, is_ours, is_secret, late, show, task_id

A = Task("a", ("x", "--lr", "1"), output="out/a", inputs=("in",), needs=("n",))
FREE = replace(A, output=None)
WORDED = [
    {"command": ("y",)},
    {"shell": True},
    {"cwd": "src"},
    {"env": {"A": "1"}},
    {"params": {"lr": 1}},
]
BESIDE = [{"retries": 3}, {"timeout": 1.0}, {"gpus": 2}, {"priority": 1}, {"name": "b"}, {"stage": "s"}, {"number": 7}]


@pytest.mark.parametrize("change", [*WORDED, *BESIDE, {"needs": ("m",)}, {"inputs": ("other",)}])
def test_an_output_has_one_line_of_attempts_whoever_promises_it(change):
    assert task_id(replace(A, **change)) == task_id(A)
    assert task_id(replace(A, output="out/b")) != task_id(A)


@pytest.mark.parametrize("change", [*WORDED, {"needs": ("m",)}, {"inputs": ("other",)}])
def test_without_an_output_another_wording_is_another_task(change):
    assert task_id(replace(FREE, **change)) != task_id(FREE)


@pytest.mark.parametrize("change", WORDED)
def test_the_result_depends_on_the_wording_on_inputs_and_on_needs(change):
    made = identity(A, {"in": "1"}, ["n1"])
    assert identity(replace(A, **change), {"in": "1"}, ["n1"]) != made
    assert identity(A, {"in": "2"}, ["n1"]) != made
    assert identity(A, {"in": "1"}, ["n2"]) != made
    assert identity(replace(A, output="out/b"), {"in": "1"}, ["n1"]) != made


@pytest.mark.parametrize("change", BESIDE)
def test_and_on_nothing_else(change):
    assert identity(replace(A, **change), {"in": "1"}, []) == identity(A, {"in": "1"}, [])
    assert task_id(replace(FREE, **change)) == task_id(FREE)


def test_ids_stay_what_they_were_in_earlier_versions():
    """A queue outlives the version that made it."""
    assert (task_id(A), task_id(FREE)) == ("71a90114fa4bb0e2", "2f24799bd656fb19")
    assert identity(A, {"in": "1"}, ["n1"]) == "f2938333e1c9975f"


def test_late_values_are_filled_at_launch_and_shown_as_they_were_written():
    text = f"{late('home')}/bin/{late('python')} {{x}}"
    assert show(text) == "~/bin/{python} {x}"
    assert fill(text, {"home": "/h", "python": "py"}) == "/h/bin/py {x}"
    with pytest.raises(KeyError):
        fill(text, {"home": "/h"})


@pytest.mark.parametrize(
    "where", [{"command": ("x", f"a{late('python')}")}, {"env": {"A": late("python")}}, {"cwd": late("python")}]
)
def test_a_late_value_may_stand_in_command_env_and_cwd(where):
    assert has_late(replace(A, **where), "python")
    assert not has_late(replace(A, **where), "data_root")
    assert not has_late(replace(A, params={"python": late("python")}), "python")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("HF_TOKEN", True),
        ("api_key", True),
        ("SECRET", True),
        ("DB_PASSWORD", True),
        ("KEYS", False),
        ("TOKEN_X", False),
    ],
)
def test_a_secret_is_known_by_its_name(name, expected):
    assert is_secret(name) == expected
    assert assigned(name, 0.1) == (f"{name}=***" if expected else f"{name}=0.1")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CUDA_VISIBLE_DEVICES", True),
        ("PARALLEL_TRAIN_GPUS", True),
        ("CUDA_LAUNCH_BLOCKING", False),
        ("MY_PARALLEL_TRAIN_X", False),
    ],
)
def test_some_variables_are_set_by_the_worker(name, expected):
    assert is_ours(name) == expected


@pytest.mark.parametrize(
    ("kind", "is_network", "is_for_one_host"),
    [
        ("ext4", False, False),
        ("", False, False),
        ("nfs4", True, False),
        ("lustre", True, False),
        ("fuse.juicefs", True, False),
        ("fuse.sshfs", False, True),
        ("fuse", False, True),
        ("fuseblk", False, False),
        ("cifs", False, True),
    ],
)
def test_a_disk_is_known_by_its_kind(kind, is_network, is_for_one_host):
    disk = Disk("/d", "/", kind, 1, None, True)
    assert (disk.is_network, disk.is_for_one_host) == (is_network, is_for_one_host)
