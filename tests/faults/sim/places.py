"""Where processes stand, so that the search need not run one again that did the same elsewhere.

A process is a function of how it began and of all that it was sent since. So each that ever came to the same place is
the same one from there on: it is run once, and what it does next is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any

from parallel_train.core.facts import Attempt, Owner
from parallel_train.core.state import Line
from tests.faults.sim import worker
from tests.faults.sim.actor import Actor
from tests.faults.sim.copying import situation_like
from tests.faults.sim.product import TIME, Step, Steps
from tests.faults.sim.shim import shim
from tests.faults.sim.worker import Scheduler, Silent, SimClock, SimRunner

Sent = tuple[Any, BaseException | None, float]
DERIVED = frozenset(("to_open", "ready", "ready_cpu", "delayed", "open", "counts", "followers", "filed"))
LEFT_OUT = {Line: "state", Attempt: "seen"}  # what follows from the rest, and when this process learnt of it
_KEPT = 200_000
_numbers: dict[Hashable, int] = {}  # of all values that were ever met
_known: dict[int, tuple[Any, int]] = {}  # records by their id; kept alive, so that it stays their own


def number_of(value: Any) -> Hashable:
    """The same for equal values, and no other."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case tuple() | list():
            return tuple(map(number_of, value))
        case dict():
            return numbered(frozenset((number_of(key), number_of(inner)) for key, inner in value.items()))
        case set() | frozenset():
            return numbered(frozenset(map(number_of, value)))
        case BaseException():
            return repr(value)
        case _ if is_dataclass(value):
            return _number_of_fields(value)
        case _:
            raise AssertionError(type(value))


def numbered(value: Hashable) -> int:
    return _numbers.setdefault(value, len(_numbers))


def _number_of_fields(value: Any) -> int:
    known = _known.get(id(value))
    if known is not None and known[0] is value:
        return known[1]
    but = LEFT_OUT.get(type(value))
    found = [number_of(getattr(value, field.name)) for field in fields(value) if field.name != but]
    number = numbered((type(value).__name__, *found))
    if value.__dataclass_params__.frozen:
        if len(_known) > _KEPT:
            _known.clear()
        _known[id(value)] = (value, number)
    return number


class Place:
    """`op` is what the process does next there; none: it is over."""

    __slots__ = ("following", "log", "make", "number", "op", "places")

    def __init__(self, places: Places, make: Callable[[], Steps], log: tuple[Sent, ...], op: Step) -> None:
        self.places, self.make, self.log, self.op = places, make, log, op
        self.number = places.made = places.made + 1
        self.following: dict[Hashable, Place] = {}

    def after(self, result: Any, error: BaseException | None, now: float) -> Place:
        """Where it comes to when it is sent this."""
        key = (number_of(result), error and repr(error), now)
        found = self.following.get(key)
        if found is None:
            found = self.following[key] = self.places.come_to(self.make, (*self.log, (result, error, now)))
        return found


class Places:
    def __init__(self) -> None:
        self.made = 0
        self.begun: dict[Hashable, Place] = {}
        self.loops: dict[Hashable, Place] = {}
        self.idle: dict[Hashable, Place] = {}

    def beginning(self, key: Hashable, make: Callable[[], Steps]) -> Place:
        if key not in self.begun:
            self.begun[key] = Place(self, make, (), ())
        return self.begun[key]

    def come_to(self, make: Callable[[], Steps], log: tuple[Sent, ...]) -> Place:
        steps, op = make(), ()
        try:
            for result, error, now in log:
                TIME.now, TIME.slept, TIME.wall = now, 0.0, now
                op = steps.throw(error) if error is not None else steps.send(result)
        except StopIteration:
            op = ()
        match op:
            case ("top", loop):
                return self._at_top(loop)
            case ("rest", owner):
                return self._idle(owner)
        return Place(self, make, log, op)

    def _idle(self, owner: Owner) -> Place:
        """A shim without an order: of those that it had it knows nothing any more."""
        key = number_of(owner)
        if key not in self.idle:
            make = partial(shim, None, owner)
            self.idle[key] = Place(self, make, ((None, None, 0.0),), ("rest", owner))
        return self.idle[key]

    def _at_top(self, loop: Any) -> Place:
        """A scheduler at the top of its loop: what it knows is all that counts. Its clock begins anew."""
        kept = _kept(loop)
        key = knowledge(kept)
        if key not in self.loops:
            make = partial(resumed, kept)
            self.loops[key] = self.come_to(make, ((None, None, 0.0), (None, None, 0.0)))
        return self.loops[key]


def _kept(loop: Any) -> Any:
    now, s = loop.clock.now, situation_like(loop.situation)
    s.paused_until = max(s.paused_until - now, 0.0)
    for slot in (*s.pool.slots.values(), *s.pool.extra.values()):
        slot.avoid_until = max(slot.avoid_until - now, 0.0)
    kept = Scheduler(s, loop.queue.copy(), loop.runner, loop.reporter, loop.clock, loop.poll)
    kept.looked_at = max(loop.looked_at - now, -1.0)
    kept.had_company, kept.complaint, kept.is_withdrawn = loop.had_company, loop.complaint, loop.is_withdrawn
    return kept


def resumed(loop: Any) -> Steps:
    """The loop of a scheduler from its top on, which `loop` keeps as it was."""
    clock = SimClock()
    runner = SimRunner(loop.runner.worker, clock)
    fresh = Scheduler(situation_like(loop.situation), loop.queue.copy(), runner, Silent(), clock, loop.poll)
    fresh.looked_at, fresh.had_company = loop.looked_at, loop.had_company
    fresh.complaint, fresh.is_withdrawn = loop.complaint, loop.is_withdrawn
    return worker.finish(fresh)


def knowledge(loop: Any) -> Hashable:
    s, read = loop.situation, loop.queue.read
    known = [number_of(getattr(s, field.name)) for field in fields(s) if field.name not in DERIVED]
    queue = (read.submission, read.request, read._seen, read.interest, read.sources, read._strange)
    rest = (loop.looked_at, loop.had_company, loop.complaint, loop.is_withdrawn, loop.runner.worker)
    return (*known, number_of(queue), rest)


class Walker(Actor):
    """A process that is where it is: its copies share nothing that changes."""

    __slots__ = ("place",)
    place: Place

    def like(self) -> Walker:
        other = Walker(self.name, self.pid, self.kind, self.make, self.host, self.known_as)
        other.place, other.op, other.answer = self.place, self.op, self.answer
        return other

    def take(self, result: Any, error: BaseException | None, now: float) -> bool:
        self.place = self.place.after(result, error, now)
        self.op = self.place.op
        return bool(self.op)
