"""Where commands look and write: the project folder, and standard output though it be closed."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

_QUEUE = ".parallel-train"


def project(directory: Path | None) -> Path:
    """The folder that -C names, from now on the current one. Raises UsageError."""
    from parallel_train.project.reading import project_folder

    return project_folder(directory)


def within(directory: Path | None, words: list[str] | None) -> tuple[Path, list[str]]:
    """The project, and what of `words` is left: a folder that comes first and holds a queue is meant as with -C."""
    rest = words or []
    if rest and os.path.isdir(os.path.join(directory or "", rest[0], _QUEUE)):  # noqa: PTH112, PTH118  Path raises for long words
        return project(Path(directory or "", rest[0])), rest[1:]
    return project(directory), rest


def trusted(directory: Path | None, *, shared_group: bool) -> Path:
    """The same, for whoever writes into its queue. Raises UsageError where others have a say there."""
    from parallel_train.store import queue, trust

    found = project(directory)
    trust.check(found / queue.NAME, shared=shared_group)
    return found


def out() -> TextIO:
    """Standard output, which spells out what its encoding has no character for."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    return sys.stdout or Path(os.devnull).open("w")
