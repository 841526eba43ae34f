"""Is what would fail at once said before anything is launched?"""

import os
import sys
from pathlib import Path

import pytest

from parallel_train.core.task import Task, late
from parallel_train.store.preflight import check

LATE = {"python": sys.executable, "data_root": "/data", "home": "/home/someone"}


@pytest.fixture
def said(tmp_path):
    for name in ("train.py", "src/train.py", "configs/a.yaml", "data.csv", "plain"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    return lambda *tasks: check(tasks, tmp_path, LATE)


def task(*command, name="t", **keys):
    return Task(name=name, command=command, **keys)


PYTHON = late("python")


@pytest.mark.parametrize(
    "ready",
    [
        task(PYTHON, "train.py", "--lr", "absent.py"),
        task(PYTHON, "-u", "-W", "error", "train.py"),
        task(PYTHON, "-m", "absent"),
        task(PYTHON, "-c", "absent"),
        task(PYTHON, "train.py", cwd="src"),
        task("sh", "-c", "absent"),
        task("absent --config-file absent", shell=True),
        task(PYTHON, "train.py", "--config-file", "configs/a.yaml", "--dataset-config-file=configs/a.yaml"),
        task(PYTHON, "train.py", inputs=("data.csv",), output="o/deep/er"),
    ],
)
def test_what_is_there_is_not_missed(said, ready):
    assert said(ready) == []


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        (task("no-such-program"), "the program no-such-program is not found (t)"),
        (task("./train.py"), "the program ./train.py is not found (t)"),
        (task("sh", env={"PATH": "/nowhere"}), "the program sh is not found (t)"),
        (task(PYTHON, "-u", "absent.py"), "the file absent.py is missing (t)"),
        (task(PYTHON, "train.py", cwd="configs"), "the file train.py is missing (t)"),
        (task(PYTHON, "train.py", cwd="absent"), "the folder absent is missing (t)"),
        (task(PYTHON, "train.py", "--config-file=no.yaml"), "the file no.yaml is missing (t)"),
        (task(PYTHON, "train.py", inputs=("no.csv",)), "the input no.csv is missing (t)"),
    ],
)
def test_what_is_missing_is_named(said, missing, sentence):
    assert said(missing) == [sentence]


def test_equal_sentences_are_one(said):
    tasks = [task(PYTHON, "absent.py", name=f"t{i}") for i in range(12)]
    assert said(*tasks) == ["the file absent.py is missing (12 tasks, the first is t0)"]


def test_what_another_task_makes_is_not_missing(said):
    made = task(PYTHON, "train.py", name="prep", output="data/x")
    user = task(PYTHON, "data/x/run.py", "--config-file", "data/x/c.yaml", inputs=("data/x", "data/x/y.csv"))
    assert said(made, user) == []


def test_an_output_below_a_plain_file(said):
    (sentence,) = said(task(PYTHON, "train.py", output="plain/o"))
    assert "the output plain/o can't be written" in sentence
    assert sentence.endswith("plain is no folder (t)")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write(said, tmp_path):
    (tmp_path / "shut").mkdir(mode=0o500)
    (sentence,) = said(task(PYTHON, "train.py", output="shut/o"))
    assert "no right to write in" in sentence


def test_logs_that_can_not_be_written(tmp_path):
    (tmp_path / "logs").write_text("")
    assert check([], tmp_path, LATE) == [f"logs can't be written: {tmp_path / 'logs'} is no folder"]
    assert check([], tmp_path, LATE, log_dir="other") == []
    assert list(Path(tmp_path).iterdir()) == [tmp_path / "logs"]
