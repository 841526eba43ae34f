"""A project folder whose queue holds the records of attempts that never ran."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from parallel_train.core.facts import Claim, End, Exited, Outcome, Round
from parallel_train.core.task import Metric, Task, identity, task_id
from parallel_train.core.wire import end_data, round_data
from parallel_train.project.reading import this_owner
from parallel_train.store import queue, records, submissions

AT = "2026-01-02T03:04:05Z"
ACCURACY = (Metric("accuracy", file="{output}/metrics.json"),)


def task(name: str, *, metrics: tuple[Metric, ...] = ACCURACY, **more: object) -> Task:
    """A task that promises output/NAME, in which its metrics are."""
    made = Task(name=name, command=("true", name), output=f"output/{name}")
    made = replace(made, **more)
    found = tuple(replace(m, file=m.file and m.file.replace("{output}", str(made.output))) for m in metrics)
    made = replace(made, metrics=found, id=task_id(made))
    return replace(made, identity=identity(made, {}, made.needs))


class History:
    """Writes what workers would have written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.queue = path / queue.NAME
        queue.create(self.queue)

    def submit(self, *tasks: Task, source: str = "tasks/default.yaml") -> tuple[Task, ...]:
        tasks = tuple(replace(task, source=source) for task in tasks)
        return submissions.submit(self.queue / "tasks", source, tasks, AT)[0].tasks

    def start(self, of: Task, attempt: int = 1, *, log: bytes = b"", err: bytes = b"", **more: object) -> Claim:
        """A claim of this process, which lives, and its logs."""
        stem = f"logs/gpu0_{of.name}_{attempt}"
        owner = this_owner("worker")
        claim = Claim(
            task=of.id,
            attempt=attempt,
            round=1,
            identity=of.identity,
            needs={},
            owner=owner,
            slots=("gpu-0",),
            gpus=("0",),
            log=f"{stem}.log",
            err=f"{stem}.err",
            at=AT,
        )
        claim = replace(claim, **more)
        self.write(claim.log, log)
        self.write(claim.err, err)
        assert records.publish(str(self.queue / "claims" / f"{of.id}.{attempt}"), [asdict(claim)], durable=False)
        return claim

    def end(self, of: Task, attempt: int = 1, outcome: Outcome | None = None, **more: object) -> None:
        state = "there" if of.output else "none"
        end = End(of.id, attempt, outcome or Exited(0), output=state, started=AT, ended=AT, seconds=60.0)
        path = self.queue / "ends" / f"{of.id}.{attempt}"
        assert records.publish(str(path), [end_data(replace(end, **more))], durable=False)

    def ran(self, of: Task, attempt: int = 1, outcome: Outcome | None = None, **more: object) -> Claim:
        """One attempt from its claim to its end; `more` goes into the claim."""
        claim = self.start(of, attempt, **more)
        self.end(of, attempt, outcome)
        return claim

    def open_round(self, of: Task, number: int = 2) -> None:
        opened = Round(of.id, number, of.identity, "failed before", aside=False)
        assert records.publish(str(self.queue / "rounds" / f"{of.id}.{number}"), [round_data(opened)], durable=False)

    def write(self, path: str, content: bytes | str) -> Path:
        file = self.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    def measured(self, of: Task, *, seconds: float = 60.0, **metrics: object) -> None:
        """`of` succeeded and wrote these metrics."""
        self.write(f"{of.output}/metrics.json", json.dumps(metrics))
        self.start(of)
        self.end(of, seconds=seconds)
