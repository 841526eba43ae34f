"""Which file of a command is the user's script?"""

from __future__ import annotations

import pytest

from parallel_train.core.script import script_of


@pytest.mark.parametrize(
    ("words", "script"),
    [
        ("python train.py --lr 1", "train.py"),
        ("/usr/bin/python3.11 src/train.py", "src/train.py"),
        ("pypy3 -u -W error -X dev train.py x.py", "train.py"),
        ("python --check-hash-based-pycs always train.py", "train.py"),
        ("python -m pkg.train train.py", ""),
        ("python -c print() train.py", ""),
        ("python - train.py", ""),
        ("python -u", ""),
        ("python -W", ""),
        ("python", ""),
        ("bash train.py", ""),
        ("my-python train.py", ""),
    ],
)
def test_it_is_the_first_word_that_is_no_option_of_pythons_own(words, script):
    assert script_of(words.split()) == script
