"""What a plain YAML scalar means by the core schema of YAML 1.2.

PyYAML follows YAML 1.1, where 1e-3 is text, `no` is False, 0123 is 83 and 12:30:00 is 45000.
"""

from __future__ import annotations

import re
from typing import Any

# Whole numbers of more digits stay text: Python refuses to print the really long ones.
_INT = re.compile(r"[-+]?[0-9]{1,300}")
_OCTAL = re.compile(r"0o[0-7]{1,300}")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,250}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITY = re.compile(r"([-+]?)\.(?:inf|Inf|INF)")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


def scalar(text: str) -> str | int | float | bool | None:
    """What plain `text` means in YAML 1.2's core schema."""
    if text in _WORDS:
        value: str | int | float | bool | None = _WORDS[text]
        return value
    # Most words begin with a letter and can be nothing but text.
    if text[0] not in "+-.0123456789":
        return text
    return _number(text)


def _number(text: str) -> str | int | float:
    if _INT.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text) or _HEX.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text) and not text.lstrip("+-").isdigit():
        return float(text)
    if found := _INFINITY.fullmatch(text):
        return float(found[1] + "inf")
    return text
