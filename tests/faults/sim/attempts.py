"""Steps of launchers, shims and commands."""

from __future__ import annotations

import signal

from parallel_train.core.facts import Owner
from tests.faults.sim import shim as processes
from tests.faults.sim.actor import Actor, Command, Pipe
from tests.faults.sim.judge import STOPS
from tests.faults.sim.machine import Machine
from tests.faults.sim.product import BEAT, CHILDREN, LEADER, Beat
from tests.faults.sim.shim import Fate, Order, Step
from tests.faults.sim.telling import called, said

RUNGS = {signal.SIGINT: 0, signal.SIGTERM: 1}


class Attempts(Machine):
    # ---- a shim before its command ----

    def do_take(self, actor: Actor, slot: str) -> bool:
        if slot in self.locks:
            return False
        self.locks[slot] = frozenset((actor.pid,))
        return True

    def do_sign(self, actor: Actor, slot: str, cookie: str) -> None:
        boot, _, before = self.signed.get(slot, (0, 0, ""))
        if boot == actor.host.boot:
            self._kill_children({before})
        self.signed[slot] = (actor.host.boot, actor.pid, cookie)

    def do_unsign(self, actor: Actor, slot: str) -> None:
        if self.signed.get(slot, ())[:2] == (actor.host.boot, actor.pid):
            del self.signed[slot]
        self._drop_lock(slot, actor.pid)

    def do_occupy(self, actor: Actor, slot: str) -> None:
        self.judge.occupy(self, slot)

    def do_report(self, actor: Actor, message: Step) -> None:
        line = self.line_of(actor.pid)
        if line is not None:
            line.messages += (message,)
        self.wake_schedulers()
        match message:
            case ("ended", end, True):
                self.judge.rests(self, actor, end, line)
                del self.orders[actor.pid]

    def do_pending(self, actor: Actor) -> frozenset[int]:
        return self.signals.get(actor.pid, frozenset())

    # ---- a shim between two attempts ----

    def line_of(self, shim: int) -> Pipe | None:
        """None where its scheduler has closed it."""
        lines = (pipe for runner in self.runners.values() for pipe in (*runner.pipes, *runner.replies))
        return next((line for line in lines if line.pid == shim), None)

    def is_rest_over(self, actor: Actor) -> bool:
        """Whether it was given an order, was told to stop, or has nobody any more who could ask it."""
        is_told = not STOPS.isdisjoint(self.signals.get(actor.pid, ()))
        return is_told or actor.pid in self.handed or self.line_of(actor.pid) is None

    def do_rest(self, actor: Actor, _: Owner) -> Order | None:
        if not STOPS.isdisjoint(self.signals.get(actor.pid, ())):  # it dies of it here
            return None
        order = self.handed.pop(actor.pid, None)
        if order is not None:
            self.orders[actor.pid] = order
            actor.name = called(order)
            self.count("reused")
        return order

    def do_prepare(self, actor: Actor) -> None:
        pass

    def do_fork_beat(self, actor: Actor, beat: Beat) -> int:
        order = self.orders[actor.pid]
        child = self.spawn("beat", f"beat of {said(order.key)}", beat.goes_on, on=actor.host)
        self.orders[child.pid] = order
        self.parents[child.pid] = actor.pid
        self.begin(child)
        return BEAT

    def do_start(self, actor: Actor, cookie: str) -> int:
        order = self.orders[actor.pid]
        self.judge.start(self, order, actor)
        self.count("starts")
        fate = self.fate(order)
        child = self.spawn("command", f"command {said(order.key)}", processes.command, fate, on=actor.host)
        self.begin(child)
        if fate.writes and order.output:
            name = order.launch.task.id
            self.disk.outputs[name] = (*self.disk.outputs.get(name, ()), order.key)
            self.judge.written.add(order.key)
        self.commands[child.pid] = Command(
            order, cookie, fate, actor.pid, actor.host, self.now, children=fate.has_children, keeps=fate.keep_locks
        )
        self._hold(child.pid)
        return LEADER

    # ---- a shim and its command ----

    def own(self, shim: int) -> tuple[int, Command | None]:
        return next(((n, c) for n, c in self.commands.items() if c.shim == shim), (0, None))

    def do_await(self, actor: Actor, numbers: tuple[int, ...], _: float) -> int:
        told = self.signals.get(actor.pid, frozenset()).intersection(numbers)
        if told:
            self.signals[actor.pid] -= {min(told)}
            return min(told)
        if self.is_shared:
            self.judge.goes_on(self, self.orders[actor.pid])
        return 0

    def do_wait4(self, actor: Actor) -> tuple[int, int]:
        number, command = self.own(actor.pid)
        if command is not None and command.zombies:
            first, *left = command.zombies
            command.zombies = tuple(left)
            return first
        if (command is not None and command.lives) or self.beat_of(actor.pid):
            return 0, 0
        if command is not None:
            del self.commands[number]
            self._drop_locks(number)
        raise ChildProcessError

    def do_descendants(self, actor: Actor) -> list[int]:
        _, command = self.own(actor.pid)
        found = [BEAT] if self.beat_of(actor.pid) else []
        if command is not None:
            found += [LEADER] * command.leader + [CHILDREN] * command.children
        return found

    def do_kill(self, actor: Actor, which: int, number: int) -> None:  # noqa: C901  one case per signal
        own, command = self.own(actor.pid)
        if which == BEAT:
            if self.beat_of(actor.pid):
                self.end(self.beat_of(actor.pid))
        elif command is None or not (command.leader if which == LEADER else command.children):
            pass
        elif number == signal.SIGSTOP:
            self.judge.halt(self, command)
            self._halt(own, command, which)
        elif number == signal.SIGCONT:
            command.halted -= {which}
            self.judge.let_go_on(self, command)
            if which == LEADER:
                self._let_go_on(own, command)
        elif which == LEADER:
            self._signal_leader(own, command, number)
        elif number == signal.SIGKILL:
            command.children = False
            command.zombies += ((CHILDREN, int(signal.SIGKILL)),)
            self._drop_locks(own)
            self.signal(actor.pid, signal.SIGCHLD)

    def _halt(self, own: int, command: Command, which: int) -> None:
        if which in command.halted:
            return
        command.halted |= {which}
        if which == LEADER:
            leader = self.actors[own]
            command.left = max(0.0, leader.due - self.now)
            leader.until = leader.due = float("inf")

    def _let_go_on(self, own: int, command: Command) -> None:
        leader = self.actors[own]
        if leader.due == float("inf"):
            leader.until = leader.due = self.now + command.left
        if command.pending >= command.fate.obeys:
            command.outcome = command.fate.when_told
            self.end(own)
        command.pending = -1

    def _signal_leader(self, own: int, command: Command, number: int) -> None:
        if number == signal.SIGKILL:
            self.end(own, killed=True)
        elif LEADER in command.halted:
            command.pending = max(command.pending, RUNGS[signal.Signals(number)])
        elif RUNGS[signal.Signals(number)] >= command.fate.obeys:
            command.outcome = command.fate.when_told
            self.end(own)

    # ---- a command ----

    def do_finish(self, actor: Actor, fate: Fate) -> None:
        self.commands[actor.pid].outcome = fate.outcome

    def do_shoot_shim(self, actor: Actor) -> None:
        if self.commands[actor.pid].shim in self.actors:
            self.end(self.commands[actor.pid].shim, killed=True)

    # ---- a launcher ----

    def _work(self, actor: Actor) -> str:
        runner = self.runners.get(self.parents.get(actor.pid, 0))
        if self._orphans(actor.pid):
            return "sweep"
        if runner is None or runner.launcher != actor.pid:
            return "end"
        return "fork" if runner.inbox else ""

    def _orphans(self, launcher: int) -> list[Command]:
        left = [c for c in self.commands.values() if c.shim not in self.actors]
        return [command for command in left if self.parents.get(command.shim) == launcher]

    def do_serve(self, actor: Actor) -> bool:
        work = self._work(actor)
        if work == "sweep":
            self._kill_children({command.cookie for command in self._orphans(actor.pid)})
        elif work == "fork":
            runner = self.runners[self.parents[actor.pid]]
            order, *left = runner.inbox
            runner.inbox = tuple(left)
            child = self.fork(actor, order)
            runner.replies += (Pipe(order.key, child.pid),)
            self.wake(self.parents[actor.pid])
        return work != "end"

    def fork(self, launcher: Actor, order: Order) -> Actor:
        owner = self.owner(order.worker, launcher.host)
        child = self.spawn("shim", called(order), processes.shim, order, owner, on=launcher.host)
        self.orders[child.pid] = order
        self.parents[child.pid] = launcher.pid
        self.begin(child)
        return child
