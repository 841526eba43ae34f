"""A user's script on a grid, and what its calls wrote of themselves."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.support.sweep import Project

# The document's example. What stands for "#your code here" records that the call was made and, once it is over, that
# it was: a line of each in the file `calls`.
EXAMPLE = """
import os
import time

def record(what, *point):
    descriptor = os.open("calls", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, (" ".join(map(str, (what, os.getpid(), *point))) + "\\n").encode())
    os.close(descriptor)

def train_a_model(batch_size,hidden_layer_number,learning_rate):
    record("began", batch_size, hidden_layer_number, learning_rate)
    {wait}
    accuracy = batch_size * learning_rate / hidden_layer_number
    record("ended", batch_size, hidden_layer_number, learning_rate)
    return accuracy

from parallel_train import MultiRunner

a=MultiRunner({options})
a.generate_ini([[16,64,256], [1,2], [0.001,0.01,0.1]])
a.run(train_a_model)
"""
POINTS = {f"{size} {layers} {rate}" for size in (16, 64, 256) for layers in (1, 2) for rate in (0.001, 0.01, 0.1)}


@dataclass
class Script:
    project: Project
    name: str = "new_run.py"
    record: str = "calls"  # where its calls record themselves

    def write(self, text: str, **filled: str) -> Script:
        self.project.write(self.name, text.format(**filled) if filled else text)
        return self

    @property
    def argv(self) -> list[str]:
        return [sys.executable, self.name]

    def start(self) -> subprocess.Popen[str]:
        """What it says goes to the project's file `said`."""
        with (self.project.root / "said").open("a") as said:
            process = subprocess.Popen(
                self.argv,
                cwd=self.project.root,
                env=self.project.environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self.project.started.append(process)
        return process

    def run(self) -> tuple[int, str]:
        """Its exit code and what it said."""
        done = subprocess.run(
            self.argv,
            cwd=self.project.root,
            env=self.project.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout

    def calls(self, what: str) -> Counter[str]:
        """How often each point began or ended, as the calls recorded it."""
        return Counter(" ".join(line.split()[2:]) for line in self._lines() if line.startswith(what))

    def callers(self) -> list[int]:
        """The processes that make a call now, by what they recorded, in their own numbers."""
        lines = [line.split() for line in self._lines()]
        ended = {tuple(line[1:]) for line in lines if line[0] == "ended"}
        return [int(line[1]) for line in lines if line[0] == "began" and tuple(line[1:]) not in ended]

    def _lines(self) -> list[str]:
        path = self.project.root / self.record
        return path.read_text().splitlines() if path.exists() else []

    def markers(self, folder: str = "ini") -> set[str]:
        """`ls ini/`."""
        return {path.name for path in (self.project.root / folder).iterdir() if not path.name.startswith(".")}

    @property
    def ini(self) -> Path:
        return self.project.root / "ini"
