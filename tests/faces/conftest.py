"""A project of the test's own, as in tests/e2e."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.call import Caller
from tests.support.sweep import Project
from tests.support.sweep import project as make


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    (tmp_path / "project").mkdir()
    with make(tmp_path / "project") as made:
        yield made


@pytest.fixture
def asked(project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Caller:
    """`parallel-train` in the project, within this process."""
    return Caller(project.root, monkeypatch, capsys)
