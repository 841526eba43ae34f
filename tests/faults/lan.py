"""A Slurm cluster on two hosts that a cable joins: each with a network, a name, a machine id and a boot id of its own.

Both are on this machine and share its disk; the controller and whoever submits are on the first. To cut the cable is
to take one end of it down. What runs on the second host then can be suspended as well: a disk that is reached over that
cable would hang it. Needs root and Debian's packages slurm-wlm and munge.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.hosts import send
from tests.support.host import Host, is_possible
from tests.support.sweep import Project
from tests.support.wait import wait_until

PROGRAMS = ("ip", "munged", "slurmctld", "slurmd", "sbatch", "squeue")
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
GPUS, PORT = 4, 16890
STATES = 5.0  # seconds for an answer of the controller
_CONF = """\
ClusterName=lan
SlurmctldHost={names[0]}(10.231.7.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/pid/slurmctld.pid
SlurmdPidFile={folder}/pid/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
PlugStackConfig={folder}/plugstack.conf
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1,bf_continue,batch_sched_delay=0,requeue_delay=1
GresTypes=gpu
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=10
KillWait=5
MinJobAge=3600
BatchStartTimeout=10
MessageTimeout=5
JobRequeue=1
{nodes}
PartitionName=main Nodes={list} Default=YES MaxTime=INFINITE DefaultTime=60 State=UP
"""


def obstacle() -> str:
    """Why there can be none here; empty where there can."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if missing:
        return f"{', '.join(missing)} not installed here"
    return "" if is_possible() else "no namespaces to make hosts of"


@dataclass
class Lan:
    """`folder` is its own. Hosts are numbered from 0."""

    project: Project
    folder: Path
    names: tuple[str, str] = ("near", "far")
    suspended: list[int] = field(default_factory=list)
    mark: str = field(default_factory=lambda: f"pt{os.getpid()}")

    @property
    def environment(self) -> dict[str, str]:
        return {**self.project.environment, **self._of_slurm}

    @property
    def _of_slurm(self) -> dict[str, str]:
        return {"PATH": PATH, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def up(self) -> None:
        for name in ("munge", "state", "log", "pid", "dev", *(f"spool/{name}" for name in self.names)):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "munge").chmod(0o755)
        self._configure()
        for number in range(2):
            _run("ip", "netns", "add", self._space(number))
            _run("ip", "-n", self._space(number), "link", "set", "lo", "up")
        ends = [f"{self.mark}{number}" for number in range(2)]
        peer = ["peer", "name", ends[1], "netns", self._space(1)]
        _run("ip", "link", "add", ends[0], "netns", self._space(0), "type", "veth", *peer)
        for number, end in enumerate(ends):
            _run("ip", "-n", self._space(number), "addr", "add", f"10.231.7.{number + 1}/24", "dev", end)
            _run("ip", "-n", self._space(number), "link", "set", end, "up")
        munge = self.folder / "munge"
        files = [f"--{name}-file={munge}/{name}" for name in ("key", "seed", "log")]
        _run("munged", "--force", *files, f"--socket={munge}/socket", f"--pid-file={self.folder}/pid/munged.pid")
        self.run(0, "slurmctld", "-i")
        for number, name in enumerate(self.names):
            self.run(number, "slurmd", "-N", name)
        wait_until(lambda: self.states() == ["idle", "idle"], "both hosts are ready", 60)

    def _configure(self) -> None:
        for number in range(GPUS):
            (self.folder / "dev" / f"gpu{number}").symlink_to("/dev/null")
        node = "NodeName={0} NodeHostname={0} NodeAddr=10.231.7.{1} Port={2} CPUs=16 Gres=gpu:fake:{3} State=UNKNOWN"
        nodes = "\n".join(node.format(name, number + 1, PORT + 1, GPUS) for number, name in enumerate(self.names))
        told = {"folder": self.folder, "names": self.names, "port": PORT, "nodes": nodes, "list": ",".join(self.names)}
        (self.folder / "slurm.conf").write_text(_CONF.format(**told))
        (self.folder / "gres.conf").write_text(
            f"AutoDetect=off\nName=gpu Type=fake File={self.folder}/dev/gpu[0-{GPUS - 1}]\n"
        )
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        (self.folder / "plugstack.conf").touch()
        key = self.folder / "munge" / "key"
        key.touch(0o600)
        key.write_bytes(os.urandom(1024))

    def _space(self, number: int) -> str:
        return f"{self.mark}-{self.names[number]}"

    def there(self, number: int, *command: str) -> list[str]:
        """That command, on that host."""
        enter = ["ip", "netns", "exec", self._space(number), "unshare", "--uts", "--mount"]
        return [*enter, *Host(self.project, self.names[number]).set_up(), *command]

    def run(self, number: int, *command: str, seconds: float = 60) -> str:
        done = subprocess.run(
            self.there(number, *command),
            env=self._of_slurm,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}"
        return done.stdout

    def boot(self, number: int) -> str:
        return (self.project.root.parent / f"host-{self.names[number]}" / "boot").read_text().strip()

    def states(self) -> list[str]:
        """Of the hosts, as the controller sees them."""
        with suppress(AssertionError, subprocess.TimeoutExpired):
            return self.run(0, "sinfo", "-h", "-N", "-o", "%T", seconds=STATES).split()
        return []

    # ---- the cable ----

    def cut(self) -> None:
        """Of the second host, and suspend what runs there: all but Slurm's own."""
        _run("ip", "-n", self._space(1), "link", "set", f"{self.mark}1", "down")
        while new := [pid for pid in self.living(1) if pid not in self.suspended]:
            send(new, signal.SIGSTOP)
            self.suspended += new

    def heal(self) -> None:
        """What was suspended goes on first."""
        send(self.suspended, signal.SIGCONT)
        self.suspended.clear()
        _run("ip", "-n", self._space(1), "link", "set", f"{self.mark}1", "up")

    def living(self, number: int) -> list[int]:
        """All that runs on that host and belongs to the project, its workers too."""
        daemon = int((self.folder / "pid" / f"slurmd.{self.names[number]}.pid").read_text())
        host = _space_of(daemon)
        return [pid for pid in self.project.living() if _space_of(pid) == host and not _is_of_slurm(pid)]

    def down(self) -> None:
        """Slurm's own daemons, and all that they started."""
        send(self.suspended, signal.SIGCONT)
        pids = [int(path.read_text()) for path in (self.folder / "pid").glob("*.pid") if path.read_text().strip()]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + 10
        while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < until:
            time.sleep(0.05)
        send([pid for pid in pids if Path(f"/proc/{pid}").exists()], signal.SIGKILL)
        for number in range(2):
            subprocess.run(["ip", "netns", "del", self._space(number)], check=False, env={"PATH": PATH})


def _space_of(pid: int) -> str:
    with suppress(OSError):
        return str(Path(f"/proc/{pid}/ns/uts").readlink())
    return ""


def _is_of_slurm(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().startswith("slurm")
    return True


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": PATH})
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
