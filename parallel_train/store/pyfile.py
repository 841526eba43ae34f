"""A `.py` task file, run in a child of the user's interpreter: no code of theirs runs in ours."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import IO, Any

from parallel_train.core.placeholders import is_unicode
from parallel_train.core.task import Json, assigned
from parallel_train.core.taskconfig import TaskConfig, name_template
from parallel_train.errors import TaskFileError, UsageError
from parallel_train.store.document import PythonDocument, fault_at
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
    if problem := _problem(answer["tasks"]) or _too_much(answer["tasks"]):
        raise _error(source, problem, answer["line"])
    try:
        data = {"tasks": _templates(answer["tasks"], overrides)}
    except TypeError as error:
        raise _error(source, str(error), answer["line"]) from None
    return PythonDocument(source.name, source.lines(), data, answer["line"])


def _error(source: Source, message: str, line: int) -> TaskFileError:
    return TaskFileError([fault_at((source.name, line, 1), source.lines(), message)])


def _templates(items: Sequence[Mapping[str, Any]], overrides: Mapping[str, Json]) -> list[dict[str, Any]]:
    configs = [_config(item["config"], overrides) for item in items if "config" in item]
    name = name_template(configs)
    made = iter(configs)
    return [{"name": name, **next(made).template()} if "config" in item else item["template"] for item in items]


def _config(values: Mapping[str, Any], overrides: Mapping[str, Json]) -> TaskConfig:
    # Its folder is spelt after its rate, so an override comes before the folder.
    mine: dict[str, Any] = {name: value for name, value in overrides.items() if name in values}
    made = TaskConfig(**values)
    try:
        return replace(made, **mine)
    except TypeError as error:
        raise UsageError(f"{' '.join(assigned(*each) for each in mine.items())}: {error}") from None


def _too_much(items: Sequence[Mapping[str, Any]]) -> str:
    """A value that would be lost: the class may be the user's own, and its command not the one we make."""
    known = [field.name for field in fields(TaskConfig)]
    unknown = next((name for item in items for name in item.get("config", ()) if name not in known), None)
    if unknown is None:
        return ""
    return f"its TaskConfig has {unknown!r} besides {', '.join(known)}: return dicts that have a command of their own"


def _problem(value: Any, depth: int = 0) -> str:
    if depth > MOST_DEPTH:
        return f"a task is at most {MOST_DEPTH} levels deep"
    if isinstance(value, str):
        if not is_unicode(value):
            return f"{value[:40]!r} is no text: it came from bytes that are no UTF-8"
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
        return _answer(json.loads(text))
    except (ValueError, RecursionError):
        raise _error(source, f"it ended ({_ending(code)}) before it returned all its tasks", 1) from None


def _answer(given: Any) -> dict[str, Any]:
    """What the child wrote, which the file may have written to as well. Raises ValueError."""
    match given:
        case {"line": int(), "error": str()}:
            return dict(given)
        case {"line": int(), "tasks": [*tasks]} if all(map(_is_task, tasks)):
            return dict(given)
    raise ValueError("no answer of ours")


def _is_task(item: Any) -> bool:
    match item:
        case {"config": dict()} | {"template": dict()}:
            return True
    return False


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
        if not _ends(child.pid):
            raise _error(source, f"it did not return its tasks within {TIME_LIMIT:g} seconds", 1)
    finally:
        # Before its number can become somebody else's: what it started goes with it.
        os.killpg(child.pid, signal.SIGKILL)
        code = child.wait()
    return code


def _ends(pid: int) -> bool:
    """Whether our child ends in time; it stays a zombie."""
    descriptor = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor)
        return bool(poll.poll(TIME_LIMIT * 1000))
    finally:
        os.close(descriptor)
