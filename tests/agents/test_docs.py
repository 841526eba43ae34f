"""Do the examples for search agents run as they stand, on the page of the faces and in the README?"""

from __future__ import annotations

import math
import re
import shlex
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from tests.agents.test_at_once import choice
from tests.support.call import Caller

HERE = Path(__file__).parents[2]
PAGE = (HERE / "parallel_train/FACES.md").read_text().split("\n## Search agents\n")[1].split("\n## ")[0]
README = (HERE / "README.md").read_text().split("\n## Coming from DAHPS\n")[1].split("\n## ")[0]


def blocks(language, text):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_examples_of_the_page_run(tmp_path, monkeypatch, capsys):
    program = "\n".join(blocks("python", PAGE))
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert len(list((tmp_path / "hp_search/results").iterdir())) == 4
    shown = Caller(tmp_path / "hp_search", monkeypatch, capsys)("results", "--best")
    assert "trial" in shown.out
    assert "hp_search" in PAGE


@pytest.mark.torch
def test_each_line_of_the_way_over_runs(root, tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    names = {"rank": 0, "args": Namespace(path="hp_test"), "states": {"epoch": 1}, "metric": math.nan}
    names["config"] = {"root": choice("a", [1, 2]), "check_unique": True, "repetitions": 1}
    (imports,) = blocks("py", README)
    exec(imports, names)
    tried = 0
    for old, new in re.findall(r"^\| (.+?) \| (.+?) \|.*\|$", README, re.MULTILINE)[1:]:
        for code in re.findall("`(.+?)`", f"{old if new.startswith('the same') else ''} {new}"):
            if code.startswith(("from ", "agent", "args = ")):
                exec(code, names)
                tried += 1
            elif code.startswith("parallel-train "):
                assert Caller(tmp_path, monkeypatch, capsys)(*shlex.split(code)[1:]).code == 0
    assert tried == 11
    assert names["agent"].combination is not None
