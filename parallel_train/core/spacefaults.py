"""What is wrong with a search space: where, what, and the repair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from parallel_train.errors import ParallelTrainError

Keys = tuple["str | int", ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `path` is for people (root.shearlet.value); `keys` are the same steps as they stand in the config."""

    path: str
    what: str
    repair: str
    keys: tuple[object, ...] = ()

    def __str__(self) -> str:
        return f"{self.path}: {self.what} ({self.repair})"


class SpaceError(ParallelTrainError):
    """Everything that is wrong with a search space, at once: `faults`."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


def shown(keys: Sequence[object]) -> str:
    """The path of `keys`: root.default['my case'].values[2]."""
    parts = (f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{key!r}]" for key in keys)
    return "".join(parts).removeprefix(".") or "the search space"
