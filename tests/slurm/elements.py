"""A project whose elements hold a stand-in for a worker (programs/stands_in.py), which says what it sees."""

from __future__ import annotations

import json
import secrets
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from parallel_train.cluster.script import Plan
from parallel_train.cluster.site import Site
from parallel_train.cluster.slurm import Slurm
from tests.slurm.cluster import Cluster
from tests.support.wait import wait_until

STANDS_IN = Path(__file__).parent / "programs" / "stands_in.py"


@dataclass(frozen=True, slots=True)
class Elements:
    cluster: Cluster
    client: Slurm
    project: Path

    def saw(self, index: int) -> dict[str, Any]:
        """What the worker of an element sees; waits for it."""
        file = self.project / "seen" / f"{index}.json"
        wait_until(file.exists, f"element {index} has a worker")
        return json.loads(file.read_text())

    def signals(self, index: int) -> list[str]:
        file = self.project / "seen" / f"{index}.signals"
        return file.read_text().split() if file.exists() else []

    def phases(self) -> list[str]:
        return [element.phase for element in sorted(self.client.elements(), key=lambda e: (e.array, e.index))]

    def jobs(self) -> list[str]:
        return [element.job for element in self.client.elements()]


def elements(cluster: Cluster, folder: Path, monkeypatch: pytest.MonkeyPatch, **more: Any) -> Elements:
    """A project in `folder`, which is made; Slurm's commands in this process speak to `cluster` from now on."""
    (folder / "seen").mkdir(parents=True)
    (folder / "id").write_text(secrets.token_hex(6))
    program = folder.parent / "stands in"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {STANDS_IN} "$@"\n')
    program.chmod(0o700)
    for name, value in cluster.variables.items():
        monkeypatch.setenv(name, value)
    plan = Plan(str(folder), str(folder / "logs"), str(program), (), Site(time="60"))
    plan = replace(plan, **more)
    return Elements(cluster, Slurm(folder, plan), folder)
