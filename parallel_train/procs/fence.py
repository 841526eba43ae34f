"""A control group (cgroup v2) of its own for each attempt, where a part of their tree is ours to divide.

A process may leave its session, its parents and its environment, but its group only for another that it may write to.
So what hides from everything else can be ended there, by whoever knows the attempt: the group has its cookie's name,
and stands in the claim and in the slot lock. Groups are made below the one that we are in, and nothing of ours moves.
Ours to divide is a group that systemd marked as delegated (`Delegate=yes`), one that we made, and the top one of a
container or machine without systemd; systemd asks everybody to leave all others alone, also where they may be written.
Standard library only, Python 3.8 and newer.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import struct
import time
from functools import lru_cache
from typing import Any

from parallel_train.procs import process

PREFIX = "parallel-train-"
PATIENCE = 2.0  # seconds for what was killed to be gone
_MARKS = ("user.delegate", "trusted.delegate")
_CLONE3, _CLONE_INTO_CGROUP = 435, 0x200000000
_libc = ctypes.PyDLL(None, use_errno=True)  # keeps Python's lock, which a child must hold


# ---- where ----


@lru_cache(maxsize=None)
def place() -> str:
    """The folder in which groups may be made, that of our own; "" where there is none. A launcher asks once."""
    return "" if obstacle() else _own("/")[0]


def obstacle(root: str = "/") -> str:
    """Why no groups can be made, as a part of a sentence; "" where they can. `root` is where proc and sys are."""
    folder, group = _own(root)
    if not folder:
        return "there is no cgroup v2 here"
    has_systemd = os.path.isdir(os.path.join(root, "run/systemd/system"))
    if not _is_marked(folder) and (has_systemd or group != "/"):
        return "its control group is not delegated to it"
    if not os.access(folder, os.W_OK | os.X_OK) or not os.access(os.path.join(folder, "cgroup.procs"), os.W_OK):
        return "its control group can't be written"
    is_top = not os.path.exists(os.path.join(folder, "cgroup.type"))
    if not is_top and not os.path.exists(os.path.join(folder, "cgroup.kill")):
        return "this kernel can't end a control group (Linux 5.14 can)"
    return ""


def _own(root: str) -> tuple[str, str]:
    """The folder and the path of the group that this process is in: it lists us. "" where none can be seen."""
    for line in _read(os.path.join(root, "proc/self/cgroup")).splitlines():
        if line.startswith("0::/"):
            for mount in ("sys/fs/cgroup", "sys/fs/cgroup/unified"):  # the second beside cgroup v1
                folder = os.path.join(root, mount, line[4:]).rstrip("/")
                if str(os.getpid()) in _read(os.path.join(folder, "cgroup.procs")).split():
                    return folder, line[3:]
    return "", ""


def _is_marked(folder: str) -> bool:
    for mark in _MARKS:
        with contextlib.suppress(OSError):
            if os.getxattr(folder, mark) == b"1":
                return True
    return False


def path(cookie: str) -> str:
    """Where the group of the attempt with that cookie is made; "" where none can be."""
    return os.path.join(place(), PREFIX + cookie) if place() else ""


# ---- in it ----


def fork(group: str) -> int:
    """As os.fork, the child in a new group at `group` where that can be made. For a single-threaded process.

    The child is born there: to move a process costs the whole machine a wait of milliseconds.
    """
    if not group or not _make(group):
        return os.fork()
    pid = -1
    with contextlib.suppress(OSError):
        descriptor = os.open(group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        pid = _clone_into(descriptor)
        if pid:
            os.close(descriptor)
    if pid < 0:
        end(group)
        return os.fork()
    return pid


def _make(group: str) -> bool:
    try:
        os.mkdir(group)
    except OSError:
        return False  # no room, no right, no such file system any more
    if not os.path.exists(os.path.join(group, "cgroup.kill")):
        with contextlib.suppress(OSError):  # another container's launcher took it for one left behind
            os.rmdir(group)
        return False
    with contextlib.suppress(OSError):
        os.setxattr(group, _MARKS[0], b"1")  # the task may divide it: it may be one of us
    return True


def _clone_into(descriptor: int) -> int:
    """A fork into the group behind `descriptor`; -1 where the kernel refuses."""
    arguments = struct.pack("11Q", _CLONE_INTO_CGROUP, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, descriptor)
    return int(_libc.syscall(_CLONE3, ctypes.create_string_buffer(arguments, len(arguments)), len(arguments)))


# ---- its end ----


def kill(group: str) -> None:
    """SIGKILL all that is in the group and in those below it, what is being forked too."""
    if not group:
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(os.path.join(group, "cgroup.kill"), os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, b"1")
        finally:
            os.close(descriptor)


def end(group: str, patience: float = PATIENCE) -> bool:
    """Kill all that is in a group of ours and take it away; False where something in it does not die."""
    until = time.monotonic() + patience
    while not _remove(group):
        kill(group)
        if time.monotonic() >= until:
            return False
        time.sleep(0.001)
    return True


def members(group: object) -> list[int]:
    return [int(pid) for pid in _read(os.path.join(str(group), "cgroup.procs")).split()]


def sweep(group: object, cookie: str) -> bool:
    """The same for the group that the records name for the dead attempt with that cookie."""
    if not isinstance(group, str) or not _is_named(group, cookie):
        return True
    return end(group)


def sweep_holder(holder: dict[str, Any]) -> str:
    """End what a killed shim left that wrote itself into a slot lock: "" once it has died, else who has not."""
    if holder.get("boot") != process.boot_id():
        return ""
    cookie, group = str(holder.get("cookie")), holder.get("group")
    process.kill_carriers(cookie)
    if sweep(group, cookie) and not process.carriers(cookie):
        return ""
    left = [process.described(pid) for pid in {*process.carriers(cookie), *members(group)}]
    return "{} that does not die: process {}".format(holder.get("queue"), ", ".join(left))


def sweep_if_dead(holder: dict[str, Any]) -> None:
    """The same for whoever still holds the lock that he signed. His attempt may have been ended from another host, or
    belong to a queue where nobody works any more: nobody else comes for what is left of it.
    """
    here = process.this_machine()
    if any(holder.get(name) != here[name] for name in ("machine", "boot", "pidns")):
        return  # he can't be seen from here
    living = process.open_proven(int(holder["pid"]), int(holder["start"]))
    if living is None:
        sweep_holder(holder)
    else:
        os.close(living)


def _is_named(group: str, cookie: str) -> bool:
    """Whether it is a group, ours, of that attempt: what a record says is not enough to kill."""
    folder, name = os.path.split(group)
    if name != PREFIX + cookie or os.path.normpath(folder) != folder or not folder.startswith("/sys/fs/cgroup"):
        return False
    try:
        return os.lstat(group).st_uid == os.getuid()
    except OSError:
        return False  # gone, mostly


def _remove(group: str) -> bool:
    """Whether the group is gone. One in which something lives can't be removed, so nothing else needs to be asked."""
    if not group:
        return True
    try:
        os.rmdir(group)
    except FileNotFoundError:
        return True
    except OSError:
        for folder, _, _ in os.walk(group, topdown=False):  # what the task made in it
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        return not os.path.isdir(group)
    return True


def tidy() -> None:
    """Take away the empty groups here of shims that were killed and never missed."""
    with contextlib.suppress(OSError):
        for name in os.listdir(place()) if place() else ():
            parts = name.rsplit(".", 3)  # see shim._cookie
            if name.startswith(PREFIX) and len(parts) == 4 and _is_dead(parts[1], parts[2]):
                with contextlib.suppress(OSError):
                    os.rmdir(os.path.join(place(), name))


def _is_dead(pid: str, start: str) -> bool:
    return pid.isdecimal() and start.isdecimal() and process.start_time(int(pid)) != int(start)


def _read(name: str) -> str:
    try:
        with open(name, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
