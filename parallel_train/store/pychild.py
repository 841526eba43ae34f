# ruff: noqa: PTH100, PTH109, PTH120, UP031
"""Runs a user's `.py` task file and writes what it offers as JSON to a descriptor.

Run by path, in the interpreter that the user chose: standard library only, Python 3.8 (hence the noqa above).
The arguments are the file, the descriptor, and the folder that holds the package.
"""

from __future__ import annotations

import itertools
import json
import os
import runpy
import sys
import traceback
from types import TracebackType
from typing import IO, Any, Iterable, List, Optional

FILE, DESCRIPTOR, PACKAGE = sys.argv[1], int(sys.argv[2]), sys.argv[3]
PROCESS = os.getpid()
MOST_TASKS = 1000000
MOST_BYTES = 64 * 2**20


class Refused(Exception):  # noqa: N818 - it is a sentence about the list
    """What was returned is no list of tasks."""


def hand_back(answer: dict[str, Any]) -> None:
    with answering() as out:
        out.write(json.dumps(answer))


def answering() -> IO[str]:
    if os.getpid() != PROCESS:
        os._exit(0)  # what the task file forked has nothing to say
    os.lseek(DESCRIPTOR, 0, os.SEEK_SET)
    os.ftruncate(DESCRIPTOR, 0)  # whatever was written before
    return os.fdopen(DESCRIPTOR, "w", closefd=False)


def offer(made: Iterable[Any], line: int) -> None:
    """Write the tasks, some at a time: a list without an end must not fill the memory."""
    encode, items, count = json.JSONEncoder(default=plain).encode, iter(made), 0
    with answering() as out:
        out.write('{"line": %d, "tasks": [' % line)
        while some := list(itertools.islice(items, 10000)):
            out.write(("," if count else "") + encode([entry(item, count + i) for i, item in enumerate(some)])[1:-1])
            count += len(some)
            if count > MOST_TASKS or out.tell() > MOST_BYTES:
                raise Refused("more than %d tasks are returned, or %d MiB" % (MOST_TASKS, MOST_BYTES // 2**20))
        out.write("]}")


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
    said = " ".join(traceback.format_exception_only(kind, error)[-1].split())
    hand_back({"error": said, "line": (lines and lines[-1]) or 1})


def entry(item: Any, index: int) -> dict[str, Any]:
    # Ours, or the file's own: a script that had a scheduler in it defines such a class.
    if type(item).__name__ == "TaskConfig" and hasattr(item, "__dict__"):
        return {"config": vars(item)}
    if isinstance(item, dict):
        return {"template": item}
    kind = "None" if item is None else "of the type " + type(item).__name__
    raise Refused("task %d of the list is %s: it must be a TaskConfig or a dict" % (index + 1, kind))


def main() -> None:
    sys.excepthook = report
    # A project may have a parallel_train.py of its own, from before: ours is the one that is imported.
    sys.path[0] = PACKAGE
    from parallel_train import TaskConfig  # noqa: PLC0415 - found only now

    # As `python FILE` would have it, then the project; what lies beside our package comes behind the user's modules.
    sys.path[0] = os.path.dirname(os.path.abspath(FILE))
    sys.path += [os.getcwd(), PACKAGE]
    sys.argv = [FILE]
    names = runpy.run_path(FILE, {"TaskConfig": TaskConfig, "List": List, "Optional": Optional}, "task_file")
    make = names.get("get_default_tasks", names.get("tasks"))
    if not callable(make):
        nothing = "it offers neither tasks() nor get_default_tasks()"
        other = "its tasks must be what a function returns: def tasks(): return [...]"
        hand_back({"error": nothing if make is None else other, "line": 1})
        return
    made = make()
    code = getattr(make, "__code__", None)
    line = code.co_firstlineno if code is not None and code.co_filename == FILE else 1
    if isinstance(made, (str, dict)) or not hasattr(made, "__iter__"):
        hand_back({"error": "%s() must return a list of tasks" % make.__name__, "line": line})
        return
    try:
        offer(made, line)
    except Refused as error:
        hand_back({"error": str(error), "line": line})


main()
