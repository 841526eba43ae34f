"""Calls that once did harm where they failed, and one of each other fate: is the harm mended?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import ptrace
from tests.faults.crashpoints import lives

pytestmark = pytest.mark.skipif(not ptrace.is_possible(), reason="needs Linux on x86-64")

FOUND = {
    "shim-slow327.1:close:.parallel-train/claims/.tmp-*:1 EIO": "the shim died of a claim that stood",
    "shim-again263.1:newfstatat:.parallel-train/claims/7950a38a3c5f5559.1:2 EIO": "the shim died of a claim that it had made",
    "shim-good.1:newfstatat:output:1 EIO": "the task was charged with it",
}


def test_what_was_found_is_mended(tmp_path: Path):
    told = lives(tmp_path, list(FOUND))
    assert {life["words"]: life["faults"] for life in told} == {words: [] for words in FOUND}
    assert all(life["hits"] for life in told)
