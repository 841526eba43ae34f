"""Which file of a command is the user's script."""

from __future__ import annotations

import re
from collections.abc import Sequence

_PYTHON = re.compile(r"(?:.*/)?(?:python|pypy)[0-9.]*")
# Python's own options that take a value, which is no script.
_WITH_VALUE = frozenset({"-W", "-X", "--check-hash-based-pycs"})


def script_of(words: Sequence[str]) -> str:
    """The script that a Python interpreter is given; empty where it is none."""
    if not _PYTHON.fullmatch(words[0]):
        return ""
    rest = iter(words[1:])
    for word in rest:
        if word in _WITH_VALUE:
            next(rest, None)
        elif word in {"-m", "-c", "-"}:
            return ""
        elif not word.startswith("-"):
            return word
    return ""
