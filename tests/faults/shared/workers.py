"""Workers of the simulated hosts: the product's loop and core, with its queue on the simulated disk."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from parallel_train.core import contact, wire
from parallel_train.core.apply import absorb, note
from parallel_train.core.events import Claimed, Ended, Event, Launch, OutputFound, Refused, Submitted
from parallel_train.core.facts import Claim, Owner
from parallel_train.core.situation import Situation, Wishes, begin
from parallel_train.core.slots import Device, Pool
from parallel_train.errors import ParallelTrainError
from parallel_train.procs import order
from parallel_train.procs.others import Key
from parallel_train.scheduler import Scheduler
from tests.faults.shared import product
from tests.faults.shared.actors import Actor, Host
from tests.faults.shared.machine import LEASE, PIDFD, PROJECT, QUEUE, Line, Machine
from tests.faults.shared.product import STAGE, SimPath
from tests.faults.sim.worker import Silent

POLL = 5.0


def begin_worker(machine: Machine, host: Host, name: str, left: Callable[[int], None]) -> Actor:
    def body() -> None:
        code = 2
        with contextlib.suppress(OSError, ParallelTrainError):  # a person starts it again
            code = _work(machine, host, name)
        left(code)

    return machine.world.spawn(host, f"worker {name} on {host.name}", body)


def _work(machine: Machine, host: Host, name: str) -> int:
    """What commands.run and commands.work do, in short."""
    me = wire.owner_of(machine.owner(STAGE.actor, name))
    ids = frozenset(task.id for task in machine.tasks)
    now = product.TIME.monotonic
    as_lent = {"reads_ends_only": int(name[1:]) % 2 == 0}  # as a worker in an allocation
    queue = product.load("store.queue").DiskQueue(
        SimPath(QUEUE), me, machine.is_alive, interest=ids, sources={"f"}, lease=LEASE, clock=now, **as_lent
    )
    devices = [Device("gpu", f"gpu-{host.name}-{n}", str(n), str(n)) for n in range(2)]
    situation = Situation(Wishes(worker=name), Pool.of(devices, []))
    note(situation, [Submitted("f", tuple(machine.tasks)), *queue.changes(now())])
    absorb(situation, _survey(situation))
    begin(situation, Wishes(worker=name, selection=ids))
    clock = SimpleNamespace(monotonic=now)
    poll = min(POLL, contact.interval(LEASE))
    return Scheduler(situation, queue, Runner(machine, host, name), Silent(), clock, poll).run()


def _survey(situation: Situation) -> list[Event]:
    """As project.reading.survey does."""
    outputs = product.load("procs.outputs")
    return [
        OutputFound(line.task.id, outputs.state(f"{PROJECT}/{line.task.output}", None))
        for line in situation.lines.values()
        if line.is_untouched or line.has_succeeded
    ]


@dataclass(eq=False)
class Shim:
    actor: Actor
    line: Line
    key: Key
    has_claimed: bool = False
    is_over: bool = False
    has_served: bool = False


@dataclass(eq=False)
class Runner:
    """procs.runner.LocalRunner, over actors instead of processes. Nobody stops anything here."""

    machine: Machine
    host: Host
    worker: str
    shims: dict[Key, Shim] = field(default_factory=dict)
    idle: list[Shim] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)
    actor: Actor = field(default_factory=lambda: STAGE.actor)

    def __post_init__(self) -> None:
        self.others = product.load("procs.others").Others(SimPath(QUEUE), self)
        self.actor.on_end.append(self._hang_up)

    def start(self, launch: Launch, devices: Sequence[Device]) -> None:
        around = order.Surroundings(
            Path(PROJECT), Path(QUEUE), self.worker, lease=LEASE, is_shared=lambda: True, environment={}
        )
        wanted = json.loads(json.dumps(order.build(launch, devices, around, "20260101_000000")))
        key = (launch.task.id, launch.attempt)
        if self.idle:
            self._hand_on(self.idle.pop(), key, wanted)
            return
        line = Line(lambda said: self._hear(shim, said), wanted)
        shim = self.shims[key] = Shim(self.machine.shim(line, self.host), line, key)
        shim.actor.on_end.append(lambda: self._gone(shim))

    def _hand_on(self, shim: Shim, key: Key, wanted: dict[str, Any]) -> None:
        self.shims[key] = shim
        shim.key, shim.has_claimed, shim.is_over, shim.has_served = key, False, False, True
        shim.line.order = wanted
        self.machine.world.wake(shim.actor)

    def _hear(self, shim: Shim, said: dict[str, Any]) -> None:
        now = product.TIME.monotonic()
        said = json.loads(json.dumps(said))
        match said:
            case {"claimed": dict(claim)}:
                shim.has_claimed = True
                self.events.append(Claimed(wire.claim_of(claim)))
            case {"ended": dict(end), "is_free": is_free}:
                shim.is_over = True
                self.events.append(Ended(wire.end_of(end), now))
                if is_free:
                    self.events.append(("free", shim))
            case {"ended": None}:
                shim.is_over = True
                self.events.append(("dead", shim.key))
            case {"refused": why, "text": text, "slots": slots}:
                shim.is_over = True
                self.events.append(Refused(*shim.key, why, now, tuple(slots), text))
            case _:
                pass
        self.machine.world.wake(self.actor)

    def _gone(self, shim: Shim) -> None:
        if shim in self.idle:
            self.idle.remove(shim)
        elif self.shims.get(shim.key) is shim:
            del self.shims[shim.key]
        if not shim.is_over:
            self.events.append(("died", shim))
        self.machine.world.wake(self.actor)

    # ---- others ----

    def register(self, pidfd: int, _: int, owner: Owner) -> None:
        """As a selector does."""
        self.machine.world.actors[pidfd - PIDFD].on_end.append(lambda: self._owner_died(owner))

    def unregister(self, pidfd: int) -> None:
        pass

    def _owner_died(self, owner: Owner) -> None:
        self.events.append(("owner", owner))
        self.machine.world.wake(self.actor)

    def watch(self, claim: Claim) -> None:
        event = self.others.watch(claim)
        if event is not None:
            self.events.append(event)

    def stop(self, task: str, attempt: int, *, kill: bool) -> None:
        raise AssertionError("nobody asked for that here")

    def sweep(self, claim: Claim) -> None:
        pass  # a task dies with its shim here

    # ---- what is heard ----

    def wait(self, seconds: float | None) -> list[Event]:
        if not self.events:
            self.machine.world.sleep(max(seconds or 0.0, product.LEAST))
        events, self.events = self.events, []
        return [real for event in events for real in self._real(event)]

    def _real(self, event: Any) -> list[Event]:
        """Looked up only now, by the worker itself."""
        match event:
            case ("free", Shim() as shim):
                if not shim.actor.is_over:
                    del self.shims[shim.key]
                    self.idle.append(shim)
                return []
            case ("died", Shim() as shim):
                return [self._died(shim)]
            case ("dead", key):
                return [self._found_dead(key)]
            case ("owner", Owner() as owner):
                return list(self.others.died(owner))
        return [event]

    def _found_dead(self, key: Key) -> Event:
        found: Event = product.load("procs.others").found_dead(SimPath(QUEUE), key)
        return found

    def _died(self, shim: Shim) -> Event:
        if shim.has_claimed:
            return self._found_dead(shim.key)
        has_claimed = product.load("store.records").exists(f"{QUEUE}/claims/{shim.key[0]}.{shim.key[1]}")
        why: Any = "behind" if has_claimed or shim.has_served else "trouble"
        return Refused(*shim.key, why, product.TIME.monotonic())

    def close(self) -> None:
        self.others.close()
        self._hang_up()

    def _hang_up(self) -> None:
        """Idle shims end with their scheduler."""
        for shim in [*self.idle, *self.shims.values()]:
            shim.line.is_closed = True
        for shim in self.idle:
            self.machine.world.wake(shim.actor)
