"""Logs as people read them: the last lines of a file, in little memory, and what it grows by.

A line of a progress bar is what it showed last. A line or a file may be gigabytes long, and hold any bytes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from parallel_train.report import words

CUT = b"[...]"  # stands for the beginning of a line that is too long to show
LONGEST_LINE = 2**16
_BLOCK = 2**18
_FURTHEST = 2**26  # line breaks are looked for no further than this before the end
_SHORT_LINE = 300  # characters; of a line in somebody else's text
_SHORT_WAY = 2**14


@dataclass(slots=True)
class Tail:
    """A log from its last lines on."""

    file: BinaryIO
    rest: bytes = b""  # what was read of a line that has no end yet

    @classmethod
    def open(cls, path: Path, lines: int, furthest: int = _FURTHEST) -> Tail:
        """The file at `path` from its last `lines` lines on, at most `furthest` bytes; 0: from its beginning.

        Raises OSError where it can't be read, or is a link or a pipe that a task put in its place.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(0, "not a regular file", str(path))
        file = os.fdopen(descriptor, "rb")
        file.seek(_start_of_last(file, lines, furthest) if lines else 0)
        return cls(file)

    @property
    def is_empty(self) -> bool:
        return os.fstat(self.file.fileno()).st_size == 0

    def blocks(self) -> Iterator[bytes]:
        """The bytes that came since the last call.

        What is written during the call waits for the next: a task may write faster than we read. A file that was
        emptied is read from its beginning; one that was deleted or replaced is read on, as its task writes on.
        """
        size = os.fstat(self.file.fileno()).st_size
        if size < self.file.tell():
            self.file.seek(0)
            self.rest = b""
        left = size - self.file.tell()
        while left > 0 and (block := self.file.read(min(_BLOCK, left))):
            left -= len(block)
            yield block

    def lines(self) -> Iterator[bytes]:
        """The lines that have ended since the last call, without their ends."""
        for block in self.blocks():
            *whole, rest = (self.rest + block).split(b"\n")
            yield from map(last_state, whole)
            self.rest = last_state(rest) + (b"\r" if rest.endswith(b"\r") else b"")

    def flush(self) -> Iterator[bytes]:
        """The last line, where nothing ended it."""
        if self.rest:
            yield last_state(self.rest)
            self.rest = b""

    def close(self) -> None:
        self.file.close()


def last_state(line: bytes) -> bytes:
    """What `line` shows last: each carriage return begins it again."""
    state = line.rstrip(b"\r").rpartition(b"\r")[2]
    return state if len(state) <= LONGEST_LINE else CUT + state[-LONGEST_LINE:]


def last_lines(path: Path, number: int = 10) -> list[str]:
    """The last `number` lines with something in them, cut short; none where there is no such file."""
    try:
        with closing(Tail.open(path, _SHORT_WAY, _SHORT_WAY)) as tail:
            found = [words.clean(line.decode(errors="replace")) for line in chain(tail.lines(), tail.flush())]
    except OSError:
        return []
    return [_cut(line.rstrip()) for line in found if line.strip()][-number:]


def _cut(line: str) -> str:
    return line if len(line) <= _SHORT_LINE else line[: _SHORT_LINE - 1] + "…"


def _start_of_last(file: BinaryIO, lines: int, furthest: int) -> int:
    """Where the last `lines` lines begin, or a place in a line where that is too far back."""
    end = start = os.fstat(file.fileno()).st_size
    wanted = lines
    while start > 0 and end - start < furthest:
        size = min(_BLOCK, start, furthest - (end - start))
        start -= size
        file.seek(start)
        block = file.read(size)
        if start + size == end:
            wanted += block.endswith(b"\n")  # ends the last line, begins none
        breaks = block.count(b"\n")
        if breaks >= wanted:
            place = len(block)
            for _ in range(wanted):
                place = block.rfind(b"\n", 0, place)
            return start + place + 1
        wanted -= breaks
    return start
