"""How fast is it?

python -m tests.bench startup|decide|dispatch [--rounds N]

Figures are medians; trust the ratios against the named peer, measured in turn in the same run.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import parallel_train
from parallel_train.core.apply import apply
from parallel_train.core.decide import decide
from parallel_train.core.events import Ended, Launched
from parallel_train.core.facts import End, NotStarted
from parallel_train.core.situation import Situation, Wishes, begin, load
from parallel_train.core.slots import Device, Pool
from parallel_train.core.task import Task, task_id
from tests.support.wait import wait_until

PROGRAM = [sys.executable, "-m", "parallel_train"]
NEVER_LOADED = {"torch", "optuna", "http.server"}


def say(name: str, seconds: list[float], unit: float = 1e3, label: str = "ms") -> None:
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    print(f"{name:46} {middle * unit:9.2f} {label}   ({low * unit:.2f} to {high * unit:.2f}, n={len(seconds)})")


def timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def quiet(command: list[str], folder: Path) -> Callable[[], object]:
    return lambda: subprocess.run(command, cwd=folder, check=True, capture_output=True)


def task_file(folder: Path, count: int, command: str) -> Path:
    path = folder / "tasks.yaml"
    path.write_text(
        f"tasks:\n  - name: 't{{i}}'\n    command: {command}\n    matrix: {{i: [{','.join(map(str, range(count)))}]}}\n"
        "    params: {a: 1}\n    env: {I: '{i}'}\n"
    )
    return path


def startup(rounds: int) -> None:
    """--help, status on 1,000 finished tasks, and a run that has nothing left to do."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        task_file(folder, 1000, "['true']")
        run = [*PROGRAM, "tasks.yaml", "--gpus", "cpu:4"]
        quiet(run, folder)()
        commands = {
            "--help": [*PROGRAM, "--help"],
            "status, 1,000 tasks": [*PROGRAM, "status"],
            "run, 1,000 tasks to skip": run,
        }
        for label, command in commands.items():
            action = quiet(command, folder)
            action()
            say(label, [timed(action) for _ in range(rounds)])
            loaded = modules(command, folder) & NEVER_LOADED
            print(f"{'':46} not imported: {', '.join(sorted(NEVER_LOADED - loaded))}")
            assert not loaded, f"{label} imports {loaded}"


def modules(command: list[str], folder: Path) -> set[str]:
    """The modules that a command of ours imports."""
    traced = [command[0], "-X", "importtime", *command[1:]]
    told = subprocess.run(traced, cwd=folder, check=True, capture_output=True, text=True).stderr
    return set(re.findall(r"import time:[^|]*\|[^|]*\|\s*(\S+)", told))


def decide_(rounds: int) -> None:
    """The pure core with 100,000 tasks queued, and the scheduler's memory with 10,000."""
    tasks = []
    for number in range(100_000):
        task = Task(name=f"t{number}", command=("true",), params={"i": number}, number=number + 1)
        tasks.append(replace(task, id=task_id(task)))
    chosen = frozenset(task.id for task in tasks)
    pool = Pool.of(Device("gpu", str(n), str(n), f"gpu-{n}") for n in range(8))
    situation = Situation(Wishes(worker="w", selection=chosen), pool)
    load(situation, tasks)
    say("rebuild of 100,000 tasks", [timed(lambda: begin(situation, situation.wishes))])
    say("decide, 8 free slots, 100,000 tasks", [timed(lambda: decide(situation, 1.0)) for _ in range(rounds * 20)])
    launches = decide(situation, 1.0)
    first = launches[0]

    def there_and_back() -> None:
        apply(situation, Launched(first.task.id, first.attempt, first.slots, 1.0))
        apply(situation, Ended(End(first.task.id, first.attempt, NotStarted("bench"))))
        situation.lines[first.task.id].launching = 0

    say("apply of a launch and an end", [timed(there_and_back) for _ in range(rounds * 20)])
    memory()


def memory() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        task_file(folder, 10_000, "[sleep, '600']")
        command = [*PROGRAM, "tasks.yaml", "--gpus", "cpu:4"]
        running = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
        claims = folder / ".parallel-train" / "claims"
        wait_until(lambda: claims.is_dir() and len(list(claims.iterdir())) == 4, "four claims", seconds=120)
        status = Path(f"/proc/{running.pid}/status").read_text()
        now, peak = (int(re.search(rf"{key}:\s+(\d+)", status)[1]) / 1024 for key in ("VmRSS", "VmHWM"))
        print(f"{'memory of the scheduler, 10,000 tasks':46} {now:9.1f} MiB  (peak {peak:.1f})")
        running.send_signal(signal.SIGTERM)
        running.wait()


def dispatch(rounds: int) -> None:
    """1,000 x true on 4 slots with a log each, beside GNU parallel with --joblog and --results."""
    if shutil.which("parallel") is None:
        sys.exit("this needs GNU parallel: apt-get install parallel")
    ours, theirs = [], []
    # Nothing is removed before the end: ext4 is slow to hand out inodes while many were freed just before.
    with tempfile.TemporaryDirectory() as name:
        for number in range(rounds):
            ours.append(_ours(Path(name, f"ours{number}"), 1000))
            theirs.append(_gnu_parallel(Path(name, f"theirs{number}"), 1000))
    say("parallel-train, a task", [t / 1000 for t in ours])
    say("GNU parallel --joblog --results, a task", [t / 1000 for t in theirs])
    say("ratio", [a / b for a, b in zip(ours, theirs, strict=True)], 1.0, "x ")


def _ours(folder: Path, count: int) -> float:
    folder.mkdir()
    task_file(folder, count, "['true']")
    return timed(quiet([*PROGRAM, "tasks.yaml", "--gpus", "cpu:4"], folder))


def _gnu_parallel(folder: Path, count: int) -> float:
    folder.mkdir()
    command = f"seq {count} | parallel -j4 --joblog log --results out true"
    return timed(quiet(["sh", "-c", command], folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["startup", "decide", "dispatch"])
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's second command finds the package compiled
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(Path(parallel_train.__file__).parent)], check=True)
    print(f"{asked.what}: {os.cpu_count()} cores, Python {sys.version.split()[0]}")
    {"startup": startup, "decide": decide_, "dispatch": dispatch}[asked.what](asked.rounds)


if __name__ == "__main__":
    main()
