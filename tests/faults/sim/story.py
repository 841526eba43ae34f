"""A history drawn from a seed: workers, people, faults, in an order that chance alone decides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from parallel_train.core.contact import interval
from parallel_train.core.facts import Lost, NotStarted, Request
from parallel_train.core.situation import rebuild
from parallel_train.core.task import Task
from parallel_train.errors import UsageError
from tests.faults.sim import people, shim, worker
from tests.faults.sim.actor import Actor, Host
from tests.faults.sim.copying import situation_like
from tests.faults.sim.disk import Submission
from tests.faults.sim.draws import Draws
from tests.faults.sim.judge import BrokenError
from tests.faults.sim.machine import WAITING
from tests.faults.sim.worker import Wants
from tests.faults.sim.world import World

FULL = OSError(28, "No space left on device")
STEP = 0.001  # virtual seconds that a step takes
MOST_STEPS = 50_000  # of one chapter: what takes longer goes round in circles
CHAPTERS = 4
FAILING = {
    "link",
    "names",
    "order",
    "join",
    "exists",
    "requests",
    "make_part",
    "move_output",
    "finish_part",
}  # steps that a full or ailing disk may refuse


class HostClock:
    """All workers of a host read one clock; each reads it when it wants."""

    def __init__(self, world: World, host: Host) -> None:
        self.world = world
        self.host = host
        self.lease = world.lease if world.is_shared else 0.0

    def monotonic(self) -> float:
        return self.world.now + self.host.clock

    @property
    def now(self) -> float:
        return self.monotonic()

    @now.setter
    def now(self, _: float) -> None:
        pass


class Story(Draws):
    def __init__(self, seed: int | str, say: Callable[[str], None] | None = None) -> None:
        super().__init__(seed)
        self.world = World(self.fate, say, self.hosts, pids=12)
        self.world.lease = self.lease
        for host in self.world.hosts[1:]:
            host.clock, host.wall = self.chance.uniform(-900, 9000), self.chance.uniform(-3600, 3600)
        self.clocks: dict[str, Any] = {host.name: HostClock(self.world, host) for host in self.world.hosts}
        self.counts: Counter[str] = Counter()
        self.loops: dict[int, Any] = {}
        self.steps = 0
        self.before = self.world.now  # when the last fault was
        for task in self.tasks:
            if task.output and self.chance.random() < 0.15:
                self.world.disk.outputs[task.id] = ((task.id, 0),)
                self.world.judge.written.add((task.id, 0))

    # ---- what happens ----

    def starts(self, wants: Wants) -> None:
        world = self.world
        name = f"w{world.last_pid + 1}"
        host = self.some_host()
        if world.is_shared:
            slots, cpu_slots = ([f"{host.name} {slot}" for slot in some] for some in (wants.slots, wants.cpu_slots))
            wants = replace(wants, slots=tuple(slots), cpu_slots=tuple(cpu_slots))
        owner = world.owner(name, host)
        self.counts["workers"] += 1
        world.tell_of(host, f"{name} begins: {spoken(wants)}")
        clock = self.clocks[host.name]
        world.begin(world.spawn("worker", name, worker.run, owner, wants, clock, self.hold, on=host))

    def some_host(self) -> Host:
        """One that is awake."""
        hosts = self.world.hosts
        return self.chance.choice([h for h in hosts if h.asleep <= self.world.now] or hosts[:1])

    def tell(self) -> None:
        for _ in range(CHAPTERS):
            self.chapter()

    def hold(self, loop: Any) -> None:
        self.loops[loop.queue.owner.start] = loop

    def asks(self) -> None:
        world, draw = self.world, self.chance.random
        names = [t.id for t in self.tasks if draw() < 0.4] or [self.tasks[0].id]
        host = self.some_host()
        owner, clock = world.owner(f"anna{world.last_pid + 1}", host), self.clocks[host.name]
        kind = self.chance.choice(
            ("cancel", "cancel", "cancel", "retry", "retry", "pause", "resume", "add", "priority")
        )
        self.counts[kind] += 1
        if kind == "cancel":
            steps: tuple[Any, ...] = (people.cancel, owner, names, clock)
        elif kind == "retry":
            steps = (people.retry, owner, names, clock)
        elif kind == "priority":
            steps = (people.priority, names, self.chance.choice((-1, 2)))
        elif kind == "add":
            steps = (self.add, self.edited())
        else:
            steps = (people.pause, kind, names if draw() < 0.5 else [])
        name = f"anna ({kind} {' '.join(names)})"
        world.begin(world.spawn("person", name, *steps, on=host))

    @staticmethod
    def add(tasks: tuple[Task, ...]) -> Any:
        """`add FILE`: a submission, then a request that says so."""
        while True:
            known = yield ("submissions",)
            number = known[-1].number + 1 if known else 1
            if (yield "link", "tasks", ("", number), Submission(number, "file", tasks)):
                break
        while True:
            last = (yield ("last_request",)) + 1
            if (yield "link", "requests", ("", last), Request(last, "add", submission=number)):
                return

    def goes_wrong(self) -> None:  # noqa: C901  one case per thing that can happen
        """A fault, or a person who wants something."""
        world, chance = self.world, self.chance
        kind = chance.choices(
            (
                "kill",
                "shim",
                "launcher",
                "ask",
                "worker",
                "interrupt",
                "reboot",
                "asleep",
                "stranger",
                "cut",
                "suspend",
            ),
            (3, 2, 1, 5, 4, 1, 0.2, 2, 3, 8 * world.is_shared, world.is_shared),
        )[0]
        of = {"kill": "worker", "interrupt": "worker", "asleep": ""}.get(kind, kind)
        some = [a for a in world.actors.values() if of in {"", a.kind}]
        if kind == "asleep" and world.is_shared:  # a shim that is stopped alone can't halt its command
            some = [a for a in some if a.kind not in {"shim", "beat"}]
        if kind == "ask":
            self.asks()
        elif kind == "reboot":
            self.counts["reboots"] += 1
            world.reboot(chance.choice(world.hosts))
        elif kind == "stranger":
            self.counts["strangers"] += 1
            stay, host, slot = chance.choice((0.0, 1.0, 10.0)), self.some_host(), chance.choice(self.slots)
            slot = f"{host.name} {slot}" if world.is_shared else slot
            world.begin(world.spawn("stranger", "stranger", shim.stranger, slot, stay, on=host))
        elif kind == "cut":
            self.counts["cuts"] += 1
            host, seconds = (
                self.some_host(),
                self.lease * chance.choice((0.1, 0.4, 0.6, 1.1, 2.5, 2.5)) * chance.uniform(1, 1.2),
            )
            world.cut(host, seconds, is_refused=chance.random() < 0.3, has_answered=chance.random())
        elif kind == "suspend":
            self.counts["suspensions"] += 1
            seconds = self.lease * chance.choice((0.3, 0.7, 1.3, 2.5))
            world.suspend(self.some_host(), seconds, clock_stops=chance.random() < 0.7)
        elif kind == "worker":
            if sum(a.kind == "worker" for a in world.actors.values()) < 4:
                self.starts(self.wants())
        elif some:
            chosen = chance.choice(some)
            if kind == "interrupt":
                world.interrupt(chosen, chance.choice((1, 2, 3)), chance.choice((130, 143)))
            elif kind == "asleep":
                chosen.nap = world.now + chance.uniform(0, 20)
            else:
                idle = "n idle" if chosen.op[0] == "rest" else ""
                self.counts[f"kills of a{idle} {chosen.kind}"] += 1
                world.end(chosen.pid, killed=True)

    # ---- time ----

    def go_on(self, until: float | None, *, people_only: bool = False, is_calm: bool = False) -> None:
        """Step after step: with faults until then, or without any until everybody (or every person) is done."""
        world, chance = self.world, self.chance
        is_calm = is_calm or until is None
        budget = MOST_STEPS
        while self._is_going_on(until, people_only=people_only):
            if not is_calm and world.now - self.before > self.gap * chance.random() * 2:
                self.before = world.now
                self.goes_wrong()
            ready = [a for a in world.actors.values() if a.until <= world.now and a.nap <= world.now]
            if not ready:
                world.now = self._next(until, is_calm=is_calm)
                continue
            chosen = chance.choice(ready) if len(ready) > 1 else ready[0]
            if chosen.op[0] in WAITING and not world.is_ready(chosen):
                world.settle(chosen)
                continue
            self.step(chosen, is_calm=is_calm)
            budget -= 1
            if not budget:
                raise BrokenError(f"no end in sight: {self.standstill()}")

    def _is_going_on(self, until: float | None, *, people_only: bool) -> bool:
        if until is not None:
            return self.world.now < until
        return any(a.kind == "person" or not people_only for a in self.world.actors.values())

    def _next(self, until: float | None, *, is_calm: bool) -> float:
        times = [max(a.until, a.nap) for a in self.world.actors.values()]
        if until is not None:
            times += [until] if is_calm else [until, self.before + self.gap]
        found = max(min(times, default=float("inf")), self.world.now + STEP)
        if found == float("inf"):
            raise BrokenError(f"everybody waits: {self.standstill()}")
        return found

    def standstill(self) -> str:
        """Who is there, and what each scheduler waits for."""
        found = []
        for pid, actor in self.world.actors.items():
            loop = self.loops.get(pid)
            s = loop.situation if loop else None
            states = {name: s.lines[name].state for name in sorted(s.open)} if s else ""
            found.append(f"{actor.name} ({actor.op[0]}) {states}")
        return "; ".join(found)

    def step(self, chosen: Actor, *, is_calm: bool) -> None:
        self.steps += 1
        if chosen.op[0] != "top":
            self.world.now += STEP
        elif self.steps % 50 == 0:
            as_rebuilt(chosen.op[1].situation)
            self.counts["rebuilds"] += 1
        self._lets(chosen, is_calm=is_calm)
        if self.holdup and self.chance.random() < self.holdup:
            chosen.nap = max(chosen.nap, self.world.now + self.held_up(chosen))

    def _lets(self, chosen: Actor, *, is_calm: bool) -> None:
        world, chance = self.world, self.chance
        if world.is_shared and chosen.op[:2] == ("link", "ends") and chosen.op[3].outcome == Lost("expired"):
            self.comes_back(chosen)
        if chosen.nap > world.now:
            return
        is_refused = not is_calm and self.trouble and chosen.op[0] in FAILING and chance.random() < self.trouble
        try:
            if not self._takes_long(chosen):
                world.step(chosen, FULL if is_refused else None)
            elif world.act(chosen, FULL if is_refused else None):  # it hears of it late
                chosen.nap = max(chosen.nap, world.now + self.held_up(chosen))
        except (OSError, UsageError):
            world.end(chosen.pid)  # a command that could not write says so and ends

    def _takes_long(self, chosen: Actor) -> bool:
        """Whether it is held up before it hears of what it does."""
        is_possible = self.holdup and chosen.answer is None and chosen.op[0] != "top"
        return bool(is_possible and self.chance.random() < self.holdup)

    def comes_back(self, observer: Actor) -> None:
        """The worst moment: he who was silent is there again just when somebody is about to end his attempt."""
        owner = self.world.disk.claims[observer.op[2]].owner
        if observer.planned >= self.world.now - STEP and self.chance.random() < 0.7:
            self.counts["comebacks"] += 1
            self.world.heal(next(host for host in self.world.hosts if host.name == owner.machine))
            observer.nap = self.world.now + self.chance.uniform(0.2, 2.5) * interval(self.lease)

    def held_up(self, actor: Actor) -> float:
        """Seconds. Where others take over, a shim must be faster than that: it has a beat's time for it."""
        seconds = self.chance.expovariate(2.0)
        return min(seconds, interval(self.lease) / 3) if self.world.is_shared else seconds

    def chapter(self) -> None:
        """A time of faults, then peace, and a run that must bring everything to its end."""
        world = self.world
        if self.chance.random() < 0.4:
            self.older, self.tasks = self.tasks, self.edited()
        for _ in range(self.chance.choice((1, 2, 2, 3))):
            self.starts(self.wants())
        self.go_on(world.now + self.chance.choice((2.0, 5.0, 15.0)))
        self.go_on(None, people_only=True)
        self.go_on(max(max(host.cut, host.asleep) for host in world.hosts), is_calm=True)
        world.begin(world.spawn("person", "anna (resume)", people.pause, "resume", []))
        world.begin(world.spawn("person", "anna (resume all)", people.pause, "resume", [t.id for t in self.tasks]))
        self.go_on(None)
        self.starts(Wants(self.tasks, again=self.chance.random() < 0.5, slots=self.slots))
        self.go_on(None)
        self.must_be_over()

    def must_be_over(self) -> None:
        disk, judge = self.world.disk, self.world.judge
        judge.nothing_lost(disk)
        # What a shim left that was shot, on a host where nobody works any more, waits for the next who works there.
        world = self.world
        orphans = {n for n, c in world.commands.items() if world.is_shared and c.shim not in world.actors}
        held = {slot: pids - orphans for slot, pids in world.locks.items() if pids - orphans}
        judge.must(not held, f"slots are held by nobody: {held}")
        judge.must(not world.commands.keys() - orphans, "something lives on")
        named = {task.id for task in self.tasks}
        left = sorted(key for key in disk.claims if key not in disk.ends and key[0] in named)
        judge.must(not left, f"{left} have no end")

    def lives(self) -> int:
        """Rounds of tasks that were brought to their end."""
        claims = self.world.disk.claims
        ends = self.world.disk.ends
        return len(
            {
                (t, c.round)
                for (t, n), c in claims.items()
                if (t, n) in ends and not isinstance(ends[t, n].outcome, NotStarted)
            }
        )


def as_rebuilt(s: Any) -> None:
    """What `apply` made of a situation is what its records give."""
    other = situation_like(s)
    rebuild(other)
    for name, line in s.lines.items():
        if line.state != other.lines[name].state:
            raise BrokenError(f"{name} is {line.state}; its records say {other.lines[name].state}")
    for kind in ("to_open", "ready", "ready_cpu", "delayed", "open"):
        if getattr(s, kind) != getattr(other, kind):
            raise BrokenError(f"{kind} is {getattr(s, kind)}; the records say {getattr(other, kind)}")


def spoken(wants: Wants) -> str:
    if not wants.source:
        return "worker"
    tasks = " ".join(f"{t.id}:{t.identity}" for t in wants.tasks)
    said = [f"--only {' '.join(sorted(wants.only))}"] if wants.only else []
    said += ["-B"] if wants.again else []
    said += ["--canary"] if wants.canary else []
    said += ["-i"] if wants.ignore_failures else []
    said += ["-S"] if wants.max_failures else []
    return " ".join([tasks, *said])
