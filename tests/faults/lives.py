"""The real loop over so many task lives, with a machine and a disk that forget: what does its memory do?

python -m tests.faults.lives COUNT: prints its resident MiB after a tenth of the tasks and after the last.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from parallel_train.core import wire
from parallel_train.core.events import Claimed, Ended, Event, Launch
from parallel_train.core.situation import Situation, Wishes, abridge, begin, load
from parallel_train.core.slots import Device, Pool
from parallel_train.core.task import Task, task_id
from parallel_train.report.console import Setup, make_reporter
from parallel_train.scheduler import Scheduler
from tests.support.fakes import FakeClock, FakeQueue

OWNER = {"worker": "w", "pid": 1, "start": 1, "host": "h", "machine": "m", "boot": "b", "pidns": "p"}


@dataclass
class Forgetful:
    """A runner whose attempts are claimed and end at once, as values that came from JSON."""

    clock: FakeClock
    count: int
    events: list[Event] = field(default_factory=list)
    ended: int = 0
    early: float = 0.0

    def start(self, launch: Launch, devices: Sequence[Device]) -> None:
        about = {"task": launch.task.id, "attempt": launch.attempt}
        log = f"logs/gpu0_{launch.task.name}_20260101_000000"
        claim = {
            **about,
            "round": 1,
            "identity": launch.task.identity,
            "needs": {},
            "owner": OWNER,
            "slots": launch.slots,
            "gpus": [d.label for d in devices],
            "log": f"{log}.log",
            "err": f"{log}.err",
            "cookie": f"{launch.task.id}.1.{self.ended}.99.boot",
            "made_with": {},
            "at": "2026-01-01T00:00:00Z",
        }
        end = {**about, "outcome": {"exited": 0}, "output": "none", "started": "2026-01-01T00:00:00Z", "seconds": 1.5}
        self.events.append(Claimed(wire.claim_of(json.loads(json.dumps(claim)))))
        self.events.append(Ended(wire.end_of(json.loads(json.dumps(end))), self.clock.now))

    def wait(self, seconds: float | None) -> list[Event]:
        self.clock.now += 0.01
        events, self.events = self.events, []
        self.ended += len(events) // 2
        if not self.early and self.ended >= self.count // 10:
            self.early = resident()
        return events

    def stop(self, task: str, attempt: int, *, kill: bool) -> None: ...

    def watch(self, claim: object) -> None: ...

    def sweep(self, claim: object) -> None: ...

    def close(self) -> None: ...


def resident() -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def main() -> None:
    count = int(sys.argv[1])
    clock = FakeClock()
    tasks = [Task(name=f"t{n}", command=("true",), params={"i": n}, number=n + 1) for n in range(count)]
    tasks = [replace(task, id=task_id(task)) for task in tasks]
    situation = Situation(Wishes(worker="w"), Pool.of(Device("gpu", str(n), str(n), f"gpu-{n}") for n in range(8)))
    load(situation, tasks)
    begin(situation, replace(situation.wishes, selection=frozenset(task.id for task in tasks)))
    runner = Forgetful(clock, count)
    with tempfile.TemporaryDirectory() as folder, Path("/dev/null").open("w") as nothing:
        setup = Setup(Path(folder), Path(folder, "lines"), clock)
        reporter = make_reporter(situation, setup, io.TextIOWrapper(nothing.buffer))
        reporter.begin(situation)
        abridge(situation)
        code = Scheduler(situation, FakeQueue(), runner, reporter, clock).run()
    print(json.dumps({"code": code, "ended": runner.ended, "early": runner.early, "late": resident()}))


if __name__ == "__main__":
    main()
