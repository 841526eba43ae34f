"""Who runs a process, and what it is. Asked in a child: a directory service that is down can hang."""

from __future__ import annotations

import os
import pwd

_LONGEST = 4096  # characters of a command that anybody wants to read


def process_facts(pid: int, memory_mib: int) -> dict[str, object]:
    """A process on a card, as the parent reads it."""
    return {"pid": pid, "user": _user(pid), "memory_mib": memory_mib, "command": _command(pid)}


def _user(pid: int) -> str:
    try:
        owner = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return "?"
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return str(owner)


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(_LONGEST).rstrip(b"\0").split(b"\0")
    except OSError:
        return ""
    return b" ".join(words).decode(errors="replace")
