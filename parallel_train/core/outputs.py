"""Which outputs a task may promise, and which of them are in each other's way."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator

from parallel_train.core.placeholders import Text

_LONGEST_NAME = 255
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def settle(promised: Text, filled: str, project: str) -> str:
    """The output in its one spelling: relative to `project` (an absolute path), absolute only outside of it.

    `promised` is the text as written and `filled` the same with its values. Raises ValueError, with a
    sentence, for one that leaves the project or that a value leads astray.
    """
    if filled.startswith("~"):
        raise ValueError(f"'{filled}' would be a folder named '~'; write the home folder in full")
    if filled.startswith("/") and not _may_be_absolute(promised):
        raise ValueError(f"a value makes the output absolute: '{filled}'")
    parts = filled.split("/")
    if parts.count("..") > _own_climbs(promised):
        raise ValueError(f"a value makes the output climb out by '..': '{filled}'")
    if any(len(part.encode(errors="replace")) > _LONGEST_NAME for part in parts):
        raise ValueError(f"a folder's name is longer than {_LONGEST_NAME} bytes")
    path = _spelt_once(filled, project)
    if refused := _refusal(path, project):
        raise ValueError(refused)
    return path


def _refusal(path: str, project: str) -> str:
    """Why nobody may promise `path`; empty where it can be."""
    if path in {".", "/"}:
        return "the output can't be the project folder itself" if path == "." else "'/' is no output"
    if path == ".." or path.startswith("../"):
        return f"'{path}' lies outside of the project; write such an output as an absolute path"
    if _CONTROL.search(path):
        return f"an output holds a control character: {path!r}"
    if path.startswith("/") and project.startswith(path + "/"):
        return f"the project folder lies in '{path}'; an output is a folder of its own"
    if path.split("/", 1)[0] == ".parallel-train":
        return "'.parallel-train' holds the queue; an output can't lie there"
    return ""


def _spelt_once(filled: str, project: str) -> str:
    path = posixpath.normpath(filled)
    # Two leading slashes survive normpath; here they mean nothing.
    path = "/" + path.lstrip("/") if path.startswith("/") else path
    is_inside = path == project or path.startswith(project.rstrip("/") + "/")
    return posixpath.relpath(path, project) if is_inside else path


def _may_be_absolute(promised: Text) -> bool:
    return promised.literals[0].startswith("/") or (not promised.literals[0] and promised.names[:1] == ("output_base",))


def _own_climbs(promised: Text) -> int:
    # A hole is no "..": what a value brings is not the author's own.
    return "{}".join(promised.literals).split("/").count("..")


def holds(output: str, path: str, project: str) -> bool:
    """Whether `path` is the output or lies inside it."""
    place, inside = (posixpath.normpath(posixpath.join(project, each)) for each in (output, path))
    return inside == place or inside.startswith(place + "/")


def seen_from(cwd: str, path: str, project: str) -> str:
    """`path`, which is relative to the project, as a command sees it that runs in `cwd`."""
    if cwd == "." or path.startswith("/"):
        return path
    if cwd.startswith(("/", "\0")):
        return posixpath.join(project, path)
    return posixpath.relpath(posixpath.join(project, path), posixpath.join(project, cwd))


def clashes(outputs: Iterable[tuple[int, str]], project: str) -> Iterator[tuple[int, int]]:
    """Pairs of tasks, the later one first, where one's output is the other's or lies inside it."""
    placed = sorted((posixpath.normpath(posixpath.join(project, path)).split("/"), index) for index, path in outputs)
    folder: tuple[list[str], int] | None = None
    for path, index in placed:
        if folder and path[: len(folder[0])] == folder[0]:
            yield max(index, folder[1]), min(index, folder[1])
        else:
            folder = (path, index)
