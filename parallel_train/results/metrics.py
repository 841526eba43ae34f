"""A task's number: a key of a JSON file, or a group of a regex in the log."""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

from parallel_train.core.task import Metric

JSON_LIMIT = 64 * 2**20
_BLOCK = 2**20
_OVERLAP = 2**16  # a match is looked for whole where it is no longer than this


@dataclass(frozen=True, slots=True)
class Reading:
    """A number (NaN is one), or None and why there is none."""

    value: float | None = None
    why: str = ""


def read(metric: Metric, project: Path, logs: Sequence[str]) -> Reading:
    """The value of `metric`, or why there is none; no file can make this raise.

    `logs` are where its regex is looked for, in order. Paths are relative to `project` unless absolute.
    """
    try:
        if metric.file is not None:
            return _from_json(project / metric.file, metric)
        if metric.regex is not None:
            return _from_logs([project / log for log in logs], metric.regex)
    except OSError as error:
        return Reading(why=f"{error.filename or metric.file}: {error.strerror}")
    return Reading(why="neither a file nor a regex says where it is")


def rank(value: float | None, mode: str, place: int) -> tuple[int, float, int]:
    """To sort by: numbers, best first, then NaN, then none at all; among equals the earlier place."""
    if not is_number(value):
        return (1 if value is not None else 2, 0.0, place)
    return (0, -value if mode == "max" else value, place)


def is_number(value: float | None) -> TypeGuard[float]:
    return value is not None and not math.isnan(value)


def as_number(value: object) -> float | None:
    """A number of JSON; None for anything else, and for one that no float holds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


# ---- JSON ----


def _from_json(path: Path, metric: Metric) -> Reading:
    with _open(path) as file:
        data = file.read(JSON_LIMIT + 1)
    if len(data) > JSON_LIMIT:
        return Reading(why=f"{metric.file} is larger than {JSON_LIMIT // 2**20} MiB")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return Reading(why=f"{metric.file} is no valid JSON")
    try:
        found = _walk(document, metric.name)
    except KeyError:
        return Reading(why=f"{metric.file} has no key '{metric.name}'")
    value = as_number(found)
    return Reading(value, "" if value is not None else f"'{metric.name}' in {metric.file} is no number")


def _walk(document: Any, name: str) -> Any:
    """What `name` stands for: a key as it is written, else each part between dots one object further in."""
    found = document
    for key in [name] if isinstance(document, Mapping) and name in document else name.split("."):
        if not isinstance(found, Mapping):
            raise KeyError(name)
        found = found[key]
    return found


def _open(path: Path) -> BinaryIO:
    """`path` for reading. A pipe or device in its place is refused, for reading it might never end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise OSError(0, "not a regular file", str(path))


# ---- logs ----


def _from_logs(paths: Sequence[Path], regex: str) -> Reading:
    try:
        pattern = re.compile(regex, re.MULTILINE)
    except (re.error, RecursionError):
        return Reading(why=f"the regex '{regex}' can't be read")
    if not pattern.groups:
        return Reading(why=f"the regex '{regex}' has no group")
    for path in paths:
        with _open(path) as file:
            match = _last_match(file, pattern)
        if match is not None:
            return _from_match(match)
    return Reading(why=f"the regex '{regex}' matches nothing in the log" if paths else "there is no log")


def _from_match(match: re.Match[str]) -> Reading:
    text = match[1]
    try:
        return Reading(float(text))
    except (TypeError, ValueError):
        return Reading(why=f"'{(text or '')[:40]}' in the log is no number")


def _last_match(file: BinaryIO, pattern: re.Pattern[str]) -> re.Match[str] | None:
    for text in _backwards(file):
        last = deque(pattern.finditer(text), maxlen=1)
        if last:
            return last[0]
    return None


def _backwards(file: BinaryIO) -> Iterator[str]:
    """The text of `file` in blocks, the last one first, cut between lines where lines are short enough.

    Where they are not, neighbouring blocks overlap, so that a match on the seam is whole in one of them.
    """
    end = os.fstat(file.fileno()).st_size
    while end > 0:
        start = max(0, end - _BLOCK)
        file.seek(start)
        data = file.read(end - start).replace(b"\r", b"\n")
        cut = data.find(b"\n", 0, _OVERLAP) + 1 if start else 0
        yield data[cut:].decode(errors="replace")
        end = start and start + (cut or _OVERLAP)
