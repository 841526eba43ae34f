"""Steps of schedulers with processes: procs.runner.LocalRunner, over the simulated ones."""

from __future__ import annotations

import signal

from parallel_train.core.events import Claimed, Ended, Event, Interrupted, Refused, Vanished
from parallel_train.core.facts import Claim
from tests.faults.sim import shim as processes
from tests.faults.sim.actor import Actor, Pipe, Runner
from tests.faults.sim.disk import Key
from tests.faults.sim.machine import Machine
from tests.faults.sim.shim import Order, Step


class Schedulers(Machine):
    # ---- a scheduler's runner ----

    def runner(self, actor: Actor) -> Runner:
        return self.runners.setdefault(actor.pid, Runner())

    def do_order(self, actor: Actor, order: Order) -> None:
        runner = self.runner(actor)
        held = tuple(slot for slot in order.launch.slots if slot in self.locks)
        if held:
            for slot in held:
                self.sweep_dead_holder(actor, slot)
            runner.events.append(Refused(*order.key, "busy", self.clock_of(actor), held))
            return
        if not runner.launcher:
            made = self.spawn("launcher", f"launcher of {actor.name}", processes.launcher, on=actor.host)
            self.parents[made.pid] = actor.pid
            self.begin(made)
            runner.launcher = made.pid
        runner.inbox += (order,)
        self.wake(runner.launcher)
        runner.asked += (order.key,)

    def sweep_dead_holder(self, actor: Actor, slot: str) -> None:
        """procs.locks: what holds the slot still after its shim died is nobody's."""
        boot, shim = self.signed.get(slot, (0, 0))
        if boot == actor.host.boot and shim not in self.actors:
            self._kill_children([shim])

    def sweep_left(self, actor: Actor) -> None:
        """What a new runner begins with: what dead shims left on its host."""
        for slot in [slot for slot in self.signed if not self.is_shared or slot.startswith(f"{actor.host.name} ")]:
            self.sweep_dead_holder(actor, slot)

    def do_watch(self, actor: Actor, claim: Claim) -> None:
        runner, key = self.runner(actor), (claim.task, claim.attempt)
        alive = self.is_alive(claim.owner, actor.host)
        if alive is None:
            return
        if alive:
            pid = runner.watched[key] = self.process(claim.owner, actor.host)
            self.judge.must(pid in self.orders and self.orders[pid].key == key, f"a stranger is taken for {key}")
        else:
            is_rebooted = claim.owner.boot != str(actor.host.boot)
            runner.events.append(self._found_dead(actor, key, is_rebooted=is_rebooted))

    def do_stop(self, actor: Actor, key: Key, kill: bool) -> None:
        runner = self.runner(actor)
        if key in runner.asked:
            runner.early[key] = kill
            return
        pid = runner.shims.get(key) or runner.watched.get(key)
        if pid is not None:
            self.tell(pid, key, kill=kill)

    def has_signed(self, pid: int) -> bool:
        """procs.proof: a record alone does not say whom to signal."""
        return any(shim == pid for _, shim in self.signed.values())

    def tell(self, pid: int, key: Key, *, kill: bool) -> None:
        """Tell the shim of an attempt to stop it."""
        if pid in self.actors and self.has_signed(pid):
            self.judge.must(pid in self.orders and self.orders[pid].key == key, f"a stranger was signalled for {key}")
            self.signal(pid, signal.SIGQUIT if kill else signal.SIGTERM)

    def do_signal(self, actor: Actor, claim: Claim) -> None:
        if self.is_alive(claim.owner, actor.host):
            self.tell(self.process(claim.owner, actor.host), (claim.task, claim.attempt), kill=False)

    def do_is_dead(self, actor: Actor, claim: Claim) -> bool:
        return self.is_alive(claim.owner, actor.host) is False

    def do_sweep_claim(self, actor: Actor, claim: Claim) -> None:
        self.heard_at.pop(actor.pid, None)  # that takes its time: whoever takes it over looks once more
        if claim.owner.boot == str(actor.host.boot):  # a cookie names a process by its start time too
            self._kill_children([n for n in (claim.owner.start,) if claim.owner.machine == actor.host.name])

    def do_wait(self, actor: Actor, _: float) -> tuple[list[Event], float]:
        runner = self.runner(actor)
        if not runner.events:
            self._collect(actor, runner)
        events, runner.events = runner.events, []
        return events, self.clock_of(actor)

    def has_news(self, actor: Actor) -> bool:
        """Whether a scheduler's wait would end now."""
        runner = self.runner(actor)
        if runner.events or runner.replies or (runner.launcher and runner.launcher not in self.actors):
            return True
        if any(pipe.messages or pipe.pid not in self.actors for pipe in runner.pipes):
            return True
        return any(pid not in self.actors for pid in runner.watched.values())

    def do_close(self, actor: Actor) -> None:
        runner = self.runners.pop(actor.pid, None)
        self.wake(runner.launcher if runner else 0)

    def _collect(self, actor: Actor, runner: Runner) -> None:
        for pipe in runner.replies:
            runner.has_answered = True
            runner.asked = tuple(key for key in runner.asked if key != pipe.key)
            runner.pipes += (pipe,)
            runner.shims[pipe.key] = pipe.pid
            if pipe.key in runner.early:
                self.tell(pipe.pid, pipe.key, kill=runner.early.pop(pipe.key))
        runner.replies = ()
        if runner.launcher and runner.launcher not in self.actors:
            why = "behind" if runner.has_answered else "trouble"
            runner.events += [Refused(*key, why, self.clock_of(actor)) for key in runner.asked]  # type: ignore[arg-type]
            runner.launcher, runner.asked, runner.inbox = 0, (), ()
            runner.early.clear()
        self._hear(actor, runner)

    def _hear(self, actor: Actor, runner: Runner) -> None:
        for pipe in runner.pipes:
            for message in pipe.messages:
                runner.events.append(self._heard(actor, pipe, message))
            pipe.messages = ()
            if pipe.pid not in self.actors:
                self._close(actor, runner, pipe)
        for key, pid in list(runner.watched.items()):
            if pid not in self.actors:
                del runner.watched[key]
                runner.events.append(self._found_dead(actor, key))

    def _close(self, actor: Actor, runner: Runner, pipe: Pipe) -> None:
        runner.pipes = tuple(other for other in runner.pipes if other is not pipe)
        if runner.shims.get(pipe.key) == pipe.pid:
            del runner.shims[pipe.key]
        if pipe.is_over:
            return
        if pipe.has_claimed:
            runner.events.append(self._found_dead(actor, pipe.key))
        else:
            why = "behind" if pipe.key in self.disk.claims else "trouble"
            runner.events.append(Refused(*pipe.key, why, self.clock_of(actor)))  # type: ignore[arg-type]

    def _heard(self, actor: Actor, pipe: Pipe, message: Step) -> Event:
        match message:
            case ("claimed", claim):
                pipe.has_claimed = True
                return Claimed(claim)
            case ("refused", why, slots):
                pipe.is_over = True
                return Refused(*pipe.key, why, self.clock_of(actor), slots)
            case (_, None):
                pipe.is_over = True
                return self._found_dead(actor, pipe.key)
            case (_, end):
                pipe.is_over = True
                return Ended(end, self.clock_of(actor))
        raise AssertionError(message)

    def _found_dead(self, actor: Actor, key: Key, *, is_rebooted: bool = False) -> Event:
        end = self.disk.ends.get(key) if actor.host.cut <= self.now else None
        return (
            Ended(end, self.clock_of(actor))
            if end is not None
            else Vanished(*key, "rebooted" if is_rebooted else "killed")
        )

    def interrupt(self, actor: Actor, level: int, code: int) -> None:
        self.runner(actor).events.append(Interrupted(level, code, self.clock_of(actor)))
        self.wake(actor.pid)
