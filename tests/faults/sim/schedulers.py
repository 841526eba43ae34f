"""Steps of schedulers with processes: procs.runner.LocalRunner, over the simulated ones."""

from __future__ import annotations

import signal

from parallel_train.core.events import Claimed, Ended, Event, Interrupted, Refused
from parallel_train.core.facts import Claim
from tests.faults.sim import kernel
from tests.faults.sim import shim as processes
from tests.faults.sim.actor import Actor, Host, Pipe, Runner
from tests.faults.sim.disk import Key
from tests.faults.sim.kernel import KERNEL
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
        if runner.idle:
            self._hand_on(runner, order)
            return
        if not runner.launcher:
            made = self.spawn("launcher", f"launcher of {actor.name}", processes.launcher, on=actor.host)
            self.parents[made.pid] = actor.pid
            self.begin(made)
            runner.launcher = made.pid
        runner.inbox += (order,)
        self.wake(runner.launcher)
        runner.asked += (order.key,)

    def _hand_on(self, runner: Runner, order: Order) -> None:
        """One that was killed takes it too, as long as its launcher has not reaped it; then it is lost with it.

        One that takes nothing any more is the same as one whose death was heard of before.
        """
        *idle, pid = runner.idle
        runner.idle = tuple(idle)
        runner.shims[order.key] = pid
        line = next(pipe for pipe in runner.pipes if pipe.pid == pid)
        line.key, line.is_over, line.has_served = order.key, False, True
        if pid in self.actors:
            self.handed[pid] = order
            self.wake(pid)

    def sweep_dead_holder(self, actor: Actor, slot: str) -> None:
        """procs.locks: what holds the slot still after its shim died is nobody's."""
        boot, shim, cookie = self.signed.get(slot, (0, 0, ""))
        if boot == actor.host.boot and shim not in self.actors:
            self._kill_children({cookie})

    def sweep_left(self, actor: Actor) -> None:
        """What a new runner begins with: what dead shims left on its host."""
        for slot in self.slots_on(actor.host):
            self.sweep_dead_holder(actor, slot)

    def slots_on(self, host: Host) -> list[str]:
        """Those of its slots that anybody has signed."""
        return [slot for slot in self.signed if not self.is_shared or slot.startswith(f"{host.name} ")]

    def ask_kernel(self, actor: Actor, key: Key) -> None:
        """The product's own code is about to ask the kernel, for `actor`, about this attempt."""
        self.look_from(actor.host)
        KERNEL.signed = {slot: {"cookie": self.signed[slot][2]} for slot in self.slots_on(actor.host)}
        KERNEL.send = lambda pid, number: self.tell(pid, key, number)
        KERNEL.end_of = lambda found: self._end_of(actor, found)

    def do_watch(self, actor: Actor, claim: Claim) -> None:
        runner, key = self.runner(actor), (claim.task, claim.attempt)
        self.ask_kernel(actor, key)
        event = runner.others.watch(claim)
        if event is not None:
            runner.events.append(event)
        elif claim.owner.machine == actor.host.name:
            is_watched = (claim.owner.start, key) in runner.others.attempts()
            self.judge.must(is_watched, f"{actor.name} waits for the death of a stranger, not for that of {key}")

    def do_stop(self, actor: Actor, key: Key, kill: bool) -> None:
        runner = self.runner(actor)
        if key in runner.asked:
            runner.early[key] = kill
        elif key in runner.shims:
            self._stop_own(runner, key, kill=kill)
        else:
            self.ask_kernel(actor, key)
            runner.others.stop(key, kill=kill)

    def _stop_own(self, runner: Runner, key: Key, *, kill: bool) -> None:
        line = next(pipe for pipe in runner.pipes if pipe.pid == runner.shims[key])
        line.is_last = True
        self.tell(line.pid, key, signal.SIGQUIT if kill else signal.SIGTERM)

    def tell(self, pid: int, key: Key, number: int) -> None:
        """Send the shim of an attempt a signal, which an idle one dies of."""
        order = self.orders.get(pid)
        is_its = pid not in self.actors or (self.actors[pid].kind == "shim" and (order is None or order.key == key))
        self.judge.must(is_its, f"a stranger was signalled for {key}")
        self.signal(pid, number)

    def do_signal(self, actor: Actor, claim: Claim) -> None:
        self.ask_kernel(actor, (claim.task, claim.attempt))
        kernel.PROOF["stop"](claim)

    def do_is_dead(self, actor: Actor, claim: Claim) -> bool:
        return self.is_alive(claim.owner, actor.host) is False

    def do_sweep_claim(self, actor: Actor, claim: Claim) -> None:
        self.heard_at.pop(actor.pid, None)  # that takes its time: whoever takes it over looks once more
        if (claim.owner.machine, claim.owner.boot) == (actor.host.name, str(actor.host.boot)):
            self._kill_children({claim.cookie})

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
        return any(pid not in self.actors for pid in runner.others.processes().values())

    def do_close(self, actor: Actor) -> None:
        self.drop_runner(actor.pid)

    def _collect(self, actor: Actor, runner: Runner) -> None:
        for pipe in runner.replies:
            runner.has_answered = True
            runner.asked = tuple(key for key in runner.asked if key != pipe.key)
            runner.pipes += (pipe,)
            runner.shims[pipe.key] = pipe.pid
            if pipe.key in runner.early:
                self._stop_own(runner, pipe.key, kill=runner.early.pop(pipe.key))
        runner.replies = ()
        if runner.launcher and runner.launcher not in self.actors:
            self._lose_launcher(actor, runner)
        self._hear(actor, runner)

    def _lose_launcher(self, actor: Actor, runner: Runner) -> None:
        why = "behind" if runner.has_answered else "trouble"
        runner.events += [Refused(*key, why, self.clock_of(actor)) for key in runner.asked]  # type: ignore[arg-type]
        runner.launcher, runner.asked, runner.inbox = 0, (), ()
        runner.early.clear()
        for pipe in runner.pipes:
            pipe.is_last = True
            if pipe.pid in runner.idle:
                self._forget(runner, pipe)

    def _hear(self, actor: Actor, runner: Runner) -> None:
        for pipe in runner.pipes:
            messages, pipe.messages = pipe.messages, ()
            for message in messages:
                runner.events.append(self._heard(actor, runner, pipe, message))
            if pipe.pid not in self.actors:
                self._forget(runner, pipe)
                if not pipe.is_over:
                    runner.events.append(self._died(actor, pipe))
        for owner in [owner for owner, pid in runner.others.processes().items() if pid not in self.actors]:
            self.ask_kernel(actor, ("", 0))
            runner.events += runner.others.died(owner)

    def _forget(self, runner: Runner, pipe: Pipe) -> None:
        """Close its line, at the end of which an idle one ends."""
        runner.pipes = tuple(other for other in runner.pipes if other is not pipe)
        if pipe.pid in runner.idle:
            runner.idle = tuple(pid for pid in runner.idle if pid != pipe.pid)
        elif runner.shims.get(pipe.key) == pipe.pid:
            del runner.shims[pipe.key]
        self.wake(pipe.pid)

    def _died(self, actor: Actor, pipe: Pipe) -> Event:
        if pipe.has_claimed:
            return self._found_dead(actor, pipe.key)
        why = "behind" if pipe.key in self.disk.claims or pipe.has_served else "trouble"
        return Refused(*pipe.key, why, self.clock_of(actor))  # type: ignore[arg-type]

    def _heard(self, actor: Actor, runner: Runner, pipe: Pipe, message: Step) -> Event:
        match message:
            case ("claimed", claim):
                pipe.has_claimed = True
                return Claimed(claim)
            case ("refused", why, slots):
                pipe.is_over = True
                return Refused(*pipe.key, why, self.clock_of(actor), slots)
            case ("ended", None, _):
                pipe.is_over = True
                return self._found_dead(actor, pipe.key)
            case ("ended", end, is_free):
                pipe.is_over = True
                if is_free:
                    self._rest(runner, pipe)
                return Ended(end, self.clock_of(actor))
        raise AssertionError(message)

    def _rest(self, runner: Runner, pipe: Pipe) -> None:
        if pipe.is_last:
            self._forget(runner, pipe)
            return
        del runner.shims[pipe.key]
        runner.idle += (pipe.pid,)
        pipe.key, pipe.has_claimed = ("", 0), False  # as all that are idle

    def _found_dead(self, actor: Actor, key: Key) -> Event:
        self.ask_kernel(actor, key)
        found: Event = kernel.found_dead(None, key)
        return found

    def _end_of(self, actor: Actor, key: Key) -> Ended | None:
        end = self.disk.ends.get(key) if actor.host.cut <= self.now else None
        return end and Ended(end, self.clock_of(actor))

    def interrupt(self, actor: Actor, level: int, code: int) -> None:
        self.runner(actor).events.append(Interrupted(level, code, self.clock_of(actor)))
        self.wake(actor.pid)
