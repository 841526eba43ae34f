"""Steps of schedulers with processes: procs.runner.LocalRunner, over the simulated ones."""

from __future__ import annotations

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
            runner.events.append(Refused(*order.key, "busy", self.now, held))
            return
        if not runner.launcher:
            made = self.spawn("launcher", f"launcher of {actor.name}", processes.launcher)
            self.parents[made.pid] = actor.pid
            self.begin(made)
            runner.launcher = made.pid
        runner.inbox += (order,)
        self.wake(runner.launcher)
        runner.asked += (order.key,)

    def do_watch(self, actor: Actor, claim: Claim) -> None:
        runner, alive, key = self.runner(actor), self.is_alive(claim.owner), (claim.task, claim.attempt)
        if alive is None:
            return
        if alive:
            runner.watched[key] = claim.owner.pid
        else:
            runner.events.append(self._found_dead(key, is_rebooted=claim.owner.boot != str(self.boot)))

    def do_stop(self, actor: Actor, key: Key, kill: bool) -> None:
        runner = self.runner(actor)
        if key in runner.asked:
            runner.early[key] = kill
            return
        pid = runner.shims.get(key) or runner.watched.get(key)
        if pid is not None:
            self.signal(pid, "quit" if kill else "term")

    def signal(self, pid: int, name: str) -> None:
        if pid in self.actors:
            self.signals[pid] = self.signals.get(pid, frozenset()) | {name}
            self.wake(pid)

    def do_signal(self, actor: Actor, claim: Claim) -> None:
        if self.is_alive(claim.owner):
            self.signal(claim.owner.pid, "term")

    def do_is_dead(self, actor: Actor, claim: Claim) -> bool:
        return self.is_alive(claim.owner) is False

    def do_sweep_claim(self, actor: Actor, claim: Claim) -> None:
        if claim.owner.boot == str(self.boot):
            self._kill_children([claim.owner.pid])

    def do_wait(self, actor: Actor, _: float) -> tuple[list[Event], float]:
        runner = self.runner(actor)
        if not runner.events:
            self._collect(runner)
        events, runner.events = runner.events, []
        return events, self.now

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

    def _collect(self, runner: Runner) -> None:
        for pipe in runner.replies:
            runner.has_answered = True
            runner.asked = tuple(key for key in runner.asked if key != pipe.key)
            runner.pipes += (pipe,)
            runner.shims[pipe.key] = pipe.pid
            if pipe.key in runner.early:
                self.signal(pipe.pid, "quit" if runner.early.pop(pipe.key) else "term")
        runner.replies = ()
        if runner.launcher and runner.launcher not in self.actors:
            why = "behind" if runner.has_answered else "trouble"
            runner.events += [Refused(*key, why, self.now) for key in runner.asked]  # type: ignore[arg-type]
            runner.launcher, runner.asked, runner.inbox = 0, (), ()
            runner.early.clear()
        self._hear(runner)

    def _hear(self, runner: Runner) -> None:
        for pipe in runner.pipes:
            for message in pipe.messages:
                runner.events.append(self._heard(pipe, message))
            pipe.messages = ()
            if pipe.pid not in self.actors:
                self._close(runner, pipe)
        for key, pid in list(runner.watched.items()):
            if pid not in self.actors:
                del runner.watched[key]
                runner.events.append(self._found_dead(key))

    def _close(self, runner: Runner, pipe: Pipe) -> None:
        runner.pipes = tuple(other for other in runner.pipes if other is not pipe)
        if runner.shims.get(pipe.key) == pipe.pid:
            del runner.shims[pipe.key]
        if pipe.is_over:
            return
        if pipe.has_claimed:
            runner.events.append(self._found_dead(pipe.key))
        else:
            why = "behind" if pipe.key in self.disk.claims else "trouble"
            runner.events.append(Refused(*pipe.key, why, self.now))  # type: ignore[arg-type]

    def _heard(self, pipe: Pipe, message: Step) -> Event:
        match message:
            case ("claimed", claim):
                pipe.has_claimed = True
                return Claimed(claim)
            case ("refused", why, slots):
                pipe.is_over = True
                return Refused(*pipe.key, why, self.now, slots)
            case (_, None):
                pipe.is_over = True
                return self._found_dead(pipe.key)
            case (_, end):
                pipe.is_over = True
                return Ended(end, self.now)
        raise AssertionError(message)

    def _found_dead(self, key: Key, *, is_rebooted: bool = False) -> Event:
        end = self.disk.ends.get(key)
        return Ended(end, self.now) if end is not None else Vanished(*key, "rebooted" if is_rebooted else "killed")

    def interrupt(self, actor: Actor, level: int, code: int) -> None:
        self.runner(actor).events.append(Interrupted(level, code, self.now))
        self.wake(actor.pid)
