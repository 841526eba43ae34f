"""The last lines of a log, however large it is and whatever bytes are in it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from parallel_train.report import words

_MOST_BYTES = 16 * 1024
_MOST_CHARACTERS = 300  # of one line


def last_lines(path: Path, number: int = 10) -> list[str]:
    """The last `number` non-empty lines as a terminal would show them; none where there is no such file."""
    try:
        data = _end_of(path)
    except OSError:
        return []
    lines = [_shown(line) for line in data.decode(errors="replace").split("\n")]
    return [line for line in lines if line.strip()][-number:]


def _end_of(path: Path) -> bytes:
    # A task may have put a pipe or a link in place of its log: neither is waited for nor followed.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return b""
        return os.pread(descriptor, _MOST_BYTES, max(0, found.st_size - _MOST_BYTES))
    finally:
        os.close(descriptor)


def _shown(line: str) -> str:
    """A progress bar rewrites its line after each carriage return: only the last writing counts."""
    parts = [part for part in line.split("\r") if part.strip()]
    text = words.clean(parts[-1]).rstrip() if parts else ""
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"
