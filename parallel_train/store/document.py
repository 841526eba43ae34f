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
_SECRET = re.compile(r"(\w*(?:TOKEN|KEY|SECRET|PASSWORD)[\"']?\s*[:=]\s*)(?![\"']?secret:)(\S.*)", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Document(Protocol):
    """The values of a task file. `fault` says what is wrong at a path of keys and indexes in `data`."""

    data: Any
    faults: list[Fault]

    def fault(self, path: Path, message: str, hint: str = "", *, at_key: bool = False) -> Fault: ...


def source_line(lines: Sequence[str], line: int, column: int) -> str:
    """Line `line` (from 1) as a fault shows it: no secret, no control character, no endless line."""
    if not 1 <= line <= len(lines) or column > _LONGEST_LINE:
        return ""
    shown = _UNPRINTABLE.sub("?", lines[line - 1][:_LONGEST_LINE])
    return _SECRET.sub(lambda found: found[1] + "*" * len(found[2]), shown)


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
        return Fault(self.name, line, column, message, source_line(self.lines, line, column), hint)


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
        return Fault(self.name, self.line, 1, message, source_line(self.lines, self.line, 1), hint)
