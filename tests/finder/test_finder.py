"""Does ParallelFinder do what its document says, and say what went wrong?"""

import math
import multiprocessing
import os
import runpy
import subprocess
import sys
import types
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from parallel_train import ParallelFinder
from parallel_train import finder as face
from parallel_train.errors import UsageError
from parallel_train.procs.cores import usable_cores
from parallel_train.training import forking
from parallel_train.training.asked import shares
from tests.finder.models import Crashes, Killed, Marked, Marks, Raises, Witness, data

pytestmark = pytest.mark.torch

DOCUMENT = """
import torch
import torch.nn as nn
import torch.optim as optim

from parallel_train import ParallelFinder

def make_model_a():
    return nn.Sequential(nn.Linear(10, 50), nn.ReLU(), nn.Linear(50, 1))

def make_model_b():
    return nn.Sequential(nn.Linear(10, 100), nn.ReLU(), nn.Linear(100, 1))

model_fns = [make_model_a, make_model_b]
finder = ParallelFinder(model_fns)

train_X = torch.randn(1000, 10)
train_y = torch.randn(1000, 1)

criterion_fn = nn.MSELoss
optimizers = [optim.SGD, optim.Adam]
opt_params = [{'lr': 0.01}, {'lr': 0.001}]

device_list = ['cpu', 'cpu']

finder.find(
    train_X, train_y,
    epochs=5,
    batch_size=64,
    criterion=criterion_fn,
    optimizer=optimizers,
    optimizer_params=opt_params,
    device_str=device_list
)

print(finder.logs)
"""
KEYS = {"best_loss", "best_loss_model_idx", "time_for_best_loss", "best_time", "best_time_model_idx"}
KEYS |= {"loss_for_best_time", "model_0_loss", "model_0_time", "model_1_loss", "model_1_time"}


@pytest.mark.parametrize("where", ["script", "session"])
def test_the_documents_example_runs(where, tmp_path, monkeypatch, capsys):
    """Under the start method that Python 3.14 has by default; `__main__` of a notebook has no file."""
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("forkserver", force=True)
    try:
        if where == "script":
            (tmp_path / "script.py").write_text(DOCUMENT)
            finder = runpy.run_path(str(tmp_path / "script.py"), run_name="__main__")["finder"]
        else:
            session = types.ModuleType("__main__")
            monkeypatch.setitem(sys.modules, "__main__", session)
            exec(DOCUMENT, session.__dict__)
            finder = session.finder
    finally:
        multiprocessing.set_start_method(before, force=True)
    logs = finder.logs
    assert set(logs) == KEYS
    best = min((0, 1), key=lambda index: logs[f"model_{index}_loss"])
    fastest = min((0, 1), key=lambda index: logs[f"model_{index}_time"])
    assert (logs["best_loss_model_idx"], logs["best_time_model_idx"]) == (best, fastest)
    assert (logs["best_loss"], logs["time_for_best_loss"]) == (logs[f"model_{best}_loss"], logs[f"model_{best}_time"])
    assert (logs["best_time"], logs["loss_for_best_time"]) == (
        logs[f"model_{fastest}_time"],
        logs[f"model_{fastest}_loss"],
    )
    said = capsys.readouterr()
    assert (said.out, said.err) == (f"{logs}\n", "")  # no bar where there is no terminal


def find(models, **asked):
    finder = ParallelFinder(models)
    return finder, finder.find(*data(), **{"device_str": "cpu", "threads": 1, **asked})


def test_the_table_and_the_weights():
    finder, table = find([Witness, partial(Witness, 5)], epochs=2, batch_size=50, seed=1)
    assert [row.name for row in table] == ["Witness", "Witness"]
    assert table.best in table.rows
    assert table.failed == ()
    assert table is finder.table
    assert str(table).splitlines()[0].split() == ["#", "model", "device", "seed", "loss", "s/epoch", "s"]
    model = finder.model_list[1]()
    model.load_state_dict(finder.models[1])
    with torch.no_grad():
        again = nn.functional.mse_loss(model(data()[0]), data()[1])
    assert again < table[1].loss < table[1].losses[0]


def test_processes_take_one_model_after_another():
    for processes in (1, 2):
        finder, table = find([Witness] * 6, processes=processes, threads=None)
        assert len({int(weights["pid"]) for weights in finder.models.values()}) <= processes
        assert {int(weights["threads"]) for weights in finder.models.values()} == {table.threads}
        assert table.threads * processes <= max(processes, usable_cores())


def test_failures_come_together_at_the_end():
    finder = ParallelFinder([Witness, Raises, Witness, Killed, Crashes, partial(dict, a=1), Witness])
    with pytest.raises(face.TrainingError) as caught:
        finder.find(*data(), device_str="cpu", processes=1, threads=1)
    said = str(caught.value)
    assert said.startswith("4 of 7 models failed; the others are in its table and models")
    assert "model 1 (Raises) on cpu:\nTraceback" in said
    assert "ValueError: this model is no good" in said
    assert "model 3 (Killed) on cpu:\nits process was killed by SIGKILL, as it is when the memory runs out" in said
    assert "model 4 (Crashes) on cpu:\nits process was killed by SIGSEGV" in said
    assert "model 5 (dict) on cpu:" in said
    assert "dict() returned dict, not a torch.nn.Module" in said
    assert [row.index for row in caught.value.table.failed] == [1, 3, 4, 5]
    assert caught.value.table is finder.table
    assert set(finder.models) == {0, 2, 6}
    assert {key for key in finder.logs if key.endswith("_loss")} >= {"model_0_loss", "model_2_loss", "model_6_loss"}
    assert "failed" in str(finder.table)
    assert multiprocessing.active_children() == []


def test_weights_that_can_not_be_read_without_running_code_are_their_models_failure():
    finder = ParallelFinder([Marks, Witness])
    with pytest.raises(face.TrainingError) as caught:
        finder.find(*data(), device_str="cpu", processes=1, threads=1)
    assert "model 0 (Marks) on cpu:\nit was trained, but its weights can't be handed over" in str(caught.value)
    assert "or call torch.serialization.add_safe_globals([tests.finder.models.Marked]) first" in str(caught.value)
    assert (set(finder.models), [row.index for row in finder.table.failed]) == ({1}, [0])
    assert "model_0_loss" not in finder.logs
    with torch.serialization.safe_globals([Marked]):
        finder.find(*data(), device_str="cpu", processes=1, threads=1)
    assert type(finder.models[0]["marked"]) is Marked


def test_nan_never_wins_and_a_second_find_starts_afresh():
    finder, table = find([lambda: nn.Sequential(Witness(), nn.Threshold(1e9, math.nan))])
    assert math.isnan(table[0].loss)
    assert table.best is None
    assert (finder.logs["best_loss"], finder.logs["best_loss_model_idx"]) == (math.inf, None)
    finder.model_list = [Witness]
    finder.find(*data(), device_str="cpu", threads=1, epochs=3)
    worse = finder.find(100 * data()[0], 1e4 * data()[1], device_str="cpu", threads=1)
    assert finder.logs["best_loss"] == worse[0].loss
    with pytest.raises(UsageError):
        finder.find(*data(), device_str="cpu", epochs=0)
    assert (finder.table, set(finder.models)) == (worse, {0})


@pytest.mark.parametrize(
    ("inputs", "labels", "model", "loss"),
    [
        (np.random.default_rng(0).normal(size=(9, 3)), np.arange(9, dtype=np.int32) % 2, nn.Linear, "int64"),
        ([[1.0, 2, 3]] * 9, [0, 1, 1] * 3, nn.Linear, "int64"),
        ([[1.0, 2, 3]] * 9, np.zeros((9, 2)), nn.Linear, "float32"),
        ([torch.ones(3)] * 9, torch.zeros(9, 2), nn.Linear, "float32"),
    ],
)
def test_arrays_and_lists_are_data_and_the_labels_choose_the_loss(inputs, labels, model, loss):
    kinds = []

    class Loss(nn.Module):
        def forward(self, outputs, wanted):
            kinds.append((str(outputs.dtype), str(wanted.dtype)))
            assert kinds == [("torch.float32", f"torch.{loss}")]
            return (nn.CrossEntropyLoss() if loss == "int64" else nn.MSELoss())(outputs, wanted)

    models = [partial(model, 3, 2)]
    made = [
        ParallelFinder(models).find(inputs, labels, device_str="cpu", threads=1, seed=1, criterion=c)
        for c in (Loss, None)
    ]
    assert made[0][0].losses == made[1][0].losses


@pytest.fixture
def _nothing_starts(monkeypatch):
    monkeypatch.setattr(face, "Crew", None)


@pytest.mark.usefixtures("_nothing_starts")
def test_everything_that_is_wrong_is_said_before_anything_starts():
    finder = ParallelFinder([Witness, Witness(), 3])
    with pytest.raises(UsageError) as caught:
        finder.find(
            torch.zeros(3, 1),
            torch.zeros(2),
            criterion=3,
            validation=0.2,
            epochs=0,
            optimizer=[torch.optim.SGD],
            optimizer_params=[{}, {}],
            seed="x",
        )
    short = (
        "optimizer has 1 of the 3 entries that it needs, one for each model; what is no list is meant for all of them"
    )
    assert str(caught.value).splitlines() == [
        "model_list[1] is a model already: give its class, or a function that makes one",
        "model_list[2] is no function that makes a model: 3",
        "epochs must be a whole number from 1 on, not 0",
        short,
        short.replace("optimizer has 1", "optimizer_params has 2"),
        *([] if torch.cuda.device_count() else [no_card("cuda")]),
        "seed must be a whole number, not 'x'",
        "criterion is no class and no function that makes a loss: 3",
        "the training data has 3 samples and 2 labels: there must be as many",
        "validation must be a pair: (data, labels)",
    ]


def no_card(device):
    return f"device_str: {device} is asked for, and torch {torch.__version__} finds no GPU here; 'cpu' works"


@pytest.mark.skipif(torch.cuda.device_count() > 0, reason="there is a card")
@pytest.mark.usefixtures("_nothing_starts")
def test_a_card_that_is_not_there_is_said_before_anything_starts():
    for asked in ({}, {"device_str": "cuda"}, {"device_str": ["cpu", "cuda"]}):
        with pytest.raises(UsageError) as caught:
            ParallelFinder([Witness, Witness]).find(*data(), **asked)
        assert str(caught.value) == no_card("cuda")
    with pytest.raises(UsageError, match="torch knows no device 'card'"):
        ParallelFinder([Witness]).find(*data(), device_str="card")


@pytest.mark.usefixtures("_nothing_starts")
@pytest.mark.parametrize(
    ("inputs", "labels", "validation", "says"),
    [
        (torch.zeros(3, 1), torch.zeros(2), None, "the training data has 3 samples and 2 labels"),
        ([], [], None, "the training data is empty"),
        (torch.zeros(1, 3), [1.0], ([], []), "the validation data is empty"),
        (torch.zeros(1, 3), [1.0], 0.2, r"validation must be a pair: \(data, labels\)"),
        (["a"], [1], None, "no tensor can be made of data of type list"),
    ],
)
def test_data_that_does_not_fit_is_said_before_anything_starts(inputs, labels, validation, says):
    with pytest.raises(UsageError, match=says):
        ParallelFinder([Witness]).find(inputs, labels, device_str="cpu", validation=validation)


def test_the_lock_works_between_processes_and_nobody_keeps_it_by_dying(tmp_path):
    finder = ParallelFinder([Witness, Witness, Witness])
    path = tmp_path / "epochs"

    def note(epoch):
        finder.lock.acquire()
        with path.open("a") as file:
            file.write(f"{epoch.index} {epoch.number} {epoch.loss:.3f} {type(epoch.model).__name__}\n")
        if epoch.index == 2:
            os._exit(3)
        finder.lock.release()

    with pytest.raises(face.TrainingError, match="left with exit code 3 in the middle"):
        finder.find(*data(), device_str="cpu", epochs=2, on_epoch=note, processes=1, threads=1)
    lines = path.read_text().split("\n")
    assert [line.split()[:2] for line in lines[:-1]] == [[*pair] for pair in ("01", "02", "11", "12", "21")]
    assert {line.split()[3] for line in lines[:-1]} == {"Witness"}
    assert f"{finder.logs['model_1_loss']:.3f}" == lines[3].split()[2]


def test_what_on_epoch_raises_is_the_models_failure():
    def refuse(epoch):
        assert epoch.index == 0, "not this one"

    finder = ParallelFinder([Witness, Witness])
    with pytest.raises(face.TrainingError, match="not this one"):
        finder.find(*data(), device_str="cpu", threads=1, on_epoch=refuse)
    assert set(finder.models) == {0}


def test_processes_and_threads_share_the_cores(monkeypatch):
    monkeypatch.setattr("parallel_train.training.asked.usable_cores", lambda: 16)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cpu, two = ["cpu"] * 100, ["cuda:0"] * 5 + ["cuda:1"] * 5
    assert shares(cpu, None, None) == ({"cpu": 16}, 1)
    assert shares(cpu[:3], None, None) == ({"cpu": 3}, 5)
    assert shares(cpu, None, 4) == ({"cpu": 4}, 4)
    assert shares(cpu, 1, None) == ({"cpu": 1}, 16)
    assert shares(two, None, None) == ({"cuda:0": 1, "cuda:1": 1}, 8)
    assert shares(two, 3, None) == ({"cuda:0": 3, "cuda:1": 3}, 2)
    assert shares([*two, *cpu], None, None) == ({"cuda:0": 1, "cuda:1": 1, "cpu": 14}, 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert shares(cpu, None, None) == ({"cpu": 2}, 8)
    assert shares(cpu, 4, None) == ({"cpu": 4}, 4)


def test_importing_the_package_imports_no_torch():
    code = "import sys, parallel_train; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"


def test_whether_a_fork_can_train(monkeypatch):
    assert forking.can_fork(["cpu"])
    assert not forking.can_fork(["mps"])
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    for is_bad in (False, True):
        monkeypatch.setattr(torch._C, "_cuda_isInBadFork", lambda is_bad=is_bad: is_bad, raising=False)
        assert forking.can_fork(["cpu", "cuda:0"]) is not is_bad
        assert forking.can_fork(["cpu"])
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert not forking.can_fork(["cpu"])
