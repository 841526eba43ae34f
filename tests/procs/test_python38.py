"""Do the modules that run under a user's own interpreter keep to Python 3.8 and its standard library?"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import parallel_train
from parallel_train.core.facts import Exited, Signalled
from tests.support.machine import machine

ROOT = Path(parallel_train.__file__).parent
PROMISED = [
    "__init__.py",
    "core/__init__.py",
    "core/taskconfig.py",
    "store/__init__.py",
    "store/records.py",
    "procs/__init__.py",
    *(
        f"procs/{name}.py"
        for name in (
            "process",
            "fence",
            "locks",
            "logs",
            "aside",
            "outputs",
            "child",
            "watch",
            "asked",
            "beat",
            "shim",
            "launcher",
        )
    ),
]
OWN = {"parallel_train", *("parallel_train." + name[:-3].replace("/", ".") for name in PROMISED)}
OWN |= {name.removesuffix(".__init__") for name in OWN}


def imports(tree):
    """The full names of everything that is imported anywhere in a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            if node.module in {"parallel_train.procs", "parallel_train.store", "parallel_train.core"}:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("name", PROMISED)
def test_it_is_python_3_8_and_needs_nothing_else(name):
    tree = ast.parse((ROOT / name).read_text(), feature_version=(3, 8))
    strangers = [m for m in imports(tree) if m not in OWN and m.split(".")[0] not in sys.stdlib_module_names]
    assert strangers == []


@pytest.mark.parametrize("name", PROMISED)
def test_it_uses_no_newer_syntax_that_a_parser_lets_through(name):
    """Subscripts of built-in types and `X | Y` are only read when they run; annotations never are."""
    tree = ast.parse((ROOT / name).read_text())
    annotations = {
        id(inner)
        for node in ast.walk(tree)
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if part is not None
        for inner in ast.walk(part)
    }
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.Match)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and id(node) not in annotations and isinstance(node.value, ast.Name):
            assert node.value.id not in {"list", "dict", "tuple", "set", "frozenset", "type"}, ast.dump(node)


def old_python():
    """An interpreter of version 3.8, where there is one."""
    candidates = [shutil.which("python3.8"), *Path.home().glob(".pyenv/versions/3.8*/bin/python"), "/usr/bin/python3.8"]
    for candidate in candidates:
        if candidate and os.access(candidate, os.X_OK):
            asked = [str(candidate), "-I", "-S", "-c", "import sys; print(sys.version_info[:2] == (3, 8))"]
            said = subprocess.run(asked, capture_output=True, text=True, check=False)
            if said.stdout == "True\n":
                return str(candidate)
    return None


@pytest.fixture
def python38():
    found = old_python()
    if found is None:
        pytest.skip("there is no Python 3.8 on this machine")
    return found


def test_each_module_loads_under_it(python38):
    code = "import sys; sys.path.insert(0, sys.argv[1])\nfor name in sys.argv[2:]: __import__(name)"
    names = sorted(OWN - {name for name in OWN if name.endswith("__init__")})
    subprocess.run([python38, "-I", "-S", "-c", code, str(ROOT.parent), *names], check=True)


def test_real_attempts_run_under_it(python38, tmp_path, monkeypatch):
    """The launcher is started under that interpreter, and so are its shims."""
    monkeypatch.setattr(sys, "executable", python38)
    with machine(tmp_path) as made:
        (tmp_path / "out").write_text("old")
        task = made.task("sh", "-c", "sleep 1000 & echo hello; echo new > out", output="out")
        end = made.run(task, round_=2, aside=2)
        assert (end.outcome, end.output, end.swept) == (Exited(0), "there", 1)
        assert made.log() == "hello\n"
        assert (made.folder / "aside" / "task.2" / "out").read_text() == "old"
        assert Path(f"/proc/{made.runner._process.pid}/exe").resolve() == Path(python38).resolve()
        made.start(made.task("sleep", "1000", name="stopped"))
        made.claimed("stopped")
        made.runner.stop("stopped", 1, kill=False)
        assert made.ended("stopped").outcome == Signalled(2)
        assert made.run(made.task("no-such-program", name="none")).outcome == Exited(127)
