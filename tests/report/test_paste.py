"""Do commands and paths work where the reader stands, whatever is in them?"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path

import pytest

from parallel_train.report import paste


def seen(project: str) -> Iterator[str]:
    paste.stand_outside(project)
    yield from (paste.command(), paste.command("retry", 3, "--failed"), paste.path("logs/a.log"))


@pytest.mark.parametrize(
    ("project", "expected"),
    [
        ("", ["parallel-train", "parallel-train retry 3 --failed", "logs/a.log"]),
        ("ini", ["parallel-train -C ini", "parallel-train retry -C ini 3 --failed", "ini/logs/a.log"]),
        ("ini/", ["parallel-train -C ini/", "parallel-train retry -C ini/ 3 --failed", "ini/logs/a.log"]),
        ("/a b", ["parallel-train -C '/a b'", "parallel-train retry -C '/a b' 3 --failed", "/a b/logs/a.log"]),
        (".", ["parallel-train", "parallel-train retry 3 --failed", "logs/a.log"]),
        ("../here", ["parallel-train", "parallel-train retry 3 --failed", "logs/a.log"]),
    ],
)
def test_what_is_seen_from_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project: str, expected: list[str]):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert copy_context().run(lambda: list(seen(project))) == expected


def test_what_has_a_place_of_its_own_keeps_it():
    """A MultiRunner knows its folder; an absolute path is one everywhere."""
    assert paste.command("explain", "point3", project="/a/ini") == "parallel-train explain -C /a/ini point3"
    assert paste.path("/a/log") == "/a/log"
    assert paste.path("") == ""


@pytest.mark.parametrize("word", ["a b", "it's", "*", "$HOME", "\x1b[31mred\\n'\n", "\u202eabc", "é漢", "\udcff", ""])
def test_a_shell_reads_the_word_that_is_meant(word: str):
    said = paste.command(word)
    assert "\x1b" not in said
    assert "\u202e" not in said
    script = f'parallel-train() {{ printf %s "$1"; }}; {said}'
    found = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout
    assert found == word.encode(errors="surrogateescape")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("tasks/a.yaml", ["tasks/a.yaml"]),
        ("tasks/my own.yaml", ["tasks/my own.yaml"]),
        ("a.yaml lr=0.1 name=two words", ["a.yaml", "lr=0.1", "name=two words"]),
        (
            "a b.yaml --output-base /my disk trainer=x lr=1",
            ["a b.yaml", "--output-base", "/my disk", "trainer=x", "lr=1"],
        ),
    ],
)
def test_a_run_of_a_source_is_asked_for_by_its_words(source: str, expected: list[str]):
    assert paste.of_source(source) == expected
