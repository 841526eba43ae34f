"""What of a world can make a difference: two worlds of one likeness go on alike."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from tests.faults.sim.places import number_of

if TYPE_CHECKING:
    from tests.faults.sim.actor import Runner
    from tests.faults.sim.patient import Patient


def likeness(world: Patient) -> bytes:
    """Process numbers are the same in all orders, and clocks stand still."""
    disk, judge = world.disk, world.judge
    actors = [(pid, actor.place.number, _sorted(world.signals.get(pid, ()))) for pid, actor in world.actors.items()]
    links = [pid for pid, links in world.read_at.items() if pid in world.actors and links == world.links]
    parts = (
        *(_folder(getattr(disk, kind)) for kind in ("tasks", "rounds", "claims", "ends", "requests", "workers")),
        *(_folder(getattr(disk, kind)) for kind in ("outputs", "parts", "aside")),
        _sorted(actors),
        [_runner(pid, runner) for pid, runner in sorted(world.runners.items())],
        _sorted((pid, c.shim, c.leader, number_of(c.outcome), c.zombies) for pid, c in world.commands.items()),
        _folder(world.handed),
        _sorted((slot, _sorted(held)) for slot, held in world.locks.items()),
        _sorted(_signed(world)),
        _sorted((key, doubt) for key, doubt in judge.doubts.items() if key not in disk.ends),
        _sorted(judge.confirmed.items()),
        _sorted(links),
        (world.kills, _sorted(world.stale), world.running),
    )
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()


def _signed(world: Patient) -> Iterator[tuple[str, tuple[int, int, str]]]:
    """Who wrote itself into a slot, as long as anybody could signal it, or sweep what it left."""
    left = {command.shim for command in world.commands.values()}
    return ((slot, who) for slot, who in world.signed.items() if who[1] in world.actors or who[1] in left)


def _sorted(values: Iterable[Any]) -> Any:
    found = list(values)
    return sorted(found) if len(found) > 1 else found


def _folder(records: dict[Any, Any]) -> list[Any]:
    return _sorted((key, number_of(record)) for key, record in records.items())


def _runner(number: int, runner: Runner) -> tuple[Any, ...]:
    return (
        number,
        runner.launcher,
        runner.has_answered,
        number_of(runner.inbox),
        runner.asked,
        _sorted(runner.early.items()),
        [number_of(line) for line in (*runner.replies, *runner.pipes)],
        len(runner.replies),
        _sorted(runner.shims.items()),
        runner.idle,
        _sorted(runner.others.attempts()),
        _sorted(runner.others.processes().values()),
        number_of(runner.events),
    )
