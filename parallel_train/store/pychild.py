# ruff: noqa: PTH100, PTH109, PTH120, UP031
"""Runs a user's `.py` task file and writes what it offers as JSON to a descriptor.

Run by path, in the interpreter that the user chose: standard library only, Python 3.8 (hence the noqa above).
The arguments are the file, the descriptor, and the folder that holds the package.
"""

from __future__ import annotations

import dataclasses
import json
import os
import runpy
import sys
import traceback
from types import TracebackType
from typing import Any, List, Optional

FILE, DESCRIPTOR, PACKAGE = sys.argv[1], int(sys.argv[2]), sys.argv[3]


def hand_back(answer: dict[str, Any]) -> None:
    text = json.dumps(answer, default=plain)
    with os.fdopen(DESCRIPTOR, "w") as out:
        out.write(text)


def plain(value: Any) -> Any:
    """Paths as text, numbers of numpy and its like as numbers."""
    if hasattr(value, "__fspath__"):
        return os.fspath(value)
    if hasattr(value, "item"):
        return value.item()
    raise TypeError("a %s can't stand in a task" % type(value).__name__)


def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say where it went wrong: as far down as the user's own file goes."""
    lines = [frame.lineno for frame in traceback.extract_tb(trace) if frame.filename == FILE]
    if isinstance(error, SyntaxError) and error.filename == FILE:
        lines.append(error.lineno)
    said = traceback.format_exception_only(kind, error)[-1].strip()
    hand_back({"error": said, "line": (lines and lines[-1]) or 1})


def entry(item: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(item) and type(item).__name__ == "TaskConfig":
        return {"config": {f.name: getattr(item, f.name) for f in dataclasses.fields(item)}}
    if isinstance(item, dict):
        return {"template": item}
    return {"other": type(item).__name__}


def main() -> None:
    sys.excepthook = report
    # As `python FILE` would have it, then the project; our own package comes last, behind the user's modules.
    sys.path[0] = os.path.dirname(os.path.abspath(FILE))
    sys.path += [os.getcwd(), PACKAGE]
    from parallel_train import TaskConfig  # noqa: PLC0415 - found only now

    sys.argv = [FILE]
    names = runpy.run_path(FILE, {"TaskConfig": TaskConfig, "List": List, "Optional": Optional}, "task_file")
    make = names.get("get_default_tasks") or names.get("tasks")
    if not callable(make):
        hand_back({"error": "it offers neither tasks() nor get_default_tasks()", "line": 1})
        return
    made = make()
    code = getattr(make, "__code__", None)
    line = code.co_firstlineno if code is not None and code.co_filename == FILE else 1
    if isinstance(made, (str, dict)) or not hasattr(made, "__iter__"):
        hand_back({"error": "%s() must return a list of tasks" % make.__name__, "line": line})
        return
    hand_back({"tasks": [entry(item) for item in made], "line": line})


main()
