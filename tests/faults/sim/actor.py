"""What there is of a process in the simulation, and what a scheduler holds of others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from parallel_train.core.events import Event
from tests.faults.sim.disk import Key
from tests.faults.sim.shim import Fate, Order, Step, Steps


@dataclass(slots=True)
class Actor:
    """A process, as far as it takes steps."""

    name: str
    pid: int
    kind: str  # worker, launcher, shim, command, person
    make: Callable[[], Steps]
    steps: Steps | None = None
    op: Step = ()  # what it does next
    until: float = 0.0  # it does nothing before, unless it is woken
    due: float = 0.0  # when its wait is over without any news
    nap: float = 0.0  # it is held up until then, whatever happens
    log: tuple[tuple[Any, BaseException | None], ...] | None = None  # what it was sent, where somebody wants to know

    def take(self, result: Any, error: BaseException | None = None) -> bool:
        """Go on with what came of the last step; whether there is another one."""
        if self.steps is None:
            self.steps = self.make()
            for past in self.log or ():
                self._go(*past)
        if self.log is not None:
            self.log = (*self.log, (result, error))
        try:
            self.op = self._go(result, error)
        except StopIteration:
            return False
        return True

    def _go(self, result: Any, error: BaseException | None) -> Step:
        assert self.steps is not None
        found: Step = self.steps.throw(error) if error is not None else self.steps.send(result)
        return found


@dataclass(slots=True)
class Pipe:
    """What a shim tells its scheduler."""

    key: Key
    pid: int
    messages: tuple[Step, ...] = ()
    has_claimed: bool = False
    is_over: bool = False


@dataclass(slots=True)
class Runner:
    """What one scheduler holds of processes: the sim's LocalRunner."""

    launcher: int = 0
    has_answered: bool = False
    inbox: tuple[Order, ...] = ()  # sent to the launcher
    asked: tuple[Key, ...] = ()
    early: dict[Key, bool] = field(default_factory=dict)
    replies: tuple[Pipe, ...] = ()
    pipes: tuple[Pipe, ...] = ()
    shims: dict[Key, int] = field(default_factory=dict)
    watched: dict[Key, int] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


@dataclass(slots=True)
class Command:
    """What a shim started: its leader, and children that may outlive it."""

    order: Order
    fate: Fate
    shim: int
    leader: bool = True
    children: bool = False
    outcome: Any = None
    keeps: bool = True  # its children hold the slots too

    @property
    def lives(self) -> bool:
        return self.leader or self.children
