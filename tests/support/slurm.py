"""Slurm's commands, as stand-ins that say what a test wants; tests/slurm asks the real ones."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from parallel_train.cluster.slurm import names_of
from parallel_train.core.facts import Array
from parallel_train.store import records

ENLISTED = {"at": "2026-01-02T03:04:05Z", "options": ("--on", "slurm", "--workers", "4")}


@dataclass(frozen=True, slots=True)
class StandIn:
    """A folder of commands that comes first in PATH, for the queue `queue`."""

    queue: Path
    folder: Path

    def command(self, name: str, script: str) -> None:
        file = self.folder / name
        file.write_text(f'#!/bin/sh\necho "{name} $*" >> {shlex.quote(str(self.folder))}/calls\n{script}\n')
        file.chmod(0o700)

    def enlist(self, tasks: Iterable[str], number: int = 1, size: int = 4, **more: object) -> None:
        """The record of an array for these."""
        array = Array(number, size, tuple(tasks), **{**ENLISTED, **more})  # type: ignore[arg-type]
        assert records.publish(str(self.queue / "arrays" / str(number)), [asdict(array)])

    def lists(self, *lines: str, by: str = "squeue") -> None:
        """`812_0|RUNNING|pt1|None` or `812_0|RUNNING|pt1|None|0:05`, with the number of the array after it unless 1."""
        text = "".join(f"{self._named(line)}\n" for line in lines)
        self.command(by, f"printf '%s' {shlex.quote(text)}")

    def fails(self, name: str, complaint: str) -> None:
        self.command(name, f"echo {shlex.quote(f'{name}: error: {complaint}')} >&2; exit 1")

    def calls(self, name: str) -> Sequence[str]:
        file = self.folder / "calls"
        said = file.read_text().splitlines() if file.exists() else []
        return [line.removeprefix(f"{name} ") for line in said if line.startswith(f"{name} ")]

    def _named(self, line: str) -> str:
        fields, _, number = line.rpartition(" ")
        fields, number = (fields, number) if number.isdigit() else (line, "1")
        used = "" if fields.count("|") > 3 else "|0:05"
        return f"{fields}{used}|{names_of(self.queue)}-{number}"


def stand_in(queue: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """A cluster with nothing in it, and no accounts."""
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    made = StandIn(queue, folder)
    made.lists()
    made.fails("sacct", "Slurm accounting storage is disabled")
    for name in ("sbatch", "scancel", "scontrol"):
        made.command(name, "")
    return made
