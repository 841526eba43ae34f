"""The simulated machine: processes that take one step at a time, in any order, slot locks, one disk.

A process is a generator that yields what it wants done, `("link", "claims", key, claim)`, and is sent what came of it.
Whatever it knows it was sent, so it can be made anew from its log: that is what `every` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from parallel_train.core.facts import Owner, Signalled
from tests.faults.sim import judge
from tests.faults.sim.actor import Actor, Command, Runner
from tests.faults.sim.disk import Disk
from tests.faults.sim.shim import Fate, Order, Steps
from tests.faults.sim.telling import described, is_telling

WAITING = ("await", "wait", "serve")  # these wait for something; all other steps can be taken at once
TICK = 0.001


class Machine:
    """`fate` says what becomes of a command; `say` hears every step."""

    def __init__(self, fate: Callable[[Order], Fate], say: Callable[[str], None] | None = None) -> None:
        self.fate = fate
        self.say = say
        self.now = 1000.0
        self.boot = 1
        self.last_pid = 0
        self.disk = Disk()
        self.actors: dict[int, Actor] = {}
        self.orders: dict[int, Order] = {}  # shim -> what it was asked
        self.parents: dict[int, int] = {}  # shim -> launcher; launcher -> worker
        self.runners: dict[int, Runner] = {}
        self.commands: dict[int, Command] = {}  # its pid -> it, until nothing of it lives
        self.locks: dict[str, frozenset[int]] = {}  # slot -> the processes that hold its lock
        self.signed: dict[str, tuple[int, int]] = {}  # slot -> (boot, shim) that wrote itself into it
        self.signals: dict[int, frozenset[str]] = {}
        self.started: dict[int, float] = {}  # command -> when
        self.judge = judge.Judge()
        self.links = 0  # records made so far
        self.read_at: dict[
            int, int
        ] = {}  # process -> how many there were when it last began to read; -1: others were about to write
        self.is_logging = False
        self.counts: dict[str, int] = {}

    # ---- processes ----

    def spawn(self, kind: str, name: str, make: Callable[..., Steps], *args: Any) -> Actor:
        self.last_pid += 1
        pid = self.last_pid
        actor = Actor(name, pid, kind, lambda: make(*args), until=self.now)
        if self.is_logging:
            actor.log = ()
        self.actors[pid] = actor
        return actor

    def begin(self, actor: Actor) -> None:
        """Run it up to its first step."""
        if actor.take(None):
            self.plan(actor)
        else:
            self.end(actor.pid)

    def owner(self, pid: int, worker: str) -> Owner:
        return Owner(worker, "host", "machine", str(self.boot), "pidns", pid, 1)

    def is_alive(self, owner: Owner) -> bool | None:
        """Hosts that lose contact belong here: the answer is None for an owner on another one."""
        return owner.boot == str(self.boot) and owner.pid in self.actors

    def is_ready(self, actor: Actor) -> bool:
        """Whether it can take its step now, the time aside."""
        match actor.op:
            case ("await", stopped, _):
                return self._news(actor, stopped) != ""
            case ("serve",):
                return self._work(actor) != ""
            case ("wait", _):
                return self.now >= actor.due or self.has_news(actor)
            case _:
                return True

    def plan(self, actor: Actor) -> None:
        """Note when `actor`, whose step is a new one, can take it."""
        match actor.op:
            case ("sleep" | "wait" | "looked_for", seconds, *_):
                actor.due = self.now + float(seconds)
            case _:
                actor.due = self.now
        self.settle(actor)

    def settle(self, actor: Actor) -> None:
        if actor.op[0] not in WAITING:
            actor.until = actor.due
        elif self.is_ready(actor):
            actor.until = self.now
        elif actor.op[0] == "await":
            actor.until = max(self._next_look(actor), self.now + TICK)  # never now: sums of floats round
        else:
            actor.until = actor.due if actor.op[0] == "wait" else float("inf")

    def wake(self, pid: int) -> None:
        """Something happened that it may wait for."""
        actor = self.actors.get(pid)
        if actor is not None and actor.op and actor.op[0] in WAITING:
            actor.until = min(actor.until, self.now)

    def wake_schedulers(self) -> None:
        for pid in self.runners:
            self.wake(pid)

    def step(self, actor: Actor, error: BaseException | None = None) -> None:
        """Let `actor` do the next thing; with `error` it fails."""
        result = None if error is not None else getattr(self, f"do_{actor.op[0]}")(actor, *actor.op[1:])
        if self.say is not None and is_telling(actor.op, result, error):
            self.say(f"{self.now:9.3f} {actor.name:<22} {described(actor.op)} -> {error or described(result)}")
        if actor.pid not in self.actors:
            return  # it died of what it did
        if not actor.take(result, error):
            self.end(actor.pid)
            return
        self.plan(actor)

    def end(self, pid: int, *, killed: bool = False) -> None:
        """The process is gone, by itself or not."""
        actor = self.actors.pop(pid)
        if self.say is not None and killed:
            self.say(f"{self.now:9.3f} {actor.name:<22} KILLED")
        self.signals.pop(pid, None)
        self._drop_locks(pid)
        if actor.kind in {"shim", "launcher"}:
            self.wake_schedulers()
        if actor.kind == "shim":
            self._bury_shim(pid)
            self.wake(self.parents.get(pid, 0))
        elif actor.kind == "worker":
            runner = self.runners.pop(pid, None)
            self.wake(runner.launcher if runner else 0)
        elif actor.kind == "command":
            self.commands[pid].leader = False
            self.wake(self.commands[pid].shim)
            if killed:
                self.commands[pid].outcome = Signalled(9)
            if self.commands[pid].children and self.commands[pid].keeps:
                self._hold(pid)

    def _hold(self, pid: int) -> None:
        """What lives on of a command has its slots still."""
        for slot in self.commands[pid].order.launch.slots:
            self.locks[slot] = self.locks.get(slot, frozenset()) | {pid}

    def _bury_shim(self, pid: int) -> None:
        """Its command dies with it (PDEATHSIG); what that had started may not."""
        self.orders.pop(pid)
        for number, command in list(self.commands.items()):
            if command.shim != pid:
                continue
            if command.leader:
                self.end(number, killed=True)
            if not command.children:
                del self.commands[number]

    def _drop_locks(self, pid: int) -> None:
        for slot, holders in list(self.locks.items()):
            if pid in holders:
                self.locks[slot] = holders - {pid}
                if not self.locks[slot]:
                    del self.locks[slot]

    def _kill_children(self, shims: Iterable[int]) -> int:
        """Kill all that carries the cookie of one of `shims`."""
        gone = [number for number, command in self.commands.items() if command.shim in set(shims)]
        for number in gone:
            command = self.commands[number]
            if command.leader:
                self.end(number, killed=True)
            command.children = False
            self._drop_locks(number)
            if command.shim not in self.actors:
                self.commands.pop(number, None)
        return len(gone)

    def reboot(self) -> None:
        for pid in list(self.actors):
            if pid in self.actors:
                self.end(pid, killed=True)
        for folder in (self.commands, self.locks, self.signals, self.orders, self.runners, self.parents):
            folder.clear()
        self.boot += 1
