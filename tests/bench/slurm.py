"""How many short tasks a second does a Slurm cluster end: pulled by our workers, or each an element of a plain array?

    python -m tests.bench.slurm [--tasks N] [--elements N] [--rounds N]

Both run the same command, each on a new cluster of this machine (tests/slurm/cluster.py): two nodes of 16 GPUs, so
32 at once, eight workers of four slots. Ours are timed from the command to its exit: with the submission, the start of
the workers, two logs and durable records of each task. Elements are timed from sbatch to the log of the last, which is
made as it starts: sbatch --wait itself looks ever more rarely, and is up to half a minute late.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.__main__ import PROGRAM, task_file
from tests.slurm.cluster import Cluster, missing

WORKERS, SLOTS = 8, 4
COMMAND = "sleep 0.05"


def ours(cluster: Cluster, folder: Path, count: int) -> float:
    """Seconds."""
    folder.mkdir()
    tasks = task_file(folder, count, COMMAND)
    options = ["--workers", str(WORKERS), "--gpus-per-worker", str(SLOTS), "--check-interval", "0"]
    began = time.perf_counter()
    done = subprocess.run(
        [*PROGRAM, "run", str(tasks), "--on", "slurm", *options],
        cwd=folder,
        env={**os.environ, **cluster.variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - began
    ended = sum(1 for _ in folder.glob(".parallel-train/ends/*"))
    assert (done.returncode, ended) == (0, count), f"{ended} of {count} ended:\n{done.stdout[-2000:]}"
    return seconds


def theirs(cluster: Cluster, folder: Path, count: int) -> float:
    """Seconds."""
    folder.mkdir()
    options = [f"--array=0-{count - 1}", "--gres=gpu:1", f"--output={folder}/%a.log", f"--chdir={folder}"]
    wrap = ["sbatch", "--parsable", "--wait", *options, "--wrap", COMMAND]
    began = time.time()
    done = subprocess.run(wrap, env={**os.environ, **cluster.variables}, check=False, capture_output=True, text=True)
    if done.returncode:  # of so many elements Slurm may lose one: it counts as done all the same
        print(f"sbatch --wait ends with {done.returncode} {done.stderr.strip()}")
    logs = list(folder.glob("*.log"))
    assert len(logs) == count, f"{len(logs)} of {count} ran"
    return max(log.stat().st_mtime for log in logs) - began


def timed(what: Callable[[Cluster, Path, int], float], folder: Path, count: int) -> float:
    """On a cluster that has done nothing yet: one lists what has ended for an hour, and whoever comes second would
    pay for the first.
    """
    folder.mkdir(parents=True)
    cluster = Cluster(folder, gpus=16, most=count + 1)
    cluster.start()
    try:
        return what(cluster, folder / "work", count)
    finally:
        cluster.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=10_000, help="of ours")
    parser.add_argument("--elements", type=int, default=10_000, help="of the plain array")
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    if why := missing():
        sys.exit(why)
    with tempfile.TemporaryDirectory() as name:
        ratios = [compared(Path(name, str(number)), asked) for number in range(asked.rounds)]
    print(f"{statistics.median(ratios):.2f} times the throughput ({min(ratios):.2f} to {max(ratios):.2f})")


def compared(folder: Path, asked: argparse.Namespace) -> float:
    # Ours first: Slurm removes a folder and a script for each element, and ext4 makes whoever creates files within
    # minutes after that search for an inode that was not freed just now. Ours removes none.
    mine = asked.tasks / timed(ours, folder / "ours", asked.tasks)
    peer = asked.elements / timed(theirs, folder / "theirs", asked.elements)
    print(f"{asked.elements} elements: {peer:.1f} a second; {asked.tasks} tasks: {mine:.1f} a second", flush=True)
    return mine / peer


if __name__ == "__main__":
    main()
