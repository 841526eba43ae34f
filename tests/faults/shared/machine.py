"""The hosts and their processes: shims with the product's own code, and the commands that they run."""

# ruff: noqa: PLW0108  what a lambda calls is looked up when it is called: each story has a machine of its own

from __future__ import annotations

import contextlib
import posixpath
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from parallel_train.core.facts import Owner
from parallel_train.core.task import Task
from tests.faults.shared import product
from tests.faults.shared.actors import Actor, Host, World
from tests.faults.shared.disk import Client, Manner, Server
from tests.faults.shared.judge import Judge
from tests.faults.shared.product import STAGE

PROJECT, QUEUE = "/project", "/project/.parallel-train"
LEASE = 300.0
POLL = 5.0
BOOTS = "boot-{}-{}"
IDLE = 60.0  # seconds after which a shim without an order looks again whether its line was closed
PIDFD = 1 << 30


@dataclass(eq=False)
class Run:
    """One running command."""

    task: str
    attempt: int
    output: str
    shim: Actor
    left: float  # seconds of work
    code: int
    since: float = 0.0
    is_halted: bool = False
    status: int | None = None  # as wait gives it, once it is over
    is_reaped: bool = False

    @property
    def host(self) -> Host:
        return self.shim.host

    @property
    def is_over(self) -> bool:
        return self.status is not None


@dataclass(eq=False)
class Line:
    """Between a scheduler and a shim of its own."""

    hears: Callable[[dict[str, Any]], None]
    order: dict[str, Any] | None  # that the shim has not taken yet
    is_closed: bool = False


def _called(wanted: dict[str, Any], host: Host) -> str:
    return f"shim of {wanted['task']}.{wanted['attempt']} on {host.name}"


class Machine:
    def __init__(self, world: World, tasks: Sequence[Task], manner: Manner) -> None:
        self.world, self.tasks = world, tasks
        self.server = Server()
        self.judge = Judge(world, self.server, LEASE, is_strict=manner.is_strict)
        self.clients: dict[str, Client] = {}
        self.manner = manner
        self.runs: dict[int, Run] = {}  # by the pid of the shim
        self.beats: dict[int, Actor] = {}
        self.taken: list[tuple[Host, str]] = []  # slots, by the descriptors that ever held them
        self.codes: Callable[[str, int], tuple[float, int]] = lambda task, attempt: (1.0, 0)
        for kind in ("tasks", "rounds", "claims", "beats", "ends", "requests", "workers", "journal", "aside"):
            self.server.make_folder(f"{QUEUE}/{kind}")
        self.server.make_file(f"{QUEUE}/id", b"c0ffee")
        for folder in ("logs", "output"):
            self.server.make_folder(f"{PROJECT}/{folder}")

    def add_host(self, name: str) -> Host:
        chance = self.world.chance
        host = Host(name, len(self.world.hosts), offset=chance.uniform(0, 1e6), skew=chance.uniform(-3600, 3600))
        self.world.hosts.append(host)
        self.clients[name] = Client(self.world, self.server, host, self.manner)
        return host

    # ---- who lives ----

    def owner(self, actor: Actor, worker: str) -> dict[str, Any]:
        host = actor.host
        return {
            "worker": worker,
            "pid": actor.pid,
            "start": actor.pid,
            "host": host.name,
            "machine": f"machine-{host.name}",
            "boot": BOOTS.format(host.name, host.boot),
            "pidns": "pid:[1]",
        }

    def is_alive(self, owner: Owner) -> bool | None:
        host = STAGE.actor.host
        if owner.machine != f"machine-{host.name}":
            return None
        if owner.boot != BOOTS.format(host.name, host.boot):
            return False
        found = self.world.actors.get(owner.pid)
        return found is not None and not found.is_over and not found.is_killed

    # ---- signals, as the shim's own code sends and takes them ----

    def signal(self, pid: int, number: int) -> None:
        """To a task, by the pid that it has for its shim (minus its own), or to an actor."""
        if pid < 0 or -pid in self.runs:
            self._signal_run(self.runs[abs(pid)], number)
            return
        actor = self.world.actors[pid]
        if number == signal.SIGKILL:
            self.world.kill(actor)
        else:
            actor.pending.add(number)
            self.world.wake(actor)

    def _signal_run(self, run: Run, number: int) -> None:
        if run.is_over:
            return
        if number == signal.SIGSTOP and not run.is_halted:
            run.left -= self.world.now - run.since
            run.is_halted = True
        elif number == signal.SIGCONT and run.is_halted:
            run.is_halted = False
            self._go(run)
        elif number == signal.SIGKILL or (number in {signal.SIGINT, signal.SIGTERM} and not run.is_halted):
            self._over(run, number)

    def _go(self, run: Run) -> None:
        run.since = self.world.now
        self.judge.runs(run)
        left, since = run.left, run.since

        def ends() -> None:
            if run.is_over or run.is_halted or (run.left, run.since) != (left, since):
                return
            if run.host.paused_until > self.world.now:
                self.world.at(run.host.paused_until, ends)
                return
            self._writes(run)
            self._over(run, run.code << 8)

        self.world.at(self.world.now + max(0.0, left), ends)

    def _writes(self, run: Run) -> None:
        folder = self.server.find(posixpath.dirname(run.output))
        if run.code == 0 and folder is not None and folder.entries is not None:
            name = posixpath.basename(run.output)
            made = folder.entries.setdefault(name, self.server.node())
            made.data += f"{run.task}.{run.attempt}\n".encode()
            self.clients[run.host.name].forget(folder, name)

    def _over(self, run: Run, status: int) -> None:
        run.status = status
        self.judge.is_over(run)
        run.shim.pending.add(signal.SIGCHLD)
        self.world.wake(run.shim)

    def reap(self) -> tuple[int, int, Any]:
        run = self.runs.get(STAGE.actor.pid)
        if run is None or run.is_reaped:
            if STAGE.actor.pid in self.beats:
                return 0, 0, None
            raise ChildProcessError
        if run.status is None:
            return 0, 0, None
        run.is_reaped = True
        return -STAGE.actor.pid, run.status, SimpleNamespace(ru_maxrss=0, ru_utime=0.0, ru_stime=0.0)

    def descendants(self, pid: int) -> list[int]:
        run = self.runs.get(pid)
        found = [-pid] if run is not None and not run.is_reaped else []
        return [*found, *([self.beats[pid].pid] if pid in self.beats else [])]

    # ---- shims ----

    def close(self, descriptor: int) -> None:
        """That of a slot; of others there is nothing to be closed."""
        if -len(self.taken) <= descriptor < 0:
            host, slot = self.taken[-descriptor - 1]
            del host.locks[slot]

    def shim(self, line: Line, host: Host) -> Actor:
        assert line.order is not None
        actor = self.world.spawn(host, _called(line.order, host), lambda: self._serve(line))
        actor.on_end.append(lambda: self._shim_is_over(actor))
        return actor

    def _serve(self, line: Line) -> None:
        """procs.launcher.become_shim: one order after another."""
        wanted = self._next_order(line)
        while wanted is not None and self._run(wanted, line.hears):
            wanted = self._next_order(line)
            self.judge.counts["reused"] += wanted is not None

    def _run(self, wanted: dict[str, Any], hears: Callable[[dict[str, Any]], None]) -> bool:
        """Whether the shim may have another attempt after this one."""
        actor = STAGE.actor
        end: dict[str, Any] = {}
        actor.name = _called(wanted, actor.host)

        def report(said: dict[str, Any]) -> None:
            end.update(said.get("ended") or {})
            hears(said)

        is_free: bool = product.load("procs.shim").main(wanted, report)
        if is_free:
            self.judge.rests(actor, "{task}.{attempt}".format(**wanted), end, self._left(actor))
            self.runs.pop(actor.pid, None)
        return is_free

    def _next_order(self, line: Line) -> dict[str, Any] | None:
        while line.order is None and not line.is_closed:
            self.world.sleep(IDLE)
        wanted, line.order = line.order, None
        return wanted

    def _left(self, actor: Actor) -> list[str]:
        """What a shim has of an attempt still."""
        run = self.runs.get(actor.pid)
        found = [slot for slot, holder in actor.host.locks.items() if holder is actor]
        found += ["a command"] * (run is not None and not run.is_reaped) + ["a beat"] * (actor.pid in self.beats)
        return found + [f"signal {number}" for number in actor.pending - {signal.SIGCHLD}]

    def _shim_is_over(self, actor: Actor) -> None:
        """The kernel frees its locks; its task and its child die with it."""
        for slot in [name for name, holder in actor.host.locks.items() if holder is actor]:
            del actor.host.locks[slot]
        if actor.pid in self.beats:
            self.world.kill(self.beats.pop(actor.pid))
        run = self.runs.get(actor.pid)
        if run is not None and not run.is_over:
            self._over(run, signal.SIGKILL)

    def start(self, wanted: dict[str, Any]) -> int:
        """As child.start does."""
        shim = STAGE.actor
        left, code = self.codes(wanted["task"], wanted["attempt"])
        run = self.runs[shim.pid] = Run(wanted["task"], wanted["attempt"], wanted["output"], shim, left, code)
        self.judge.starts(run)
        self._go(run)
        return -shim.pid

    def start_beating(self, beat: Any) -> None:
        """Beat.start, whose fork is an actor here."""
        if not beat.is_shared:
            return
        shim = STAGE.actor

        def child() -> None:
            while True:
                self.world.sleep(beat.interval)
                beat._send()

        made = self.world.spawn(shim.host, f"beats of {shim.name}", child)
        self.beats[shim.pid] = made
        beat.child = made.pid

    def stop_beating(self, beat: Any) -> None:
        if beat.child:
            self.world.kill(self.beats.pop(STAGE.actor.pid))
            beat.child = 0
        with contextlib.suppress(OSError):  # as there
            product.OS.unlink(beat._path)


# ---- what stands in for modules that reach into a real machine ----


def _take(name: str) -> int | None:
    actor = STAGE.actor
    holder, taken = actor.host.locks.get(name), STAGE.machine.taken
    if holder is not None and not holder.is_over:
        return None
    actor.host.locks[name] = actor
    taken.append((actor.host, name))
    return -len(taken)  # none that the disk gives


def _open_proven(pid: int, _: int) -> int | None:
    """A pidfd, which is none that the disk gives."""
    found = STAGE.world.actors.get(pid)
    return None if found is None or found.is_over or found.is_killed else pid + PIDFD


def _nothing(*_: Any) -> None:
    return None


class _Quiet(SimpleNamespace):
    """What is not said here does nothing in the simulated machine."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return _nothing


product.stand_in(
    "procs.locks",
    _Quiet(
        take=_take,
        holder=lambda _: {},
        sign=_nothing,
        touch=_nothing,
        queue_of_holder=lambda _: "",
        is_held=lambda _: False,
    ),
)
product.stand_in(
    "procs.process",
    _Quiet(
        become_subreaper=_nothing,
        die_with_parent=_nothing,
        kill_carriers=_nothing,
        start_time=lambda pid: pid,
        own_start=lambda pid: pid,
        boot_id=lambda: BOOTS.format(STAGE.actor.host.name, STAGE.actor.host.boot),
        this_machine=lambda: STAGE.machine.owner(STAGE.actor, ""),
        this_process=lambda worker: STAGE.machine.owner(STAGE.actor, worker),
        carriers=lambda _: [],
        described=str,
        open_proven=_open_proven,
        descendants=lambda pid: STAGE.machine.descendants(pid),
    ),
)


product.stand_in(
    "procs.fence",
    _Quiet(path=lambda _: "", sweep=lambda *_: True, sweep_holder=lambda *_: "", members=lambda _: []),
)


class _StartError(Exception):
    pass


product.stand_in(
    "procs.child",
    SimpleNamespace(start=lambda wanted, *_: STAGE.machine.start(wanted), StartError=_StartError, PASSING=()),
)
_Beat = product.load("procs.beat").Beat
_Beat.start = lambda beat: STAGE.machine.start_beating(beat)
_Beat.stop = lambda beat: STAGE.machine.stop_beating(beat)
