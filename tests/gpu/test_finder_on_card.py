"""Does ParallelFinder train on a real card, whether or not this process uses it already?

Run with: pytest -m gpu -n 0
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.gpu
ROOT = Path(__file__).parents[2]

SCRIPT = """
import os, sys, torch
from torch import nn
from parallel_train import ParallelFinder
from parallel_train.training import forking

class Model(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(1000, 50), nn.ReLU(), nn.Linear(50, 1))
        self.register_buffer("pid", torch.tensor(os.getpid()))
        self.register_buffer("held", torch.tensor(torch.cuda.memory_allocated()))
        self.register_buffer("where", torch.tensor(-1))
    def forward(self, inputs):
        self.where.fill_(inputs.device.index)
        return super().forward(inputs)

class Breaks(Model):
    def forward(self, inputs):
        torch.zeros(1, device=inputs.device)[torch.tensor([5], device=inputs.device)]  # spoils the process's context
        return super().forward(inputs)

def main():
    use_before = sys.argv[1]
    if use_before == "available":
        torch.cuda.is_available()
    elif use_before == "used":
        torch.zeros(1, device="cuda")
    elif use_before == "backward":
        torch.zeros(1, requires_grad=True).sum().backward()
    numbers = torch.Generator().manual_seed(0)
    inputs, labels = torch.randn(20000, 1000, generator=numbers), torch.randn(20000, 1, generator=numbers)
    print("forked", forking.can_fork(["cuda:0"]))
    finder = ParallelFinder([Model, Model, Model])
    first = finder.find(inputs, labels, epochs=2, batch_size=256, seed=1, shuffle=True)
    models = [finder.models[index] for index in range(3)]
    print("processes", len({int(model["pid"]) for model in models}), os.getpid() in {int(m["pid"]) for m in models})
    print("device", {row.device for row in first}, {int(model["where"]) for model in models})
    held = [int(model["held"]) for model in models[1:]]  # as the second and third were made
    print("data on the card once", all(inputs.nbytes <= size < 2 * inputs.nbytes for size in held))
    again = finder.find(inputs, labels, epochs=2, batch_size=256, seed=1, shuffle=True, device_str=["cuda:0"] * 3)
    print("the same", [row.losses for row in first] == [row.losses for row in again] == [first[0].losses] * 3)
    finder.model_list = [Breaks, Model]
    try:
        finder.find(inputs, labels)
    except Exception as error:
        print(type(error).__name__, [row.index for row in error.table.failed], set(finder.models))

if __name__ == "__main__":
    main()
"""


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize("use_before", ["nothing", "available", "backward", "used"])
def test_it_trains_on_the_card_whatever_came_before(use_before, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "script.py", use_before],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    first, *rest = done.stdout.splitlines()
    assert first in {"forked True", "forked False"}
    if use_before in {"available", "used"}:
        assert first == "forked False"
    if use_before == "nothing":
        assert first == "forked True"
    assert rest == [
        "processes 1 False",
        "device {'cuda:0'} {0}",
        "data on the card once True",
        "the same True",
        "TrainingError [0] {1}",
    ]


@pytest.mark.usefixtures("card")
def test_a_script_without_the_guard_that_uses_the_card_first_is_told(tmp_path):
    head = "import torch\nfrom torch import nn\nfrom parallel_train import ParallelFinder\n"
    (tmp_path / "script.py").write_text(
        f"{head}data = torch.zeros(4, 1, device='cuda')\nParallelFinder([lambda: nn.Linear(1, 1)]).find(data, data)\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300, check=False)
    assert "CUDA is already in use" in done.stderr
    (tmp_path / "script.py").write_text(
        f"{head}class Model(nn.Linear):\n    def __init__(self):\n        super().__init__(1, 1)\n"
        "data = torch.zeros(4, 1, device='cuda')\nParallelFinder([Model]).find(data, data)\n"
    )
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300, check=False)
    assert 'if __name__ == "__main__":' in done.stderr
    assert done.stderr.count("Traceback") == 1
