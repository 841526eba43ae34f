"""configs/slurm.yaml: what a cluster needs to be told each time, said once."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from parallel_train.core.graph import did_you_mean
from parallel_train.core.placeholders import written
from parallel_train.core.task import is_secret
from parallel_train.errors import Fault, TaskFileError, UsageError
from parallel_train.store import yamlfile
from parallel_train.store.document import YamlDocument

FILE = "configs/slurm.yaml"
DRAIN = 120  # seconds before the time limit at which a worker is told to start nothing more

CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNED = re.compile(r"([A-Za-z_]\w*)=(?!\$|[\"']\$|$)(?=\S)")  # NAME=VALUE, and not NAME=$(cat file)


@dataclass(frozen=True, slots=True)
class Site:
    """What stands there, with what was typed laid over it."""

    account: str = ""
    partition: str = ""
    qos: str = ""
    time: str = ""  # as sbatch reads it: minutes, HH:MM:SS, D-HH
    constraint: str = ""
    modules: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    lines: tuple[str, ...] = ()  # of shell, before the worker
    sbatch: tuple[str, ...] = ()  # more options of its own
    workers: int = 4
    gpus_per_worker: int = 1
    drain: int = DRAIN


def read(project: Path) -> Site:
    """What the project's file says; all defaults where there is none. Raises TaskFileError or UsageError."""
    document = yamlfile.settings(FILE, project / FILE)
    if document is None:
        return Site()
    if not isinstance(document.data, dict):
        raise TaskFileError([document.fault((), "this must be a mapping of names to values, such as 'account: lab'")])
    faults = [*document.faults, *_faults(document)]
    if faults:
        raise TaskFileError(sorted(faults, key=lambda fault: (fault.line, fault.column)))
    given = {name: _KEYS[name].read(value) for name, value in document.data.items() if value is not None}
    return replace(Site(), **given)


def check_typed(option: str, value: str, *, of_sbatch: bool = False) -> None:
    """Raises UsageError where the value of an option, or an option `of_sbatch`, can't stand in a script."""
    if wrong := _wrong_in(value):  # which may be a secret
        raise UsageError(f"{option}: {wrong}")
    if of_sbatch and (wrong := _wrong_option(value)):
        raise UsageError(f"{option} {value}: {wrong}")


def _wrong_in(text: str) -> str:
    if CONTROL.search(text):
        return "a line break or another control character can't stand in a Slurm script"
    if secret := next((found[1] for found in _ASSIGNED.finditer(text) if is_secret(found[1])), ""):
        return f"the value of {secret} would be shown to whoever reads the script: {_EXPORT}"
    return ""


def _wrong_option(text: str) -> str:
    """Of one that goes to sbatch as it is."""
    try:
        words = shlex.split(text)
    except ValueError:
        return "a quote is never closed"
    if not words or not words[0].startswith("-"):
        return "this is no option of sbatch's: it begins with -, as in --mem=32G"
    ours = next((word for word in words if re.match(_OURS, word)), "")
    return f"parallel-train itself sets {ours.partition('=')[0]}" if ours else ""


_OURS = r"(--(array|job-name|chdir|signal|wrap)(=|$)|-[aJD])"
_EXPORT = "export it in your shell, and Slurm hands it on"


@dataclass(frozen=True, slots=True)
class _Key:
    what: str
    fits: Callable[[Any], bool]
    read: Callable[[Any], Any]


def _is_text(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool) and written(value) != ""


def _is_texts(value: Any) -> bool:
    return _is_text(value) or (isinstance(value, list) and all(map(_is_text, value)))


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(written, value if isinstance(value, list) else [value]))


def _lines(value: Any) -> tuple[str, ...]:
    """Of a list, or of one text with several."""
    return tuple(line for text in _texts(value) for line in text.splitlines())


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(v, str | int | float | bool) for v in value.values())


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


_TEXT = _Key("text", _is_text, written)
_TEXTS = _Key("a list of texts", _is_texts, _texts)
_NUMBER = _Key("a whole number from 1", _is_number, int)
_KEYS = {
    **dict.fromkeys(("account", "partition", "qos", "time", "constraint"), _TEXT),
    **dict.fromkeys(("modules", "sbatch"), _TEXTS),
    "lines": replace(_TEXTS, read=_lines),
    **dict.fromkeys(("workers", "gpus_per_worker", "drain"), _NUMBER),
    "env": _Key("a mapping of names to texts", _is_mapping, lambda value: {k: written(v) for k, v in value.items()}),
}


def _faults(document: YamlDocument) -> Iterator[Fault]:
    for name, value in document.data.items():
        key = _KEYS.get(name)
        if key is None:
            hint = did_you_mean(name, _KEYS) or f"there are: {', '.join(sorted(_KEYS))}"
            yield document.fault((name,), f"unknown key '{name}'", hint, at_key=True)
        elif value is not None and not key.fits(value):
            yield document.fault((name,), f"{name} must be {key.what}")
        elif value is not None:
            yield from _wrong_values(document, name, value)


def _wrong_values(document: YamlDocument, name: str, value: Any) -> Iterator[Fault]:
    for path, text in _inside(name, value):
        wrong = next(filter(None, map(_wrong_in, text.splitlines() if name == "lines" else [text])), "")
        if name == "sbatch":
            wrong = wrong or _wrong_option(text)
        elif name == "env" and is_secret(str(path[-1])):
            wrong = f"a literal secret can't stand here: {_EXPORT}"
        elif name == "env" and not _VARIABLE.fullmatch(str(path[-1])):
            wrong = f"'{path[-1]}' is no name of a variable"
        if wrong:
            yield document.fault(path, wrong)


def _inside(name: str, value: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Each text of a value, and its path."""
    if isinstance(value, dict | list):
        for place, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield (name, place), written(each)
    else:
        yield (name,), written(value)
