"""The cases of tests/corpus: what is wrong, and what must be said about it. See the README there."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

CORPUS = Path(__file__).parents[1] / "corpus"
DEFAULT_FILE = "tasks/default.yaml"
GOOD = "tasks:\n- command: [echo, '{lr}']\n  name: fine\n  params: {lr: 0.1}\n"


@dataclass(frozen=True)
class Case:
    """One bad input. `file` is the task file's name, `says` what stands in the message, fault by fault."""

    id: str
    argv: tuple[str, ...]
    says: tuple[str, ...]
    code: int
    file: str = DEFAULT_FILE
    files: Mapping[str, bytes] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    make: str = ""


def read(name: str) -> list[Case]:
    """The cases of `name`.yaml."""
    entries = yaml.safe_load((CORPUS / f"{name}.yaml").read_text())
    return [_case(f"{name}-{number}", dict(entry)) for number, entry in enumerate(entries, 1)]


def _case(name: str, entry: dict[str, Any]) -> Case:
    says = entry.pop("says")
    says = (says,) if isinstance(says, str) else tuple(says)
    files = {DEFAULT_FILE: GOOD.encode()}
    file = DEFAULT_FILE
    if (python := entry.pop("py", None)) is not None:
        file = "tasks/custom.py"
        files[file] = content(python)
    if (text := entry.pop("yaml", None)) is not None:
        files[DEFAULT_FILE] = content(text)
    if (text := entry.pop("config", None)) is not None:
        files["configs/parallel-train.yaml"] = content(text)
    files |= {path: content(text) for path, text in entry.pop("files", {}).items()}
    run = entry.pop("run", file if python is not None else "")
    words = run if isinstance(run, list) else shlex.split(run)
    argv = tuple(word if isinstance(word, str) else content(word).decode() for word in words)
    if entry.pop("gpus", True) and not any(word.startswith("--gpus") for word in argv):
        argv = ("--gpus", "fake:2", *argv)
    case = Case(
        id=f"{name}: {says[0][:60]}",
        argv=argv,
        says=says,
        code=entry.pop("code", 2),
        file=file,
        files=files,
        env=entry.pop("env", {}),
        make=entry.pop("make", ""),
    )
    assert not entry, f"{name} has unknown keys: {entry}"
    return case


def content(given: Any) -> bytes:
    """A text; `bytes:` one of characters up to 255; `pieces:` a list of texts or of [text, times]."""
    if isinstance(given, str):
        return given.encode()
    if "bytes" in given:
        return str(given["bytes"]).encode("latin-1")
    pieces = [(piece, 1) if isinstance(piece, str) else piece for piece in given["pieces"]]
    return "".join(text * times for text, times in pieces).encode()
