"""What a story draws by chance: tasks, edits, command lines, what becomes of commands."""

from __future__ import annotations

import random
from dataclasses import replace

from parallel_train.core.facts import Exited, Outcome, Signalled
from parallel_train.core.task import Task
from tests.faults.sim.shim import Fate, Order
from tests.faults.sim.worker import Wants

OUTCOMES: tuple[Outcome, ...] = (*[Exited(0)] * 12, Exited(1), Exited(1), Signalled(11))


class Draws:
    def __init__(self, seed: int | str) -> None:
        self.chance = random.Random(seed)
        draw = self.chance.random
        self.gap = 10 ** self.chance.uniform(-0.5, 1.5)  # virtual seconds between two faults
        self.trouble = 0.01 if draw() < 0.3 else 0.0  # how often the disk refuses a step
        self.holdup = self.chance.choice((0.0, 0.01, 0.05))  # how often a process is held up after a step
        self.shooting = 0.05 if draw() < 0.3 else 0.0  # how often a command kills its shim
        self.slots = tuple(f"gpu-{number}" for number in range(self.chance.choice((1, 2, 2, 4))))
        self.hosts = self.chance.choice((1, 1, 1, 2, 2, 3))  # that work on the disk
        self.lease = self.chance.choice((12.0, 12.0, 60.0))
        self.all = self.tasks = tuple(self._tasks())  # that there ever were; that the file names now
        self.older: tuple[Task, ...] = ()  # that it named before

    def _tasks(self) -> list[Task]:
        found: list[Task] = []
        for number in range(1, self.chance.randint(3, 6 + 6 * len(self.slots))):
            name = f"t{number}"
            found.append(
                Task(
                    name,
                    ("true",),
                    id=name,
                    number=number,
                    source="file",
                    needs=tuple(t.id for t in found if self.chance.random() < 0.3),
                    gpus=self.chance.choice((0, 1, 1, 1, len(self.slots))),
                    output=f"out/{name}" if self.chance.random() < 0.7 else None,
                    retries=self.chance.choice((0, 0, 0, 1)),
                    priority=self.chance.choice((0, 0, 1)),
                    timeout=self.chance.choice((None, None, None, 4.0)),
                    identity="1",
                )
            )
        return found

    def edited(self) -> tuple[Task, ...]:
        """The task file after somebody changed it: what needs a changed task changes too."""
        changed: set[str] = set()
        found = []
        for task in self.all:
            if self.chance.random() < 0.2 or changed & set(task.needs):
                changed.add(task.id)
                found.append(replace(task, identity=str(int(task.identity) + 1)))
            else:
                found.append(task)
        self.all = tuple(found)
        needed = {need for task in found for need in task.needs}
        return tuple(t for t in found if t.id in needed or self.chance.random() < 0.9) or tuple(found)

    def fate(self, order: Order) -> Fate:
        draw = self.chance.random
        return Fate(
            seconds=self.chance.choice(
                (0.0, 0.05, 1.0, 5.0, *((self.lease, 3 * self.lease) if self.hosts > 1 else ()))
            ),
            outcome=self.chance.choice(OUTCOMES),
            writes=draw() < 0.95,
            obeys=self.chance.choice((0, 0, 1, 2)),
            when_told=self.chance.choice((Exited(0), Exited(1), Signalled(2))),
            has_children=draw() < 0.3,
            keep_locks=draw() < 0.7,
            shoots_shim=draw() < self.shooting,
        )

    def wants(self) -> Wants:
        draw = self.chance.random
        if draw() < 0.15:
            return Wants(source="", slots=self.slots)
        tasks = self.older if self.older and draw() < 0.15 else self.tasks
        some = frozenset(t.id for t in tasks if draw() < 0.4)
        return Wants(
            tasks,
            only=some if draw() < 0.3 else frozenset(),
            again=draw() < 0.3,
            canary=draw() < 0.1,
            ignore_failures=draw() < 0.1,
            max_failures=self.chance.choice((0, 0, 0, 0, 1)),
            at_once=self.chance.choice((0, 0, 0, 1)),
            slots=self.slots,
        )
