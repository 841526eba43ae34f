"""Train one model: the plain PyTorch loop, to the bit."""

from __future__ import annotations

import io
import random
import re
import sys
import time
from collections.abc import Callable, Iterable
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from parallel_train.training.data import Data, batches
from parallel_train.training.job import Done, Epoch, Job, Progress, Setting

_TO_ALLOW = re.compile(r"add_safe_globals\(\[.*?\]\)")  # as torch words what would help


def make_model(job: Job, setting: Setting) -> Any:
    """The model, as it is before training."""
    sow(setting.seed, is_strict=job.is_seeded)
    model = setting.make()
    if not isinstance(model, nn.Module):
        raise TypeError(f"{setting.name}() returned {type(model).__name__}, not a torch.nn.Module")
    return model


def train(job: Job, setting: Setting, model: Any, data: Data, *, tell: Callable[[Progress], None]) -> Done:
    """Train `model` on `data`, which is on its device already."""
    began = time.perf_counter()
    model.to(setting.device)
    criterion = job.criterion()
    if isinstance(criterion, nn.Module):
        criterion.to(setting.device)
    optimizer = setting.optimizer(model.parameters(), **setting.optimizer_params)
    scheduler = setting.scheduler(optimizer) if setting.scheduler else None
    train_batches = batches(data.train, job.batch_size, shuffle=job.shuffle)
    held_out = batches(data.validation, job.batch_size, shuffle=False) if data.validation else None
    losses: list[float] = []
    validation_losses: list[float] = []
    for number in range(1, job.epochs + 1):
        start = time.perf_counter()
        losses.append(_fit(model, criterion, optimizer, train_batches))
        seconds = time.perf_counter() - start
        if held_out is not None:
            validation_losses.append(_judge(model, criterion, held_out))
        judged = validation_losses[-1] if validation_losses else None
        if scheduler is not None:
            _step(scheduler, losses[-1] if judged is None else judged)
        if job.on_epoch is not None:
            job.on_epoch(Epoch(setting.index, number, losses[-1], judged, seconds, model, optimizer))
        tell(Progress(setting.index, losses[-1]))
    total = time.perf_counter() - began
    return Done(setting.index, tuple(losses), tuple(validation_losses), seconds, total, weights(model))


def sow(seed: int, *, is_strict: bool) -> None:
    """Seed everything that a model may draw from. `is_strict`: the same numbers from run to run also by cuDNN."""
    torch.manual_seed(seed)
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % 2**32)
    if is_strict:
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False


def _fit(model: Any, criterion: Any, optimizer: Any, epoch: Iterable[tuple[Any, Any]]) -> float:
    """One epoch of training; the mean of the batch losses."""
    model.train()
    losses = []
    for inputs, labels in epoch:
        optimizer.zero_grad()
        loss = criterion(model(inputs), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return _mean(losses)


def _judge(model: Any, criterion: Any, epoch: Iterable[tuple[Any, Any]]) -> float:
    """The mean of the batch losses on data that the model is not trained on."""
    model.eval()
    with torch.no_grad():
        return _mean([criterion(model(inputs), labels) for inputs, labels in epoch])


def _mean(losses: list[Any]) -> float:
    """Read at once: a GPU would have to wait at every batch. Added one by one, as `total += loss.item()` does;
    Python's own sum rounds otherwise from 3.12 on.
    """
    total = 0.0
    for loss in torch.stack(losses).tolist():
        total += loss
    return total / len(losses)


def _step(scheduler: Any, loss: float) -> None:
    if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        scheduler.step(loss)
    else:
        scheduler.step()


def weights(model: Any) -> bytes:
    """The tensors of the model's state, on the CPU."""
    state = {name: part.detach().cpu() for name, part in model.state_dict().items() if isinstance(part, torch.Tensor)}
    written = io.BytesIO()
    torch.save(state, written)
    return written.getvalue()


class WeightsError(Exception):
    """Weights that can't be handed over from the process that trained them."""


def read_weights(written: bytes) -> dict[str, Any]:
    """What `weights` gave. Raises WeightsError where reading it may run code, as for an unknown class."""
    try:
        return dict(torch.load(io.BytesIO(written), weights_only=True))
    except UnpicklingError as error:
        to_allow = _TO_ALLOW.search(str(error))
        otherwise = f", or call torch.serialization.{to_allow[0]} first" if to_allow else ""
        raise WeightsError(
            "it was trained, but its weights can't be handed over: torch.load(weights_only=True) refuses them. "
            f"Have its state_dict hold plain tensors{otherwise}"
        ) from error
