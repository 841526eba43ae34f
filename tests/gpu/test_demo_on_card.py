"""Does the real command train on a real card, and only on it?

Run with: pytest -m gpu -n 0
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.gpu
ROOT = Path(__file__).parents[2]
WHERE = """
import json, os, sys, torch
os.makedirs(sys.argv[1])
found = {"visible": os.environ["CUDA_VISIBLE_DEVICES"], "count": torch.cuda.device_count(),
         "uuid": str(torch.cuda.get_device_properties(0).uuid)}
json.dump(found, open(sys.argv[1] + "/where.json", "w"))
"""


def run(folder, *words):
    command = [sys.executable, "-m", "parallel_train", *words]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=300, check=False)


def test_a_task_sees_its_card_and_no_other(card, tmp_path):
    (tmp_path / "where.py").write_text(WHERE)
    (tmp_path / "t.yaml").write_text("tasks:\n  - command: '{python} where.py {output}'\n    output: out/where\n")
    done = run(tmp_path, "t.yaml", "--gpus", str(card.index), "--python", sys.executable)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "out/where/where.json").read_text())
    assert (found["visible"], found["count"]) == (str(card.index), 1)
    assert found["uuid"].removeprefix("GPU-") == card.uuid.removeprefix("GPU-")


def test_the_demo_trains_on_it(card, tmp_path):
    for folder in ("tasks", "configs"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    done = run(tmp_path, "digits_sym_0.25_seed1", "--gpus", str(card.index), "--python", sys.executable)
    assert done.returncode == 0, done.stdout + done.stderr
    (metrics,) = tmp_path.glob("output/**/metrics.json")
    found = json.loads(metrics.read_text())
    assert found["device"].startswith("cuda")
    assert found["accuracy"] > 0.9
