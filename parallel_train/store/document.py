"""What a task file says, and where it says it: the ground that every fault stands on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

from parallel_train.errors import Fault

Path: TypeAlias = Sequence["str | int"]

_LONGEST_LINE = 200
_FURTHEST = 100  # lines that are looked back at
_LONGEST_END = 1000  # characters at the end of a line in which its secret's name may stand, with a comment behind it
_NAME = r"(?:TOKEN|KEY|SECRET|PASSWORD)[\"']?\]?\s*"  # how that of a secret ends, and what may close it
_SECRET = re.compile(rf"({_NAME}[:=]\s*)(?![\"']?secret:)(\S.*)", re.IGNORECASE)
# Its value comes on the next line. No two repeats stand side by side: a long gap would be divided in every way.
_OPEN = re.compile(rf"{_NAME}(?:[:=]\s*)?([>|!&]\S*\s*)?(#.*)?$", re.IGNORECASE)
_QUOTED = re.compile(r"'[^']*'|\{[^{}]*\}")
_A_KEY = re.compile(r"(?<![\w.-])key(?=['\"]?:)")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Document(Protocol):
    """The values of a task file. `fault` says what is wrong at a path of keys and indexes in `data`."""

    data: Any
    faults: list[Fault]

    def fault(self, path: Path, message: str, hint: str = "", *, at_key: bool = False) -> Fault: ...


def fault_at(
    place: tuple[str, int, int], lines: Sequence[str], message: str, hint: str = "", *, in_space: bool = False
) -> Fault:
    """A fault at (file, line, column) of the text `lines`, which repeats no secret.

    `in_space`, the word `key` on its own names what is searched for, and no secret.
    """
    name, line, column = place
    if not 1 <= line <= len(lines):
        return Fault(name, line, column, message, "", hint)
    whole = lines[line - 1]
    near = lines[max(0, line - 1 - _FURTHEST) : line]
    hidden = _secret_in([_A_KEY.sub("___", text) for text in near] if in_space else near)
    parts = re.findall(r"[\w.+/=-]{3,}", whole[hidden:][:_LONGEST_LINE])
    shown = whole[:hidden] + "*" * len(whole[hidden:])
    message, hint = _without(parts, message), _without(parts, hint)
    return Fault(name, line, column, message, _printable(shown) if column <= _LONGEST_LINE else "", hint)


def _without(parts: Sequence[str], text: str) -> str:
    """`text` whose quotations show nothing of `parts`."""
    for part in parts:
        text = _QUOTED.sub(lambda quoted, part=part: quoted[0].replace(part, "***"), text)  # type: ignore[misc]
    return text


def _printable(line: str) -> str:
    """No control character, no endless line."""
    return _UNPRINTABLE.sub("?", line[:_LONGEST_LINE])


def _secret_in(lines: Sequence[str]) -> int:
    """Where in the last line begins what may be a secret: behind its name, or at once where a line before has that."""
    own = lines[-1]
    depth = len(own) - len(own.lstrip())
    before = [line for line in reversed(lines[:-1]) if line.strip()]
    above = next((line for line in before if len(line) - len(line.lstrip()) < depth), "")
    if (before and _is_open(before[0])) or _is_open(above) or _SECRET.search(above):
        return depth
    found = _SECRET.search(own)
    return found.start(2) if found else len(own)


def _is_open(line: str) -> bool:
    return _OPEN.search(line[-_LONGEST_END:]) is not None


# Most values are scalars: one empty mapping serves them all.
_NOTHING_INSIDE: Mapping[str | int, Place] = MappingProxyType({})


@dataclass(slots=True)
class Place:
    """Where a value stands: its own line and column (from 1), its key's, and the places of what it holds."""

    line: int
    column: int
    key: tuple[int, int] | None = None
    inside: Mapping[str | int, Place] = field(default_factory=lambda: _NOTHING_INSIDE)


@dataclass(slots=True)
class YamlDocument:
    """A Document read from YAML: every value has its own place."""

    name: str
    lines: Sequence[str]
    data: Any
    place: Place
    faults: list[Fault]

    def fault(self, path: Path, message: str, hint: str = "", *, at_key: bool = False) -> Fault:
        place = self.place
        whole = True
        for part in path:
            if part not in place.inside:
                whole = False
                break
            place = place.inside[part]
        line, column = place.key if at_key and whole and place.key else (place.line, place.column)
        return fault_at((self.name, line, column), self.lines, message, hint, in_space="search" in path[:3])


@dataclass(slots=True)
class PythonDocument:
    """A Document made by running a Python file: the place of all of it is the function that made it."""

    name: str
    lines: Sequence[str]
    data: Any
    line: int
    faults: list[Fault] = field(default_factory=list)

    def fault(self, path: Path, message: str, hint: str = "", *, at_key: bool = False) -> Fault:  # noqa: ARG002 - a place has no keys here
        if len(path) > 1 and path[0] == "tasks":
            message = f"task {int(path[1]) + 1} of the list: {message}"
        return fault_at((self.name, self.line, 1), self.lines, message, hint)
