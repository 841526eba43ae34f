"""The empty files in the folder of a MultiRunner that show people where each point stands: nobody reads them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from parallel_train.core.state import Line, Running, is_satisfied
from parallel_train.errors import UsageError

MARKER = re.compile(r"(\d+)_(to_run|running|finished)")  # the number of a point, and where it stands


def show(folder: Path, points: Iterable[tuple[int, Line]]) -> None:
    """Make those of `points`, which are numbers with their lines, and take away the others."""
    wanted = {f"{number}_{_word(line)}" for number, line in points}
    with suppress(OSError):
        there = {name for name in os.listdir(folder) if MARKER.fullmatch(name)}  # noqa: PTH208  names
        for name in wanted - there:
            (folder / name).touch()
        for name in there - wanted:
            if not (folder / name).lstat().st_size:  # what holds anything is not ours
                (folder / name).unlink(missing_ok=True)


def _word(line: Line) -> str:
    if is_satisfied(line.state):
        return "finished"
    return "running" if isinstance(line.state, Running) else "to_run"


def refuse_others(folder: Path) -> None:
    """Raises UsageError where such a file is not ours: it is not empty."""
    for file in folder.iterdir() if folder.is_dir() else ():
        with suppress(FileNotFoundError):  # others move their markers meanwhile
            if MARKER.fullmatch(file.name) and file.lstat().st_size:
                raise UsageError(f"{file} is not ours (the original MultiRunner's?): use another ini_dir")
