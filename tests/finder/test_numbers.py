"""Are the numbers those of a plain PyTorch loop, and those of anybody who trains the same again?"""

from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from parallel_train import ParallelFinder
from tests.finder.models import Noisy, Witness, data

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def _threads():
    before, state = torch.get_num_threads(), torch.get_rng_state()
    yield
    torch.set_num_threads(before)
    torch.set_rng_state(state)


def plain(make, *, seed, shuffle, scheduler):
    """What everybody writes."""
    torch.manual_seed(seed)
    model = make()
    criterion = nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    steps = scheduler(optimizer)
    loader = DataLoader(TensorDataset(*data()), batch_size=16, shuffle=shuffle)
    held_out = DataLoader(TensorDataset(*data(20, seed=1)), batch_size=16)
    losses, validation_losses = [], []
    for _ in range(3):
        model.train()
        total, count = 0.0, 0
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs), labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
            count += 1
        losses.append(total / count)
        model.eval()
        with torch.no_grad():
            judged = [criterion(model(inputs), labels).item() for inputs, labels in held_out]
        validation_losses.append(sum(judged) / len(judged))
        if isinstance(steps, torch.optim.lr_scheduler.ReduceLROnPlateau):
            steps.step(validation_losses[-1])
        else:
            steps.step()
    return tuple(losses), tuple(validation_losses), model.state_dict()


SCHEDULERS = [
    partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5),
    partial(torch.optim.lr_scheduler.ReduceLROnPlateau, patience=0),
]


@pytest.mark.parametrize("shuffle", [False, True])
def test_they_are_those_of_a_plain_loop_to_the_bit(shuffle):
    finder = ParallelFinder([Noisy, Noisy])
    table = finder.find(
        *data(),
        epochs=3,
        batch_size=16,
        optimizer=torch.optim.SGD,
        optimizer_params={"lr": 0.05, "momentum": 0.9},
        device_str="cpu",
        shuffle=shuffle,
        seed=[7, 8],
        validation=data(20, seed=1),
        scheduler=SCHEDULERS,
        threads=1,
    )
    torch.set_num_threads(table.threads)
    for row, scheduler in zip(table, SCHEDULERS, strict=True):
        losses, validation_losses, weights = plain(Noisy, seed=row.seed, shuffle=shuffle, scheduler=scheduler)
        assert (row.losses, row.validation_losses) == (losses, validation_losses)
        assert all(torch.equal(weights[name], part) for name, part in finder.models[row.index].items())
        assert finder.logs[f"model_{row.index}_loss"] == losses[-1]
        assert finder.logs[f"model_{row.index}_validation_loss"] == validation_losses[-1]


def losses(count=3, **asked):
    """In one process or two, and on another day."""
    table = ParallelFinder([Noisy] * count).find(*data(), epochs=2, shuffle=True, device_str="cpu", threads=1, **asked)
    return [row.losses for row in table], [row.seed for row in table]


def test_a_seed_gives_the_same_however_many_processes_there_are():
    one, two = (losses(seed=3, processes=processes)[0] for processes in (1, 2))
    assert one == two
    assert len(set(one)) == 1  # a seed for all: the same model three times


def test_without_a_seed_each_has_its_own_and_that_of_the_script_decides():
    torch.manual_seed(5)
    first, seeds = losses(processes=1)
    second, _ = losses(processes=1)
    torch.manual_seed(5)
    again, _ = losses(processes=1)
    assert len(set(first)) == 3
    assert first != second
    assert first == again
    assert losses(1, seed=seeds[2], processes=1)[0] == [first[2]]  # what a row says is enough to train it again


def test_a_layer_in_place_changes_nothing_for_the_others():
    inputs, labels = data()
    kept = inputs.clone()
    finder = ParallelFinder([lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 1))] * 2)
    table = finder.find(inputs, labels, seed=1, epochs=2, device_str="cpu", processes=1, threads=1)
    assert table[0].losses == table[1].losses
    assert torch.equal(inputs, kept)


def test_a_model_that_is_held_by_what_returns_it_is_not_trained_on():
    model = nn.Linear(3, 1)
    kept = model.weight.clone()
    finder = ParallelFinder([lambda: model, partial(nn.Sequential, model), Noisy])
    table = finder.find(*data(), seed=1, epochs=2, device_str="cpu", processes=1, threads=1)
    assert table[0].losses == table[1].losses
    assert torch.equal(model.weight, kept)


def test_several_threads_work_in_a_fork_of_a_process_that_has_used_several():
    """A fork has not the pool of libgomp: whoever uses it as the thread that forked waits for ever."""
    torch.set_num_threads(2)
    torch.randn(400, 400) @ torch.randn(400, 400)
    torch.randn(500_000).exp()
    finder = ParallelFinder([partial(Witness, 300)])
    inputs = torch.randn(3000, 3)
    table = finder.find(inputs, inputs.sum(1, keepdim=True), batch_size=3000, device_str="cpu", threads=2)
    assert table.threads == finder.models[0]["threads"] == 2
