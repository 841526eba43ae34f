"""What a person can paste: commands and paths as they hold in the folder where that person stands.

Who gives -C FOLDER stands elsewhere than the project. Every command that is printed is put together here, and every
path of the project passes here, so that none lacks the folder (tests/test_layers.py looks for those that do not).
"""

from __future__ import annotations

import os
import re
import shlex
from contextvars import ContextVar
from pathlib import Path

# Like the current folder, where a person stands is the same for all that a process prints.
_PROJECT: ContextVar[str] = ContextVar("project", default="")

_LAID_OVER = re.compile(r" (?=--output-base |[^\s=]+=)")


def stand_outside(project: str) -> None:
    """From now on the reader stands in a folder from which the project's is called `project`, as it was typed."""
    folder = Path(project or os.curdir)
    _PROJECT.set("" if folder.is_dir() and folder.samefile(os.curdir) else project)


def command(*words: object, project: str | None = None) -> str:
    """`parallel-train`, the first word, `-C` where the project is elsewhere (or is `project`), and the other words."""
    folder = _PROJECT.get() if project is None else project
    first, rest = words[:1], words[1:]
    there = ("-C", folder) if folder else ()
    return " ".join(["parallel-train", *(_quoted(str(word)) for word in (*first, *there, *rest))])


def of_source(source: str) -> list[str]:
    """The words that make a run of `source`: a task file, and what was laid over it (see commands/plan.py)."""
    file, *over = _LAID_OVER.split(source)
    return [file, *(word for part in over for word in _option(part))]


def _option(part: str) -> list[str]:
    return part.split(" ", 1) if part.startswith("--") else [part]


def path(name: str) -> str:
    """A path of the project, which may be absolute."""
    return os.path.join(_PROJECT.get(), name) if name else name  # noqa: PTH118  as it was typed


def _quoted(word: str) -> str:
    """For the shell, without anything that a terminal would obey."""
    if word.isprintable():
        return shlex.quote(word)
    plain = (
        char if char.isprintable() and char not in "\\'" else "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))
        for char in word
    )
    return f"$'{''.join(plain)}'"
