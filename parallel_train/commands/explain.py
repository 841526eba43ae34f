"""explain: why tasks stand as they do, the records behind it, and what would change it. It only looks."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import TextIO

from parallel_train.commands import plan
from parallel_train.commands.add import SOURCE as ADDED
from parallel_train.commands.gpus import Attempts
from parallel_train.commands.muster import Musters, typed
from parallel_train.commands.options import RunOptions
from parallel_train.commands.select import select
from parallel_train.core import causes
from parallel_train.core.differences import Change, changes
from parallel_train.core.facts import Request
from parallel_train.core.muster import Muster
from parallel_train.core.state import Ended, Line, is_satisfied
from parallel_train.core.task import Task
from parallel_train.errors import NothingSelectedError
from parallel_train.procs import aside, locks, order, outputs
from parallel_train.project import workers
from parallel_train.project.reading import changed_since, existing_queue, look
from parallel_train.report import account, paste, words
from parallel_train.report.gpus import AttemptName, attempt_text
from parallel_train.report.outlet import Outlet
from parallel_train.report.shape import story_json
from parallel_train.report.story import Found, Story, Worker
from parallel_train.store import requests, submissions
from parallel_train.store.inputs import is_made
from parallel_train.store.submissions import Submission, Wording

_MOST = 10  # tasks explained at once to a person
_NARROWEST = 40  # columns


def explain(project: Path, wanted: Sequence[str], options: RunOptions, *, as_json: bool, out: TextIO) -> int:
    """Explain the tasks that `wanted` names, else those that are not done; 0."""
    desk = Desk(project, plan.late_values(options))
    chosen = desk.chosen(wanted)
    for text in desk.damaged:
        print(words.remark(text), file=sys.stderr)
    if as_json:
        told = [story_json(desk.story(line)) for line in chosen]
        print(json.dumps({"tasks": told}, indent=2), file=out)
        return 0
    width = max(_NARROWEST, shutil.get_terminal_size().columns) if out.isatty() else None
    parts = [account.text(desk.story(line), width) for line in chosen[:_MOST]]
    if len(chosen) > _MOST:
        parts.append(f"… and {len(chosen) - _MOST} more: name them to have them explained\n")
    Outlet(out, Path(os.devnull)).write("\n".join(parts) or "All tasks are done: name one to see why it counts so\n")
    return 0


class Desk:
    """Everything that is read, once for all tasks that are explained."""

    def __init__(self, project: Path, late: Mapping[str, str]) -> None:
        self.project, self.late = project, late
        self.folder = existing_queue(project)
        self.submitted = submissions.read_all(self.folder / "tasks")
        newest = submissions.newest(self.submitted).values()
        self.holding = {task.id: submission for submission in newest for task in submission.tasks}
        held = {task.id: task for submission in newest for task in submission.tasks}
        self.tasks = {task.id: task for s in self.submitted for task in s.tasks} | held
        self.damaged: list[str] = []
        self._musters = Musters(self.folder)
        self.situation = look(project, list(self.tasks.values()), self.damaged.append, late)
        self.now = datetime.now(timezone.utc)
        self._by_id: dict[int, dict[str, Task]] = {}

    def chosen(self, wanted: Sequence[str]) -> list[Line]:
        """Raises NothingSelectedError where `wanted` names none."""
        if not self.tasks:
            raise NothingSelectedError("the queue holds no task")
        lines = self.situation.lines
        if not wanted:
            not_done = [lines[name] for name in self.holding if not is_satisfied(lines[name].state)]
            return sorted(not_done, key=lambda line: (not isinstance(line.state, Ended), line.task.number))
        try:
            found = select(wanted, [self.tasks[name] for name in self.holding])
        except NothingSelectedError:
            found = select(wanted, list(self.tasks.values()))  # one that no file names any more
        return [lines[task.id] for task in found]

    def story(self, line: Line) -> Story:
        former = self._former(line)
        links = causes.chain(self.situation, line.task.id, former.task if former else None)
        is_held = line.task.id in self.holding
        can_start = links[0].reason.decision == "run" and is_held
        place = causes.place(self._order, line) if can_start else None
        found = self._found(line, former)
        is_worked_on = bool(found.muster and found.muster.present) or any(worker.takes for worker in found.workers)
        outlook = causes.Outlook(is_worked_on, self._files)
        steps = causes.steps(self.situation, links, outlook, place.ahead if place else ())
        return Story(self.situation, line, links, place, steps, found)

    @cached_property
    def _order(self) -> causes.Order:
        return causes.order(self.situation, self.holding)

    def _former(self, line: Line) -> Wording | None:
        """The wording that its last attempt was made from, where that is not the present one."""
        last = line.last_started
        return self._wordings.get(last.claim.identity) if last and last.claim.identity != line.task.identity else None

    def _then(self, submission: Submission) -> dict[str, Task]:
        if submission.number not in self._by_id:
            self._by_id[submission.number] = {task.id: task for task in submission.tasks}
        return self._by_id[submission.number]

    @cached_property
    def _wordings(self) -> dict[str, Wording]:
        last = (line.last_started for line in self.situation.lines.values())
        return submissions.wordings(self.submitted, {attempt.claim.identity for attempt in last if attempt})

    def _found(self, line: Line, former: Wording | None) -> Found:
        task = line.task
        done_when = order.done_when(task, self.project)
        changed = changes(self._then(former.submission), self.tasks, task.id) if former else ()
        asked = [request for request in self._requests if self._is_about(request, task)]
        return Found(
            command=tuple(order.command(task, self.late)),
            output=outputs.state(str(self.project / task.output) if task.output else None, None),
            is_done=outputs.is_done(done_when["files"], done_when["contains"]) if done_when else None,
            aside=dict(self._put_aside(line)),
            changed=changed,
            changed_since=changed_since(self.project, line, self.late),
            touched=tuple(self._touched(line, changed)),
            requests=tuple(asked),
            workers=tuple(self._worker(worker, task, asked) for worker in self._living),
            muster=self._muster.about([task.id]) if self._muster else None,
            elsewhere=tuple(self._elsewhere(task)),
            source=self._source(task),
            options=self._typed.get(task.id, ()),
            records=self._records(line, former, asked),
            damaged=tuple(text for text in self.damaged if f"/{task.id}." in text),
            now=self.now,
        )

    # ---- who names it, who works on it ----

    def _source(self, task: Task) -> str:
        if task.id not in self.holding:
            return ""
        return paste.command("add") if task.source == ADDED else self.holding[task.id].source

    @cached_property
    def _typed(self) -> Mapping[str, tuple[str, ...]]:
        return typed(self.folder)

    @cached_property
    def _files(self) -> dict[str, str]:
        """What a run is given to work on a task; empty where no file is there that could be."""
        there = {source for source in {t.source for t in self.tasks.values()} if (self.project / source).is_file()}
        return {n: s.source if self.tasks[n].source in there else "" for n, s in self.holding.items()}

    @cached_property
    def _living(self) -> list[workers.Worker]:
        return self._musters.at_work(workers.living(self.project))

    @cached_property
    def _muster(self) -> Muster | None:
        is_any_open = any(not isinstance(line.state, Ended) for line in self.situation.lines.values())
        return self._musters.look() if is_any_open else None

    def _worker(self, worker: workers.Worker, task: Task, asked: Sequence[Request]) -> Worker:
        slots = worker.pool.slots if task.gpus else worker.pool.extra
        labels = [
            slot.device.label if slot.device.kind == "gpu" else f"cpu{slot.device.label}" for slot in slots.values()
        ]
        return Worker(
            worker.seen(self.project), tuple(labels), takes=self._takes(worker, task, asked), asks=bool(worker.roster)
        )

    def _takes(self, worker: workers.Worker, task: Task, asked: Sequence[Request]) -> bool:
        """It was asked for it, or took it up since: added, retried, or new in its file."""
        submission = self.holding.get(task.id)
        if submission is None or not worker.source or task.number in worker.numbers:
            return submission is not None
        is_new = worker.source == submission.source and submission.number > worker.about.get("submission", 0)
        since = (r for r in asked if r.number > worker.about.get("request", 0))
        return is_new or any(request.kind in {"add", "retry"} for request in since)

    def _elsewhere(self, task: Task) -> Iterator[str]:
        """The attempts of other queues on slots of the workers here."""
        for worker in self._living:
            for name, slot in (worker.pool.slots if task.gpus else worker.pool.extra).items():
                if name in self._held:
                    yield f"{words.slot([slot.device.label])}: {attempt_text(self._held[name])}"

    @cached_property
    def _held(self) -> dict[str, AttemptName]:
        """The slots of this machine that other queues hold."""
        with suppress(OSError):
            signed = locks.holders()
            named = Attempts(self.project).named(signed.values())
            found = {name: named.get(str(who.get("cookie"))) for name, who in signed.items()}
            return {n: who for n, who in found.items() if who and who.is_elsewhere and locks.is_held(n)}
        return {}

    @cached_property
    def _requests(self) -> list[Request]:
        return requests.read_all(self.folder)

    def _is_about(self, request: Request, task: Task) -> bool:
        """Its own ones, what added it, and a pause of the whole queue that holds."""
        if request.kind == "add":
            return task.id in self._tasks_of.get(request.submission, ())
        return task.id in request.tasks or (self.situation.is_paused and request == self.situation.pause)

    @cached_property
    def _tasks_of(self) -> dict[int, frozenset[str]]:
        """What each submission that was added holds."""
        added = {request.submission for request in self._requests if request.kind == "add"}
        return {s.number: frozenset(t.id for t in s.tasks) for s in self.submitted if s.number in added}

    # ---- what lies where ----

    def _put_aside(self, line: Line) -> Iterator[tuple[int, str]]:
        """Round -> where the old output lies, empty where none was there."""
        for number in (r.number for r in line.rounds if r.aside and line.task.output):
            name = f"{line.task.id}.{number}"
            with suppress(OSError):
                folder = aside.place_of(str(self.folder), name, str(self.project / str(line.task.output)))
                if folder:
                    yield number, next((self._shown(inside) for inside in Path(folder).iterdir()), "")

    def _touched(self, line: Line, changed: Sequence[Change]) -> Iterator[tuple[str, str]]:
        """Inputs that may have made it another task, and were written after its last attempt began."""
        last = line.last_started
        for path in dict.fromkeys(path for change in changed for path in change.inputs):
            if is_made(path, self._outputs):
                continue
            with suppress(OSError):
                written = datetime.fromtimestamp(_written(self.project / path), timezone.utc)
                at = written.strftime("%Y-%m-%dT%H:%M:%SZ")
                if last is not None and at >= last.claim.at:
                    yield path, at

    @cached_property
    def _outputs(self) -> set[str]:
        return {task.output for task in self.tasks.values() if task.output}

    def _records(self, line: Line, former: Wording | None, asked: Sequence[Request]) -> dict[str, tuple[str, ...]]:
        """The files that say all this, by their kind."""
        task = line.task
        tasks = {s.number: s for s in (former and former.submission, self._last[task.id]) if s}
        found = {
            "tasks": [f"{number:06d}.jsonl" for number in sorted(tasks)],
            "rounds": [f"{task.id}.{r.number}" for r in line.rounds],
            "claims": [f"{task.id}.{a.number}" for a in line.attempts],
            "ends": [f"{task.id}.{a.number}" for a in line.attempts if a.end is not None],
            "requests": [str(request.number) for request in asked],
        }
        there = {
            kind: tuple(self._shown(path) for name in names if (path := self.folder / kind / name).is_file())
            for kind, names in found.items()
        }
        return {kind: paths for kind, paths in there.items() if paths}

    @cached_property
    def _last(self) -> dict[str, Submission]:
        return {task.id: submission for submission in self.submitted for task in submission.tasks}

    def _shown(self, path: Path) -> str:
        return str(path.relative_to(self.project)) if path.is_relative_to(self.project) else str(path)


def _written(path: Path) -> float:
    """When it, or the newest file in it, was written."""
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    return max((file.stat().st_mtime for file in files), default=0.0)
