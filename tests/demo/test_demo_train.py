"""Does the demo train: are its files as promised, its numbers repeatable, its errors one sentence?"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from parallel_train.demo.losses import cross_entropy, generalized_cross_entropy, mean_absolute_error  # noqa: E402

PROJECT = Path(__file__).parents[2]


def train(output: Path, *pairs: str, config: str = "configs/trainers/gce/mlp.yaml", root: Path = PROJECT):
    command = [
        sys.executable,
        "-m",
        "parallel_train.demo.train",
        "--root",
        root,
        "--seed",
        "3",
        "--trainer",
        "gce",
    ]
    command += ["--dataset-config-file", "configs/datasets/digits.yaml", "--config-file", config]
    command += ["--output-dir", output, "OPTIM.MAX_EPOCH", "3", "DATASET.NOISE_RATE", "0.5", *pairs]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The output folder of one run of three epochs, and its process."""
    output = tmp_path_factory.mktemp("demo") / "new" / "seed3"
    return output, train(output)


def metrics(output: Path):
    return json.loads((output / "metrics.json").read_text())


def test_a_run_leaves_what_it_promises(finished):
    output, run = finished
    assert (run.returncode, run.stderr) == (0, "")
    assert sorted(file.name for file in output.iterdir()) == ["log.txt", "metrics.json", "model-best.pth.tar"]
    log = (output / "log.txt").read_text()
    assert run.stdout == log
    assert log.splitlines()[-1] == "Finish training"
    assert re.search(r"^data .*digits\.npz: 1297 to train, 500 to test$", log, re.MULTILINE)
    assert "noise sym: 648 labels are wrong" in log
    assert re.findall(r"^epoch \[(\d)/3\] loss \d\.\d{4} acc 0\.\d{4}$", log, re.MULTILINE) == ["1", "2", "3"]


def test_it_has_learnt(finished):
    output, _ = finished
    numbers = metrics(output)
    assert set(numbers) == {"accuracy", "loss", "epochs", "seconds", "best_accuracy", "device"}
    assert numbers["epochs"] == 3
    assert 0.5 < numbers["accuracy"] <= numbers["best_accuracy"] <= 1  # half of the labels are wrong; chance is 0.1


def test_the_weights_load_without_a_pickle(finished):
    output, _ = finished
    weights = torch.load(output / "model-best.pth.tar", weights_only=True)
    assert [tuple(tensor.shape) for tensor in weights.values()] == [(256, 64), (256,), (10, 256), (10,)]


def test_the_same_seed_gives_the_same_numbers_and_a_new_log(finished, tmp_path):
    output, _ = finished
    (tmp_path / "log.txt").write_text("what a crashed run left\n")
    train(tmp_path)
    first, again = metrics(output), metrics(tmp_path)
    if first["device"] == "cpu":
        assert first | {"seconds": 0} == again | {"seconds": 0}
    assert "crashed" not in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize(
    ("pairs", "config", "says"),
    [
        (["DATASET.NOISE_RAT", "1"], "configs/trainers/gce/mlp.yaml", "did you mean DATASET.NOISE_RATE?"),
        ([], "configs/trainers/gce/none.yaml", "can't read the config file configs/trainers/gce/none.yaml"),
    ],
)
def test_a_wrong_call_is_exit_2_and_one_sentence(tmp_path, pairs, config, says):
    run = train(tmp_path / "out", *pairs, config=config)
    assert run.returncode == 2
    assert says in run.stderr
    assert run.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.1, 0.3]], requires_grad=True)
LABELS = torch.tensor([0, 2])


def test_gce_lies_between_cross_entropy_and_absolute_error():
    near_ce, near_mae = generalized_cross_entropy(1e-4), generalized_cross_entropy(1.0)
    assert near_ce(LOGITS, LABELS).item() == pytest.approx(cross_entropy(LOGITS, LABELS).item(), rel=1e-3)
    assert 2 * near_mae(LOGITS, LABELS).item() == pytest.approx(mean_absolute_error(LOGITS, LABELS).item())


def test_the_absolute_error_is_the_distance_to_the_label():
    distance = (torch.eye(3)[LABELS] - LOGITS.softmax(dim=1)).abs().sum(dim=1).mean()
    assert mean_absolute_error(LOGITS, LABELS).item() == pytest.approx(distance.item())


@pytest.mark.parametrize("loss", [cross_entropy, generalized_cross_entropy(0.7), mean_absolute_error])
def test_a_hopeless_label_gives_a_finite_gradient(loss):
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss(logits, torch.tensor([1])).backward()
    assert logits.grad.isfinite().all()
