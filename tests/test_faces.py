"""Does each example of the page for the Python faces run as it stands?"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "parallel_train/FACES.md").read_text()
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def example(title: str) -> str:
    """The blocks of a section, one after the other."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", SECTIONS[title], re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("title", ["Search spaces", "MultiRunner"])
def test_an_example_runs(tmp_path: Path, title: str):
    (tmp_path / "example.py").write_text(example(title))
    done = subprocess.run([sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
