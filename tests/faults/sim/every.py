"""Every order of the steps of a small scene, each state visited once.

States are equal where nobody could tell them apart: process numbers hang on names, clocks stand still. Time is nobody's
friend: a wait ends when there is news or, at any moment, because everything has come due. A kill is tried wherever it
can make a difference: see `patient.choices`.

Where that is too much, few orders are searched, as CHESS does (Musuvathi, Qadeer: "Iterative Context Bounding for
Systematic Testing of Multithreaded Programs", PLDI 2007): those with at most so many preemptions. Switching from a
process that waits or ended is free, and so is a kill.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from parallel_train.core.task import Task
from tests.faults.sim import people, worker
from tests.faults.sim.likeness import likeness
from tests.faults.sim.patient import KILLED, Patient, changes_nothing, choices, cost, settle
from tests.faults.sim.shim import Steps
from tests.faults.sim.worker import SimClock, Wants

MOST = 6_000_000  # states


@dataclass(frozen=True)
class Scene:
    """Runs that begin together, what a person cancels or retries, and how many processes are killed: of which kinds.

    After each kill of a scheduler another run begins, `then` or one like the first. With `preemptions`, only those
    orders in which it happens at most so many times that a process that could go on must let another one come first,
    or that a wait ends without news while another process could go on.
    """

    runs: tuple[Wants, ...]
    cancel: tuple[str, ...] = ()
    retry: tuple[str, ...] = ()
    kills: int = 0
    killed: frozenset[str] = KILLED
    preemptions: int | None = None
    then: Wants | None = None
    is_there: bool = False  # the outputs, made by somebody before us


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
ONCE_MORE = replace(ALONE, again=True)
BOUND = 2
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
    # After those above, whose numbers as pieces are kept.
    "a need, again": Scene(runs(AGAIN), is_there=True),
    "a need, a cancel": Scene(runs(ONE), cancel=("d",)),
    "again, a kill": Scene(runs(ONCE_MORE), kills=1, is_there=True),
    "again, a cancel": Scene(runs(ONCE_MORE), cancel=("n",), is_there=True),
    "a kill, then another identity": Scene(runs(ALONE), kills=1, then=runs(OTHERWISE)[0]),
    "a need, a kill, then another identity": Scene(runs(ONE), kills=1, then=runs(OTHER)[0]),
    "two runs, a cancel": Scene(runs(ALONE, ALONE), cancel=("n",), preemptions=BOUND),
    "two runs, a kill": Scene(runs(ALONE, ALONE), kills=1, preemptions=BOUND),
    "two runs of a need": Scene(runs(ONE, ONE), preemptions=BOUND),
    "two identities, a cancel": Scene(runs(ALONE, OTHERWISE), cancel=("n",), preemptions=BOUND),
    "two identities of a need": Scene(runs(ONE, OTHER), preemptions=BOUND),
    "two slots": Scene((*runs(ALONE), replace(runs(ALONE)[0], slots=("gpu-1",))), preemptions=BOUND),
    "everything, few orders": Scene(runs(ONE, replace(OTHER, again=True)), cancel=("d",), kills=1, preemptions=0),
    "a need, two kills of shims": Scene(runs(ONE), kills=2, killed=frozenset(("shim",))),
}


def begin(scene: Scene) -> Patient:
    world = Patient()
    world.kills = scene.kills
    for task in scene.runs[0].tasks if scene.is_there else ():
        world.disk.outputs[task.id] = ((task.id, 0),)
        world.judge.written.add((task.id, 0))
    for wants in scene.runs:
        starts(world, wants)
    for name, steps in (("cancel", people.cancel), ("retry", people.retry)):
        asked = getattr(scene, name)
        if asked:
            world.number_next(f"anna ({name})")
            owner = world.owner("anna", world.hosts[0])
            world.begin(world.spawn("person", f"anna ({name})", steps, owner, asked, SimClock()))
    settle(world)
    return world


def starts(world: Patient, wants: Wants) -> None:
    world.workers += 1
    name = f"w{world.workers}"
    world.number_next(name)
    world.begin(world.spawn("worker", name, _run, world.owner(name, world.hosts[0]), wants))


def _run(owner: Any, wants: Wants) -> Steps:
    return worker.run(owner, wants, SimClock())


def follow(world: Patient, choice: tuple[str, int], scene: Scene) -> None:
    kind, pid = choice
    if kind == "kill":
        _kill(world, pid, scene)
    else:
        _step(world, pid)
        world.running = pid if scene.preemptions is not None else 0
    settle(world)
    world.forget()


def _kill(world: Patient, pid: int, scene: Scene) -> None:
    world.kills -= 1
    world.running = 0
    is_worker = world.actors[pid].kind == "worker"
    world.end(pid, killed=True)
    if is_worker:
        starts(world, scene.then or scene.runs[0])


def _step(world: Patient, pid: int) -> None:
    actor = world.actors[pid]
    is_look = actor.op[0] == "names"
    if changes_nothing(world, actor):
        world.stale |= {pid}
    else:
        world.stale -= {pid}
    world.step(actor)
    while is_look and pid in world.actors and world.actors[pid].op[0] == "names":
        world.step(world.actors[pid])


class Search:
    """From the beginning of a scene on, each way to its end, until a fault or the limit."""

    def __init__(self, scene: Scene, seconds: float) -> None:
        self.scene = scene
        self.until = time.process_time() + seconds
        self.found = Found()
        self.seen: dict[bytes, int] = {}
        self.left: list[int] = []  # of each state: with how many preemptions left it was reached, at most
        self.came: list[tuple[int, int]] = []  # from which other one, by which choice
        self.leads: list[list[int]] = []  # to which others, without a kill
        self.over: set[int] = set()

    def run(self) -> Found:
        world = begin(self.scene)
        self._enter(world, 0, 0, self.scene.preemptions or 0)
        ways = [self._expand(0, world, self.scene.preemptions or 0)]
        while ways:
            following = next(ways[-1], None)
            if self.found.faults or (len(self.seen) % 500 == 0 and self._is_enough()):
                return self._summed()
            if following is None:
                ways.pop()
                continue
            ways.append(self._expand(*following))
            self.found.depth = max(self.found.depth, len(ways) - 1)
        self.found.is_exhausted = True
        stuck = without_end(self.leads, self.over)
        if stuck:
            self.found.faults.append((f"{len(stuck)} states lead to no end", way(self.came, min(stuck))))
        return self._summed()

    def _is_enough(self) -> bool:
        return len(self.seen) > MOST or time.process_time() > self.until

    def _expand(self, number: int, here: Patient, left: int) -> Iterator[tuple[int, Patient, int]]:
        """The new states that can follow."""
        if not here.actors:
            self.over.add(number)
        for which, choice in enumerate(choices(here, self.scene.killed)):
            is_counted = self.scene.preemptions is not None and choice[0] == "step"
            rest = left - (cost(here, choice[1]) if is_counted else 0)
            if rest < 0:
                continue
            there = here.copy()
            self.found.transitions += 1
            try:
                follow(there, choice, self.scene)
                if not there.actors:
                    is_over(there)
            except Exception as error:  # noqa: BLE001  whatever breaks is a finding
                self.found.faults.append((repr(error), [*way(self.came, number), which]))
                return
            known, is_new = self._enter(there, number, which, rest)
            if choice[0] == "step":
                self.leads[number].append(known)
            if is_new:
                yield known, there, rest

    def _enter(self, world: Patient, before: int, which: int, left: int) -> tuple[int, bool]:
        """The number of this state, and whether there is more to be found from it than before."""
        number = self.seen.setdefault(likeness(world), len(self.seen))
        if number == len(self.came):
            self.came.append((before, which))
            self.left.append(left)
            self.leads.append([])
        elif left > self.left[number]:
            self.left[number] = left
            self.leads[number] = []
        else:
            return number, False
        return number, True

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
    try:
        for which in path:
            follow(world, list(choices(world, scene.killed))[which], scene)
        if not world.actors:
            is_over(world)
    except Exception as error:  # noqa: BLE001
        lines.append(repr(error))
    return lines
