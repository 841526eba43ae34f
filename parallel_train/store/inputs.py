"""Fingerprints of declared inputs: by content, remembered by size, times and inode, so that big data is read once."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from parallel_train.core import graph
from parallel_train.core.task import Task, identity
from parallel_train.errors import UsageError
from parallel_train.store import records

_REMEMBERED = "inputs.json"
_BLOCK = 1 << 20


class Fingerprints:
    """What the inputs hold now. `memory` is the queue's folder; what is remembered there is only ever a hint."""

    def __init__(self, project: Path, memory: Path) -> None:
        self._project = project
        self._file = memory / _REMEMBERED
        self._known: dict[str, object] = self._load()
        self._is_new = False

    def of(self, path: str) -> str:
        """The fingerprint of a file, or of all files below a folder; "missing" where there is nothing."""
        place = self._project / path
        if place.is_dir():
            found = hashlib.sha256()
            for file in sorted(p for p in place.rglob("*") if p.is_file()):
                found.update(f"{file.relative_to(place)}\0{self._of_file(file)}\0".encode(errors="surrogateescape"))
            return found.hexdigest()
        if place.exists() and not place.is_file():
            raise UsageError(f"the input {path} is no file and no folder: what it holds can't be known")
        return self._of_file(place) if place.exists() else "missing"

    def _of_file(self, path: Path) -> str:
        status = path.stat()
        mark = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        known = self._known.get(str(path))
        if isinstance(known, list) and known[:4] == mark and len(known) == 5:
            return str(known[4])
        found = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                found.update(block)
        self._known[str(path)] = [*mark, found.hexdigest()]
        self._is_new = True
        return found.hexdigest()

    def _load(self) -> dict[str, object]:
        try:
            with open(self._file, opener=records.opener) as file:
                known = json.load(file)
        except (OSError, ValueError, RecursionError):
            return {}
        return known if isinstance(known, dict) else {}

    def remember(self) -> None:
        """Keep what was read for the next time; no harm where that fails."""
        if not self._is_new:
            return
        with suppress(OSError):
            records.overwrite(str(self._file), json.dumps(self._known).encode())


def identities(tasks: Iterable[Task], fingerprints: Fingerprints) -> dict[str, str]:
    """The identity of each task by its id: what was written, what its inputs hold, what its needs are.

    An input inside another task's output is that task's to make: the need's identity stands for it.
    """
    by_id = {task.id: task for task in tasks}
    outputs = {task.output for task in by_id.values() if task.output}
    seen: dict[str, str] = {}
    found: dict[str, str] = {}
    for name in graph.order({task.id: task.needs for task in by_id.values()}):
        task = by_id[name]
        inputs = {path: _once(seen, path, fingerprints) for path in task.inputs if not is_made(path, outputs)}
        found[name] = identity(task, inputs, [found[need] for need in task.needs])
    return found


def _once(seen: dict[str, str], path: str, fingerprints: Fingerprints) -> str:
    if path not in seen:
        seen[path] = fingerprints.of(path)
    return seen[path]


def is_made(path: str, outputs: set[str]) -> bool:
    """Whether an input is, or lies in, one of the outputs of tasks."""
    normal = os.path.normpath(path)
    return normal in outputs or any(str(above) in outputs for above in Path(normal).parents)
