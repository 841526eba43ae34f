"""A world without a clock, that can be copied."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from parallel_train.core.facts import Owner
from tests.faults.sim.actor import Actor, Host, Runner
from tests.faults.sim.places import Places, Walker, number_of
from tests.faults.sim.queue import SimQueue
from tests.faults.sim.shim import Fate, Order, Steps
from tests.faults.sim.telling import called
from tests.faults.sim.world import World

# Steps that nobody else can notice and that notice nothing that could be otherwise: taken at once, in any order.
ALONE = frozenset(("read", "output_at", "is_filled", "left", "no_beat", "prepare", "sleep"))
# And some that are taken together with the one before, so that there are fewer orders: what is between them is left to
# the stories. A whole look of a scheduler at the records is one step.
JOINED = frozenset(("sign", "unsign", "report", "make_part", "output_of", "beat"))
# Steps that change nothing but what their own process knows: one that is killed may as well not have taken them.
READING = frozenset(
    (
        *("names", "exists", "works", "requests", "last_request", "submissions", "output", "is_aside", "parts"),
        *("listdir", "looked_for", "is_dead", "watch", "wait", "await", "rest"),
    )
)
COPIED = (
    *("actors", "orders", "handed", "parents", "locks", "signed", "signals", "read_at", "counts", "lag", "looked"),
)
KINDS = ("tasks", "rounds", "claims", "ends", "requests")
KILLED = frozenset(("worker", "launcher", "shim"))
ALIKE = 16  # processes of one name that are there at once, or spoken of, at most
_first: dict[str, int] = {}  # the first number of the processes of each name


class Patient(World):
    """Process numbers hang on names alone, not on who was first."""

    actors: dict[int, Walker]  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__(lambda _: Fate())
        self.now = 0.0
        self.places = Places()
        self.workers = 0  # begun so far
        self.kills = 0
        self.stale: frozenset[int] = frozenset()  # those that changed nothing since they could be killed last
        self.running = 0  # who took the last step, where it matters who takes the next
        self.lag: dict[int, float] = {}  # what the clock of each shim shows
        self.looked: dict[int, int] = {}  # how many requests each shim has seen

    # ---- processes ----

    def spawn(self, kind: str, name: str, make: Callable[..., Steps], *args: Any, on: Host | None = None) -> Walker:
        host = on or self.hosts[0]
        self.number_next(name)
        self.last_pid += 1
        pid = self.last_pid
        walker = self.actors[pid] = Walker(name, pid, kind, lambda: make(*args), host, pid)
        key = (pid, number_of([arg for arg in args if not callable(arg)]))
        walker.place = self.places.beginning(key, walker.make)
        self.stale -= {pid}
        return walker

    def fork(self, launcher: Actor, order: Order) -> Actor:
        self.number_next(called(order))
        return super().fork(launcher, order)

    def number_next(self, name: str) -> None:
        """The next process is of this name: it gets the first of its numbers that nobody has, or speaks of."""
        first = _first.setdefault(name, 1 + ALIKE * len(_first))
        taken = self._taken()
        self.last_pid = next(n for n in range(first, first + ALIKE) if n not in taken) - 1

    def _taken(self) -> set[int]:
        found = {*self.actors, *(claim.owner.start for claim in self.disk.claims.values())}
        found |= {owner.start for owner in self.disk.workers.values()} | {shim for _, shim, _ in self.signed.values()}
        found |= {command.shim for command in self.commands.values()}
        for runner in self.runners.values():
            found |= {runner.launcher, *runner.shims.values(), *runner.others.processes().values()}
            found |= {pipe.pid for pipe in (*runner.pipes, *runner.replies)}
        return found

    def plan(self, actor: Actor) -> None:
        """Nothing is ever due."""

    def settle(self, actor: Actor) -> None:
        """Nor does anybody wait for its time."""

    def step(self, actor: Actor, error: BaseException | None = None) -> None:
        mine = self.actors[actor.pid] = self.actors[actor.pid].like()
        super().step(mine, error)

    # ---- time is nobody's friend ----

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

    def do_link(self, actor: Actor, kind: str, key: Any, record: Any) -> bool:
        assert kind != "requests" or actor.kind == "person"
        return super().do_link(actor, kind, key, record)

    def do_listdir(self, actor: Actor, kind: str) -> list[str]:
        self.looked[actor.pid] = len(self.disk.requests)
        return super().do_listdir(actor, kind)

    def do_rest(self, actor: Actor, owner: Owner) -> Order | None:
        self.lag.pop(actor.pid, None)  # its clock begins anew, and what it has seen
        self.looked.pop(actor.pid, None)
        return super().do_rest(actor, owner)

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
        other.runners = {pid: _runner_like(runner) for pid, runner in self.runners.items()}
        other.commands = {pid: replace(command) for pid, command in self.commands.items()}
        for name in COPIED:
            setattr(other, name, dict(getattr(self, name)))
        return other

    def forget(self) -> None:
        """What matters no more: who is stale where nobody may be killed, who ran that can't go on."""
        self.stale = frozenset(pid for pid in self.stale if pid in self.actors) if self.kills else frozenset()
        runs = self.actors.get(self.running)
        if runs is None or not goes_on(self, runs):
            self.running = 0


def _runner_like(runner: Runner) -> Runner:
    return replace(
        runner,
        early=dict(runner.early),
        replies=tuple(map(replace, runner.replies)),
        pipes=tuple(map(replace, runner.pipes)),
        shims=dict(runner.shims),
        others=runner.others.copy(),
        events=list(runner.events),
    )


def choices(world: Patient, victims: frozenset[str] = KILLED) -> Iterator[tuple[str, int]]:
    """Whose step may be next, and who may be killed.

    A process is killed only just after it changed something, before it looks at anything: had it looked, nobody could
    tell. So each moment at which a kill makes a difference is tried, in each order with what the others do.
    """
    for pid, actor in world.actors.items():
        if world.is_ready(actor):
            yield "step", pid
    if world.kills:
        for pid, actor in world.actors.items():
            if actor.kind in victims and pid not in world.stale:
                yield "kill", pid


def settle(world: Patient) -> None:
    """Take the steps that nobody can notice."""
    again = True
    while again:
        again = False
        for pid in list(world.actors):
            while pid in world.actors and _is_alone(world, world.actors[pid]):
                again = True
                world.step(world.actors[pid])


def _is_alone(world: Patient, actor: Actor) -> bool:
    match actor.op:
        case ("exists", kind, key):  # what is there stays there
            return world.do_exists(actor, kind, key)
        case ("last_request",) | ("listdir", "requests"):  # workers ask for nothing here: see do_link
            return all(other.kind != "person" for other in world.actors.values())
        case ("withdraw", who):  # nobody joins under another's name
            return who not in world.disk.workers
        case ("close",):  # what is on its way to its launcher would be lost
            return not world.runner(actor).inbox
        case ("serve",):  # it ends: nothing of its shims outlives them here
            return world._work(actor) == "end"
    is_left = actor.op[0] == "rest" and world.line_of(actor.pid) is None and actor.pid not in world.handed  # it ends
    return is_left or actor.op[0] in ALONE or actor.op[0] in JOINED


def cost(world: Patient, pid: int) -> int:
    """What this step costs where preemptions are counted: 1 where the process that runs could go on and must let it
    come first, or where it is a wait that ends without news while somebody else could go on.
    """
    actor = world.actors[pid]
    is_early = is_idle(world, actor) and any(goes_on(world, other) for other in world.actors.values())
    return int(is_early or world.running not in {0, pid})


def goes_on(world: Patient, actor: Actor) -> bool:
    """Whether it has something to do, not to wait for."""
    return world.is_ready(actor) and not is_idle(world, actor)


def is_idle(world: Patient, actor: Actor) -> bool:
    return actor.op[0] == "wait" and not world.has_news(actor)


def changes_nothing(world: Patient, actor: Actor) -> bool:
    """Whether its next step leaves everything as it was for everybody else."""
    if actor.op[0] == "wait":  # then what was to be stopped before it had a process is told so
        return not world.runner(actor).early
    return actor.op[0] in READING
