"""A terminal of the test's own, with a command in its foreground, typed into and read as a person would."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.sweep import program
from tests.support.wait import wait_until

CTRL_C = b"\x03"
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-~]|\r")


class Terminal:
    """Its master side is read all the time, as a terminal does: a full one would hold up whoever writes."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        size: tuple[int, int] = (100, 40),  # columns, rows
    ) -> None:
        self._master, slave = pty.openpty()
        self._seen = bytearray()
        self._is_closing = threading.Event()
        self.resize(*size)
        self.process = subprocess.Popen(
            program("on_terminal", *command),
            cwd=folder,
            env={**environment, "TERM": "xterm-256color"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            text=True,
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    @property
    def raw(self) -> str:
        """Every byte that came, as text."""
        return bytes(self._seen).decode(errors="replace")

    @property
    def text(self) -> str:
        """What came, without what moves the cursor and colours."""
        return _ESCAPES.sub("", self.raw)

    def until(self, text: str, times: int = 1) -> None:
        wait_until(lambda: self.text.count(text) >= times, f"{text!r} on the terminal, only: {self.text}")

    def hang_up(self) -> None:
        """Close the window, or lose the line: what runs in the foreground gets HUP."""
        if not self._is_closing.is_set():
            self._is_closing.set()
            self._reader.join()
            os.close(self._master)

    def _read(self) -> None:
        while not self._is_closing.is_set():
            if select.select([self._master], [], [], 0.05)[0]:
                try:
                    self._seen += os.read(self._master, 65536)
                except OSError:  # nobody has it open on the other side
                    self._is_closing.wait(0.05)
