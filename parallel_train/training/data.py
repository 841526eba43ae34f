"""What models are trained on: tensors made of whatever a person has, and the batches of an epoch."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from parallel_train.errors import UsageError
from parallel_train.training.faults import all_of


@dataclass(frozen=True)
class Pairs:
    """Inputs and labels, one of each per sample. Indexed by rows it gives a batch, which is always a copy: a model
    whose first layer works in place must not change what the others are trained on.
    """

    inputs: Any  # Tensor (samples, ...)
    labels: Any  # Tensor (samples, ...)

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, rows: slice | list[int]) -> tuple[Any, Any]:
        if isinstance(rows, slice):
            return self.inputs[rows].clone(), self.labels[rows].clone()
        return self.inputs[rows], self.labels[rows]

    def to(self, device: Any) -> Pairs:
        return Pairs(self.inputs.to(device), self.labels.to(device))

    def shared(self) -> Pairs:
        """The same in memory that other processes can map, without touching the tensors of the caller."""
        return Pairs(*(part.clone().share_memory_() for part in (self.inputs, self.labels)))


@dataclass(frozen=True)
class Data:
    train: Pairs
    validation: Pairs | None = None

    def to(self, device: Any) -> Data:
        return Data(self.train.to(device), self.validation and self.validation.to(device))

    def shared(self) -> Data:
        return Data(self.train.shared(), self.validation and self.validation.shared())


def batches(pairs: Pairs, batch_size: int, *, shuffle: bool) -> Iterable[tuple[Any, Any]]:
    """The batches of an epoch, each time it is walked.

    They and the random numbers drawn for them are those of `DataLoader(TensorDataset(inputs, labels), batch_size,
    shuffle)`, but a batch is taken in one piece and not put together sample by sample.
    """
    rows: Any
    if shuffle:
        rows = BatchSampler(RandomSampler(range(len(pairs))), batch_size, drop_last=False)
    else:
        rows = [slice(start, start + batch_size) for start in range(0, len(pairs), batch_size)]
    return DataLoader(pairs, sampler=rows, batch_size=None)  # type: ignore[no-any-return]


def make_data(inputs: Any, labels: Any, validation: Any) -> Data:
    """Of what a person gave; `validation` is None or a pair. Raises UsageError where it is no data."""
    return Data(*all_of(lambda: _make_pairs("training", inputs, labels), lambda: _validation(validation)))


def _validation(given: Any) -> Pairs | None:
    if given is None:
        return None
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise UsageError("validation must be a pair: (data, labels)")
    return _make_pairs("validation", *given)


def _make_pairs(name: str, inputs: Any, labels: Any) -> Pairs:
    """Tensors on the CPU of what a person gave. Raises UsageError where they don't fit together."""
    pairs = Pairs(_tensor(inputs), _tensor(labels, is_label=True))
    sizes = [len(part) if part.dim() else 0 for part in (pairs.inputs, pairs.labels)]
    if sizes[0] != sizes[1]:
        raise UsageError(f"the {name} data has {sizes[0]:,} samples and {sizes[1]:,} labels: there must be as many")
    if not sizes[0]:
        raise UsageError(f"the {name} data is empty")
    return pairs


def _tensor(given: Any, *, is_label: bool = False) -> Any:
    """A tensor stays what it is. Of anything else numbers with a point become torch's default type, as its layers
    have it, and whole numbers that are labels become int64, as its losses want them.
    """
    if isinstance(given, torch.Tensor):
        return given.detach().cpu()
    tensor = _from_array(given)
    if tensor.is_floating_point():
        return tensor.to(torch.get_default_dtype())
    return tensor.long() if is_label and tensor.dtype != torch.bool else tensor


def _from_array(given: Any) -> Any:
    if isinstance(given, Sequence) and given and isinstance(given[0], torch.Tensor):
        return torch.stack(list(given)).detach().cpu()
    if hasattr(given, "__array__"):
        given = given.__array__()  # a table of pandas, say
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # an array that can't be written to: nor do we
        try:
            return torch.as_tensor(given)
        except (TypeError, ValueError, RuntimeError) as error:
            raise UsageError(f"no tensor can be made of data of type {type(given).__name__}: {error}") from error
