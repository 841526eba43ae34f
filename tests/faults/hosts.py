"""A host that stays up while schedulers on it come and go (tests/support/host.py says what sets hosts apart).

Its clocks are its own. The monotonic ones run from another start, by a time namespace; the wall clock that its
programs are told is off by up to an hour, by a library loaded before the C library (programs/skew.c). Where the kernel
has no such namespaces, or nobody can compile, that part is left out. The times of files are the disk's own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import uuid
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from parallel_train.procs import process
from tests.support.host import ENTER, Host
from tests.support.wait import wait_until

PROGRAMS = Path(__file__).parent / "programs"
LAUNCHER = "procs/launcher.py"
_STAY = "trap '' CHLD; echo up; exec sleep infinity"  # as the host's process 1, which has to reap
_GO = 'cd "$1"; shift; exec "$@"'


@cache
def has_time_namespaces() -> bool:
    tried = ["unshare", "--time", "--monotonic", "1000", "--fork", "true"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


def skewing_library(folder: Path) -> Path | None:
    """programs/skew.c, compiled; None where nobody here can."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    library = folder / "skew.so"
    command = [compiler, "-shared", "-fPIC", "-o", str(library), str(PROGRAMS / "skew.c"), "-ldl"]
    return library if subprocess.run(command, capture_output=True, check=False).returncode == 0 else None


@dataclass
class StandingHost(Host):
    slots: int = 1
    skew: int = 0  # seconds that its wall clock is ahead
    library: Path | None = None
    boot: str = ""
    init: int = 0  # its process 1, as seen from here
    outer: subprocess.Popen[str] | None = None
    scheduler: subprocess.Popen[str] | None = None
    boots: int = 0

    @property
    def environment(self) -> dict[str, str]:
        skewed = {} if self.library is None else {"LD_PRELOAD": str(self.library), "TEST_SKEW": str(self.skew)}
        return {**super().environment, **skewed}

    def boot_up(self) -> None:
        """As after a power loss: the same machine, another boot, another start of its clocks."""
        self.boots += 1
        set_up = self.set_up()
        self.boot = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{self.name} {self.boots}"))
        (self.project.root.parent / f"host-{self.name}" / "boot").write_text(self.boot + "\n")
        off = str(1000 * len(self.name) + 7919 * self.boots)
        clocks = ["--time", "--monotonic", off, "--boottime", off] if has_time_namespaces() else []
        self.outer = self.begin([*ENTER, *clocks, *set_up, "sh", "-c", _STAY], stdout=subprocess.PIPE)
        assert self.outer.stdout is not None
        with self.outer.stdout as told:
            assert told.readline() == "up\n", self.project.said
        self.init = next(pid for pid, parent in process.parents() if parent == self.outer.pid)

    def run(self, *arguments: str) -> None:
        """Start a scheduler there."""
        spaces = ["--pid", "--mount", "--uts", *(["--time"] if has_time_namespaces() else [])]
        enter = ["nsenter", "--target", str(self.init), *spaces, "--", "sh", "-c", _GO, "sh", str(self.project.root)]
        self.scheduler = self.begin([*enter, *self.project.argv(*arguments, gpus=f"fake:{self.slots}")])

    # ---- who runs there ----

    def inside(self) -> dict[int, int]:
        """Everything that runs there but its process 1, by its pid there: its pid here."""
        space = _namespace(self.init)
        pids = [pid for pid in self.living() if pid != self.init and _namespace(pid) == space]
        return {inner: pid for pid in pids for inner in _inner(pid)}

    def scheduler_pid(self) -> int | None:
        return next((pid for pid in self.inside().values() if "-m" in words_of(pid)[1:3]), None)

    def launcher_pid(self) -> int | None:
        scheduler = self.scheduler_pid()
        children = [pid for pid, parent in process.parents() if parent == scheduler]
        return next((pid for pid in children if any(LAUNCHER in word for word in words_of(pid))), None)

    def pid_here(self, inner: int) -> int | None:
        return self.inside().get(inner)

    # ---- what is done to it ----

    def suspend(self) -> list[int]:
        """Stop all that runs there, however quickly it multiplies; whom."""
        stopped: set[int] = set()
        while True:
            new = set(self.inside().values()) - stopped
            if not new:
                return sorted(stopped)
            send(new, signal.SIGSTOP)
            stopped |= new

    def lose_power(self) -> None:
        """Its process 1 takes everything with it."""
        with suppress(ProcessLookupError):
            os.kill(self.init, signal.SIGKILL)
        if self.scheduler is not None:
            self.scheduler.kill()  # it may stand still, and would not reap what it had started
            self.scheduler.wait()
        assert self.outer is not None
        self.outer.wait()
        wait_until(lambda: not self.living(), f"all of {self.name} is gone", seconds=60)

    def nudge(self) -> None:
        """What entered the host for it stops with the scheduler that it waits for, and has to be woken with it."""
        if self.scheduler is not None and self.scheduler.poll() is None:
            send([self.scheduler.pid], signal.SIGCONT)


def send(pids: list[int] | set[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _namespace(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""


def _inner(pid: int) -> list[int]:
    """The pid of a process in its own namespace, as far as it lives."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return [int(line.split()[-1]) for line in lines if line.startswith("NSpid")]
    return []


def words_of(pid: int) -> list[str]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    return [""]
