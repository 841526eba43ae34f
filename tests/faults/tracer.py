"""Run a command and all that it starts, see each file call on some places and each fork and exec, and break one.

Seen too is where a shim that has no attempt waits for its next order, and where it reads that.

A call is named by the role of its process (scheduler, launcher, shim-good.1: that of the task's first attempt,
child-good.1: what it forked, until it becomes the command), its own name, its paths, and how often that role had made
the same call before: the same in each run, as far as the run is the same. Commands themselves are not looked at. A
shim has a role after another, each from when it has read that order.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.faults import ptrace

# By number on x86-64: the name, and where paths and descriptors stand among the arguments:
# p a path, d a folder's descriptor with a path after it, f a descriptor.
_CALLS = {
    0: ("read", "f"), 1: ("write", "f"), 2: ("open", "p"), 3: ("close", "f"), 4: ("stat", "p"), 5: ("fstat", "f"),
    6: ("lstat", "p"), 8: ("lseek", "f"), 16: ("ioctl", "f"), 17: ("pread64", "f"), 18: ("pwrite64", "f"),
    20: ("writev", "f"), 21: ("access", "p"), 33: ("dup2", "f"), 72: ("fcntl", "f"), 73: ("flock", "f"),
    74: ("fsync", "f"), 75: ("fdatasync", "f"), 76: ("truncate", "p"), 77: ("ftruncate", "f"), 82: ("rename", "pp"),
    83: ("mkdir", "p"), 84: ("rmdir", "p"), 85: ("creat", "p"), 86: ("link", "pp"), 87: ("unlink", "p"),
    88: ("symlink", "-p"), 89: ("readlink", "p"), 90: ("chmod", "p"), 91: ("fchmod", "f"), 137: ("statfs", "p"),
    138: ("fstatfs", "f"), 217: ("getdents64", "f"), 257: ("openat", "d"), 258: ("mkdirat", "d"),
    262: ("newfstatat", "d"), 263: ("unlinkat", "d"), 264: ("renameat", "d-d"), 265: ("linkat", "d-d"),
    267: ("readlinkat", "d"), 268: ("fchmodat", "d"), 269: ("faccessat", "d"), 280: ("utimensat", "d"),
    285: ("fallocate", "f"), 292: ("dup3", "f"), 316: ("renameat2", "d-d"), 332: ("statx", "d"),
    439: ("faccessat2", "d"),
}  # fmt: skip
_PROCESS_CALLS = {56: "clone", 57: "fork", 58: "vfork", 59: "execve", 322: "execveat", 435: "clone3"}
_RECEIVE = 45  # recvfrom: in a launcher or a shim, an order: first its length, then itself
_WHOSE = re.compile(r'"attempt": ([0-9]+),.*"log": "[^"]*/gpu[0-9]+_([^"_]+)_')
END = "\0"  # after a place: that path alone
_AT_FDCWD = (-100) & 0xFFFFFFFF
_NEVER_THE_SAME = re.compile(
    r"(?<=\.tmp-)[0-9]+-[0-9a-f]+|(?<=/fake-)[0-9a-f]{12}|[0-9]{8}[-_][0-9]{6}(-[0-9]+-[0-9a-f]{4})?"
)

Fate = Literal["KILL", "ENOSPC", "EIO", "EINTR", "EMFILE", "CANCEL", "RIVAL", "ALL", "STRANGER", "UNREAD"]
_NOBODYS = "shim-?"  # nobody asked whose it is; its child too is let go of when it becomes the command
_HOLDING = ("CANCEL", "RIVAL", "ALL", "STRANGER", "UNREAD")


@dataclass(frozen=True)
class Call:
    role: str
    name: str
    paths: tuple[str, ...]  # below the places that are watched; what changes from run to run is a *
    time: int  # among those of its role that are the same, from 1
    pid: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return f"{self.role}:{self.name}:{','.join(self.paths)}:{self.time}"


@dataclass(frozen=True)
class Fault:
    """What becomes of one call.

    With CANCEL, RIVAL, ALL, STRANGER and UNREAD its process is kept there for as long as `is_held` says so of its pid.
    """

    call: str
    fate: Fate
    is_held: Callable[[int], bool] = lambda _: False


@dataclass
class Trace:
    pid: int = 0  # of the command itself
    code: int | None = None  # its exit code; minus the signal that killed it
    calls: list[Call] = field(default_factory=list)
    hit: Call | None = None
    shim: tuple[int, int] | None = None  # (pid, start time) of the shim that was hit
    ended: dict[int, tuple[int, float]] = field(default_factory=dict)  # exit code and time, by pid


class Tracer:
    def __init__(self, root: str, places: tuple[str, ...], fault: Fault | None) -> None:
        self.root, self.places, self.fault = root, places, fault
        self.trace = Trace()
        self.roles: dict[int, str] = {}
        self.counts: Counter[tuple[str, str, tuple[str, ...]]] = Counter()
        self.watched = _watched(fault)
        self.ordered: list[str] = []  # the roles of the shims to come
        self.receiving: dict[int, int] = {}  # where in its memory a process reads to
        self.early: set[int] = set()  # forked, and stopped before its parent told of it
        self.answers: dict[int, int] = {}  # which error to give at the end of a call
        self.is_leaving = False

    def run(self, main: Callable[[], int]) -> Trace:
        """Fork, call `main` there, and follow it to its end; what it has started may go on."""
        ready, go = os.pipe()
        command = os.fork()
        if command == 0:
            os.read(ready, 1)
            os.close(ready)
            os.close(go)
            os._exit(main())
        self.trace.pid = command
        self.roles[command] = "scheduler"
        ptrace.seize(command)
        ptrace.interrupt(command)
        os.write(go, b"x")
        os.close(ready)
        os.close(go)
        try:
            while self.trace.code is None:
                self._follow()
            self._leave()
        finally:
            self._kill_the_rest()
        return self.trace

    def _follow(self) -> None:
        found = ptrace.wait()
        if isinstance(found, ptrace.Ended):
            self.roles.pop(found.pid, None)
            self.trace.ended[found.pid] = (found.code, time.monotonic())
            if found.pid == self.trace.pid:
                self.trace.code = found.code
        else:
            with suppress(ProcessLookupError):  # killed meanwhile
                self._on_stop(found)

    # ---- stops ----

    def _on_stop(self, stop: ptrace.Stopped) -> None:
        pid = stop.pid
        if pid not in self.roles:
            self.early.add(pid)
        elif stop.signal == ptrace.AT_SYSCALL:
            self._at_call(pid)
        elif stop.event in {ptrace.FORK, ptrace.VFORK, ptrace.CLONE}:
            self._on_fork(pid, ptrace.new_pid(pid))
        elif stop.event == ptrace.EXEC:
            self._on_exec(pid)
        elif stop.event == ptrace.STOP and stop.signal != signal.SIGTRAP and not self.is_leaving:
            ptrace.listen(pid)
        else:
            self._go_on(pid, 0 if stop.event else stop.signal)

    def _go_on(self, pid: int, with_signal: int = 0) -> None:
        if self.is_leaving and pid not in self.answers:
            self.roles.pop(pid, None)
            ptrace.go_on(pid, ptrace.DETACH, with_signal)
        else:
            is_watched = self.roles[pid].startswith(self.watched) or pid in self.answers
            ptrace.go_on(pid, ptrace.SYSCALL if is_watched else ptrace.CONTINUE, with_signal)

    def _on_fork(self, parent: int, pid: int) -> None:
        role = self.roles[parent]
        if role == "launcher":
            self.roles[pid] = self.ordered.pop(0) if self.ordered else _NOBODYS
        elif role.startswith("shim"):
            self.roles[pid] = role.replace("shim", "child")
        else:
            self.roles[pid] = "child"
        if pid in self.early:
            self.early.discard(pid)
            self._go_on(pid)
        self._go_on(parent)

    def _on_exec(self, pid: int) -> None:
        if self.roles[pid] == "child":
            self.roles[pid] = "launcher"
        elif self.roles[pid].startswith("child"):
            del self.roles[pid]
            ptrace.go_on(pid, ptrace.DETACH)
            return
        self._go_on(pid)

    # ---- calls ----

    def _at_call(self, pid: int) -> None:
        found = ptrace.entry(pid)
        if found is None:
            if pid in self.answers:
                ptrace.answer(pid, self.answers.pop(pid))
            elif pid in self.receiving:
                self._on_received(pid, ptrace.text_at(pid, self.receiving.pop(pid)))
        elif not self.is_leaving:
            if found.number == _RECEIVE and self.roles[pid].startswith(("launcher", "shim")):
                self.receiving[pid] = found.arguments[1]
            call = self._call(pid, found)
            if call is not None:
                self.trace.calls.append(call)
                if self.fault is not None and str(call) == self.fault.call:
                    self._break(call, self.fault)
        self._go_on(pid)

    def _on_received(self, pid: int, text: str) -> None:
        whose = _WHOSE.search(text)
        if whose is None:
            return
        role = f"shim-{whose[2]}.{whose[1]}"
        if self.roles[pid] == "launcher":
            self.ordered.append(role)
        else:
            self.roles[pid] = role

    def _break(self, call: Call, fault: Fault) -> None:
        self.trace.hit = call
        self.trace.shim = self._shim_of(call)
        if fault.fate == "KILL":
            os.kill(call.pid, signal.SIGKILL)
        elif fault.fate not in _HOLDING:
            if call.name != "close":  # which lets go of the file whatever it answers
                ptrace.skip_call(call.pid)
            self.answers[call.pid] = getattr(errno, fault.fate)
        self._interrupt_all(but=call.pid)
        if fault.fate in _HOLDING:
            while len(self.roles) > 1:
                self._follow()
            while fault.is_held(call.pid):
                time.sleep(0.005)

    def _shim_of(self, call: Call) -> tuple[int, int] | None:
        return (call.pid, start_time(call.pid)) if call.role.startswith("shim") else None

    def _call(self, pid: int, found: ptrace.Entry) -> Call | None:
        name = _PROCESS_CALLS.get(found.number, "")
        paths: tuple[str, ...] = ()
        if found.number in _CALLS:
            name, where = _CALLS[found.number]
            paths = tuple(path for path in self._paths(pid, where, found.arguments) if self._is_watched(path))
            if not paths:
                return None
        if found.number == _RECEIVE and self.roles[pid].startswith("shim"):
            name = "recvfrom"
        if not name:
            return None
        same = (self.roles[pid], name, tuple(map(self._shown, paths)))
        self.counts[same] += 1
        return Call(*same, self.counts[same], pid)

    def _is_watched(self, path: str) -> bool:
        return (path.removesuffix("/") + END).startswith(self.places)

    @staticmethod
    def _paths(pid: int, where: str, arguments: tuple[int, ...]) -> list[str]:
        found = []
        for position, kind in enumerate(where):
            argument = arguments[position]
            with suppress(OSError):
                if kind == "f":
                    found.append(os.readlink(f"/proc/{pid}/fd/{argument & 0xFFFFFFFF}"))  # noqa: PTH115  at each call
                elif kind in "pd":
                    text = ptrace.text_at(pid, arguments[position + (kind == "d")])
                    at = argument & 0xFFFFFFFF
                    base = "cwd" if kind == "p" or at == _AT_FDCWD else f"fd/{at}"
                    found.append(os.path.join(os.readlink(f"/proc/{pid}/{base}"), text))  # noqa: PTH115, PTH118
        return found

    def _shown(self, path: str) -> str:
        return _NEVER_THE_SAME.sub("*", os.path.relpath(path, self.root) if path.startswith(self.root) else path)

    # ---- the end ----

    def _interrupt_all(self, but: int = 0) -> None:
        """From here on each is let go of at its next stop."""
        self.is_leaving = True
        for pid in self.roles.keys() - {but}:
            with suppress(OSError):  # it has ended, or waits for us already
                ptrace.interrupt(pid)

    def _leave(self) -> None:
        self._interrupt_all()
        with suppress(ChildProcessError):
            while self.roles:
                self._follow()

    def _kill_the_rest(self) -> None:
        """Of what is traced nothing is left, unless something went wrong; other children are waited for."""
        for pid in {*self.roles, *self.early, *([self.trace.pid] if self.trace.code is None else [])}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            while True:
                self._follow()


def _watched(fault: Fault | None) -> tuple[str, ...]:
    """How the roles begin whose calls must be seen: all where nothing is broken. What it reads says whose a shim is."""
    if fault is None:
        return ("",)
    role = fault.call.partition(":")[0]
    return (role, "launcher", "shim") if role.startswith(("shim", "child-")) else (role,)


def start_time(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()[19])
