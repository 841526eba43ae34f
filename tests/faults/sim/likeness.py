"""What of a world can make a difference: two worlds of one likeness go on alike."""

from __future__ import annotations

import hashlib
from dataclasses import fields, is_dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from parallel_train.core.facts import Owner
from parallel_train.core.task import Task

if TYPE_CHECKING:
    from tests.faults.sim.actor import Actor, Runner
    from tests.faults.sim.patient import Patient

_WORDS: dict[int, tuple[Any, str]] = {}  # what was put into words already; kept alive, so that its id stays its own
_KEPT = 200_000


def likeness(world: Patient) -> bytes:
    names = _names(world)
    parts = [
        *(word(getattr(world.disk, kind)) for kind in ("tasks", "rounds", "claims", "ends", "requests")),
        word({name: world.is_alive(owner, world.hosts[0]) for name, owner in world.disk.workers.items()}),
        *(word(getattr(world.disk, kind)) for kind in ("outputs", "parts", "aside")),
        word({key: world.is_alive(claim.owner, world.hosts[0]) for key, claim in world.disk.claims.items()}),
        word(sorted(_actor(world, actor, names) for actor in world.actors.values())),
        word(sorted((names[pid], _runner(runner, names)) for pid, runner in world.runners.items())),
        word({slot: sorted(names.get(pid, "?") for pid in held) for slot, held in world.locks.items()}),
        word({key: doubt for key, doubt in world.judge.doubts.items() if key not in world.disk.ends}),
        word((world.judge.confirmed, world.kills)),
    ]
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).digest()


def _names(world: Patient) -> dict[int, str]:
    """Names for the living that do not tell in which order they were born."""
    found: dict[int, str] = {}
    for pid, actor in sorted(world.actors.items()):
        same = sum(name.startswith(actor.name + "#") for name in found.values())
        found[pid] = f"{actor.name}#{same}"
    return found


def _actor(world: Patient, actor: Actor, names: dict[int, str]) -> str:
    parts = [names[actor.pid], actor.op[0], word(sorted(world.signals.get(actor.pid, ())))]
    if actor.pid in world.orders:
        parts.append(word(world.orders[actor.pid]))
    make = actor.make
    if isinstance(make, partial):  # a scheduler at the top of its loop
        loop = make.args[0]
        parts.append(_known("loop", loop, _loop))
    parts.append(word(actor.log))
    if actor.kind == "command":
        parts.append(word(world.commands[actor.pid].outcome))
    return "|".join(parts)


def _loop(loop: Any) -> str:
    s = loop.situation
    lines = [
        (n, line.task.identity, line.rounds, line.attempts, line.output, line.cancel, line.launching)
        for n, line in s.lines.items()
    ]
    mine = sorted((key, claim is not None) for key, claim in s.mine.items())
    slots = [(name, slot.holder, slot.avoid_until) for name, slot in s.pool.slots.items()]
    rest = (s.asked, sorted(s.opened), mine, sorted(s.unwatched), s.vanished, s.told, s.failures, s.paused_until)
    more = (s.is_behind, s.heard, s.wishes.selection, sorted(s.joined), loop.looked_at, loop.had_company)
    read = loop.queue.read
    queue = (read.submission, read.request, read._seen, read.interest, read.sources, loop.complaint)
    return word((lines, slots, rest, more, queue))


def _runner(runner: Runner, names: dict[int, str]) -> str:
    def pipes(some: Any) -> list[Any]:
        return [(p.key, names.get(p.pid, "dead"), p.messages, p.has_claimed, p.is_over) for p in some]

    held = {key: names.get(pid, "dead") for key, pid in {**runner.shims, **runner.watched}.items()}
    launcher = names.get(runner.launcher, "dead") if runner.launcher else ""
    return word(
        (
            launcher,
            runner.has_answered,
            runner.inbox,
            runner.asked,
            runner.early,
            pipes(runner.replies),
            pipes(runner.pipes),
            held,
            sorted(runner.watched),
            runner.events,
        )
    )


def _known(kind: str, value: Any, make: Any) -> str:
    known = _WORDS.get(id(value))
    if known is None or known[0] is not value:
        if len(_WORDS) > _KEPT:
            _WORDS.clear()
        digest = hashlib.blake2b(make(value).encode(), digest_size=12).hexdigest()
        known = _WORDS[id(value)] = (value, f"{kind}:{digest}")
    return known[1]


def word(value: Any) -> str:  # noqa: PLR0911  one case per kind
    """A text that equals that of an equal value."""
    match value:
        case None | bool() | int() | float() | str() | BaseException():
            return repr(value)
        case dict():
            return "{" + ",".join(sorted(f"{word(k)}:{word(v)}" for k, v in value.items())) + "}"
        case frozenset() | set():
            return "{" + ",".join(sorted(map(word, value))) + "}"
        case tuple() | list():
            return "(" + ",".join(map(word, value)) + ")"
        case Owner():
            return value.worker
        case Task():
            return f"{value.id}:{value.identity}"
        case _ if is_dataclass(value):
            return _known(type(value).__name__, value, _fields)
        case _:
            raise AssertionError(type(value))


def _fields(value: Any) -> str:
    return ",".join(word(getattr(value, f.name)) for f in fields(value) if f.name not in {"seen", "at"})
