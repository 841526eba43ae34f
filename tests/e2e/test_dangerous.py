"""Is what was made to exhaust a machine refused within 2 s and 200 MiB?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.sweep import PROGRAMS, Project

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "\n".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 9)
)
SLOW = 3  # a machine may be so much slower than ours, on which 2 s are kept
AXIS = "[" + "1," * 1000 + "]"
CASES = {
    "alias bomb": (BOMB, "at most"),
    "200,000 levels": ("tasks: " + "[" * 200_000, "64 levels"),
    "200,000 mappings": ("tasks: " + "{a: " * 200_000, "64 levels"),
    "a matrix of 10^9": (
        f"tasks: [{{command: x, matrix: {{a: {AXIS}, b: {AXIS}, c: {AXIS}}}}}]",
        "1,000,000,000 tasks",
    ),
    "7 MiB of text": ('tasks: "' + "x" * (7 * 2**20), "never closed"),
    "7 MiB of lines": ("\n" * (7 * 2**20), "the file is empty"),
    "400,000 equal keys": ("a: 1\n" * 400_000, "given twice"),
    "an endless list": ("import itertools\ndef tasks(): return itertools.repeat({'command': 'x'})", "more than"),
    "10^9 numbers": ("def tasks(): return range(10**9)", "type int"),
    "100 MB of print": ("import sys\nfor _ in range(100): print('x' * 10**6)\ndef tasks(): return 5", "must return"),
}


def refused(project: Project, *argv: str) -> str:
    """What is said, within the limits."""
    took = project.root / "took"
    command = [sys.executable, str(PROGRAMS / "measured.py"), str(took), *argv]
    settings = {"cwd": project.root, "env": {**project.environment, "PYTHONPATH": str(Path(__file__).parents[2])}}
    done = subprocess.run(command, **settings, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    seconds, mebibytes = map(float, took.read_text().split())
    assert (done.returncode, done.stdout) == (2, ""), done.stderr[-500:]
    assert "Traceback" not in done.stderr
    assert seconds < 2 * SLOW
    assert mebibytes < 200
    return done.stderr[-1000:]


def test_a_file_of_100_mb(project: Project):
    os.truncate(project.write("tasks.yaml", ""), 100_000_000)
    assert "at most 8 MiB" in refused(project, "tasks.yaml", "--gpus", "fake:1")


@pytest.mark.parametrize(("text", "said"), CASES.values(), ids=CASES)
def test_a_task_file(project: Project, text: str, said: str):
    name = "tasks.py" if "def tasks" in text else "tasks.yaml"
    project.write(name, text)
    assert said in refused(project, name, "--gpus", "fake:1")
