"""Is every bad input refused with one sentence that names the place and the fix, and nothing started or written?"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import corpus
from tests.support.call import Caller, call
from tests.support.corpus import Case
from tests.support.sweep import Project

__all__ = ["call"]

# Words of our libraries and of Python's inside; a user reads a sentence about the file.
JARGON = re.compile(r"pydantic|validat|\binput_|\binstance\b|Traceback|_error\b|\b(?:NoneType|str|dict|int|bool)\b")
NAMES = ("yaml_text", "yaml_keys", "yaml_meaning", "yaml_search", "python", "options", "places", "settings")


def folder(root: Path, name: str) -> Path:
    (root / name).mkdir(parents=True)
    return root / name


MAKERS: dict[str, Callable[[Path], object]] = {
    "pipe": lambda root: os.mkfifo(root / "tasks/pipe.yaml"),
    "loop": lambda root: (root / "tasks/loop.yaml").symlink_to("loop.yaml"),
    "100 MB": lambda root: os.truncate(root / "tasks/default.yaml", 100_000_000),
    "config pipe": lambda root: os.mkfifo(folder(root, "configs") / "parallel-train.yaml"),
    "config folder": lambda root: folder(root, "configs/parallel-train.yaml"),
    "config loop": lambda root: (folder(root, "configs") / "parallel-train.yaml").symlink_to("parallel-train.yaml"),
    "queue is a link": lambda root: (root / ".parallel-train").symlink_to("nowhere"),
}
CASES = [case for name in NAMES for case in corpus.read(name)]


def lay(case: Case, call: Caller) -> None:
    for path, content in case.files.items():
        file = call.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    if case.make:
        MAKERS[case.make](call.root)


def files(root: Path) -> dict[str, tuple[int, int, int]]:
    """All that is no folder: none may be made, changed or taken away."""
    return {path: seen for path, seen in Project(root).tree().items() if not (root / path).is_dir()}


def judge(case: Case, code: int, err: str) -> None:
    assert code == case.code, err
    assert "Traceback" not in err
    assert case.file.endswith(".py") or not JARGON.search(err), err
    assert len(re.findall(r"^(?:parallel-train|Error): ", err, re.MULTILINE)) == 1, err
    faults = re.findall(rf"^(?:parallel-train: )?{re.escape(case.file)}:(\d+:\d+: .*)", err, re.MULTILINE)
    said = faults or [err]
    assert len(said) == len(case.says), err
    for fault, words in zip(said, case.says, strict=True):
        place, *parts = words.split(" ", 1)
        assert not faults or fault.startswith(f"{place}: "), (words, err)
        wanted = parts[0] if faults else words
        assert all(part in fault for part in wanted.split(" … ")), (words, err)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_bad_input(case: Case, call: Caller):
    lay(case, call)
    before = files(call.root)
    found = call(*case.argv, **case.env)
    judge(case, found.code, found.err)
    assert found.out == ""
    assert files(call.root) == before
