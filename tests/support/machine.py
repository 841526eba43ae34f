"""A project, its queue and a runner in a folder of the test's: real launchers, shims and tasks."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from parallel_train.core import wire
from parallel_train.core.events import Claimed, Ended, Event, Launch, NeedSeen, Refused, Warned
from parallel_train.core.facts import Claim, End, Owner
from parallel_train.core.slots import Device
from parallel_train.core.task import Task
from parallel_train.procs import locks, process
from parallel_train.procs.order import Surroundings
from parallel_train.procs.runner import LocalRunner, is_alive
from parallel_train.store import queue, records
from parallel_train.store.queue import DiskQueue
from tests.support.wait import wait_until


def signal_proven(pid: int, start: int, number: int) -> bool:
    """Signal the process that had `pid` and started at `start`, and no other."""
    descriptor = process.open_proven(pid, start)
    if descriptor is None:
        return False
    process.send(descriptor, number)
    os.close(descriptor)
    return True


@dataclass
class Machine:
    project: Path
    worker: str = "tester"
    grace: float = 0.3
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    threads: int = 1
    umask: int = 0o022
    lease: float = 300.0
    is_shared: Callable[[], bool] = lambda: False
    around: Surroundings = field(init=False)
    runner: LocalRunner = field(init=False)
    events: list[Event] = field(default_factory=list)
    lock_names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        queue.create(self.folder)
        (self.project / "logs").mkdir(exist_ok=True)
        self.queue().join()
        self.around = Surroundings(
            project=self.project,
            queue=self.folder,
            worker=self.worker,
            late={"python": sys.executable},
            threads=self.threads,
            umask=self.umask,
            grace=self.grace,
            environment=self.environment,
            lease=self.lease,
            is_shared=self.is_shared,
        )
        self.runner = LocalRunner(self.around)

    @property
    def folder(self) -> Path:
        return self.project / queue.NAME

    def queue(self) -> DiskQueue:
        return DiskQueue(self.folder, self.owner, is_alive)

    @property
    def owner(self) -> Owner:
        return wire.owner_of(process.this_process(self.worker))

    def device(self, kind: str = "cpu", label: str = "0") -> Device:
        name = f"{kind}-test-{uuid.uuid4().hex}"
        self.lock_names.append(name)
        return Device(kind, label, label if kind == "gpu" else "", name)  # type: ignore[arg-type]

    def task(self, *command: str, name: str = "task", **more: object) -> Task:
        return replace(Task(name, command, id=name, identity="same"), **more)  # type: ignore[arg-type]

    def python(self, code: str, name: str = "task", **more: object) -> Task:
        """A task that runs `code`."""
        return self.task(sys.executable, "-I", "-S", "-c", code, name=name, **more)

    def start(
        self,
        task: Task,
        *devices: Device,
        attempt: int = 1,
        round_: int = 1,
        needs: Mapping[str, NeedSeen] | None = None,
        aside: int = 0,
        **more: float,
    ) -> Launch:
        devices = devices or (self.device(),)
        launch = Launch(task, attempt, round_, needs or {}, tuple(d.lock for d in devices), aside, **more)
        self.runner.start(launch, devices)
        return launch

    # ---- what happened ----

    def listen(self) -> None:
        self.events += self.runner.wait(0.05)

    def event(self, kind: type, task: str = "task", attempt: int = 1) -> Event:
        """The first event of that kind about that attempt."""

        def look() -> Event | None:
            self.listen()
            return next((e for e in self.events if isinstance(e, kind) and _about(e) == (task, attempt)), None)

        return wait_until(look, f"{kind.__name__} of {task}.{attempt}, only {self.events}")

    def claimed(self, task: str = "task", attempt: int = 1) -> Claim:
        return self.event(Claimed, task, attempt).claim

    def ended(self, task: str = "task", attempt: int = 1) -> End:
        return self.event(Ended, task, attempt).end

    def refused(self, task: str = "task", attempt: int = 1) -> Refused:
        return self.event(Refused, task, attempt)

    def warned(self, text: str) -> str:
        """The first warning with `text` in it."""

        def look() -> str | None:
            self.listen()
            return next((e.text for e in self.events if isinstance(e, Warned) and text in e.text), None)

        return wait_until(look, f"a warning of {text}, only {self.events}")

    def run(self, task: Task, *devices: Device, **more: object) -> End:
        """One attempt from its start to its end; the end as it is recorded."""
        launch = self.start(task, *devices, **more)  # type: ignore[arg-type]
        told = self.ended(task.id, launch.attempt)
        recorded = self.end(task.id, launch.attempt)
        assert replace(told, seconds=0) == replace(recorded, seconds=0)
        return recorded

    def end(self, task: str = "task", attempt: int = 1) -> End:
        return wire.end_of(records.read_one(str(self.folder / "ends" / f"{task}.{attempt}")))

    def claim(self, task: str = "task", attempt: int = 1) -> Claim:
        return wire.claim_of(records.read_one(str(self.folder / "claims" / f"{task}.{attempt}")))

    def log(self, task: str = "task", attempt: int = 1) -> str:
        return (self.project / self.claim(task, attempt).log).read_text()

    def until_file(self, name: str) -> str:
        """The content of a file that a task writes in one go."""
        path = self.project / name
        return wait_until(lambda: path.exists() and path.read_text(), f"{name} is written")

    def publish(self, kind: str, name: str, data: dict | None = None) -> None:
        assert records.publish(str(self.folder / kind / name), [data or {}])


def _about(event: Event) -> tuple[str, int]:
    match event:
        case Claimed(claim):
            return claim.task, claim.attempt
        case Ended(end):
            return end.task, end.attempt
        case _:
            return getattr(event, "task", ""), getattr(event, "attempt", 0)


@contextmanager
def machine(project: Path, **more: object) -> Iterator[Machine]:
    made = Machine(project, **more)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        made.runner.close()
        for path in (made.folder / "claims").iterdir():
            data = records.read_one(str(path))
            if "owner" in data:  # and not just there to be in the way
                signal_proven(data["owner"]["pid"], data["owner"]["start"], signal.SIGQUIT)
        for name in made.lock_names:
            with suppress(FileNotFoundError):
                (Path(locks.folder()) / name).unlink()


def lives(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    return process.start_time(pid) != 0


def is_gone(pid: int) -> bool:
    return not lives(pid)


def waits_for_an_order(shim: int) -> bool:
    """Only then its stops are not blocked, and the end of a child is: who waits for a task hears of both."""
    try:
        lines = Path(f"/proc/{shim}/status").read_text().splitlines()
    except OSError:
        return False
    blocked = next((line.split()[1] for line in lines if line.startswith("SigBlk")), "f" * 16)
    is_blocked = {number: bool(int(blocked, 16) >> (number - 1) & 1) for number in (signal.SIGTERM, signal.SIGCHLD)}
    return is_blocked == {signal.SIGTERM: False, signal.SIGCHLD: True}
