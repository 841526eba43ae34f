"""HyperBand: many trials begin, and the best of each rung train on from their checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from parallel_train.agents import checkpoints
from parallel_train.agents.agent import DistributedAsynchronousSearch
from parallel_train.agents.plan import Ground, Halvings, Plan, SearchError
from parallel_train.core import halving
from parallel_train.core.space import Space
from parallel_train.held import Held


class DistributedAsynchronousHyperBand(DistributedAsynchronousSearch):
    """Successive halving over `resource`, which each combination holds beside its point: what the trial has had in all
    once it ends there. A trial that goes on finds its checkpoint by `load_checkpoint()`.

    Without `k` the brackets of the paper, with it one bracket that begins with `k` points (see core.halving).
    `level`: the rung in its bracket, from 0. `schedule`: the resource of each rung of the longest bracket.
    """

    method = "hyperband"

    def __init__(
        self,
        root: str | Path,
        space: Space,
        k: int | None = None,
        *,
        resource: str = "epochs",
        minimum: int = 1,
        maximum: int = 81,
        eta: int = 3,
        **options: Any,
    ) -> None:
        if resource in space.params:
            raise SearchError(f"'{resource}' stands in the config, and HyperBand sets it: take it away there")
        try:
            self.schedule = halving.schedule(minimum, maximum, eta)
        except ValueError as error:
            raise SearchError(str(error)) from error
        self.resource, self.eta = resource, eta
        super().__init__(root, space, k, **options)

    def _wanted(self) -> dict[str, Any]:
        own = {"resource": self.resource, "schedule": list(self.schedule), "eta": self.eta, "k": self._k}
        return {**super()._wanted(), **own}

    def _plan(self, ground: Ground, settled: Mapping[str, Any]) -> Plan:
        if settled["k"] is None:
            brackets = halving.brackets(self.schedule, self.eta, len(ground))
        else:
            trials = min(settled["k"] * self.space.repetitions, len(ground))
            brackets = (halving.halving(self.schedule, self.eta, trials),)
        return Halvings(ground, brackets, self.resource)

    def _point(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in params.items() if name != self.resource}

    def _checkpoints(self) -> Path:
        return super()._checkpoints() / str(self.level)

    def _take(self, held: Held | None) -> None:
        super()._take(held)
        if self.path is not None and self.level > 0:
            path = Path(self.path)
            checkpoints.hand_on(path.parent.with_name(str(self.level - 1)) / path.name, path)
