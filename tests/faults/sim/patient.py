"""A world without a clock, that can be copied, and schedulers that can be gone back to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from tests.faults.sim import worker
from tests.faults.sim.actor import Actor, Command, Pipe, Runner
from tests.faults.sim.copying import situation_like
from tests.faults.sim.queue import SimQueue
from tests.faults.sim.shim import Fate, Steps
from tests.faults.sim.worker import Scheduler, Silent, SimClock, SimRunner
from tests.faults.sim.world import World

# Steps that nobody else can notice and that notice nothing that could be otherwise: taken at once, in any order.
ALONE = {"top", "read", "output_at", "is_filled", "left", "no_beat", "prepare"}
# And some that are taken together with the one before, so that there are fewer orders: what is between them is left to
# the stories. A whole look of a scheduler at the records is one step.
JOINED = {"sign", "unsign", "report", "make_part", "output_of", "beat"}
KINDS = ("tasks", "rounds", "claims", "ends", "requests")


class Patient(World):
    """A world without a clock, that can be copied."""

    def __init__(self) -> None:
        super().__init__(lambda _: Fate())
        self.now = 0.0
        self.is_logging = True
        self.kills = 0
        self.lag: dict[int, float] = {}  # what the clock of each shim shows
        self.looked: dict[int, int] = {}  # how many requests each shim has seen

    def do_wait(self, actor: Actor, seconds: float) -> tuple[list[Any], float]:
        events, _ = super().do_wait(actor, seconds)
        return events, 0.0 if events else 1000.0

    def clock_of(self, actor: Actor) -> float:
        return self.lag.get(actor.pid, 0.0)

    def do_await(self, actor: Actor, numbers: tuple[int, ...], seconds: float) -> int:
        told = super().do_await(actor, numbers, seconds)
        if not told:
            self.lag[actor.pid] = self.lag.get(actor.pid, 0.0) + seconds
        return told

    def do_listdir(self, actor: Actor, kind: str) -> list[str]:
        self.looked[actor.pid] = len(self.disk.requests)
        return super().do_listdir(actor, kind)

    def is_ready(self, actor: Actor) -> bool:
        match actor.op:
            case ("wait", _):
                return True
            case ("await", numbers, _):
                fresh = len(self.disk.requests) > self.looked.get(actor.pid, self.orders[actor.pid].launch.heard)
                return fresh or not self.signals.get(actor.pid, frozenset()).isdisjoint(numbers)
            case ("looked_for", _, s, queue):
                return self._is_news(s, queue)
            case _:
                return super().is_ready(actor)

    def _is_news(self, s: Any, queue: SimQueue) -> bool:
        """Whether somebody who waits for ends would find anything."""
        fresh = any(len(getattr(self.disk, kind)) > len(queue.seen(kind)) for kind in KINDS)
        living = (line.attempts[-1] for line in s.lines.values() if line.attempts and line.attempts[-1].end is None)
        return fresh or any(self.is_alive(attempt.claim.owner, self.hosts[0]) is False for attempt in living)

    def copy(self) -> Patient:
        other = Patient.__new__(Patient)
        other.__dict__.update(self.__dict__)
        other.disk = self.disk.copy()
        other.judge = self.judge.copy()
        other.actors = {pid: replace(actor, steps=None) for pid, actor in self.actors.items()}
        other.runners = {pid: _runner_like(runner) for pid, runner in self.runners.items()}
        other.commands = {pid: _command_like(command) for pid, command in self.commands.items()}
        for name in ("orders", "parents", "locks", "signed", "signals", "read_at", "counts", "lag", "looked"):
            setattr(other, name, dict(getattr(self, name)))
        return other


def _runner_like(runner: Runner) -> Runner:
    def like(pipes: tuple[Pipe, ...]) -> tuple[Pipe, ...]:
        return tuple(replace(pipe) for pipe in pipes)

    return replace(
        runner,
        early=dict(runner.early),
        replies=like(runner.replies),
        pipes=like(runner.pipes),
        shims=dict(runner.shims),
        watched=dict(runner.watched),
        events=list(runner.events),
    )


def _command_like(command: Command) -> Command:
    return replace(command)


def resumed(loop: Any) -> Steps:
    """The loop of a scheduler from its top on, which `loop` keeps as it was."""
    clock = SimClock()
    runner = SimRunner(loop.runner.worker, clock)
    fresh = Scheduler(situation_like(loop.situation), loop.queue.copy(), runner, Silent(), clock)
    fresh.looked_at, fresh.had_company, fresh.complaint = loop.looked_at, loop.had_company, loop.complaint
    return worker.finish(fresh)


def at_top(actor: Actor) -> None:
    """Forget how it came here: what it knows is all that counts. Its clock begins anew."""
    loop = actor.op[1]
    now, s = loop.clock.now, situation_like(loop.situation)
    s.paused_until = max(s.paused_until - now, 0.0)
    for slot in (*s.pool.slots.values(), *s.pool.extra.values()):
        slot.avoid_until = max(slot.avoid_until - now, 0.0)
    kept = Scheduler(s, loop.queue.copy(), loop.runner, loop.reporter, loop.clock)
    kept.looked_at = max(loop.looked_at - now, -1.0)
    kept.had_company, kept.complaint = loop.had_company, loop.complaint
    actor.make, actor.log, actor.steps, actor.op = partial(resumed, kept), (), None, ()
    actor.take(None, None, 0.0)  # up to the top
    actor.take(None, None, 0.0)


def choices(world: Patient) -> Iterator[tuple[str, int]]:
    for pid, actor in world.actors.items():
        if world.is_ready(actor):
            yield "step", pid
    if world.kills:
        for pid, actor in world.actors.items():
            if actor.kind in {"worker", "launcher", "shim"}:
                yield "kill", pid


def settle(world: Patient) -> None:
    """Take the steps that nobody can notice."""
    again = True
    while again:
        again = False
        for actor in list(world.actors.values()):
            while actor.pid in world.actors and _is_alone(world, actor):
                again = True
                if actor.op[0] == "top":
                    at_top(actor)
                else:
                    world.step(actor)


def _is_alone(world: Patient, actor: Actor) -> bool:
    if actor.op[0] == "exists":  # what is there stays there
        return world.do_exists(actor, *actor.op[1:])
    return actor.op[0] in ALONE or actor.op[0] in JOINED
