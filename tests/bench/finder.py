"""What does it cost to train a small model: one after another in a process of ParallelFinder, or each in its own?

python -m tests.bench.finder [--rounds N] [--models N]

All three train the same models to the same numbers, one at a time, with torch already imported in the parent.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from parallel_train import ParallelFinder
from tests.bench.__main__ import say, timed

EPOCHS, BATCH = 2, 64


class Small(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(10, 50), nn.ReLU(), nn.Linear(50, 1))


def alone(inputs: torch.Tensor, labels: torch.Tensor) -> None:
    """What each process of its own does."""
    torch.set_num_threads(1)
    model = Small()
    optimizer = torch.optim.Adam(model.parameters())
    loader = DataLoader(TensorDataset(inputs, labels), batch_size=BATCH)
    for _ in range(EPOCHS):
        for batch, wanted in loader:
            optimizer.zero_grad()
            nn.functional.mse_loss(model(batch), wanted).backward()
            optimizer.step()


def ours(models: int, data: tuple[torch.Tensor, torch.Tensor]) -> Callable[[], object]:
    finder = ParallelFinder([Small] * models)
    return lambda: finder.find(*data, EPOCHS, BATCH, device_str="cpu", processes=1, threads=1, progress=False)


def each(method: str, models: int, data: tuple[torch.Tensor, torch.Tensor]) -> Callable[[], object]:
    def train() -> None:
        for _ in range(models):
            process = multiprocessing.get_context(method).Process(target=alone, args=data)
            process.start()
            process.join()
            assert process.exitcode == 0

    return train


def processor_time() -> float:
    """Seconds of this process and of those of its children that have ended: hardly longer on a busy machine."""
    return sum(os.times()[:4])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", type=int, default=6)
    asked = parser.parse_args()
    print(f"finder: {os.cpu_count()} cores, Python {sys.version.split()[0]}, torch {torch.__version__}")
    data = torch.randn(1000, 10), torch.randn(1000, 1)
    ways = {
        "one process, one after another": ours(asked.models, data),
        "a process each, forked": each("fork", asked.models, data),
        "a process each, started afresh (spawn)": each("spawn", asked.models, data),
    }
    ours(1, data)()  # what only the first find of a session costs
    took: dict[str, list[float]] = {name: [] for name in ways}
    used: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(asked.rounds):
        for name, way in ways.items():
            before = processor_time()
            took[name].append(timed(way) / asked.models)
            used[name].append((processor_time() - before) / asked.models)
    first, *others = ways
    for kind, figures in {"time": took, "processor time": used}.items():
        print(f"{kind}, a model")
        for name in ways:
            say(f"  {name}", figures[name])
        for name in others:
            ratios = [b / a for a, b in zip(figures[first], figures[name], strict=True)]
            say(f"  ratio: {name}", ratios, 1.0, "x ")


if __name__ == "__main__":
    main()
