"""What people ask for while it runs: commands.ask, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from parallel_train.core import asking
from parallel_train.core.apply import apply
from parallel_train.core.facts import Asking, Claim, Lost, Owner, Request
from parallel_train.core.situation import Situation
from parallel_train.core.state import Line
from tests.faults.sim.queue import SimQueue, ask
from tests.faults.sim.shim import Steps
from tests.faults.sim.worker import SimClock, read

PATIENCE = 45.0
POLL = 0.5


def asks(kind: Asking, tasks: dict[str, int]) -> Steps:
    yield from ask(Request(0, kind, tasks, by="anna@host"))


def pause(kind: Asking, names: Sequence[str]) -> Steps:
    """Of these tasks, or of the whole queue; resume as well."""
    yield from asks(kind, dict.fromkeys(names, 1))


def priority(names: Sequence[str], value: int) -> Steps:
    yield from asks("priority", dict.fromkeys(names, value))


def cancel(owner: Owner, names: Sequence[str], clock: SimClock) -> Steps:
    queue, s = yield from read(owner, clock)
    open_ = asking.to_cancel(s, [name for name in names if name in s.lines])
    if not open_:
        return
    yield from asks("cancel", open_)
    told: set[tuple[str, int]] = set()
    for _ in range(int(PATIENCE / POLL)):
        for claim in _left(s, open_):
            if (claim.task, claim.attempt) not in told:
                told.add((claim.task, claim.attempt))
                yield "signal", claim
            if (yield "is_dead", claim):
                yield "sweep_claim", claim
                yield from queue.end_as_lost(claim, Lost("killed"))
        yield from _update(queue, s, clock)
        if not _left(s, open_):
            yield "confirmed", open_
            return
        yield "looked_for", POLL, s, queue


def _left(s: Situation, open_: dict[str, int]) -> list[Claim]:
    """The living attempts of those that nobody has retried meanwhile."""
    lines = [s.lines[name] for name in open_ if s.lines[name].is_cancelled]
    return [claim for line in lines for claim in [_living(line)] if claim is not None]


def _update(queue: SimQueue, s: Situation, clock: SimClock) -> Steps:
    for event in (yield from queue.changes(clock.now)):
        apply(s, event)


def _living(line: Line) -> Claim | None:
    last: Any = line.attempts[-1] if line.attempts else None
    return last.claim if last is not None and last.end is None else None


def retry(owner: Owner, names: Sequence[str], clock: SimClock) -> Steps:
    queue, s = yield from read(owner, clock)
    found = asking.retry(s, [name for name in names if name in s.lines], "anna@host")
    rounds = {}
    for name, wanted in found.rounds.items():
        while not (yield from queue.open_round(wanted)).ours:
            wanted = replace(wanted, number=wanted.number + 1)  # noqa: PLW2901  the next one, as the command does
        rounds[name] = wanted.number
    if found.tasks:
        yield from asks("retry", {name: rounds.get(name, s.lines[name].round) for name in sorted(found.tasks)})
