"""A real Slurm cluster on the loopback of one machine: a controller, two nodes with four fake GPUs each.

No systemd, no control groups, no database; all of it in one folder, as root or as a plain user. The daemons are
children of the process that starts them and die with it.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil

from tests.support.wait import wait_until

NODES = ("pt1", "pt2")
GPUS = 4  # of each node
INSTALL = "TEST_INSTALL"  # see tests/conftest.py
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_APT = ["nice", "apt-get", "-qq", "-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=10"]

# The cluster's name is in the names of slot locks: two clusters on this machine may give out one number for a job.
_CONF = """\
ClusterName=parallel-train-{ports[0]}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
PlugStackConfig={folder}/plugstack.conf
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,bf_continue,sched_min_interval=0,batch_sched_delay=0,default_queue_depth=2000
GresTypes=gpu
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=5
SlurmctldTimeout=30
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
InactiveLimit=0
KillWait=5
MinJobAge=3600
MaxArraySize={most}
MaxJobCount={jobs}
BatchStartTimeout=10
MessageTimeout=10
JobRequeue=1
{nodes}
PartitionName=main Nodes={all} Default=YES MaxTime=INFINITE DefaultTime=60 DefMemPerCPU=100 State=UP
PartitionName=closed Nodes={all} MaxTime=1 State=DOWN
{more}
"""
# What sites do on a node behind each job; here it takes as long as a test wants.
_EPILOG = """\
#!/bin/sh
while [ -e {dirty} ]; do sleep 0.1; done
"""


@cache
def missing() -> str:
    """Why there is no Slurm here; empty where there is. Installs it where that is wanted."""
    if shutil.which("slurmctld", path=_PATH) and shutil.which("munged", path=_PATH):
        return ""
    if os.geteuid() or os.environ.get(INSTALL) != "1":
        return "Slurm is not installed; as root, PARALLEL_TRAIN_TEST_INSTALL=1 installs Debian's packages"
    with Path(tempfile.gettempdir(), "parallel-train-test-install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process of this test run may be at it
        return _install()


def _install() -> str:
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["install", "-y", "--no-install-recommends", "slurm-wlm", "munge"]
    try:
        if not shutil.which("slurmctld", path=_PATH):
            subprocess.run([*_APT, "update"], check=True, capture_output=True, timeout=60, env=environ)
            subprocess.run([*_APT, *install], check=True, capture_output=True, timeout=180, env=environ)
    except (OSError, subprocess.SubprocessError) as error:
        return f"Slurm can't be installed: {error}"
    return ""


class Cluster:
    """`user`, where given, owns the cluster and runs its daemons; else whoever runs this does. Each node has `gpus`,
    and an array up to `most` elements. Where it cleans up, what has run is COMPLETING for as long as the file `dirty`
    stands.
    """

    def __init__(
        self, folder: Path, user: str = "", *, gpus: int = GPUS, most: int = 8, cleans_up: bool = False
    ) -> None:
        self.folder, self.user, self.gpus, self.most, self.cleans_up = folder, user, gpus, most, cleans_up
        self.dirty = folder / "dirty"
        self.variables = {"PATH": _PATH, "SLURM_CONF": str(folder / "slurm.conf")}  # for whoever speaks to it
        group = pwd.getpwnam(user).pw_gid if user else 0
        becomes = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--inh-caps=-all"]
        self.as_user = becomes if user else []
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        self._configure()
        folder = self.folder
        names = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid", "log-file": "munged.log"}
        options = [f"--{option}={folder / name}" for option, name in names.items()]
        self._begin("munged", "munged", "--foreground", "--force", *options, f"--seed-file={folder / 'munge.seed'}")
        wait_until((folder / "munge.socket").exists, "munged listens")
        self.start_controller()
        for node in NODES:
            self.start_node(node)
        wait_until(self.is_up, "all nodes are idle", 40)

    def _configure(self) -> None:
        folder = self.folder
        for name in ("state", *(f"spool.{node}" for node in NODES)):
            (folder / name).mkdir(mode=0o700)
        (folder / "munge.key").write_bytes(os.urandom(1024))
        (folder / "munge.key").chmod(0o600)
        for gpu in range(self.gpus):  # any path that exists will do: the digit at its end is the GPU's number
            (folder / f"gpu{gpu}").symlink_to("/dev/null")
        (folder / "gres.conf").write_text(f"AutoDetect=off\nName=gpu Type=fake File={folder}/gpu[0-{self.gpus - 1}]\n")
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        (folder / "plugstack.conf").write_text("")
        host = socket.gethostname().partition(".")[0]
        ports = _free_ports(1 + len(NODES))
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=16 RealMemory=8000 "
            f"Gres=gpu:fake:{self.gpus} State=UNKNOWN"
            for node, port in zip(NODES, ports[1:], strict=True)
        )
        user = self.user or psutil.Process().username()
        names = ",".join(NODES)
        epilog = folder / "epilog"
        epilog.write_text(_EPILOG.format(dirty=shlex.quote(str(self.dirty))))
        epilog.chmod(0o700)
        sizes = {"most": self.most, "jobs": 10_000 + self.most}
        more = f"Epilog={epilog}" if self.cleans_up else ""
        conf = _CONF.format(
            host=host, ports=ports, user=user, folder=folder, nodes=nodes, all=names, more=more, **sizes
        )
        (folder / "slurm.conf").write_text(conf)
        if self.user:
            for path in (folder, *folder.iterdir()):
                os.chown(path, pwd.getpwnam(self.user).pw_uid, -1, follow_symlinks=False)

    def _begin(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.said").open("ab") as said:
            self._daemons[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig=TERM", *self.as_user[1:], *command],
                env={**os.environ, **self.variables},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def cancel_all(self) -> None:
        self.ask("scancel", f"--user={self.user or os.getuid()}")

    def start_controller(self) -> None:
        self._begin("slurmctld", "slurmctld", "-D", "-i")

    def start_node(self, node: str) -> None:
        self._begin(f"slurmd {node}", "slurmd", "-D", "-N", node)

    def stop_controller(self) -> None:
        self._end("slurmctld")

    def kill_node(self, node: str) -> None:
        """As where its power fails: its daemon, and all that runs there."""
        self._end(f"slurmd {node}", signal.SIGKILL)
        for process in self._of_jobs(node):
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def _of_jobs(self, node: str = "") -> list[psutil.Process]:
        """What runs in allocations, and what Slurm has there to look after it."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                environ = process.environ()
                is_ours = environ.get("SLURM_CONF") == self.variables["SLURM_CONF"]
                if (
                    is_ours
                    and environ.get("SLURMD_NODENAME")
                    and environ["SLURMD_NODENAME"] in ((node,) if node else NODES)
                ):
                    found += [parent for parent in process.parents() if parent.name() == "slurmstepd"]
                    found.append(process)
        return found

    def is_up(self) -> bool:
        said = self.ask("sinfo", "--noheader", "--Node", "--partition=main", "--format=%T").split()
        return len(said) == len(NODES) and set(said) <= {"idle", "mixed", "allocated"}

    def ask(self, *command: str) -> str:
        """What one of Slurm's commands says, as the cluster's user."""
        asked = [*self.as_user, *command]
        said = subprocess.run(
            asked, capture_output=True, text=True, timeout=30, env={**os.environ, **self.variables}, check=False
        )
        return said.stdout

    def _end(self, name: str, number: int = signal.SIGTERM) -> None:
        daemon = self._daemons.pop(name, None)
        if daemon is None:
            return
        daemon.send_signal(number)
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def stop(self) -> None:
        """End the jobs, the daemons, and what is left of either."""
        with suppress(subprocess.TimeoutExpired, AssertionError):
            self.cancel_all()
            wait_until(lambda: not self.ask("squeue", "--noheader"), "all jobs have ended", 10)
        for name in reversed(list(self._daemons)):
            self._end(name)
        for process in self._of_jobs():
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
