"""The simulated machines: processes that take one step at a time, in any order, slot locks, one disk.

A process is a generator that yields what it wants done, `("link", "claims", key, claim)`, and is sent what came of it.
Whatever it knows it was sent, so it can be made anew from its log: that is what `every` does.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any

from parallel_train.core.facts import Owner, Signalled
from tests.faults.sim import judge, kernel, product
from tests.faults.sim.actor import Actor, Command, Host, Runner
from tests.faults.sim.disk import Disk
from tests.faults.sim.kernel import KERNEL
from tests.faults.sim.shim import Fate, Order, Steps
from tests.faults.sim.telling import described, is_telling

WAITING = frozenset(
    ("await", "wait", "serve", "rest")
)  # these wait for something; all other steps can be taken at once
FOR_EVER = frozenset(("serve", "rest"))  # until something happens
AT_ONCE = frozenset(("wait4", "descendants", "pending"))  # nobody else can notice these, nor do anything about them
OF_THE_DISK = frozenset(
    (
        *("names", "exists", "link", "read", "join", "withdraw", "works", "requests", "last_request", "submissions"),
        *("output", "output_of", "output_at", "is_aside", "parts", "is_filled", "make_part", "remove_part"),
        *("move_output", "finish_part", "beat", "no_beat", "listdir", "prepare"),
    )
)
CUT = OSError(5, "Input/output error")
TICK = 0.001


class Machine:
    """`fate` says what becomes of a command; `say` hears every step."""

    def __init__(
        self, fate: Callable[[Order], Fate], say: Callable[[str], None] | None = None, hosts: int = 1, pids: int = 0
    ) -> None:
        self.fate = fate
        self.say = say
        self.now = 1000.0
        self.hosts = [Host(f"h{number}") for number in range(1, hosts + 1)]
        self.pids = pids  # how many there are on each host; 0: never used again
        self.lease = 300.0
        self.last_pid = 0
        self.disk = Disk()
        self.actors: dict[int, Actor] = {}
        self.orders: dict[int, Order] = {}  # shim, unless it is idle -> what it was asked
        self.handed: dict[int, Order] = {}  # idle shim -> what it is asked next
        self.parents: dict[int, int] = {}  # shim -> launcher; launcher -> worker; beat -> shim
        self.runners: dict[int, Runner] = {}
        self.commands: dict[int, Command] = {}  # its pid -> it, until nothing of it lives
        self.locks: dict[str, frozenset[int]] = {}  # slot -> the processes that hold its lock
        # Slot -> the (boot, shim, cookie) that is written into it.
        self.signed: dict[str, tuple[int, int, str]] = {}
        self.signals: dict[int, frozenset[int]] = {}
        self.judge = judge.Judge()
        self.links = 0  # records made so far
        # Process -> how many there were when it last began to read; -1: others were about to write.
        self.read_at: dict[int, int] = {}
        self.heard_at: dict[int, float] = {}  # when each scheduler listed the beats last, and has swept nothing since
        self.is_logging = False
        self.counts: dict[str, int] = {}

    @property
    def is_shared(self) -> bool:
        """Whether several hosts work on the disk."""
        return len(self.hosts) > 1

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    # ---- processes ----

    def spawn(self, kind: str, name: str, make: Callable[..., Steps], *args: Any, on: Host | None = None) -> Actor:
        self.last_pid += 1
        pid, host = self.last_pid, on or self.hosts[0]
        actor = Actor(name, pid, kind, lambda: make(*args), host, self._known_as(pid, host), until=self.now)
        if self.is_logging:
            actor.log = ()
        self.actors[pid] = actor
        return actor

    def _known_as(self, pid: int, host: Host) -> int:
        if not self.pids:
            return pid
        taken = {actor.known_as for actor in self.actors.values() if actor.host is host}
        return next(n for n in range(pid % self.pids, pid + 2 * self.pids) if n not in taken)

    def begin(self, actor: Actor) -> None:
        """Run it up to its first step."""
        self._go_on(actor, None)

    def clock_of(self, actor: Actor) -> float:
        """What the monotonic clock of its host shows."""
        return self.now + actor.host.clock

    def owner(self, worker: str, host: Host, pid: int = 0) -> Owner:
        """Of the process that is made next; its start time is its number in the whole world."""
        pid = pid or self.last_pid + 1
        return Owner(worker, host.name, host.name, str(host.boot), "pidns", self._known_as(pid, host), pid)

    def is_alive(self, owner: Owner, host: Host) -> bool | None:
        """As somebody on `host` sees it; None where it can't be seen from there."""
        if owner.machine != host.name:
            return None
        self.look_from(host)
        return kernel.lives(owner)

    def look_from(self, host: Host) -> None:
        """What the product's own code asks the kernel from now on is asked on this host."""
        there = (a for a in self.actors.values() if a.host is host)
        KERNEL.here = {"host": host.name, "machine": host.name, "boot": str(host.boot), "pidns": "pidns"}
        KERNEL.starts = {a.known_as: a.pid for a in there} if self.pids else _Itself(self.actors)

    def is_ready(self, actor: Actor) -> bool:
        """Whether it can take its step now, the time aside, or hear what came of it."""
        if actor.answer is not None:
            return True
        match actor.op:
            case ("await", numbers, _):
                return self.now >= actor.due or not self.signals.get(actor.pid, frozenset()).isdisjoint(numbers)
            case ("serve",):
                return self._work(actor) != ""
            case ("rest", _):
                return self.is_rest_over(actor)
            case ("wait", _):
                return self.now >= actor.due or self.has_news(actor)
            case _:
                return True

    def plan(self, actor: Actor) -> None:
        """Note when `actor`, whose step is a new one, can take it."""
        op, actor.planned = actor.op, self.now
        match op[0]:
            case "sleep" | "wait" | "looked_for":
                actor.due = self.now + op[1]
            case "await":
                actor.due = max(self.now + op[2], self.now + TICK)  # never now: sums of floats round
            case _:
                actor.until = actor.due = self.now
                if op[0] not in FOR_EVER:
                    return
        self.settle(actor)

    def settle(self, actor: Actor) -> None:
        if actor.op[0] not in WAITING:
            actor.until = actor.due
        elif self.is_ready(actor):
            actor.until = self.now
        else:
            actor.until = float("inf") if actor.op[0] in FOR_EVER else actor.due

    def wake(self, pid: int) -> None:
        """Something happened that it may wait for."""
        actor = self.actors.get(pid)
        if actor is not None and actor.op and actor.op[0] in WAITING:
            actor.until = min(actor.until, self.now)

    def wake_schedulers(self) -> None:
        for pid in self.runners:
            self.wake(pid)

    def wake_idle(self) -> None:
        for pid, actor in self.actors.items():
            if actor.op and actor.op[0] == "rest":
                self.wake(pid)

    def step(self, actor: Actor, error: BaseException | None = None) -> None:
        """Let `actor` do the next thing; with `error` it fails."""
        if actor.answer is None and not self.act(actor, error):
            return
        if actor.pid in self.actors and actor.answer is not None:  # else it died of what it did
            answer, actor.answer = actor.answer, None
            self._go_on(actor, *answer)

    def act(self, actor: Actor, error: BaseException | None = None) -> bool:
        """Do what `actor` wants without telling it yet; whether it was done."""
        op = actor.op
        if actor.host.cut > self.now and op[0] in OF_THE_DISK:
            if not actor.host.is_refused:
                actor.nap, actor.was_held = actor.host.cut, True
                return False
            error = CUT
        result = None if error is not None else getattr(self, f"do_{op[0]}")(actor, *op[1:])
        actor.was_held = False
        actor.answer = (result, error)
        if self.say is not None and is_telling(op, result, error):
            self.say(f"{self.now:9.3f} {self._told(actor):<22} {described(op)} -> {error or described(result)}")
        return True

    def _told(self, actor: Actor) -> str:
        return f"{actor.name} on {actor.host.name}" if self.is_shared else actor.name

    def _go_on(self, actor: Actor, result: Any, error: BaseException | None = None) -> None:
        while actor.take(result, error, self.clock_of(actor)):
            if actor.op[0] not in AT_ONCE:
                self.plan(actor)
                return
            result = error = None
            try:
                result = getattr(self, f"do_{actor.op[0]}")(actor, *actor.op[1:])
            except ChildProcessError as none_left:
                error = none_left
        self.end(actor.pid)

    def end(self, pid: int, *, killed: bool = False) -> None:
        """The process is gone, by itself or not."""
        actor = self.actors.pop(pid)
        if self.say is not None and killed:
            self.say(f"{self.now:9.3f} {self._told(actor):<22} KILLED")
        self.signals.pop(pid, None)
        self._drop_locks(pid)
        match actor.kind:
            case "shim":
                self.wake_schedulers()
                self._bury_shim(pid)
                self.wake(self.parents.get(pid, 0))
            case "launcher":
                self.wake_schedulers()
            case "worker":
                self.drop_runner(pid)
            case "beat":
                self.orders.pop(pid)
            case "command":
                self._bury_leader(pid, killed=killed)

    def drop_runner(self, worker: int) -> None:
        """Its launcher and its idle shims see that it is gone."""
        runner = self.runners.pop(worker, None)
        self.wake(runner.launcher if runner else 0)
        self.wake_idle()

    def _bury_leader(self, pid: int, *, killed: bool) -> None:
        command = self.commands[pid]
        command.leader = False
        if killed:
            command.outcome = Signalled(9)
        command.zombies += ((product.LEADER, status_of(command.outcome)),)
        self.signal(command.shim, signal.SIGCHLD)
        if command.children and command.keeps:
            self._hold(pid)

    def signal(self, pid: int, number: int) -> None:
        if pid in self.actors:
            self.signals[pid] = self.signals.get(pid, frozenset()) | {int(number)}
            self.wake(pid)

    def _hold(self, pid: int) -> None:
        """What lives on of a command has its slots still."""
        for slot in self.commands[pid].order.launch.slots:
            self.locks[slot] = self.locks.get(slot, frozenset()) | {pid}

    def _bury_shim(self, pid: int) -> None:
        """Its command and the child that beats die with it (PDEATHSIG); what the command had started may not."""
        self.orders.pop(pid, None)
        self.handed.pop(pid, None)
        for number, command in list(self.commands.items()):
            if command.shim != pid:
                continue
            if command.leader:
                self.end(number, killed=True)
            if not command.children:
                del self.commands[number]
        beats = self.beat_of(pid)
        if beats:
            self.end(beats)

    def beat_of(self, shim: int) -> int:
        """The child of `shim` that beats; 0: none."""
        if not self.is_shared:
            return 0
        return next((n for n, a in self.actors.items() if a.kind == "beat" and self.parents[n] == shim), 0)

    def _drop_locks(self, pid: int) -> None:
        for slot in list(self.locks):
            self._drop_lock(slot, pid)

    def _drop_lock(self, slot: str, pid: int) -> None:
        left = self.locks.pop(slot, frozenset()) - {pid}
        if left:
            self.locks[slot] = left

    def _kill_children(self, cookies: AbstractSet[str]) -> None:
        """Kill all that carries one of these cookies."""
        for number in [number for number, command in self.commands.items() if command.cookie in cookies]:
            command = self.commands[number]
            if command.leader:
                self.end(number, killed=True)
            command.children = False
            self._drop_locks(number)
            if command.shim not in self.actors:
                self.commands.pop(number, None)

    def reboot(self, host: Host) -> None:
        """It loses its power, and is there again."""
        for pid in [pid for pid, actor in self.actors.items() if actor.host is host]:
            if pid in self.actors:
                self.end(pid, killed=True)
        for number in [n for n, command in self.commands.items() if command.host is host]:
            del self.commands[number]
            self._drop_locks(number)
        host.boot += 1


class _Itself:
    """Start times where no pid is used again."""

    def __init__(self, living: dict[int, Any]) -> None:
        self.living = living

    def __contains__(self, pid: int) -> bool:
        return pid in self.living

    def __getitem__(self, pid: int) -> int:
        return pid


def status_of(outcome: Any) -> int:
    """As wait4 tells it."""
    return outcome.number if isinstance(outcome, Signalled) else outcome.code << 8
