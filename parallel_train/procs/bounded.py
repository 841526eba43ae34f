"""A command under a time limit, of which nothing is left: neither it nor what it started."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

_KILL_LIMIT = 1.0  # seconds to wait for what was killed; one that hangs in the kernel does not even die


@dataclass(frozen=True, slots=True)
class Said:
    output: str
    complaint: str
    code: int

    @property
    def last_complaint(self) -> str:
        return (self.complaint.strip().splitlines() or [f"exit code {self.code}"])[-1]


def run(
    command: Sequence[str],
    limit: float,
    *,
    environ: Mapping[str, str] | None = None,
    cwd: str | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
) -> Said:
    """What `command` said. Raises OSError where it can't be started, and TimeoutError."""
    child = subprocess.Popen(
        command,
        env=environ,
        cwd=cwd,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C is not meant for it
    )
    try:
        output, complaint = child.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"did not answer within {limit:g} s") from None
    finally:
        _end(child)
    return Said(output, complaint, child.returncode)


def _end(child: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):  # while anything of its group lives, nobody else can have its number
        os.killpg(child.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        child.wait(_KILL_LIMIT)
    for stream in (child.stdout, child.stderr):
        if stream is not None:
            stream.close()
