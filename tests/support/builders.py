"""Tasks, records and situations in as few words as a test case needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from parallel_train.core.apply import absorb
from parallel_train.core.events import Claimed, Ended, Event, OutputFound
from parallel_train.core.facts import (
    Claim,
    End,
    Exited,
    Lost,
    NotStarted,
    Outcome,
    OutputState,
    Owner,
    Round,
    Signalled,
    TimedOut,
    Why,
)
from parallel_train.core.situation import Situation, Wishes, load
from parallel_train.core.slots import Device, Pool
from parallel_train.core.task import Task

__all__ = ["Exited", "Lost", "NotStarted", "Signalled", "TimedOut"]

WORKER = "host.100.1"


def task(name: str, *, needs: str | Sequence[str] = (), **more: object) -> Task:
    """A task whose id is its name, and whose identity is its command and params."""
    needs = needs.split() if isinstance(needs, str) else needs
    made = Task(name=name, command=("true",), id=name, needs=tuple(needs))
    made = replace(made, **more)  # type: ignore[arg-type]
    return replace(made, identity=made.identity or f"{made.command}{dict(made.params)}")


def gpu(label: str = "0") -> Device:
    return Device("gpu", label, label, f"gpu-{label}")


def cpu(label: str = "0") -> Device:
    return Device("cpu", label, "", f"cpu-{label}")


def pool(gpus: int = 2, cpus: int = 0) -> Pool:
    return Pool.of([gpu(str(n)) for n in range(gpus)], [cpu(str(n)) for n in range(cpus)])


def claim(of: Task, attempt: int = 1, *, gpus: str = "0", **more: object) -> Claim:
    """A claim of this worker, made from attempt 1 of each need, on the GPUs named in `gpus`."""
    labels = tuple(gpus.split())
    owner = Owner(WORKER, "host", "machine", "boot", "pidns", 100, 1)
    made = Claim(
        task=of.id,
        attempt=attempt,
        round=1,
        identity=of.identity,
        needs=dict.fromkeys(of.needs, 1),
        owner=owner,
        slots=tuple(f"gpu-{label}" for label in labels),
        gpus=labels,
        log=f"logs/gpu{'-'.join(labels)}_{of.name}.log",
        err=f"logs/gpu{'-'.join(labels)}_{of.name}.err",
        at="2026-01-02T03:04:05Z",
    )
    return replace(made, **more)  # type: ignore[arg-type]


def claimed(of: Task, attempt: int = 1, *, gpus: str = "0", **more: object) -> Claimed:
    return Claimed(claim(of, attempt, gpus=gpus, **more))


def ended(of: Task, attempt: int = 1, outcome: Outcome | int = 0, **more: object) -> Ended:
    """The end of an attempt; an int is an exit code."""
    made = End(
        of.id,
        attempt,
        Exited(outcome) if isinstance(outcome, int) else outcome,
        started="2026-01-02T03:04:05Z",
        ended="2026-01-02T04:27:50Z",
        seconds=5025.0,
    )
    return Ended(replace(made, **more))  # type: ignore[arg-type]


def ran(of: Task, attempt: int = 1, outcome: Outcome | int = 0, **more: object) -> list[Event]:
    """One attempt from its claim to its end."""
    return [claimed(of, attempt), ended(of, attempt, outcome, **more)]


def found(of: Task, output: OutputState = "there") -> OutputFound:
    return OutputFound(of.id, output)


def round_(of: Task, number: int = 2, why: Why = "asked for", *, aside: bool = True) -> Round:
    return Round(of.id, number, of.identity, why, aside=aside, by=WORKER)


def situation(
    *tasks: Task,
    events: Iterable[Event | list[Event]] = (),
    wishes: Wishes | None = None,
    slots: Pool | None = None,
) -> Situation:
    """All of `tasks` selected, on two GPUs, after `events` (lists among them are laid out)."""
    selection = frozenset(t.id for t in tasks)
    wishes = replace(wishes or Wishes(), selection=selection, worker=WORKER)
    made = Situation(wishes, pool() if slots is None else slots)
    load(made, tasks)
    absorb(made, [e for one in events for e in (one if isinstance(one, list) else [one])])
    return made
