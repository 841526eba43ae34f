"""How many short tasks a second does a Slurm cluster end: pulled by our workers, or each an element of a plain array?

    python -m tests.bench.slurm [--tasks N] [--elements N] [--rounds N]

Both run the same command on the same cluster of this machine (tests/slurm/cluster.py): two nodes with 16 GPUs each, so
32 at once, eight workers of four slots. Ours are timed from the command to its exit: with the submission, the start of
the workers, two logs and durable records of each task. Elements are timed from sbatch until none is left.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
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
    ended = len(os.listdir(folder / ".parallel-train" / "ends"))  # noqa: PTH208  names, as text
    assert (done.returncode, ended) == (0, count), f"{ended} of {count} ended:\n{done.stdout[-2000:]}"
    return seconds


def theirs(cluster: Cluster, folder: Path, count: int) -> float:
    """Seconds."""
    folder.mkdir()
    options = [f"--array=0-{count - 1}", "--gres=gpu:1", f"--output={folder}/%a.log", f"--chdir={folder}"]
    began = time.perf_counter()
    wrap = ["sbatch", "--parsable", "--wait", *options, "--wrap", COMMAND]
    subprocess.run(wrap, env={**os.environ, **cluster.variables}, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=10_000, help="of ours")
    parser.add_argument("--elements", type=int, default=1000, help="of the plain array")
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    if why := missing():
        sys.exit(why)
    with tempfile.TemporaryDirectory() as name:
        cluster = Cluster(Path(name), gpus=16, most=asked.elements + 1)
        cluster.start()
        try:
            ratios = [compared(cluster, Path(name, str(number)), asked) for number in range(asked.rounds)]
        finally:
            cluster.stop()
    print(f"{statistics.median(ratios):.2f} times the throughput ({min(ratios):.2f} to {max(ratios):.2f})")


def compared(cluster: Cluster, folder: Path, asked: argparse.Namespace) -> float:
    folder.mkdir()
    peer = asked.elements / theirs(cluster, folder / "theirs", asked.elements)
    mine = asked.tasks / ours(cluster, folder / "ours", asked.tasks)
    print(f"{asked.elements} elements: {peer:.1f} a second; {asked.tasks} tasks: {mine:.1f} a second", flush=True)
    return mine / peer


if __name__ == "__main__":
    main()
