"""The processes beside the schedulers, step by step: shim, launcher, command.

What a shim decides is the product's own code (sim.product); the rest is done as parallel_train/procs does it, in the
same order. Each `yield` is one step that others may come in between.
"""

from __future__ import annotations

from dataclasses import dataclass

from parallel_train.core.events import Launch
from parallel_train.core.facts import Exited, Outcome, Owner
from tests.faults.sim import product
from tests.faults.sim.disk import Key
from tests.faults.sim.product import Step, Steps

__all__ = ["Fate", "Order", "Step", "Steps"]

SUCCESS = Exited(0)


@dataclass(frozen=True, slots=True)
class Order:
    launch: Launch
    worker: str
    lease: float = 300.0
    is_shared: bool = False

    @property
    def key(self) -> Key:
        return (self.launch.task.id, self.launch.attempt)

    @property
    def output(self) -> bool:
        return self.launch.task.output is not None


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a command that nobody disturbs, and how it takes it when somebody does."""

    seconds: float = 0.0
    outcome: Outcome = SUCCESS
    writes: bool = True
    obeys: int = 0  # the first rung of INT, TERM, KILL that ends it
    when_told: Outcome = SUCCESS
    has_children: bool = False  # they survive a killed shim, until they are swept
    keep_locks: bool = True  # whether those have kept the slot's descriptor
    shoots_shim: bool = False


def shim(order: Order | None, owner: Owner) -> Steps:
    """procs.launcher.become_shim: one order after another. Without one it waits for it."""
    while True:
        order = order or (yield "rest", owner)
        if order is None or not (yield from product.SHIM["main"](product.order_of(order, owner), product.report)):
            return
        order = None


def launcher() -> Steps:
    """Forks what it is asked for, and sweeps what dead shims of its own left. Ends with its scheduler."""
    while (yield ("serve",)):
        pass


def stranger(slot: str, seconds: float) -> Steps:
    """A shim of another queue that uses the same card: it knows of us by the slot lock alone."""
    for _ in range(50):
        if (yield "take", slot):
            yield "sign", slot, ""
            yield "occupy", slot
            yield "sleep", seconds
            yield "unsign", slot
            return
        yield "sleep", 0.2


def command(fate: Fate) -> Steps:
    yield "sleep", fate.seconds
    if fate.shoots_shim:
        yield ("shoot_shim",)
    yield "finish", fate
