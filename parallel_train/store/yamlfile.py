"""YAML text -> plain data with places, by the rules of YAML 1.2's core schema.

The C parser's events are read once: limits hold before anything is built from them, and what is built is
text, numbers, true, false, null, lists and mappings with text keys. No other tag is read.
"""

from __future__ import annotations

import codecs
import errno
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from parallel_train.errors import MOST_FAULTS, Fault, TaskFileError, UsageError
from parallel_train.store.document import Place, YamlDocument, fault_at
from parallel_train.store.yamlscalar import scalar

MOST_BYTES = 8 * 1024 * 1024
MOST_DEPTH = 64
MOST_NODES = 500_000  # they take a second, and 150 MiB

_CORE = "tag:yaml.org,2002:"
_OF_TAG: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "bool": lambda value: isinstance(value, bool),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}

_QUOTE = "put text that begins with one of {}[]*&!|>%@` or holds ': ' into quotes"
_INDENT = f"look at the indentation; {_QUOTE}"
_PROBLEMS = {
    "mapping values are not allowed": ("a ':' that can't stand here", _QUOTE),
    "could not find expected ':'": ("a ':' after a key is missing", _INDENT),
    "did not find expected key": ("this does not fit what stands before it", _INDENT),
    "did not find expected '-' indicator": ("this does not fit the list above", _INDENT),
    "did not find expected ',' or": ("a ',' or a closing bracket is missing", _QUOTE),
    "found unexpected end of stream": ("a quote is never closed", ""),
    "did not find expected node content": ("a value is missing, or a bracket is never closed", ""),
    "found character that cannot start any token": ("a value can't begin with this character", _QUOTE),
    "found unknown escape character": (
        "a backslash that YAML does not know",
        "in 'single quotes' it is plain text",
    ),
    "found invalid Unicode character escape code": (
        "this \\u stands for no character",
        "write the character itself, or all of its number after \\U, as in \\U0001f600",
    ),
    "did not find expected hexdecimal number": ("digits are missing after \\x, \\u or \\U", ""),
    "block sequence entries are not allowed": ("a '-' that can't stand here", _INDENT),
    "found unknown directive name": ("a line that begins with % is no part of a task file", "remove it"),
    "found incompatible YAML document": ("a task file is YAML 1.2", "remove the line with %YAML"),
    "found undefined tag handle": ("a tag is not allowed", "remove it"),
    "found a tab character": ("a tab can't indent", "use spaces"),
    "did not find expected alphabetic or numeric character": ("a name is missing behind & or *", _QUOTE),
    "did not find expected comment or line break": ("nothing can stand behind | or > but a comment", _QUOTE),
    "did not find expected <document start>": ("a task file is one document", "remove the '...' above"),
}
# Where the parser sees these is far behind what is wrong.
_SEEN_LATE = ("could not find expected ':'", "found unexpected end of stream")


class _Mark(Protocol):
    """A place in a text, counted from 0."""

    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


@dataclass(frozen=True, slots=True)
class _At:
    line: int
    column: int


class _Halt(Exception):  # noqa: N818 - it is caught in this module and never seen
    """Reading can't go on: the one fault that is left to say."""

    def __init__(self, mark: _Mark, message: str, hint: str = "") -> None:
        self.line, self.column = mark.line + 1, mark.column + 1
        self.message, self.hint = message, hint
        super().__init__(message)


def content(file: Path) -> bytes:
    """What is in a plain file, as far as `read` will look. Raises OSError."""
    mode = file.stat().st_mode
    if not stat.S_ISREG(mode):  # to open a pipe would wait for somebody who writes
        what = "a folder; name a file in it" if stat.S_ISDIR(mode) else "no plain file"
        raise OSError(errno.EINVAL, f"it is {what}", str(file))
    with file.open("rb") as opened:
        return opened.read(MOST_BYTES + 1)


def settings(name: str, file: Path) -> YamlDocument | None:
    """What a file of settings says; None where it is not there, or says nothing. Raises TaskFileError or UsageError."""
    try:
        found = content(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"can't read {name}: {error.strerror}") from None
    if all(not line.strip() or line.lstrip().startswith(b"#") for line in found.splitlines()):
        return None  # all of it commented out
    return read(name, found)


def read(name: str, content: bytes) -> YamlDocument:
    """The document in `content`; `name` stands in its faults. Raises TaskFileError where there is none."""
    if len(content) > MOST_BYTES:
        raise TaskFileError([Fault(name, 0, 0, f"a task file holds at most {MOST_BYTES // 2**20} MiB")])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        message = f"this is {'UTF-16' if is_wide else 'not UTF-8'} text"
        raise TaskFileError([Fault(name, line, column, message, hint="save the file as UTF-8")]) from None
    lines = text.splitlines()
    reader = _Reader()
    try:
        data, place = reader.document(_events(text))
    except _Halt as halt:
        reader.wrong.append((halt.line, halt.column, halt.message, halt.hint))
        raise TaskFileError(_faults(name, lines, reader)) from None
    return YamlDocument(name, lines, data, place, _faults(name, lines, reader))


def _faults(name: str, lines: list[str], reader: _Reader) -> list[Fault]:
    return [fault_at((name, line, column), lines, message, hint) for line, column, message, hint in reader.wrong]


def _events(text: str) -> Iterator[Any]:
    try:
        yield from yaml.parse(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        raise _syntax(text, error) from None
    except yaml.reader.ReaderError as error:
        before = text.encode()[: error.position].decode(errors="ignore").splitlines() or [""]
        raise _Halt(_At(len(before) - 1, len(before[-1])), "a control character can't stand in a task file") from None


def _syntax(text: str, error: yaml.MarkedYAMLError) -> _Halt:
    is_open = (error.problem or "").startswith(_SEEN_LATE)
    marks = (error.context_mark, error.problem_mark) if is_open else (error.problem_mark, error.context_mark)
    mark: _Mark = marks[0] or marks[1] or _At(0, 0)
    lines = text.splitlines()
    rest = lines[mark.line][mark.column :] if mark.line < len(lines) else ""
    if rest.startswith("\t"):
        return _Halt(mark, "a tab can't indent", "use spaces")
    if (conflict := next((n for n, line in enumerate(lines) if line.startswith("<<<<<<< ")), None)) is not None:
        return _Halt(_At(conflict, 0), "this is git's mark of a conflict", "settle it first")
    problem = error.problem or "this is not YAML"
    if problem.startswith("did not find expected <document start>") and "..." not in lines:
        return _Halt(mark, "this does not fit what stands before it", _INDENT)
    for start, (message, hint) in _PROBLEMS.items():
        if problem.startswith(start):
            return _Halt(mark, message, hint)
    return _Halt(mark, problem)


class _Reader:
    """Builds values and places from events. `wrong` collects what doesn't stop it."""

    def __init__(self) -> None:
        self.wrong: list[tuple[int, int, str, str]] = []
        self._nodes = 0
        self._depth = 0
        self._deepest = 0
        # What stands behind each anchor: value, place, nodes and depth below it; None while it is being read.
        self._anchors: dict[str, tuple[Any, Place, int, int] | None] = {}

    def document(self, events: Iterator[Any]) -> tuple[Any, Place]:
        next(events)  # the stream's start
        start = next(events)
        if isinstance(start, yaml.StreamEndEvent):
            raise _Halt(_At(0, 0), "the file is empty", "it needs 'tasks:'")
        value, place = self._node(next(events), events)
        next(events)  # the document's end
        after = next(events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise _Halt(after.start_mark or _At(0, 0), "a task file is one document", "remove the second '---'")
        return value, place

    def _node(self, event: Any, events: Iterator[Any]) -> tuple[Any, Place]:
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        self._count(mark, 1)
        before, deepest = self._nodes, self._deepest
        anchor = event.anchor
        if anchor is not None:
            self._anchors[anchor] = None
            self._deepest = self._depth
        place = Place(mark.line + 1, mark.column + 1)
        value: Any
        value = self._scalar(event) if isinstance(event, yaml.ScalarEvent) else self._collection(event, events, place)
        if anchor is not None:
            self._anchors[anchor] = (value, place, self._nodes - before + 1, self._deepest - self._depth)
            self._deepest = max(deepest, self._deepest)
        return value, place

    def _count(self, mark: Any, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MOST_NODES:
            raise _Halt(mark, f"a task file holds at most {MOST_NODES:,} values, counting each use of an alias")

    def _descend(self, mark: Any, levels: int) -> None:
        self._deepest = max(self._deepest, self._depth + levels)
        if self._depth + levels > MOST_DEPTH:
            raise _Halt(mark, f"a task file is at most {MOST_DEPTH} levels deep")

    def _alias(self, event: Any) -> tuple[Any, Place]:
        found = self._anchors.get(event.anchor)
        if found is None:
            known = event.anchor in self._anchors
            problem = "stands inside what it names" if known else "names nothing that stands before it"
            raise _Halt(event.start_mark, f"'*{event.anchor}' {problem}", "" if known else _QUOTE)
        value, place, nodes, depth = found
        self._count(event.start_mark, nodes)
        self._descend(event.start_mark, depth)
        # The fault is where the alias is used; what it holds keeps its own places.
        return value, Place(event.start_mark.line + 1, event.start_mark.column + 1, None, place.inside)

    def _collection(self, event: Any, events: Iterator[Any], place: Place) -> Any:
        is_list = isinstance(event, yaml.SequenceStartEvent)
        self._check_tag(event, "seq" if is_list else "map")
        self._descend(event.start_mark, 1)
        self._depth += 1
        inside: dict[str | int, Place] = {}
        place.inside = inside
        value = self._list(events, inside) if is_list else self._mapping(events, inside)
        self._depth -= 1
        return value

    def _list(self, events: Iterator[Any], places: dict[str | int, Place]) -> list[Any]:
        values: list[Any] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            value, places[len(values)] = self._node(event, events)
            values.append(value)
        return values

    def _mapping(self, events: Iterator[Any], places: dict[str | int, Place]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._key(event, events)
            value, place = self._node(next(events), events)
            if key is None:
                continue
            if key in values:
                first = places[key].key or (0, 0)
                self._note(event.start_mark, f"key '{key}' is given twice, first in line {first[0]}")
                continue
            place.key = (event.start_mark.line + 1, event.start_mark.column + 1)
            places[key] = place
            values[key] = value
        return values

    def _key(self, event: Any, events: Iterator[Any]) -> str | None:
        # A key is its text, as written: `on`, `1` and `null` are names here.
        if isinstance(event, yaml.ScalarEvent):
            self._check_nul(event)
            self._count(event.start_mark, 1)
            return str(event.value)
        value, _ = self._node(event, events)
        if isinstance(value, str):
            return value
        self._note(event.start_mark, "a key must be text", "put text that begins with { or [ into quotes")
        return None

    def _scalar(self, event: Any) -> Any:
        self._check_nul(event)
        plain = event.implicit[0] and not event.style
        value = scalar(event.value) if plain or event.tag not in (None, "!") else event.value
        tag = self._check_tag(event, "str", "null", "bool", "int", "float")
        if tag is None:
            return value
        if tag == "str":
            return event.value
        if not _OF_TAG[tag](value):
            self._note(event.start_mark, f"'{event.value}' is no !!{tag}")
        return float(value) if tag == "float" and isinstance(value, int) else value

    def _check_nul(self, event: Any) -> None:
        if "\0" in event.value:
            self._note(event.start_mark, "a NUL character can't stand in a task file")

    def _check_tag(self, event: Any, *known: str) -> str | None:
        if event.tag in (None, "!"):
            return None
        tag = event.tag.removeprefix(_CORE)
        if tag in known and tag != event.tag:
            return str(tag)
        self._note(event.start_mark, f"the tag '{event.tag.replace(_CORE, '!!')}' is not allowed", "remove it")
        return None

    def _note(self, mark: Any, message: str, hint: str = "") -> None:
        if len(self.wrong) >= MOST_FAULTS:
            raise _Halt(mark, message, hint)
        self.wrong.append((mark.line + 1, mark.column + 1, message, hint))
