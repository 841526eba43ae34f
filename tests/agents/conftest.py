from __future__ import annotations

import json

import pytest

from tests.support.call import Caller


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The folder of a search, for agents that no launcher has started."""
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "search"


@pytest.fixture
def shown(root, monkeypatch, capsys):
    """`parallel-train` in that folder, with --json."""

    def call(*words):
        return json.loads(Caller(root, monkeypatch, capsys)(*words, "--json").out)

    return call
