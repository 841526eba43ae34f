"""What a shell may complete a word to: task files, and the tasks that the queue knows. Fast, or nothing."""

from __future__ import annotations

import re
from pathlib import Path

from parallel_train.errors import ParallelTrainError
from parallel_train.store import queue, submissions

_MOST_BYTES = 4 * 1024 * 1024  # of submissions: more would take longer than a person waits for a key
_PLAIN = re.compile(r"[\w.+,:@%/=-]+")  # what a shell takes as one word


def words(project: Path, incomplete: str) -> list[str]:
    """Task files and tasks."""
    files = [f"tasks/{path.name}" for path in (project / "tasks").glob("*") if path.suffix in {".yaml", ".yml", ".py"}]
    return [*sorted(file for file in files if file.startswith(incomplete)), *tasks(project, incomplete)]


def tasks(project: Path, incomplete: str) -> list[str]:
    """The names of tasks, and of stages, that begin so."""
    folder = project / queue.NAME / "tasks"
    try:
        if sum(path.stat().st_size for path in folder.glob("*.jsonl")) > _MOST_BYTES:
            return []
        known = submissions.newest(submissions.read_all(folder)).values()
    except (OSError, ParallelTrainError):
        return []
    names = [name for s in known for task in s.tasks for name in (task.stage, task.name) if name]
    return list(dict.fromkeys(name for name in names if name.startswith(incomplete) and _PLAIN.fullmatch(name)))
