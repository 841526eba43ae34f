"""Everything that is wrong with what was asked, at once and before anything starts; else the settings of each model."""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import torch
from torch import nn

from parallel_train.errors import UsageError
from parallel_train.procs.cores import usable_cores
from parallel_train.training.job import Setting


@dataclass
class Asked:
    """The arguments of `find`, as they were given."""

    models: Sequence[Callable[[], Any]]
    optimizer: Any
    optimizer_params: Any
    scheduler: Any
    device_str: Any
    seed: Any
    numbers: Mapping[str, Any]  # that must be whole and at least 1
    faults: list[str] = field(default_factory=list)

    def settings(self) -> tuple[Setting, ...]:
        """One for each model. Raises UsageError."""
        self.faults.extend(self._wrong_models())
        self.faults.extend(
            f"{name} must be a whole number from 1 on, not {number!r}"
            for name, number in self.numbers.items()
            if number is not None and (not isinstance(number, Integral) or number < 1)
        )
        optimizers = self._each("optimizer", self.optimizer)
        params = self._each("optimizer_params", self.optimizer_params)
        schedulers = self._each("scheduler", self.scheduler)
        devices = [self._device(device) for device in self._each("device_str", self.device_str)]
        seeds = self._seeds()
        if self.faults:
            raise UsageError("\n".join(dict.fromkeys(self.faults)))
        return tuple(
            Setting(
                *(index, name_of(make), make, optimizers[index] or torch.optim.Adam, dict(params[index] or {})),
                *(schedulers[index], devices[index], int(seeds[index])),
            )
            for index, make in enumerate(self.models)
        )

    def _wrong_models(self) -> list[str]:
        if not self.models:
            return ["model_list is empty"]
        faults = []
        for index, make in enumerate(self.models):
            if isinstance(make, nn.Module):
                faults.append(f"model_list[{index}] is a model already: give its class, or a function that makes one")
            elif not callable(make):
                faults.append(f"model_list[{index}] is no function that makes a model: {make!r}")
        return faults

    def _each(self, name: str, given: Any) -> list[Any]:
        """One for each model: a list as it is, anything else for all of them."""
        if not isinstance(given, list | tuple):
            return [given] * len(self.models)
        if len(given) < len(self.models):
            wrong = f"{name} has {len(given)} of the {len(self.models)} entries that it needs, one for each model"
            self.faults.append(f"{wrong}; what is no list is meant for all of them")
            return [*given, *[given[0] if given else None] * (len(self.models) - len(given))]
        return list(given[: len(self.models)])

    def _seeds(self) -> list[int]:
        """The given ones; else drawn from torch's own numbers, so that torch.manual_seed() before find() repeats it."""
        if self.seed is None:
            first = int(torch.randint(2**31, ()).item())
            return [first + index for index in range(len(self.models))]
        seeds = self._each("seed", self.seed)
        self.faults.extend(
            f"seed must be a whole number, not {seed!r}" for seed in seeds if not isinstance(seed, Integral)
        )
        return seeds

    def _device(self, given: Any) -> str:
        """A device with its number, such as "cuda:0"."""
        try:
            device = torch.device(given)
        except (RuntimeError, TypeError):
            self.faults.append(f"device_str: torch knows no device {given!r}")
            return ""
        fault = _missing(device)
        if fault:
            self.faults.append(f"device_str: {fault}")
        if device.type == "cuda" and device.index is None:
            return f"cuda:{torch.cuda.current_device() if torch.cuda.is_initialized() else 0}"
        return "cpu" if device.type == "cpu" else str(device)


def _missing(device: Any) -> str:
    """Why a device can't be used; empty where it can."""
    if device.type == "cpu":
        return ""
    if device.type == "cuda":
        count = torch.cuda.device_count()  # by NVML, which does not stand against a fork
        if not count:
            return f"{device} is asked for, and torch {torch.__version__} finds no GPU here; 'cpu' works"
        last = f"the last is cuda:{count - 1}"
        return f"there is no {device}, {last}" if (device.index or 0) >= count else ""
    backend = getattr(torch, device.type, None)
    is_there = getattr(backend, "is_available", lambda: False)()
    return "" if is_there else f"torch {torch.__version__} finds no {device.type} here"


def name_of(make: Any) -> str:
    while isinstance(make, functools.partial):
        make = make.func
    return getattr(make, "__name__", type(make).__name__)


def check_criterion(criterion: Any) -> None:
    if criterion is not None and not callable(criterion):  # a module is
        raise UsageError(f"criterion is no class and no function that makes a loss: {criterion!r}")


def loss_maker(criterion: Any, labels: Any) -> Callable[[], Any]:
    """What makes the loss: the given class or factory; a module is copied; None: by the kind of the labels."""
    if isinstance(criterion, nn.Module):
        return functools.partial(copy.deepcopy, criterion)
    if criterion is None:
        return nn.MSELoss if labels.is_floating_point() else nn.CrossEntropyLoss  # type: ignore[no-any-return]
    return criterion  # type: ignore[no-any-return]


def shares(devices: Sequence[str], processes: int | None, threads: int | None) -> tuple[dict[str, int], int]:
    """How many processes each device gets at most, and how many threads torch gets in each of them.

    One process for a GPU; for the CPU as many as have cores left; together no more threads than cores.
    """
    counts = {device: devices.count(device) for device in dict.fromkeys(devices)}
    cores = usable_cores()
    set_by_hand = os.environ.get("OMP_NUM_THREADS", "")
    usual = int(set_by_hand) if set_by_hand.isdecimal() and int(set_by_hand) else None
    limits = {device: min(count, processes or 1) for device, count in counts.items()}
    if "cpu" in counts and processes is None:
        cards = len(counts) - 1
        limits["cpu"] = max(1, min(counts["cpu"], cores // (threads or usual or 1) - cards))
    most = max(1, cores // sum(limits.values()))
    return limits, threads or min(usual or most, most)
