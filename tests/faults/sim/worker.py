"""A run: the product's own core and loop over the simulated queue and runner, and what the command does before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from parallel_train import scheduler
from parallel_train.commands import plan
from parallel_train.commands.worker import selection as due
from parallel_train.core import contact, graph, policy
from parallel_train.core.apply import absorb, apply, note
from parallel_train.core.events import Event, Launch, OutputFound, Submitted, Warned
from parallel_train.core.facts import Claim, Owner
from parallel_train.core.situation import Situation, Wishes, begin
from parallel_train.core.slots import Device, Pool
from parallel_train.core.state import Line
from parallel_train.core.task import Task
from parallel_train.project.beginning import to_repeat
from tests.faults.sim.disk import Submission
from tests.faults.sim.judge import BrokenError
from tests.faults.sim.queue import SimQueue
from tests.faults.sim.shim import Order, Steps
from tests.faults.sim.stepped import again, stepped

_TREE = stepped([scheduler], ["self.queue.*", "self.runner.*"], top="_loop")[scheduler.__name__]
Scheduler: Any = again(scheduler, _TREE)["Scheduler"]


@dataclass(frozen=True, slots=True)
class Wants:
    """A command line. Without a source it is `worker`: whatever the queue holds."""

    tasks: tuple[Task, ...] = ()
    source: str = "file"
    only: frozenset[str] = frozenset()
    again: bool = False
    canary: bool = False
    ignore_failures: bool = False
    max_failures: int = 0
    at_once: int = 0
    slots: tuple[str, ...] = ("gpu-0", "gpu-1")
    cpu_slots: tuple[str, ...] = ("cpu-0",)

    def pool(self) -> Pool:
        return Pool.of(
            [Device("gpu", slot, slot, slot) for slot in self.slots],
            [Device("cpu", slot, "", slot) for slot in self.cpu_slots],
        )


@dataclass
class SimClock:
    """The clock of a host, as its processes read it; where none is given, one that stands still."""

    now: float = 0.0
    lease: float = 0.0  # of what runs on this host, where others work on the disk too

    def monotonic(self) -> float:
        return self.now


def newest(known: Sequence[Submission]) -> dict[str, Submission]:
    found: dict[str, Submission] = {}
    for submission in known:
        found.pop(submission.source, None)
        found[submission.source] = submission
    return found


def survey(lines: Sequence[Line]) -> Steps:
    found: list[Event] = []
    for task in [line.task for line in lines if line.is_untouched or line.has_succeeded]:
        state = yield "output", task
        found.append(OutputFound(task.id, state))
    return found


@dataclass
class SimRunner:
    worker: str
    clock: SimClock

    def start(self, launch: Launch, devices: Sequence[Device]) -> Steps:
        lease = self.clock.lease
        yield "order", Order(launch, self.worker, lease or 300.0, bool(lease))

    def watch(self, claim: Claim) -> Steps:
        yield "watch", claim

    def stop(self, task: str, attempt: int, *, kill: bool) -> Steps:
        yield "stop", (task, attempt), kill

    def sweep(self, claim: Claim) -> Steps:
        yield "sweep_claim", claim

    def wait(self, seconds: float | None) -> Steps:
        events, self.clock.now = yield "wait", seconds or 0.0
        return events

    def close(self) -> Steps:
        yield ("close",)


class Silent:
    """Nobody watches; but a worker that says it is stuck is a bug."""

    def show(self, event: Event, situation: Situation) -> None:
        if isinstance(event, Warned) and "bug" in event.text:
            raise BrokenError(event.text)

    def tick(self, situation: Situation, now: float) -> float:
        return 3600.0

    def close(self, situation: Situation, exit_code: int) -> None:
        pass


def run(owner: Owner, wants: Wants, clock: SimClock, hold: Callable[[Any], None] = lambda _: None) -> Steps:
    """`parallel-train [run]`, or `parallel-train worker`: commands.run and commands.work, step by step.

    `hold` is given the scheduler before it begins.
    """
    loop = yield from (_prepared(owner, wants, clock) if wants.source else _prepared_worker(owner, wants, clock))
    if loop is None:
        return
    hold(loop)
    yield from loop.queue.join()
    yield from finish(loop)


def finish(loop: Any) -> Steps:
    """From the top of the loop to the end of the process."""
    code = yield from loop._loop()
    with suppress(OSError):
        yield from loop.queue.leave()
    yield from loop.runner.close()
    yield "left", code, loop


def _prepared(owner: Owner, wants: Wants, clock: SimClock) -> Steps:
    known = yield ("submissions",)
    numbers = {task.id: task.number for submission in known for task in submission.tasks}
    tasks = tuple(replace(task, number=numbers.get(task.id, task.number)) for task in wants.tasks)
    names = frozenset(task.id for task in tasks)
    asked = yield ("last_request",)
    last = known[-1].number if known else 0
    queue = SimQueue(owner, clock.lease, interest=names, sources={wants.source}, submission=last, request=asked)
    situation = Situation(Wishes(worker=owner.worker), wants.pool())
    yield from _read(situation, queue, [Submitted(wants.source, tasks)], clock)
    begin(situation, (yield from _wishes(situation, wants, queue)))
    while True:
        known = yield ("submissions",)
        before = newest(known).get(wants.source)
        if before is not None and before.tasks == tasks:
            number = before.number
            break
        number = known[-1].number + 1 if known else 1
        if (yield "link", "tasks", ("", number), Submission(number, wants.source, tasks)):
            break
    queue.read.submission = number
    apply(situation, Submitted(wants.source, tasks))
    return _scheduler(situation, queue, clock)


def _scheduler(situation: Situation, queue: SimQueue, clock: SimClock) -> Any:
    poll = min(policy.POLL, contact.interval(queue.read.lease))
    return Scheduler(situation, queue, SimRunner(queue.owner.worker, clock), Silent(), clock, poll)


def _wishes(situation: Situation, wants: Wants, queue: SimQueue) -> Steps:
    names = {task.id: task.needs for task in wants.tasks}
    chosen = frozenset(graph.closure((wants.only & names.keys()) or names.keys(), names))
    canaries = plan.canaries(situation, chosen, again=wants.again) if wants.canary else {}
    return Wishes(
        worker=queue.owner.worker,
        selection=chosen,
        asked=plan.to_run_again(situation, chosen) if wants.again else (),
        repeat=frozenset() if (yield from queue.has_company()) else to_repeat(situation, chosen, canaries),
        max_failures=wants.max_failures,
        ignore_failures=wants.ignore_failures,
        canaries=canaries,
        at_once=wants.at_once,
    )


def _prepared_worker(owner: Owner, wants: Wants, clock: SimClock) -> Steps:
    asked = yield ("last_request",)
    known = yield ("submissions",)
    last = known[-1].number if known else 0
    held = newest(known)
    names = frozenset(task.id for found in held.values() for task in found.tasks)
    queue = SimQueue(owner, clock.lease, interest=names, everything=True, submission=last, request=asked)
    situation = Situation(Wishes(worker=owner.worker), wants.pool())
    yield from _read(situation, queue, [Submitted(s.source, s.tasks) for s in held.values()], clock)
    chosen, _ = due(situation)
    begin(situation, Wishes(worker=owner.worker, selection=chosen, everything=True, at_once=wants.at_once))
    if not chosen:
        return None
    return _scheduler(situation, queue, clock)


def _read(situation: Situation, queue: SimQueue, submitted: list[Submitted], clock: SimClock) -> Steps:
    told = yield from queue.changes(clock.now)
    note(situation, [*submitted, *told])
    absorb(situation, (yield from survey(list(situation.lines.values()))))


def read(owner: Owner, clock: SimClock) -> Steps:
    """For somebody who asks: (queue, situation) of all tasks there are."""
    known = yield ("submissions",)
    tasks = tuple({t.id: t for s in newest(known).values() for t in s.tasks}.values())
    names = frozenset(task.id for task in tasks)
    queue = SimQueue(owner, clock.lease, interest=names)
    situation = Situation(Wishes(selection=names), Pool())
    yield from _read(situation, queue, [Submitted("", tasks)], clock)
    return queue, situation
