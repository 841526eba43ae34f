"""Steps of launchers, shims and commands."""

from __future__ import annotations

from typing import Any

from parallel_train.core.facts import Signalled
from tests.faults.sim import shim as processes
from tests.faults.sim.actor import Actor, Command, Pipe
from tests.faults.sim.machine import Machine
from tests.faults.sim.shim import Fate, Order, Step
from tests.faults.sim.telling import said

LOOK = 10.0  # seconds between two looks of a shim whether its task was cancelled
GRACE = 10.0


class Attempts(Machine):
    # ---- a shim ----

    def do_take(self, actor: Actor, slot: str) -> bool:
        if slot in self.locks:
            return False
        self.locks[slot] = frozenset((actor.pid,))
        return True

    def do_sign(self, actor: Actor, slot: str) -> None:
        boot, before = self.signed.get(slot, (0, 0))
        if boot == self.boot:
            self._kill_children([before])
        self.signed[slot] = (self.boot, actor.pid)

    def do_unsign(self, actor: Actor) -> None:
        for slot in [slot for slot, who in self.signed.items() if who == (self.boot, actor.pid)]:
            del self.signed[slot]
        self._drop_locks(actor.pid)

    def do_occupy(self, actor: Actor, slot: str) -> None:
        self.judge.occupy(self, slot)

    def do_report(self, actor: Actor, message: Step) -> None:
        for runner in self.runners.values():
            for pipe in (*runner.pipes, *runner.replies):
                if pipe.pid == actor.pid:
                    pipe.messages += (message,)
        self.wake_schedulers()

    def do_start(self, actor: Actor) -> None:
        order = self.orders[actor.pid]
        self.judge.start(self, order)
        self.counts["starts"] = self.counts.get("starts", 0) + 1
        fate = self.fate(order)
        child = self.spawn("command", f"command {said(order.key)}", processes.command, fate)
        self.begin(child)
        if fate.writes and order.output:
            name = order.launch.task.id
            self.disk.outputs[name] = (*self.disk.outputs.get(name, ()), order.key)
            self.judge.written.add(order.key)
        self.commands[child.pid] = Command(order, fate, actor.pid, children=fate.has_children, keeps=fate.keep_locks)
        self._hold(child.pid)
        self.started[child.pid] = self.now

    def _own(self, pid: int) -> tuple[int, Command]:
        return next((n, c) for n, c in self.commands.items() if c.shim == pid)

    def _news(self, actor: Actor, stopped: str) -> str:
        number, command = self._own(actor.pid)
        if not command.leader:
            return "over"
        told = self.signals.get(actor.pid, frozenset())
        if told:
            return "quit" if "quit" in told else "term"
        since = self.now - self.started[number]
        if stopped:
            return "rung" if since >= GRACE else ""
        timeout = command.order.launch.task.timeout
        if timeout is not None and since >= timeout:
            return "timeout"
        return "look" if since >= LOOK else ""

    def _next_look(self, actor: Actor) -> float:
        number, command = self._own(actor.pid)
        timeout = command.order.launch.task.timeout
        return self.started[number] + (GRACE if actor.op[1] else min(LOOK, timeout or LOOK))

    def do_await(self, actor: Actor, stopped: str, _: int) -> str:
        news = self._news(actor, stopped)
        if news in {"term", "quit"}:
            self.signals[actor.pid] -= {news}
        elif news in {"rung", "look"}:
            self.started[self._own(actor.pid)[0]] = self.now
        return news

    def do_signal_task(self, actor: Actor, rung: int) -> None:
        number, command = self._own(actor.pid)
        if not command.leader:
            return
        self.started[number] = self.now
        if rung >= command.fate.obeys or rung == 2:
            command.outcome = Signalled(9) if rung == 2 else command.fate.when_told
            self.end(number)

    def do_reaped(self, actor: Actor) -> Any:
        return self._own(actor.pid)[1].outcome

    def do_has_left(self, actor: Actor) -> bool:
        return self._own(actor.pid)[1].children

    def do_sweep_own(self, actor: Actor) -> int:
        number, command = self._own(actor.pid)
        swept = int(command.children)
        command.children = False
        self._drop_locks(number)
        del self.commands[number]
        return swept

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

    def _orphans(self, launcher: int) -> list[int]:
        shims = [c.shim for c in self.commands.values() if c.shim not in self.actors]
        return [shim for shim in shims if self.parents.get(shim) == launcher]

    def do_serve(self, actor: Actor) -> bool:
        work = self._work(actor)
        if work == "sweep":
            self._kill_children(self._orphans(actor.pid))
        elif work == "fork":
            runner = self.runners[self.parents[actor.pid]]
            order, *left = runner.inbox
            runner.inbox = tuple(left)
            child = self.fork(actor.pid, order)
            runner.replies += (Pipe(order.key, child.pid),)
            self.wake(self.parents[actor.pid])
        return work != "end"

    def fork(self, launcher: int, order: Order) -> Actor:
        owner = self.owner(self.last_pid + 1, order.worker)
        child = self.spawn("shim", f"shim {said(order.key)} of {order.worker}", processes.shim, order, owner)
        self.orders[child.pid] = order
        self.parents[child.pid] = launcher
        self.begin(child)
        return child
