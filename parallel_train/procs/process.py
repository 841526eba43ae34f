"""Processes, told apart for certain: a pid alone may belong to another one by now.

Standard library only, Python 3.8 and newer.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import signal
import time
from functools import lru_cache
from typing import Iterator

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_COOKIE = b"PARALLEL_TRAIN_COOKIE="
_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """From now on every orphaned descendant becomes a child of this process."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent(parent: int) -> None:
    """SIGKILL this process when its parent dies; at once where that has happened already."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def start_time(pid: int) -> int:
    """Clock ticks from boot to the start of `pid`; 0 where no such process lives.

    Raises OSError where that can't be seen (no free descriptor, say): that is not death.
    """
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(descriptor, 4096).decode(errors="replace")  # whole: the kernel gives a short file at once
        finally:
            os.close(descriptor)
    except (FileNotFoundError, ProcessLookupError):
        return 0
    fields = text[text.rfind(")") + 2 :].split()
    if len(fields) < 20 or fields[0] in "ZX":
        return 0
    return int(fields[19])


@lru_cache(maxsize=None)
def this_machine() -> dict[str, str]:
    """Where this process runs. It can't change, so a launcher that asked once has it for all its shims."""
    host = os.uname().nodename
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return {
        "host": host,
        "machine": _read("/etc/machine-id").strip() or host,
        "boot": _read("/proc/sys/kernel/random/boot_id").strip(),
        "pidns": namespace,
    }


def boot_id() -> str:
    return this_machine()["boot"]


def this_process(worker: str) -> dict[str, object]:
    """Who this process is, as a claim records it."""
    pid = os.getpid()
    return {"worker": worker, "pid": pid, "start": own_start(pid), **this_machine()}


@lru_cache(maxsize=1)
def own_start(pid: int) -> int:
    """`start_time` of this process, which is asked for with each claim; a fork of it has another pid."""
    return start_time(pid)


def open_pidfd(pid: int) -> int:
    """A descriptor that becomes readable when `pid` ends.

    Raises ProcessLookupError, also where the number has come to a thread of some process: the kernel then says
    that there is no such process (since Linux 6.15) or that the number is none.
    """
    try:
        return _pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINVAL):
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH)) from error
        raise


def _pidfd_open(pid: int) -> int:
    opener = getattr(os, "pidfd_open", None)
    if opener is not None:
        return int(opener(pid))
    descriptor = int(_libc.syscall(434, pid, 0))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return descriptor


def open_proven(pid: int, start: int) -> int | None:
    """A pidfd of the process that had `pid` and started at `start`; None where it lives no more.

    Raises OSError where that can't be seen.
    """
    try:
        descriptor = open_pidfd(pid)
    except ProcessLookupError:
        return None
    try:
        is_it = start_time(pid) == start  # compared after opening: from here on the descriptor is that process
        if not is_it and not os.path.exists(f"/proc/{pid}") and not has_ended(descriptor):
            raise PermissionError(errno.EACCES, "it lives, and /proc hides it", f"/proc/{pid}")
    except OSError:
        os.close(descriptor)
        raise
    if is_it:
        return descriptor
    os.close(descriptor)
    return None


def has_ended(descriptor: int) -> bool:
    """Whether the process behind a pidfd lives no more."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def send(descriptor: int, number: int) -> None:
    """Signal the process behind a pidfd; one that is gone is left alone."""
    with contextlib.suppress(OSError):
        _libc.syscall(424, descriptor, number, None, 0)


def described(pid: int) -> str:
    """Such as "4242 (python, state D)"."""
    text = _read(f"/proc/{pid}/stat")
    name, state = text[text.find("(") + 1 : text.rfind(")")], text[text.rfind(")") + 2 :][:1]
    return f"{pid} ({name}, state {state})"


def all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def parents() -> Iterator[tuple[int, int]]:
    """(pid, parent) of every process that can be seen."""
    for pid in all_pids():
        text = _read(f"/proc/{pid}/stat")
        fields = text[text.rfind(")") + 2 :].split()
        if len(fields) > 1:
            yield pid, int(fields[1])


def descendants(root: int) -> list[int]:
    """Every living descendant of `root`, children before grandchildren."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents():
        children.setdefault(parent, []).append(pid)
    found = list(children.get(root, ()))
    for pid in found:  # grows while it is walked
        found.extend(children.get(pid, ()))
    return found


def is_attempt(pid: int) -> bool:
    """Whether `pid` belongs to some attempt of this user's, in whichever queue."""
    return bool(cookie_of(pid))


def cookie_of(pid: int) -> str:
    """The cookie of the attempt that `pid` belongs to; empty where it belongs to none that we can see."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            lines = file.read().split(b"\0")
    except OSError:
        return ""
    found = [line[len(_COOKIE) :] for line in lines if line.startswith(_COOKIE)]
    return found[0].decode(errors="replace") if found else ""


def _carries(pid: int, cookie: str) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return _COOKIE + cookie.encode() in file.read().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def carriers(cookie: str) -> list[int]:
    """The living processes that carry `cookie` in their environment."""
    return [pid for pid in all_pids() if _carries(pid, cookie) and start_time(pid)]


def kill_carriers(cookie: str) -> int:
    """SIGKILL every process that carries `cookie` in its environment, until none is left; how many there were.

    One that does not die is given half a second.
    """
    killed: set[tuple[int, int]] = set()
    delay = 0.002
    for _ in range(100):
        found = carriers(cookie)
        if not found or delay > 0.5:
            break
        has_bred = not killed.issuperset((pid, start_time(pid)) for pid in found)
        delay = 0.002 if has_bred else 2 * delay
        for pid in found:
            try:
                descriptor = open_pidfd(pid)
            except OSError:
                continue
            if _carries(pid, cookie):  # looked at again: from the opening on the descriptor is this process
                killed.add((pid, start_time(pid)))
                send(descriptor, signal.SIGKILL)
            os.close(descriptor)
        time.sleep(delay)  # a killed process keeps its entry until it is reaped
    return len(killed)
