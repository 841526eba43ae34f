"""Disk full, no inodes, no file handles, no processes, and 100,000 task lives: does it go on, say so, and resume?"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from parallel_train.procs import process
from tests.faults.checker import Expected, faults, history, living
from tests.faults.frame import ROOT, Piece, Plan, Verdict
from tests.support.sweep import MARK, QUEUE, Project
from tests.support.sweep import project as project_in
from tests.support.wait import wait_until

HANDLES = 64
GROWTH = 10.0  # MiB that a scheduler, a launcher or a shim may grow
FORKS = """if True:
    import os, time
    while True:
        try:
            pid = os.fork()
        except BlockingIOError:
            time.sleep(0.002)
            continue
        if pid == 0:
            time.sleep(600)
"""
# Root's Python may be for root alone; with the last, access(2) tells the truth about that.
READS_ALL = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup")
WOBBLE = 2  # descriptors more than at the start, at one moment


def run(plan: Plan) -> Verdict:
    return plan.in_pieces(lambda piece: KINDS[piece.number](piece), smoke=3, full=len(KINDS))


# ---- what runs out and comes back ----


@dataclass(frozen=True)
class Shortage:
    says: str  # what the scheduler says of it
    take: Callable[[], object]  # all that is left, also a second time
    give_back: Callable[[], object]


@dataclass
class Sweep:
    """A sweep that runs while something runs out and comes back; its effects lie where there is always room."""

    piece: Piece
    project: Project
    scheduler: subprocess.Popen[str]
    queue: Path
    codes: dict[str, int]

    def count(self) -> int:
        return len(self.project.effects())

    def is_idle(self) -> bool:
        """Whether every attempt that was claimed has ended, by its own word if its record can't be written."""
        told, effects = history(self.queue), self.project.effects()
        over = {(effect.name, effect.attempt) for effect in effects if effect.ended}
        return all(key in told.ends or (told.names[key[0]], key[1]) in over for key in told.claims)

    def run_out(self, shortage: Shortage) -> None:
        """Take it away, see that this is said and that nothing new is launched, give it back, see that it goes on."""
        start = self.count() + self.piece.chance.randrange(1, 8)
        wait_until(lambda: self.count() >= start, f"{start} tasks have begun; {self.project.said}", 60)
        said, says = len(self.project.said), shortage.says
        shortage.take()
        wait_until(lambda: says in self.project.said[said:], f"{says!r} is said, only {self.project.said[said:]}", 30)
        wait_until(self.is_idle, "what ran has ended")
        shortage.take()  # also what somebody gave back meanwhile, such as a temporary file
        before = self.count()
        time.sleep(self.piece.chance.uniform(0.5, 2.0))  # as long as it is away
        if self.count() > before:
            self.piece.fault(f"{self.count() - before} tasks began while {says!r}")
        if self.scheduler.poll() is not None:
            raise AssertionError(f"it gave up: {self.project.said}")
        shortage.give_back()
        wait_until(lambda: self.count() > before, f"it goes on; {self.project.said}", 60)

    def judge(self) -> None:
        code = self.scheduler.wait(300)
        wait_until(lambda: not living(self.project.root), "all processes are gone")  # shims end with their line
        told = history(self.queue)
        if code != 1:  # some tasks fail
            self.piece.fault(f"it exits with {code}: {self.project.said}")
        self.piece.fault(*faults(told, self.project.effects(), Expected(self.codes)))
        if "Traceback" in self.project.said:
            self.piece.fault(self.project.said)
        self.piece.count(tasks=len(self.codes))


def _tasks(piece: Piece, project: Project, count: int) -> dict[str, int]:
    # So few fail that no slot looks sick, whose tasks would run again elsewhere.
    codes = {f"t{number}": piece.chance.randrange(1, 6) if number % 12 == 0 else 0 for number in range(count)}
    (project.root / "effects").mkdir()
    made = []
    for name, code in codes.items():
        command = project.recorder(name, seconds=piece.chance.uniform(0.02, 0.2), code=code)
        command[command.index("effects")] = str(project.root / "effects")
        made.append({"name": name, "command": command})
    project.tasks(*made)
    return codes


@contextmanager
def small_disk(root: Path, options: str) -> Iterator[int]:
    """A file system at `root` for whoever enters the namespaces of this process."""
    script = f"mount -t tmpfs -o {options} tmpfs '{root}' && echo ready && exec sleep 3600"
    holder = subprocess.Popen(["unshare", "-Urm", "sh", "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n", "no file system can be mounted here"
        yield holder.pid
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def _on_small_disk(piece: Piece, options: str, fill: Callable[[Path], object]) -> None:
    cycles, count = (10, 150) if piece.is_full else (1, 20)
    with project_in(piece.folder) as project:
        disk = piece.folder / "disk"
        disk.mkdir()
        codes = _tasks(piece, project, count)
        with small_disk(disk, options) as holder:
            there = Path(f"/proc/{holder}/root{disk}")
            inside = ["nsenter", "-t", str(holder), "-U", "-m", "--preserve-credentials"]
            enter = [*inside, "sh", "-c", f"cd '{disk}' && exec \"$@\"", "sh"]
            options_ = (str(piece.folder / "tasks/default.yaml"), "--log-dir", str(piece.folder / "logs"))
            command = [*enter, *project.argv(*options_, gpus="fake:4")]
            sweep = Sweep(piece, project, _start(project, command), there / QUEUE, codes)
            full = Shortage("No space left", lambda: fill(there / "fill"), lambda: shutil.rmtree(there / "fill"))
            for _ in range(cycles):
                sweep.run_out(full)
            sweep.judge()
    piece.count(times_full=cycles)


def _start(project: Project, command: Sequence[str], **more: object) -> subprocess.Popen[str]:
    environment = {**project.environment, "PYTHONPATH": str(ROOT)}
    with (project.root / "said").open("a") as said:
        started = subprocess.Popen(  # type: ignore[call-overload]
            command,
            cwd=project.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            text=True,
            **more,
        )
    project.started.append(started)
    return started


def disk(piece: Piece) -> None:
    """The disk of the queue is filled to its last byte."""

    def fill(folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        with (folder / "bytes").open("ab", buffering=0) as file:
            for size in (4096, 1):
                with suppress(OSError):  # no space left
                    while True:
                        file.write(bytes(size))

    _on_small_disk(piece, "size=4m", fill)


def inodes(piece: Piece) -> None:
    """Not one file more can be made on the disk of the queue."""

    def fill(folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        with suppress(OSError):
            for number in range(len(list(folder.iterdir())), 100_000):
                (folder / str(number)).touch()

    _on_small_disk(piece, "size=8m,nr_inodes=1200", fill)


# ---- processes ----


def processes(piece: Piece) -> None:
    """A user who may have 60 processes has 60: no fork succeeds. Needs root, which has no such limit itself."""
    if os.getuid() != 0:
        piece.count(skipped_without_root=1)
        return
    user, limit = 60_000 + os.getpid() % 5000, 60
    cycles, count = (10, 150) if piece.is_full else (1, 20)
    with project_in(piece.folder) as project:
        codes = _tasks(piece, project, count)
        for path in (piece.folder, *piece.folder.rglob("*")):
            os.chown(path, user, user)
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *READS_ALL]
        try:
            started = _start(project, ["prlimit", f"--nproc={limit}", *become, *project.argv(gpus="fake:4")])
            sweep = Sweep(piece, project, started, piece.folder / QUEUE, codes)
            crowd = Crowd(["prlimit", f"--nproc={limit}", *become])
            for _ in range(cycles):
                sweep.run_out(Shortage("Resource temporarily unavailable", crowd.come, crowd.go))
            sweep.judge()
        finally:
            shutil.rmtree(f"/tmp/parallel-train-{user}", ignore_errors=True)
    piece.count(times_full=cycles)


class Crowd:
    """As many processes of a user as it may have, another whenever one ends."""

    def __init__(self, become: Sequence[str]) -> None:
        self.command = [*become, sys.executable, "-I", "-S", "-c", FORKS]
        self.process: subprocess.Popen[bytes] | None = None

    def come(self) -> None:
        self.process = self.process or subprocess.Popen(self.command, env={}, start_new_session=True)

    def go(self) -> None:
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None


# ---- what must not grow ----


def handles(piece: Piece) -> None:
    """64 descriptors, many short tasks: how many are open, and how much memory is taken, over the whole run."""
    count = 10_000 if piece.is_full else 150
    with project_in(piece.folder) as project:
        script = "echo {n} >> done"
        project.tasks({"name": "t{n}", "command": ["sh", "-c", script], "matrix": {"n": list(range(count))}})
        command = ["prlimit", f"--nofile={HANDLES}", *project.argv(gpus="fake:4")]
        scheduler = _start(project, command)
        seen = _watched(scheduler, piece.folder / QUEUE / "ends", count)
        piece.fault(*([] if scheduler.wait() == 0 else [f"it exits with {scheduler.returncode}: {project.said}"]))
        wait_until(lambda: not living(piece.folder), "all processes are gone")
        told = history(piece.folder / QUEUE)
        done = sorted(map(int, (piece.folder / "done").read_text().split()))
    if done != list(range(count)) or len(told.ends) != count or told.unreadable or told.temporary:
        piece.fault(f"{len(done)} ran, {len(set(done))} of {count} tasks, {len(told.ends)} ends")
    piece.count(tasks=count)
    for who, samples in seen.items():
        _steady(piece, who, samples)


def _watched(scheduler: subprocess.Popen[str], ends: Path, count: int) -> dict[str, list[tuple[int, float]]]:
    """(open descriptors, resident MiB), while the tasks run, of the scheduler, its launcher and its largest shim."""
    seen: dict[str, list[tuple[int, float]]] = {"scheduler": [], "launcher": [], "shim": []}
    wait_until(lambda: ends.is_dir() and len(list(ends.iterdir())) > count // 20, "it is under way", 120)
    launcher = next(pid for pid, parent in process.parents() if parent == scheduler.pid)
    while scheduler.poll() is None:
        shims = [pid for pid, parent in process.parents() if parent == launcher]
        for who, pids in (("scheduler", [scheduler.pid]), ("launcher", [launcher]), ("shim", shims)):
            with suppress(OSError, StopIteration):
                sizes = [_size(pid) for pid in pids]
                seen[who] += [(max(n for n, _ in sizes), max(m for _, m in sizes))] if sizes else []
        time.sleep(0.02)
    return seen


def _size(pid: int) -> tuple[int, float]:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    resident = next(line for line in status if line.startswith("VmRSS"))
    return len(list(Path(f"/proc/{pid}/fd").iterdir())), int(resident.split()[1]) / 1024


def _steady(piece: Piece, who: str, samples: list[tuple[int, float]]) -> None:
    third = max(1, len(samples) // 3)
    first, last = samples[:third], samples[-third:]
    descriptors = max(n for n, _ in last) - max(n for n, _ in first)
    grown = max(m for _, m in last) - first[0][1]
    most = max(n for n, _ in samples)
    piece.count(**{f"most_descriptors_of_the_{who}": most, f"most_mib_more_of_the_{who}": round(grown, 1)})
    if descriptors > WOBBLE:
        piece.fault(f"the {who} has {descriptors} descriptors more at the end than at the start")
    if grown > GROWTH:
        piece.fault(f"the {who} grew by {grown:.1f} MiB over {piece.counts['tasks']:,} tasks")


def crowded(piece: Piece) -> None:
    """More slots than descriptors: some shims can't be listened to, and their tasks count all the same."""
    count = 400 if piece.is_full else 60
    with project_in(piece.folder) as project:
        codes = _tasks(piece, project, count)
        command = ["prlimit", f"--nofile={HANDLES}", *project.argv(gpus="fake:40")]
        Sweep(piece, project, _start(project, command), piece.folder / QUEUE, codes).judge()


def memory(piece: Piece) -> None:
    """The loop, its situation and its reporter, over a machine and a disk that keep nothing."""
    count = 100_000 if piece.is_full else 4_000
    asked = [sys.executable, "-m", "tests.faults.lives", str(count)]
    environment = {**os.environ, MARK: str(piece.folder), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(asked, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    grown = found["late"] - found["early"]
    if (found["code"], found["ended"]) != (0, count):
        piece.fault(f"it says {found}")
    if grown > GROWTH:
        piece.fault(f"it grew by {grown:.1f} MiB from {count // 10:,} to {count:,} lives")
    piece.count(lives=count, most_mib_more=round(grown, 1))


KINDS = (disk, handles, memory, inodes, processes, crowded)
