"""A question asked in a process of its own: a disk that hangs holds that one, and not us."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_PATIENCE = 3.0  # seconds for it to clear away what it made


def ask(question: Callable[[], dict[str, Any]], limit: float) -> dict[str, Any]:
    """What `question` answers. Raises TimeoutError, and OSError for what it raised."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reads)
        _answer(question, writes)
    os.close(writes)
    said = b""
    until = time.monotonic() + limit
    try:
        while select.select([reads], [], [], max(0.0, until - time.monotonic()))[0]:
            part = os.read(reads, 1 << 16)
            if not part:
                break
            said += part
        else:
            raise TimeoutError(f"it did not answer within {limit:.0f} s")
    finally:
        os.close(reads)
        end(child)
    answer: dict[str, Any] = json.loads(said or '{"error": "it broke off"}')
    if "error" in answer:
        raise OSError(answer["error"])
    return answer


def _answer(question: Callable[[], dict[str, Any]], writes: int) -> None:
    """In the child, which ends here."""
    with suppress(BaseException):
        os.setpgid(0, 0)  # Ctrl-C is not meant for it
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        try:
            answer = question()
        except OSError as error:
            answer = {"error": error.strerror or str(error)}
        data = json.dumps(answer).encode()
        while data:
            data = data[os.write(writes, data) :]
    os._exit(0)


def end(child: int) -> None:
    """End a child, softly first; one that hangs in the kernel does not even die, and is left."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        until = time.monotonic() + _PATIENCE
        with suppress(OSError):
            os.kill(child, number)  # once: a second one would break off what it clears away
        while time.monotonic() < until:
            if os.waitpid(child, os.WNOHANG)[0]:
                return
            time.sleep(0.005)
