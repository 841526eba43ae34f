"""Does the bundled pipeline do what its first lines say, with real trainings?"""

from __future__ import annotations

import csv
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.sweep import Project

HERE = Path(__file__).parents[2]
PIPELINE = "tasks/pipeline.yaml"


@pytest.fixture
def bundled(project: Project) -> Project:
    for folder in ("tasks", "configs"):
        shutil.copytree(HERE / folder, project.root / folder)
    return project


def test_the_whole_is_six_tasks_in_three_stages(bundled: Project):
    plan = bundled.plan(PIPELINE)
    assert {name: decision for name, (decision, _) in plan.items()} == {
        "preprocess": "run",
        **dict.fromkeys(("train-lr0.03", "train-lr0.01", "train-lr0.003", "train-lr0.001"), "wait"),
        "collate": "wait",
    }


@pytest.mark.torch
@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
def test_one_rate_from_the_digits_to_the_best_model(bundled: Project):
    short = (PIPELINE, "lr=0.01", "epochs=1", "--python", sys.executable)
    first = bundled.run(*short, gpus="cpu:1")
    assert first.code == 0, first.text
    best = bundled.root / "output/pipeline/best"
    with (best / "results.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["output"] == "output/pipeline/train/lr0.01"
    assert 0.5 < float(row["accuracy"]) <= 1  # 0.1 is chance
    assert str((best / "model-best.pth.tar").readlink()) == "../train/lr0.01/model-best.pth.tar"
    assert (best / "model-best.pth.tar").stat().st_size > 10_000

    # A changed setting of the trainer concerns what trains, and what comes after it.
    config = bundled.root / "configs/trainers/ce/mlp.yaml"
    config.write_text(config.read_text().replace("HIDDEN: 256", "HIDDEN: 64"))
    plan = bundled.plan(*short)
    assert plan["preprocess"][0] == "skip"
    assert plan["train-lr0.01"] == ("run", "changed: the content of configs/trainers/ce/mlp.yaml, or what it needs")
