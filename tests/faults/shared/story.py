"""A history drawn from a seed: hosts that share a disk, what befalls them, and how it ends when all is well again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from parallel_train.core.task import Task, identity, task_id
from tests.faults.shared import product
from tests.faults.shared.actors import Actor, Host, World
from tests.faults.shared.disk import Client, Manner
from tests.faults.shared.machine import LEASE, Machine
from tests.faults.shared.workers import begin_worker

TROUBLE = 900.0  # virtual seconds in which things happen
PEACE = 6000.0  # and those in which all must come to its end
LONGEST_TASK = 500.0


def task(name: str, needs: tuple[str, ...] = ()) -> Task:
    made = Task(name=name, command=("work", name), output=f"output/{name}", needs=needs, retries=3)
    made = replace(made, id=task_id(made))
    return replace(made, identity=identity(made, {}, made.needs))


class Story:
    def __init__(self, seed: str, say: Callable[[str], object] = lambda _: None) -> None:
        chance = random.Random(seed)
        self.chance, self.say = chance, say
        manner = Manner(
            is_strict=chance.random() < 0.7, errors=chance.choice([0.0, 0.01]), lies=chance.choice([0.0, 0.01])
        )
        if chance.random() < 0.1:
            manner = replace(manner, lies=0.1)
        self.world = World(chance)
        first = task("a")
        tasks = [first, task("b"), task("c", needs=(first.id,))][: chance.randint(1, 3)]
        numbered = [replace(each, number=n + 1) for n, each in enumerate(tasks)]
        self.machine = Machine(self.world, numbered, manner)
        self.manner = manner
        self.lengths = {each.id: chance.uniform(1.0, chance.choice([30.0, LONGEST_TASK])) for each in tasks}
        self.machine.codes = lambda name, attempt: (self.lengths[name], int(attempt < 3 and chance.random() < 0.1))
        self.hosts = [self.machine.add_host(f"h{n}") for n in range(chance.randint(2, 3))]
        self.workers: dict[str, Actor] = {}
        self.begun = 0
        self.is_peace = self.has_ended = False
        product.STAGE.world, product.STAGE.machine = self.world, self.machine
        product.STAGE.clients = self.machine.clients

    def tell(self) -> dict[str, int]:
        try:
            for host in self.hosts:
                self.world.at(self.chance.uniform(0.0, 30.0), lambda host=host: self.begin(host))  # type: ignore[misc]
            for _ in range(self.chance.randint(0, 5)):
                self.world.at(self.chance.uniform(0.0, TROUBLE), self.befall)
            if self.chance.random() < 0.5:  # again while others are at it
                host = self.chance.choice(self.hosts)
                self.world.at(self.chance.uniform(10.0, 90.0), lambda: self.begin(host))
            self.world.at(TROUBLE, self.peace)
            self.world.run(TROUBLE + PEACE, self.is_done)
        finally:
            self.world.end()
        self.machine.judge.sum([each.id for each in self.machine.tasks])
        judge = self.machine.judge
        counts = dict(judge.counts) | {"steps": self.world.steps}
        if judge.counts["needless_runs"]:
            judge.faults.append("what had succeeded ran again")
        assert not judge.faults, "\n".join(judge.faults[:5])
        return counts

    def is_done(self) -> bool:
        """Somebody has found all done, and nobody is left."""
        return self.has_ended and all(actor.is_over for actor in self.world.actors.values())

    # ---- workers ----

    def begin(self, host: Host) -> None:
        if host.paused_until > self.world.now or (host.name in self.workers and not self.workers[host.name].is_over):
            return
        self.begun += 1
        name = f"w{self.begun}"
        self.say(f"{self.world.now:9.3f} {name} begins on {host.name}")

        def left(code: int) -> None:
            self.say(f"{self.world.now:9.3f} {name} on {host.name} leaves with {code}")
            self.has_ended |= self.is_peace and code == 0
            if code != 0:
                self.world.at(self.world.now + 20.0, lambda: self.begin(host))

        self.workers[host.name] = begin_worker(self.machine, host, name, left)

    # ---- what befalls them ----

    def befall(self) -> None:
        host = self.chance.choice(self.hosts)
        what = self.chance.choice([self.kill_worker, self.kill_shim, self.pause, self.cut, self.cut, self.lose_power])
        self.say(f"{self.world.now:9.3f} {what.__name__} {host.name}")
        self.machine.judge.counts[what.__name__] += 1
        what(host)

    def kill_worker(self, host: Host) -> None:
        if host.name in self.workers:
            self.world.kill(self.workers[host.name])
        self.world.at(
            self.world.now + self.chance.uniform(0.0, self.chance.choice([20.0, 300.0])), lambda: self.begin(host)
        )

    def kill_shim(self, host: Host) -> None:
        shims = [actor for actor in self.alive(host) if actor.name.startswith("shim")]
        if shims:
            self.world.kill(self.chance.choice(shims))

    def pause(self, host: Host) -> None:
        self.halt_runs(host, self.world.now + self.chance.uniform(1.0, 2.5 * LEASE))

    def halt_runs(self, host: Host, until: float) -> None:
        host.paused_until = max(host.paused_until, until)
        self.world.at(host.paused_until, lambda: self.machine.judge.went_on(host))

    def cut(self, host: Host) -> None:
        host.is_soft = self.chance.random() < 0.5
        host.cut_until = max(host.cut_until, self.world.now + self.chance.uniform(1.0, 2.5 * LEASE))

    def lose_power(self, host: Host) -> None:
        for actor in self.alive(host):
            self.world.kill(actor)
        host.boot += 1
        host.offset = self.chance.uniform(-1e3, 1e6) - self.world.now
        self.machine.clients[host.name] = Client(self.world, self.machine.server, host, self.manner)
        self.world.at(self.world.now + self.chance.uniform(1.0, 600.0), lambda: self.begin(host))

    def alive(self, host: Host) -> list[Actor]:
        return [actor for actor in self.world.actors.values() if actor.host is host and not actor.is_over]

    def peace(self) -> None:
        """All hosts reach the disk again, its answers are true, and somebody works on one of them at least."""
        self.is_peace = True
        for client in self.machine.clients.values():
            client.manner = replace(self.manner, errors=0.0, lies=0.0)
        for host in self.hosts:
            host.cut_until = 0.0
            self.world.at(host.paused_until, lambda host=host: self.begin(host))  # type: ignore[misc]


def _listen() -> None:
    """The judge hears what each is told: that a name is his, what a record holds, whether something is there."""
    records, outputs = product.load("store.records"), product.load("procs.outputs")
    publish, read, exists, state = records.publish, records.read, records.exists, outputs.state

    def told(path: str, lines: Any, durable: bool = True) -> bool:
        try:
            won: bool = publish(path, lines, durable)
        except OSError:
            product.STAGE.machine.judge.left_unsure(path)
            raise
        product.STAGE.machine.judge.told(path, won, records.encode(lines))
        return won

    def heard(path: str) -> Any:
        try:
            return read(path)
        except records.DamagedError:
            product.STAGE.machine.judge.half_read(path)
            raise

    def asked(path: str) -> bool:
        was_there = _is_there(path)
        found: bool = exists(path)
        product.STAGE.machine.judge.asked(path, found, was_there)
        return found

    def looked(output: str | None, done_when: Any) -> str:
        was_there = output is not None and _is_there(output)
        found: str = state(output, done_when)
        product.STAGE.machine.judge.asked(str(output), found == "there", was_there)
        return found

    records.publish, records.read, records.exists, outputs.state = told, heard, asked, looked


def _is_there(path: str) -> bool:
    """On a disk that answers, when asked in the right way; the workers' records come and go."""
    stage = product.STAGE
    return stage.client.manner.is_strict and "/workers/" not in path and stage.machine.server.find(path) is not None


_listen()
