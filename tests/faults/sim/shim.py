"""The processes beside the schedulers, step by step: shim, launcher, command.

They do what parallel_train/procs does, in the same order; each `yield` is one step that others may come in between.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from parallel_train.core.events import Launch
from parallel_train.core.facts import Claim, End, Exited, NotStarted, Outcome, Owner, TimedOut
from tests.faults.sim.disk import FixedDict, Key

Step = tuple[Any, ...]
Steps = Generator[Step, Any, Any]


SWEEP_GRACE = 2.0
SUCCESS = Exited(0)


@dataclass(frozen=True, slots=True)
class Order:
    launch: Launch
    worker: str

    @property
    def key(self) -> Key:
        return (self.launch.task.id, self.launch.attempt)

    @property
    def output(self) -> bool:
        return self.launch.task.output is not None


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a command that nobody disturbs, and how it takes it when somebody does."""

    seconds: float = 0.0
    outcome: Outcome = SUCCESS
    writes: bool = True
    obeys: int = 0  # the first rung of INT, TERM, KILL that ends it
    when_told: Outcome = SUCCESS
    has_children: bool = False  # they survive a killed shim, until they are swept
    keep_locks: bool = True  # whether those have kept the slot's descriptor
    shoots_shim: bool = False


def shim(order: Order, owner: Owner) -> Steps:
    for slot in sorted(order.launch.slots):
        if not (yield "take", slot):
            yield "report", ("refused", "busy", (slot,))
            return
    for slot in order.launch.slots:
        yield "sign", slot
    try:
        claim = yield from _claim(order, owner)
    except OSError:
        claim = "trouble"
    if isinstance(claim, str):
        yield "report", ("refused", claim, ())
        return
    yield "report", ("claimed", claim)
    end = yield from _run(order)
    has_won = yield from _say_end(order, end)
    yield ("unsign",)
    yield "report", ("ended", end if has_won else None)


def _claim(order: Order, owner: Owner) -> Steps:
    """The claim, or why not."""
    launch, (task, attempt) = order.launch, order.key
    if attempt > 1 and not (yield "exists", "ends", (task, attempt - 1)):
        return "behind"
    if (yield "exists", "claims", order.key) or (yield "exists", "ends", order.key):
        return "behind"
    needs = FixedDict({name: seen.deciding for name, seen in launch.needs.items()})
    claim = Claim(task, attempt, launch.round, launch.task.identity, needs, owner, launch.slots, (), "", "")
    return claim if (yield "link", "claims", order.key, claim) else "behind"


def _run(order: Order) -> Steps:
    """After a takeover from a host that lost contact it would first wait until that has halted."""
    launch = order.launch
    try:
        doubt = yield from disagreement(order)
    except OSError as error:
        doubt = f"the queue can't be read: {error}"
    if doubt:
        return End(*order.key, NotStarted(doubt))
    try:
        if launch.aside and order.output:
            yield from put_aside(launch.task.id, launch.aside, launch.attempt)
    except OSError as error:
        return End(*order.key, NotStarted(f"could not be started: {error}"))
    yield ("start",)
    stopped = yield from watch(order)
    outcome = yield ("reaped",)
    swept = yield from sweep()
    if stopped == "worker":
        stopped = "cancel" if (yield from _seen_cancelled(order)) else stopped
    output = yield "output", launch.task
    if stopped == "timeout":
        outcome = TimedOut()
    return End(*order.key, outcome, stopped=stopped, output=output, started="then", swept=swept)


def _seen_cancelled(order: Order) -> Steps:
    try:
        return (yield from asked_against(order)) == "cancelled"
    except OSError:
        return False


def disagreement(order: Order) -> Steps:
    launch = order.launch
    if (yield "exists", "rounds", (launch.task.id, launch.round + 1)):
        return "a newer round was opened"
    for need, seen in launch.needs.items():
        if (yield "exists", "rounds", (need, seen.round + 1)):
            return "a need is to run again"
        if (yield "exists", "claims", (need, seen.last + 1)):
            return "a need runs again"
    if not (yield "works", order.worker):
        return "its worker left"
    return (yield from asked_against(order))


def asked_against(order: Order) -> Steps:
    launch, name = order.launch, order.launch.task.id
    paused = {"": False, name: False}
    for request in (yield "requests", launch.heard):
        if request.kind == "cancel" and request.tasks.get(name, 0) >= launch.asked_round:
            return "cancelled"
        if request.kind in {"pause", "resume"}:
            paused.update({n: request.kind == "pause" for n in request.tasks or ("",) if n in paused})
    return "paused" if any(paused.values()) else ""


def put_aside(task: str, number: int, attempt: int) -> Steps:
    if (yield "is_aside", (task, number)):
        return
    for part in (yield "parts", (task, number)):
        if (yield "is_filled", part):
            yield "finish_part", part
            return
        yield "remove_part", part
    part = (task, number, attempt)
    yield "make_part", part
    yield "move_output", part
    yield "finish_part", part


def watch(order: Order) -> Steps:  # noqa: C901  one case per thing that can happen
    """Until the command is over; who stopped it, if anybody did."""
    stopped, rung, looked = "", 0, order.launch.heard
    while True:
        told = yield "await", stopped, looked
        if told == "over":
            return stopped
        if told == "term" and not stopped:
            stopped = "worker"
        elif told == "quit":
            stopped, rung = stopped or "worker", 2
        elif told == "timeout":
            stopped = "timeout"
        elif told == "look":
            if not (yield from _seen_cancelled(order)):
                looked = yield ("last_request",)
                continue
            stopped = "cancel"
        elif told != "rung":
            continue
        yield "signal_task", min(rung, 2)
        rung += 1


def sweep() -> Steps:
    """What outlived the task is told to end, and killed where it does not: that takes its time."""
    if (yield ("has_left",)):
        yield "sleep", SWEEP_GRACE
    return (yield ("sweep_own",))


def _say_end(order: Order, end: End) -> Steps:
    while True:
        try:
            return (yield "link", "ends", order.key, end)
        except OSError:
            yield "sleep", 0.1


def launcher() -> Steps:
    """Forks what it is asked for, and sweeps what dead shims of its own left. Ends with its scheduler."""
    while (yield ("serve",)):
        pass


def stranger(slot: str, seconds: float) -> Steps:
    """A shim of another queue that uses the same card: it knows of us by the slot lock alone."""
    for _ in range(50):
        if (yield "take", slot):
            yield "sign", slot
            yield "occupy", slot
            yield "sleep", seconds
            yield ("unsign",)
            return
        yield "sleep", 0.2


def command(fate: Fate) -> Steps:
    yield "sleep", fate.seconds
    if fate.shoots_shim:
        yield ("shoot_shim",)
    yield "finish", fate
