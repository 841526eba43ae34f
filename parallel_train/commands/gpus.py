"""gpus: the cards of this machine, who computes on them, and what `--gpus LIST` would take. It only looks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from parallel_train.commands.watch import watch
from parallel_train.core.machine import Card
from parallel_train.core.slots import Device
from parallel_train.core.task import Task
from parallel_train.errors import UsageError
from parallel_train.procs import locks, process
from parallel_train.procs.cards import Known
from parallel_train.procs.gpus import Choice, Host, NoDriverError, NoneFreeError, choose, provider_of
from parallel_train.project.reading import known_tasks
from parallel_train.report.gpus import AttemptName, CardRow, GpusView, ProcessRow, gpus_json, sentences, sheets
from parallel_train.report.table import Picture
from parallel_train.report.watch import print_picture
from parallel_train.store import queue


def gpus(project: Path, asked: str, *, again: bool, as_json: bool, out: TextIO) -> int:
    """Print the cards once, or `again` and again; 0."""
    attempts = Attempts(project)

    def picture() -> Picture:
        view = look(asked, attempts)
        if as_json:
            return [json.dumps(gpus_json(view), indent=None if again else 2)]
        return [*sheets(view), *sentences(view)]

    if again:
        return watch(picture, out, as_json=as_json)
    print_picture(picture(), out)
    return 0


@dataclass
class Attempts:
    """Names the attempts of all our queues, looked from `project`; what a queue told once is not read again."""

    project: Path
    _told: dict[tuple[str, str], Task] = field(default_factory=dict)

    @property
    def queue(self) -> str:
        return str(self.project / queue.NAME)

    def named(self, holders: Iterable[Mapping[str, Any]]) -> dict[str, AttemptName]:
        """Those who are written into slot locks, by their cookies."""
        return {str(who.get("cookie")): self._name(who) for who in holders if "task" in who and "attempt" in who}

    def _name(self, who: Mapping[str, Any]) -> AttemptName:
        place, task = str(who.get("queue", "")), str(who["task"])
        known = self._task(place, task)
        return AttemptName(
            queue=str(Path(place).parent) if place else "",
            task=task,
            attempt=int(who["attempt"]),
            number=known.number if known else 0,
            name=known.name if known else "",
            is_elsewhere=place not in {"", self.queue},
        )

    def _task(self, place: str, task: str) -> Task | None:
        if place and (place, task) not in self._told:
            try:
                self._told |= {(place, known.id): known for known in known_tasks(Path(place), everything=True)}
            except (OSError, UsageError):
                return None  # the queue was removed, or is not for us to read
        return self._told.get((place, task))


def look(asked: str, attempts: Attempts) -> GpusView:
    """What there is and what `asked` would take, all of one moment. Raises UsageError."""
    host = Host(attempts.queue, ours=process.is_attempt)
    provider = provider_of(asked, host)
    try:
        cards = provider.cards() if provider else ()
    except NoDriverError:
        cards = ()
    try:
        choice, refusal = choose(asked, host, Known(cards) if provider else None), ""
    except NoneFreeError as error:
        choice, refusal = Choice((), left_out=error.left_out), error.short
    return _view(asked, cards, choice, refusal=refusal, attempts=attempts)


def _view(asked: str, cards: tuple[Card, ...], choice: Choice, *, refusal: str, attempts: Attempts) -> GpusView:
    holders = locks.holders()
    named = attempts.named(holders.values())
    devices = {device.label: device for device in choice.devices if device.kind == "gpu"}

    def holder(device: Device | None) -> AttemptName | None:
        if device is None or device.lock not in holders or not locks.is_held(device.lock):
            return None
        return named.get(str(holders[device.lock].get("cookie")))

    rows = [
        CardRow(
            card=card,
            processes=_processes(card, named.get),
            is_taken=str(card.index) in devices,
            left_out=choice.left_out.get(card.index, ""),
            holder=holder(devices.get(str(card.index))),
        )
        for card in cards
    ]
    takes = tuple(d.label if d.kind == "gpu" else f"cpu{d.label}" for d in choice.devices)
    return GpusView(asked, tuple(rows), takes, choice.remarks, refusal)


def _processes(card: Card, named: Callable[[str], AttemptName | None]) -> tuple[ProcessRow, ...]:
    return tuple(ProcessRow(one, _attempt(process.cookie_of(one.pid), named)) for one in card.processes)


def _attempt(cookie: str, named: Callable[[str], AttemptName | None]) -> AttemptName | None:
    """The attempt of that cookie; where its slot is no longer signed the cookie itself says as much as it can."""
    if not cookie:
        return None
    task, attempt, *_ = [*cookie.rsplit(".", 4), "0"]
    return named(cookie) or AttemptName("", task, int(attempt) if attempt.isdecimal() else 0)
