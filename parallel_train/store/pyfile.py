"""A `.py` task file, run in a child of the user's interpreter: no code of theirs runs in ours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from parallel_train.core.task import Json
from parallel_train.core.taskconfig import TaskConfig, name_template
from parallel_train.errors import Fault, TaskFileError, UsageError
from parallel_train.store.document import PythonDocument, source_line
from parallel_train.store.yamlfile import MOST_DEPTH

TIME_LIMIT = 30.0

_CHILD = Path(__file__).with_name("pychild.py")
_PACKAGE = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Source:
    """A file of Python: its name as given, where it lies, and what it holds."""

    name: str
    file: Path
    content: bytes

    def lines(self) -> list[str]:
        return self.content.decode(errors="replace").splitlines()


def read(source: Source, python: str, project: Path, overrides: Mapping[str, Json]) -> PythonDocument:
    """What the file's `get_default_tasks()` or `tasks()` returns, as a task file's data.

    Raises TaskFileError for whatever went wrong in it, UsageError for an interpreter that can't be run.
    """
    answer = _run(source, python, project)
    if "error" in answer:
        raise _error(source, answer["error"], answer["line"])
    wrong = [i for i, item in enumerate(answer["tasks"]) if "other" in item]
    if wrong:
        kind = answer["tasks"][wrong[0]]["other"]
        message = f"task {wrong[0] + 1} of the list is a {kind}: it must be a TaskConfig or a dict"
        raise _error(source, message, answer["line"])
    if problem := _problem(answer["tasks"]):
        raise _error(source, problem, answer["line"])
    data = {"tasks": _templates(answer["tasks"], overrides)}
    return PythonDocument(source.name, source.lines(), data, answer["line"])


def _error(source: Source, message: str, line: int) -> TaskFileError:
    shown = source_line(source.lines(), line, 1)
    return TaskFileError([Fault(source.name, line, 1, message, shown)])


def _templates(items: Sequence[Mapping[str, Any]], overrides: Mapping[str, Json]) -> list[dict[str, Any]]:
    configs = [_config(item["config"], overrides) for item in items if "config" in item]
    name = name_template(configs)
    made = iter(configs)
    return [{"name": name, **next(made).template()} if "config" in item else item["template"] for item in items]


def _config(values: Mapping[str, Any], overrides: Mapping[str, Json]) -> TaskConfig:
    # Its folder is spelt after its rate, so an override comes before the folder.
    replaced = {**values, **{name: value for name, value in overrides.items() if name in values}}
    try:
        return TaskConfig(**replaced)
    except TypeError as error:
        raise UsageError(str(error)) from None


def _problem(value: Any, depth: int = 0) -> str:
    if depth > MOST_DEPTH:
        return f"a task is at most {MOST_DEPTH} levels deep"
    if isinstance(value, str):
        return "a NUL character can't stand in a task" if "\0" in value else ""
    inside = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next(filter(None, (_problem(each, depth + 1) for each in inside)), "")


def _run(source: Source, python: str, project: Path) -> dict[str, Any]:
    # A file, not a pipe: nobody has to read while the child writes, and its own prints go elsewhere.
    with tempfile.TemporaryFile() as answer:
        code = _wait(source, python, project, answer)
        answer.seek(0)
        text = answer.read()
    if not text:
        raise _error(source, f"it ended ({_ending(code)}) before it returned its tasks", 1)
    try:
        result: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError):
        raise _error(source, f"it ended ({_ending(code)}) before it returned all its tasks", 1) from None
    return result


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"


def _wait(source: Source, python: str, project: Path, answer: IO[bytes]) -> int:
    descriptor = answer.fileno()
    command = [python, "-B", str(_CHILD), source.name, str(descriptor), str(_PACKAGE)]
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=2,  # what it prints is for people; our own stdout may be read by a program
            pass_fds=(descriptor,),
            cwd=project,
            start_new_session=True,
        )
    except OSError as error:
        raise UsageError(f"can't run {python}: {os.strerror(error.errno or 0)}") from None
    try:
        return child.wait(TIME_LIMIT)
    except subprocess.TimeoutExpired:
        raise _error(source, f"it did not return its tasks within {TIME_LIMIT:g} seconds", 1) from None
    finally:
        if child.returncode is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
