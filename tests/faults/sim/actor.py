"""What there is of a process in the simulation, and what a scheduler holds of others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from parallel_train.core.events import Event
from tests.faults.sim.disk import Key
from tests.faults.sim.kernel import Others
from tests.faults.sim.product import CHILDREN, LEADER, TIME, Step, Steps
from tests.faults.sim.shim import Fate, Order


@dataclass(slots=True)
class Host:
    """A machine. Times are the world's."""

    name: str
    boot: int = 1
    clock: float = 0.0  # what its monotonic clock shows beyond the world's time
    slept: float = 0.0  # for how long it had stopped
    wall: float = 0.0  # the same for the clock on its wall
    cut: float = 0.0  # until then its processes can't reach the disk:
    is_refused: bool = False  # they are told so at once, or else they hang
    was_cut: float = -1e9  # when it last could not
    asleep: float = 0.0  # it is suspended until then
    was_asleep: float = -1e9  # when it last was


@dataclass(slots=True)
class Actor:
    """A process, as far as it takes steps."""

    name: str
    pid: int  # in the whole world; on its host it has another one, which may be used again
    kind: str  # worker, launcher, shim, beat, command, person
    make: Callable[[], Steps]
    host: Host
    known_as: int = 0  # its pid on its host
    steps: Steps | None = None
    op: Step = ()  # what it does next
    until: float = 0.0  # it does nothing before, unless it is woken
    planned: float = 0.0  # when it came to know what it does next
    due: float = 0.0  # when its wait is over without any news
    nap: float = 0.0  # it is held up until then, whatever happens
    was_held: bool = False  # the kernel held its step until the disk was there again
    answer: tuple[Any, BaseException | None] | None = None  # its step was done; it has not heard of it yet
    # What it was sent, and when, where somebody wants to know.
    log: tuple[tuple[Any, BaseException | None, float], ...] | None = None

    def take(self, result: Any, error: BaseException | None, now: float) -> bool:
        """Go on with what came of the last step, at `now` by its own clock; whether there is another step."""
        if self.steps is None:
            self.steps = self.make()
            for past in self.log or ():
                self._go(*past)
        if self.log is not None:
            self.log = (*self.log, (result, error, now))
        try:
            self.op = self._go(result, error, now)
        except StopIteration:
            return False
        return True

    def _go(self, result: Any, error: BaseException | None, now: float) -> Step:
        assert self.steps is not None
        TIME.now, TIME.slept = now, self.host.slept
        TIME.wall = now - self.host.clock + self.host.wall
        if error is None:
            found: Step = self.steps.send(result)
        else:
            error.__context__ = None  # one error serves many worlds: what it passed through would keep them all
            found = self.steps.throw(error.with_traceback(None))
        return found


@dataclass(slots=True)
class Pipe:
    """The line between a scheduler and a shim of its own, and what was said on it."""

    key: Key  # of the attempt that it has, or is to have
    pid: int
    messages: tuple[Step, ...] = ()
    has_claimed: bool = False
    is_over: bool = False
    is_last: bool = False  # it is not to have another attempt after this one
    has_served: bool = False  # it had others before


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
    shims: dict[Key, int] = field(default_factory=dict)  # not the idle ones
    idle: tuple[int, ...] = ()
    others: Others = field(default_factory=Others)
    events: list[Event] = field(default_factory=list)


@dataclass(slots=True)
class Command:
    """What a shim started: its leader, and children that may outlive it."""

    order: Order
    cookie: str
    fate: Fate
    shim: int
    host: Host
    at: float  # when it began
    leader: bool = True
    children: bool = False
    outcome: Any = None
    keeps: bool = True  # its children hold the slots too
    halted: frozenset[int] = frozenset()  # which of them were stopped: LEADER, CHILDREN
    left: float = 0.0  # seconds that it still wants, where it was stopped
    pending: int = -1  # the rung of the signal that waits for it to go on
    zombies: tuple[tuple[int, int], ...] = ()  # (pid, status) that the shim has not reaped yet

    @property
    def lives(self) -> bool:
        return self.leader or self.children

    @property
    def runs(self) -> bool:
        """Whether anything of it does anything now."""
        return (self.leader and LEADER not in self.halted) or (self.children and CHILDREN not in self.halted)
