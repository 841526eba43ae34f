"""Another host on this machine: a scheduler in namespaces of its own, with its own name, machine id, boot id and pids.

Nothing of it can be seen from elsewhere but what it writes on the shared folder; to the test it is a process group
of this machine that can be stopped, continued and killed as a whole.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.sweep import Project

ENTER = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts", "--mount"]
# Slot locks are of a host: its own folder takes the place of ours.
_SET_UP = (
    'hostname "$1"; mount --bind "$2/machine" /etc/machine-id; mount --bind "$2/boot" /proc/sys/kernel/random/boot_id;'
    ' mount --bind "$2/locks" "$3"; shift 3; exec "$@"'
)


def is_possible() -> bool:
    """Whether hosts can be made here: namespaces need privileges that not every machine gives."""
    if os.getuid() != 0 or shutil.which("unshare") is None:
        return False
    tried = "mount --bind /etc/passwd /etc/machine-id; mount --bind /etc/passwd /proc/sys/kernel/random/boot_id"
    return subprocess.run([*ENTER, "sh", "-ec", tried], capture_output=True, check=False).returncode == 0


@dataclass
class Host:
    project: Project
    name: str

    def start(self, *arguments: str, gpus: str = "fake:2") -> subprocess.Popen[str]:
        """Start the command there. Each start finds the machine as it was."""
        return self.begin([*ENTER, *self.set_up(), *self.project.argv(*arguments, gpus=gpus)])

    def begin(self, argv: list[str], **more: Any) -> subprocess.Popen[str]:
        """A process that belongs to this host; what it says goes to the project's file `said`."""
        with (self.project.root / "said").open("a") as said:
            streams = {"stdin": subprocess.DEVNULL, "stdout": said, "stderr": subprocess.STDOUT}
            settings = {"cwd": self.project.root, "env": self.environment, "text": True, **streams, **more}
            process: subprocess.Popen[str] = subprocess.Popen(argv, **settings)
        self.project.started.append(process)
        return process

    def set_up(self) -> list[str]:
        """The start of a command that makes new namespaces this host's."""
        folder = self.project.root.parent / f"host-{self.name}"
        (folder / "locks").mkdir(parents=True, exist_ok=True)
        (folder / "locks").chmod(0o700)
        for name, text in (("machine", uuid.uuid5(uuid.NAMESPACE_DNS, self.name).hex), ("boot", str(uuid.uuid4()))):
            if not (folder / name).exists():
                (folder / name).write_text(text + "\n")
        locks = f"/tmp/parallel-train-{os.getuid()}"
        Path(locks).mkdir(mode=0o700, exist_ok=True)
        return ["sh", "-c", _SET_UP, "sh", self.name, str(folder), locks]

    @property
    def environment(self) -> dict[str, str]:
        return {**self.project.environment, "TEST_HOST": self.name}

    def living(self) -> list[int]:
        """All that runs there, by the pids of this machine."""
        return [pid for pid in self.project.living() if f"TEST_HOST={self.name}" in _read(pid, "environ")]

    def tasks(self) -> list[int]:
        """The recorders among them."""
        return [pid for pid in self.living() if any(word.endswith("recorder.py") for word in _read(pid, "cmdline"))]

    def signal(self, number: int) -> None:
        """To everything that runs there, as a machine that is suspended, goes on, or loses its power."""
        told: set[int] = set()
        while new := set(self.living()) - told:  # what was just forked by one that was not told yet, too
            told |= new
            for pid in new:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    def suspend(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def lose_power(self) -> None:
        self.suspend()  # first: nobody may live to say that another one was killed
        self.signal(signal.SIGKILL)


def _read(pid: int, name: str) -> list[str]:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace").split("\0")
    except OSError:
        return []
