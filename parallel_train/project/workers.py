"""The workers of a queue: what each says about itself, and who works here now."""

from __future__ import annotations

import calendar
import contextlib
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from parallel_train.core.facts import Owner
from parallel_train.core.roster import Roster, Terms
from parallel_train.core.situation import Situation
from parallel_train.core.slots import Pool
from parallel_train.core.wire import device_of
from parallel_train.procs.grant import grant_of
from parallel_train.procs.runner import is_alive
from parallel_train.project.reading import this_owner
from parallel_train.report import words
from parallel_train.report.workers import Seen
from parallel_train.store.queue import NAME, DiskQueue

_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")
_MOST_TASKS = 1_000_000  # of a task file


@dataclass(frozen=True, slots=True)
class Worker:
    """A living one, by its record. One of an older version may not say everything."""

    owner: Owner
    about: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.owner.worker

    @property
    def source(self) -> str:
        """What it runs; empty where that is whatever the queue holds."""
        return str(self.about.get("source", ""))

    @property
    def makes_calls(self) -> bool:
        """Whether it is a script that makes calls itself, and no scheduler."""
        return bool(self.about.get("calls"))

    @property
    def job(self) -> str:
        """The element of a cluster's that it is, such as 123_4; empty where it is none."""
        return str(self.about.get("job", ""))

    @property
    def numbers(self) -> frozenset[int]:
        """The numbers of the tasks that it was asked for."""
        return frozenset(_numbers(str(self.about.get("tasks", ""))))

    @property
    def pool(self) -> Pool:
        """Its slots, all of them free."""
        gpus, cpus = ([device_of(device) for device in self.about.get(kind, ())] for kind in ("slots", "cpu_slots"))
        return Pool.of(gpus, cpus)

    @property
    def roster(self) -> Roster | None:
        """Where it asks a cluster for workers, what it asks for."""
        known, said = {f.name for f in fields(Terms)}, self.about.get("terms")
        with contextlib.suppress(TypeError):  # another version
            return Roster(Terms(**{k: v for k, v in said.items() if k in known})) if isinstance(said, dict) else None
        return None

    def lines(self, project: Path) -> Path:
        """Where its lines go when it has no terminal."""
        return project / NAME / "journal" / f"{self.name}.log"

    def age(self, wall: float) -> float | None:
        """Seconds since it began, by two wall clocks; None where it does not say."""
        with contextlib.suppress(ValueError):
            return max(0.0, wall - calendar.timegm(time.strptime(self.about.get("at", ""), "%Y-%m-%dT%H:%M:%SZ")))
        return None

    def seen(self, project: Path) -> Seen:
        lines = self.lines(project)
        return Seen(
            name=self.name,
            pid=self.owner.pid,
            host=self.owner.host,
            words=tuple(map(str, self.about.get("words", ()))),
            seconds=self.age(time.time()),
            lines=str(lines.relative_to(project)) if lines.exists() else "",
            program="python" if self.makes_calls else "parallel-train",
            job=self.job,
        )


def about(situation: Situation, disk: DiskQueue, source: str, log_dir: str) -> dict[str, Any]:
    """What a worker says about itself, enough for another process to show what it shows."""
    chosen = situation.wishes.selection | situation.joined
    pool = situation.pool
    grant = grant_of(os.environ) if situation.wishes.is_lent else None
    return {
        "source": source,
        "job": grant.job if grant else "",
        "tasks": words.ranges(str(situation.lines[name].task.number) for name in chosen),
        "submission": disk.submission,
        "request": disk.request,
        "ignore_failures": situation.wishes.ignore_failures,
        "options": situation.wishes.options,
        "slots": [asdict(slot.device) for slot in pool.slots.values()],
        "cpu_slots": [asdict(slot.device) for slot in pool.extra.values()],
        "terms": asdict(situation.roster.terms) if situation.roster else None,
        "log_dir": log_dir,
        "words": sys.argv[1:],
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def living(project: Path) -> list[Worker]:
    """Those who live, as far as can be seen from here, the oldest first."""
    disk = DiskQueue(project / NAME, this_owner("looking"), is_alive)
    found = [Worker(owner, what) for owner, what in disk.company()]
    return sorted(found, key=lambda worker: (str(worker.about.get("at", "")), worker.name))


def work_on(workers: Iterable[Worker], source: str) -> bool:
    """Whether one of them runs the tasks of `source`."""
    return any(worker.source in {"", source} for worker in workers)


def _numbers(text: str) -> Iterator[int]:
    """1 2 3 5 for 1-3,5."""
    for part in text.split(","):
        if found := _RANGE.fullmatch(part):
            first, last = int(found[1]), int(found[2] or found[1])
            yield from range(first, min(last, first + _MOST_TASKS) + 1)
