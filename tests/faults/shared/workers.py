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
from parallel_train.core.events import Claimed, Ended, Event, Launch, OutputFound, Refused, Submitted, Vanished
from parallel_train.core.facts import Claim
from parallel_train.core.situation import Situation, Wishes, begin
from parallel_train.core.slots import Device, Pool
from parallel_train.errors import ParallelTrainError
from parallel_train.procs import order
from parallel_train.scheduler import Scheduler
from tests.faults.shared import product
from tests.faults.shared.actors import Actor, Host
from tests.faults.shared.machine import BOOTS, LEASE, PROJECT, QUEUE, Machine
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
    queue = product.load("store.queue").DiskQueue(
        SimPath(QUEUE), me, machine.is_alive, interest=ids, sources={"f"}, lease=LEASE, clock=now
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
    key: tuple[str, int]
    has_claimed: bool = False
    is_over: bool = False


@dataclass(eq=False)
class Runner:
    """procs.runner.LocalRunner, over actors instead of processes."""

    machine: Machine
    host: Host
    worker: str
    shims: dict[tuple[str, int], Shim] = field(default_factory=dict)
    watched: dict[tuple[str, int], Actor] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    actor: Actor = field(default_factory=lambda: STAGE.actor)

    def start(self, launch: Launch, devices: Sequence[Device]) -> None:
        around = order.Surroundings(
            Path(PROJECT), Path(QUEUE), self.worker, lease=LEASE, is_shared=lambda: True, environment={}
        )
        wanted = json.loads(json.dumps(order.build(launch, devices, around, "20260101_000000")))
        key = (launch.task.id, launch.attempt)
        shim = self.shims[key] = Shim(self.machine.shim(wanted, self.host, lambda said: self._hear(shim, said)), key)
        shim.actor.on_end.append(lambda: self._gone(shim))

    def _hear(self, shim: Shim, said: dict[str, Any]) -> None:
        now = product.TIME.monotonic()
        said = json.loads(json.dumps(said))
        match said:
            case {"claimed": dict(claim)}:
                shim.has_claimed = True
                self.events.append(Claimed(wire.claim_of(claim)))
            case {"ended": dict(end)}:
                shim.is_over = True
                self.events.append(Ended(wire.end_of(end), now))
            case {"refused": why, "text": text, "slots": slots}:
                shim.is_over = True
                self.events.append(Refused(*shim.key, why, now, tuple(slots), text))
            case _:
                pass
        self.machine.world.wake(self.actor)

    def _gone(self, shim: Shim) -> None:
        if not shim.is_over:
            self.events.append(("died", shim))  # type: ignore[arg-type]
        self.shims.pop(shim.key, None)
        self.machine.world.wake(self.actor)

    def watch(self, claim: Claim) -> None:
        alive = self.machine.is_alive(claim.owner)
        key = (claim.task, claim.attempt)
        if alive is None:
            return
        if not alive:
            is_same = claim.owner.boot == BOOTS.format(self.host.name, self.host.boot)
            self.events.append(self._found_dead(key, "killed" if is_same else "rebooted"))
            return
        actor = self.machine.world.actors[claim.owner.pid]
        self.watched[key] = actor
        actor.on_end.append(lambda: self._watched_is_gone(key))

    def _watched_is_gone(self, key: tuple[str, int]) -> None:
        if self.watched.pop(key, None):
            self.events.append(("dead", key))  # type: ignore[arg-type]
            self.machine.world.wake(self.actor)

    def _found_dead(self, key: tuple[str, int], why: Any = "killed") -> Event:
        records = product.load("store.records")
        try:
            return Ended(wire.end_of(records.read_one(f"{QUEUE}/ends/{key[0]}.{key[1]}")), product.TIME.monotonic())
        except (OSError, records.DamagedError):
            return Vanished(*key, why)

    def _died(self, shim: Shim) -> Event:
        if shim.has_claimed:
            return self._found_dead(shim.key)
        has_claimed = product.load("store.records").exists(f"{QUEUE}/claims/{shim.key[0]}.{shim.key[1]}")
        return Refused(*shim.key, "behind" if has_claimed else "trouble", product.TIME.monotonic())

    def stop(self, task: str, attempt: int, *, kill: bool) -> None:
        raise AssertionError("nobody asked for that here")

    def sweep(self, claim: Claim) -> None:
        pass  # a task dies with its shim here

    def wait(self, seconds: float | None) -> list[Event]:
        if not self.events:
            self.machine.world.sleep(max(seconds or 0.0, product.LEAST))
        events, self.events = self.events, []
        return [self._real(event) for event in events]

    def _real(self, event: Any) -> Event:
        match event:
            case ("died", Shim() as shim):
                return self._died(shim)
            case ("dead", key):
                return self._found_dead(key)
        return event  # type: ignore[no-any-return]

    def close(self) -> None:
        self.watched.clear()
