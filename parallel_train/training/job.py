"""What is trained how, once everything that was asked has been checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from parallel_train.training.data import Data


@dataclass(frozen=True)
class Setting:
    """One model of the list."""

    index: int
    name: str  # of its constructor
    make: Callable[[], Any]
    optimizer: Callable[..., Any]
    optimizer_params: Mapping[str, Any]
    scheduler: Callable[[Any], Any] | None
    device: str
    seed: int

    def __str__(self) -> str:
        return f"model {self.index} ({self.name})"


@dataclass(frozen=True)
class Job:
    """All models, and what is the same for each. A process gets it once, however many models it trains."""

    settings: tuple[Setting, ...]
    data: Data
    epochs: int
    batch_size: int
    shuffle: bool
    criterion: Callable[[], Any]
    on_epoch: Callable[[Epoch], object] | None
    threads: int  # of torch in each process
    is_seeded: bool


@dataclass(frozen=True)
class Epoch:
    """What `on_epoch` gets after each epoch, in the process that trains the model."""

    index: int  # of the model in the list
    number: int  # from 1
    loss: float  # mean of the batch losses
    validation_loss: float | None
    seconds: float  # of the training part
    model: Any  # torch.nn.Module
    optimizer: Any  # torch.optim.Optimizer


# ---- what a process tells ----


@dataclass(frozen=True)
class Ready:
    pass


@dataclass(frozen=True)
class Progress:
    """An epoch has ended."""

    index: int
    loss: float


@dataclass(frozen=True)
class Done:
    index: int
    losses: tuple[float, ...]
    validation_losses: tuple[float, ...]
    seconds: float  # of the last epoch
    total_seconds: float  # with making the model
    weights: bytes  # its state_dict, by torch.save


@dataclass(frozen=True)
class Failed:
    index: int
    why: str  # a traceback, or how the process ended


@dataclass(frozen=True)
class NotNew:
    """The model is made of parts that this process has trained already: it must be made in another."""

    index: int


Told = Ready | Progress | Done | Failed | NotNew
