"""Every order of the steps of a small scene: breadth first, each state visited once.

States are equal where nobody could tell them apart: process numbers and clocks are left out. Time is nobody's
friend: a wait ends when there is news or, at any moment, because everything has come due.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from parallel_train.core.task import Task
from tests.faults.sim import people, worker
from tests.faults.sim.likeness import likeness
from tests.faults.sim.patient import Patient, choices, settle
from tests.faults.sim.shim import Steps
from tests.faults.sim.worker import SimClock, Wants
from tests.faults.sim.world import World

MOST = 3_000_000  # states


@dataclass(frozen=True)
class Scene:
    """Runs that begin together, what a person cancels or retries, and how many processes are killed.

    After each kill of a scheduler another run of the first kind begins.
    """

    runs: tuple[Wants, ...]
    cancel: tuple[str, ...] = ()
    retry: tuple[str, ...] = ()
    kills: int = 0


@dataclass
class Found:
    states: int = 0
    transitions: int = 0
    depth: int = 0
    ends: int = 0
    is_exhausted: bool = False
    faults: list[tuple[str, list[int]]] = field(default_factory=list)


def file(identity: str = "1") -> tuple[Task, ...]:
    """A task and its need."""
    need = Task("n", ("true",), id="n", number=1, source="file", output="out/n", identity=identity)
    return (need, replace(need, name="d", id="d", number=2, output="out/d", needs=("n",)))


def runs(*wants: Wants) -> tuple[Wants, ...]:
    return tuple(replace(each, slots=("gpu-0",), cpu_slots=()) for each in wants)


ONE, OTHER = Wants(file("1")), Wants(file("2"))
AGAIN = replace(ONE, again=True)
ALONE, OTHERWISE = replace(ONE, tasks=file("1")[:1]), replace(OTHER, tasks=file("2")[:1])
SCENES = {
    "a kill": Scene(runs(ONE), kills=1),
    "a cancel": Scene(runs(ALONE), cancel=("n",)),
    "a retry": Scene(runs(ALONE), retry=("n",)),
    "a cancel, a kill": Scene(runs(ALONE), cancel=("n",), kills=1),
    "a retry, a cancel": Scene(runs(ALONE), cancel=("n",), retry=("n",)),
    "two runs": Scene(runs(ALONE, ALONE)),
    "two identities": Scene(runs(ALONE, OTHERWISE)),
    "again": Scene(runs(ALONE, replace(ALONE, again=True))),
    "everything": Scene(runs(ONE, replace(OTHER, again=True)), cancel=("d",), kills=1),
    "smoke": Scene(runs(ONE)),
}


def begin(scene: Scene) -> Patient:
    world = Patient()
    world.kills = scene.kills
    for wants in scene.runs:
        starts(world, wants)
    for name, steps in (("cancel", people.cancel), ("retry", people.retry)):
        asked = getattr(scene, name)
        if asked:
            owner = world.owner("anna", world.hosts[0])
            world.begin(world.spawn("person", f"anna ({name})", steps, owner, asked, SimClock()))
    return world


def starts(world: World, wants: Wants) -> None:
    pid = world.last_pid + 1
    name = f"w{pid}"
    world.begin(world.spawn("worker", name, _run, world.owner(name, world.hosts[0]), wants))


def _run(owner: Any, wants: Wants) -> Steps:
    return worker.run(owner, wants, SimClock())


def follow(world: Patient, choice: tuple[str, int], scene: Scene) -> None:
    kind, pid = choice
    if kind == "kill":
        world.kills -= 1
        is_worker = world.actors[pid].kind == "worker"
        world.end(pid, killed=True)
        if is_worker:
            starts(world, scene.runs[0])
    else:
        actor = world.actors[pid]
        is_look = actor.op[0] == "names"
        world.step(actor)
        while is_look and pid in world.actors and actor.op[0] == "names":
            world.step(actor)
    settle(world)


class Search:
    """From the beginning of a scene on, level by level, until a fault, the end, or the limit."""

    def __init__(self, scene: Scene, seconds: float) -> None:
        self.scene = scene
        self.until = time.process_time() + seconds
        self.found = Found()
        self.seen: dict[bytes, int] = {}
        self.came: list[tuple[int, int]] = []  # of each state: from which, by which choice
        self.leads: list[list[int]] = []
        self.over: set[int] = set()

    def run(self) -> Found:
        world = begin(self.scene)
        settle(world)
        self._enter(world, 0, 0)
        level = [(0, world)]
        while level and not self.found.faults:
            following: list[tuple[int, Patient]] = []
            for number, here in level:
                if len(self.seen) > MOST or time.process_time() > self.until:
                    return self._summed()
                following += self._expand(number, here)
            self.found.depth += bool(following)
            level = following
        if not self.found.faults:
            self.found.is_exhausted = True
            stuck = without_end(self.leads, self.over)
            if stuck:
                self.found.faults.append((f"{len(stuck)} states lead to no end", way(self.came, min(stuck))))
        return self._summed()

    def _expand(self, number: int, here: Patient) -> Iterator[tuple[int, Patient]]:
        """The new states that can follow."""
        if not here.actors:
            self.over.add(number)
        for which, choice in enumerate(choices(here)):
            there = here.copy()
            self.found.transitions += 1
            try:
                follow(there, choice, self.scene)
                if not there.actors:
                    is_over(there)
            except Exception as error:  # noqa: BLE001  whatever breaks is a finding
                self.found.faults.append((repr(error), [*way(self.came, number), which]))
                return
            known, is_new = self._enter(there, number, which)
            self.leads[number].append(known)
            if is_new:
                yield known, there

    def _enter(self, world: Patient, before: int, which: int) -> tuple[int, bool]:
        """The number of this state, and whether it is new."""
        number = self.seen.setdefault(likeness(world), len(self.seen))
        is_new = number == len(self.came)
        if is_new:
            self.came.append((before, which))
            self.leads.append([])
        return number, is_new

    def _summed(self) -> Found:
        self.found.states, self.found.ends = len(self.seen), len(self.over)
        return self.found


def explore(scene: Scene, seconds: float = float("inf")) -> Found:
    return Search(scene, seconds).run()


def without_end(leads: list[list[int]], over: set[int]) -> set[int]:
    """The states from which no end can be reached."""
    back: list[list[int]] = [[] for _ in leads]
    for number, following in enumerate(leads):
        for known in following:
            back[known].append(number)
    good, pending = set(over), list(over)
    while pending:
        for before in back[pending.pop()]:
            if before not in good:
                good.add(before)
                pending.append(before)
    return set(range(len(leads))) - good


def is_over(world: Patient) -> None:
    """Nobody is there any more: what has been made is whole, and nothing is held."""
    world.judge.nothing_lost(world.disk)
    world.judge.must(not world.locks, f"slots are held by nobody: {world.locks}")
    world.judge.must(not world.commands, "something lives on")
    left = [key for key in world.disk.claims if key not in world.disk.ends]
    has_worker_left = any(owner.worker for owner in world.disk.workers.values())
    world.judge.must(not left or has_worker_left, f"{left} have no end")


def way(came: list[tuple[int, int]], number: int) -> list[int]:
    found: list[int] = []
    while number:
        number, which = came[number]
        found.insert(0, which)
    return found


def retold(scene: Scene, path: list[int]) -> list[str]:
    """The history of one way through a scene."""
    lines: list[str] = []
    world = begin(scene)
    world.say = lines.append
    settle(world)
    try:
        for which in path:
            follow(world, list(choices(world))[which], scene)
        if not world.actors:
            is_over(world)
    except Exception as error:  # noqa: BLE001
        lines.append(repr(error))
    return lines
