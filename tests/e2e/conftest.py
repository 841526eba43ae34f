"""A project of the test's own: tests judge by what the tasks in it wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.sweep import Project
from tests.support.sweep import project as make
from tests.support.terminal import Terminal


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with make(tmp_path) as made:
        yield made


@pytest.fixture
def terminal(project: Project) -> Iterator[Callable[..., Terminal]]:
    """Opens terminals on which `parallel-train` runs in the project."""
    opened: list[Terminal] = []

    def open_one(*arguments: str, gpus: str = "fake:2", size: tuple[int, int] = (100, 40)) -> Terminal:
        opened.append(Terminal(project.argv(*arguments, gpus=gpus), project.root, project.environment, size))
        project.started.append(opened[-1].process)
        return opened[-1]

    yield open_one
    for one in opened:
        one.hang_up()
