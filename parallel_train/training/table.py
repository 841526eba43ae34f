"""What came of it: a row for each model, and the error that names those that failed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import overload

from parallel_train.errors import ParallelTrainError

_TITLES = ("#", "model", "device", "seed", "loss", "validation", "s/epoch", "s")


@dataclass(frozen=True)
class Row:
    """One model. Without a `loss` it has not finished; then `error` says why, or is empty where find() was stopped."""

    index: int
    name: str  # of its constructor
    device: str  # such as "cuda:0"
    seed: int  # torch.manual_seed(seed) came right before it was made
    losses: tuple[float, ...] = ()  # of each epoch, the mean of the batch losses
    validation_losses: tuple[float, ...] = ()
    seconds: float | None = None  # the last epoch took
    total_seconds: float | None = None  # all of it took, with making the model
    error: str = ""  # a traceback, or how its process ended

    @property
    def loss(self) -> float | None:
        """Of the last epoch."""
        return self.losses[-1] if self.losses else None

    @property
    def validation_loss(self) -> float | None:
        """After the last epoch."""
        return self.validation_losses[-1] if self.validation_losses else None


@dataclass(frozen=True, repr=False)
class Table:
    """The rows in the order of the models; printed, a table. `threads`: of torch in each process."""

    rows: tuple[Row, ...]
    threads: int

    @property
    def best(self) -> Row | None:
        """The lowest loss, on the validation data where there is any; NaN never wins."""
        losses = {row.index: row.loss if row.validation_loss is None else row.validation_loss for row in self.rows}
        return self._lowest(losses)

    @property
    def fastest(self) -> Row | None:
        """The shortest last epoch."""
        return self._lowest({row.index: row.seconds for row in self.rows})

    def _lowest(self, numbers: Mapping[int, float | None]) -> Row | None:
        known = {index: number for index, number in numbers.items() if number is not None and not math.isnan(number)}
        return self.rows[min(known, key=known.__getitem__)] if known else None

    @property
    def failed(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.error)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Row, ...]: ...
    def __getitem__(self, index: int | slice) -> Row | tuple[Row, ...]:
        return self.rows[index]

    def __repr__(self) -> str:
        lines = [_TITLES, *(_cells(row) for row in self.rows)]
        shown = [n for n, title in enumerate(_TITLES) if title != "validation" or any(line[n] for line in lines[1:])]
        widths = {n: max(len(line[n]) for line in lines) for n in shown}
        return "\n".join("  ".join(line[n].ljust(widths[n]) for n in shown).rstrip() for line in lines)


class TrainingError(ParallelTrainError):
    """Some models failed. `table` has all of them; the others' weights are kept."""

    exit_code = 1

    def __init__(self, table: Table) -> None:
        self.table = table
        failed = table.failed
        kept = "the others are in its table and models" if len(failed) < len(table) else "none is left"
        told = [f"model {row.index} ({row.name}) on {row.device}:\n{row.error.rstrip()}" for row in failed]
        super().__init__("\n\n".join([f"{len(failed)} of {len(table)} models failed; {kept}", *told]))


def _cells(row: Row) -> tuple[str, ...]:
    loss = _number(row.loss) or ("failed" if row.error else "not finished")
    numbers = (_number(row.validation_loss), _number(row.seconds), _number(row.total_seconds))
    return (str(row.index), row.name, row.device, str(row.seed), loss, *numbers)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
