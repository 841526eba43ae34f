"""add: put a command or a task file into the queue; whoever works there takes it up."""

from __future__ import annotations

import os
import secrets
import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from parallel_train.commands import plan
from parallel_train.commands.ask import request, who_acts
from parallel_train.commands.options import RunOptions
from parallel_train.commands.run import difference
from parallel_train.commands.select import is_task_file
from parallel_train.core.expand import script_stem
from parallel_train.core.situation import name_of
from parallel_train.core.task import Task, digest, identity, is_ours, is_secret
from parallel_train.errors import UsageError
from parallel_train.project.reading import look
from parallel_train.report import asked as words
from parallel_train.report import paste
from parallel_train.report.words import remark
from parallel_train.store import preflight, queue, requests, submissions

SOURCE = "add"  # stands where other tasks have their task file


def add(options: RunOptions, project: Path, out: TextIO, *, priority: int, env: Sequence[str]) -> int:
    """Queue what `options.words` say: a task file with overrides, or a command."""
    is_file = bool(options.words) and is_task_file(options.words[0]) and not options.is_command
    if not options.words or not (is_file or options.is_command):
        example = paste.command("add", "--", "python", "train.py", "--lr", "0.1")
        raise UsageError(f"add what? A task file, or a command after --: {example}")
    folder = project / queue.NAME
    os.umask(0o077)
    if is_file:
        if priority or env:
            raise UsageError("--priority and --env are for a command; a task file says both itself")
        said, tasks, number = _add_file(options, project, folder)
    else:
        said, tasks, number = _add_command(options, folder, priority, _environment(env))
    requests.ask(folder, request("add", {}, number))
    faults = preflight.check(tasks, project, plan.late_values(options), log_dir=options.log_dir)
    print("\n".join([said, *map(remark, faults), who_acts(project, tasks)]), file=out)
    return 0


def _add_file(options: RunOptions, project: Path, folder: Path) -> tuple[str, tuple[Task, ...], int]:
    asked = plan.sort_words(options)
    if asked.tasks:
        alone = paste.command("run", asked.file, *asked.tasks)
        raise UsageError(f"add takes all tasks of a file; to run {' '.join(asked.tasks)} alone: {alone}")
    file = plan.read_tasks(asked, options, project, folder)
    queue.create(folder, shared=options.shared_group)
    submission, before = submissions.submit(
        folder / "tasks", asked.source(options), file.tasks, _now(), searches=file.searches
    )
    states = Counter(name_of(line.state) for line in look(project, submission.tasks).lines.values())
    changed = difference(before, submission) if before is not None else ""
    return words.added_file(submission.source, states, changed), submission.tasks, submission.number


def _add_command(
    options: RunOptions, folder: Path, priority: int, env: Mapping[str, str]
) -> tuple[str, tuple[Task, ...], int]:
    """Always a new task, however often the same command is added."""
    command, name = options.words, digest({"added": secrets.token_hex(8)})
    if not command[0]:
        raise UsageError("add: the command begins with an empty word")
    known = submissions.read_all(folder / "tasks")
    number = max((task.number for found in known for task in found.tasks), default=0) + 1
    # With its number, so that it is called neither like a stage nor like another task.
    called = f"{script_stem(command)}-{number}"
    task = Task(called, command, id=name, source=SOURCE, env=env, priority=priority, template=-1)
    preflight.check_secrets([task])
    queue.create(folder, shared=options.shared_group)
    task = replace(task, identity=identity(task, {}, ()))
    submission, _ = submissions.submit(folder / "tasks", f"{SOURCE} {name}", [task], _now())
    return words.added(submission.tasks[0], shlex.join(command)), submission.tasks, submission.number


def _environment(given: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE as given, NAME with its value here; a secret is named, and looked up by the worker that runs it."""
    found = {}
    for text in given:
        name, has_value, value = text.partition("=")
        if not name:
            raise UsageError("--env: write NAME=VALUE, or NAME for the value that it has here")
        if is_ours(name):
            raise UsageError(f"--env {name}: parallel-train sets it itself")
        if is_secret(name):
            if has_value and not value.startswith("secret:"):
                raise UsageError(
                    f"--env {name}: a secret is not written down; give --env {name}: the worker looks it up"
                )
            value = value or f"secret:{name}"
        elif not has_value:
            if name not in os.environ:
                raise UsageError(f"--env {name}: it is not set here; write {name}=VALUE")
            value = os.environ[name]
        found[name] = value
    return found


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
