"""Where text goes: to a stream as long as it takes it, and from then on to a file. Writing never raises."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TextIO


class Outlet:
    """A text stream whose reader may go away: a closed pipe, a terminal that hung up, a closed descriptor.

    `stream` is None where the process was started without one. The file (0600, appended) is made when it is
    first needed; where it can't be written either, the text is dropped: the run matters more.
    """

    def __init__(self, stream: TextIO | None, path: Path) -> None:
        self._stream = stream
        self._path = path
        self.is_lost = stream is None
        self.is_terminal = self.isatty()  # asked now: a terminal that hung up is none any more

    @property
    def encoding(self) -> str:
        return (self._stream.encoding if self._stream is not None else None) or "utf-8"

    def isatty(self) -> bool:
        if self._stream is None or self.is_lost:
            return False
        try:
            return self._stream.isatty()
        except (OSError, ValueError):
            return False

    def fileno(self) -> int:
        """Asked for by rich, to learn a terminal's size. Raises OSError where there is none."""
        if self._stream is None or self.is_lost:
            raise OSError("no stream")
        return self._stream.fileno()

    def can_show(self, text: str) -> bool:
        try:
            text.encode(self.encoding)
        except UnicodeEncodeError:
            return False
        return True

    def write(self, text: str) -> int:
        """For a screen that draws: nothing is drawn into the file."""
        if self._stream is not None and not self.is_lost:
            shown = text.encode(self.encoding, "backslashreplace").decode(self.encoding)
            try:
                self._stream.write(shown)
                self._stream.flush()
            except (OSError, ValueError):
                self.lose()
        return len(text)

    def flush(self) -> None:
        """Each write is flushed."""

    def say(self, text: str) -> None:
        """Lines for a person: in the file where the stream can't take them any more."""
        self.write(text + "\n")
        if self.is_lost:
            self._append(text + "\n")

    def lose(self) -> None:
        """Write to the stream no more."""
        self.is_lost = True
        if self._stream is None:
            return
        # What the stream still holds would be written, and fail again, when the interpreter ends.
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def _append(self, text: str) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with contextlib.suppress(OSError):
            descriptor = os.open(self._path, flags, 0o600)
            try:
                if os.fstat(descriptor).st_nlink == 1:  # else it is a second name of somebody's file
                    os.write(descriptor, text.encode(errors="backslashreplace"))
            finally:
                os.close(descriptor)
