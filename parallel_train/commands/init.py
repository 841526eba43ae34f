"""init: a first task file, to be edited."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from parallel_train.commands.plan import DEFAULT_FILE
from parallel_train.core import typed
from parallel_train.core.placeholders import written
from parallel_train.core.typed import Typed
from parallel_train.errors import UsageError
from parallel_train.report import paste
from parallel_train.report.words import clean
from parallel_train.store import schema
from parallel_train.store.yamlscalar import scalar

_HEAD = """\
# The runs of this folder. Edit them, then
#     {command} -n    says what would run, and why
#     {command}       runs it, on every GPU that nobody uses
# Every key is explained in the README, under "The task file".
"""

_TEMPLATE = """\
tasks:
  - command: "{python} train.py --lr {lr} --seed {seed} --output-dir {output}"
    matrix:  # every combination is a run
      lr: [0.1, 0.01, 0.001]
    seeds: [1, 2]
    output: "output/lr{lr}/seed{seed}"  # what a run promises: where it is there, the run is done and skipped
"""

# Each line is a key that holds as it stands once its mark is taken away.
_MORE = """\
    # metrics: {name: accuracy, mode: max, file: "{output}/metrics.json"}  # the results are ranked by it
    # gpus: 1  # for each run; 0 takes a CPU slot
    # timeout: 12h
    # retries: 1  # after a failure or a time-out
    # env: {WANDB_API_KEY: "secret:WANDB_API_KEY"}  # from your environment, not from this file
"""

_WIDEST = 100
_SIMPLE_WORD = re.compile(r"(?!~)[\w@%+=:,./{}-]+", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z_./][\w./+=@%-]*", re.ASCII)
_NOT_TEXT = frozenset({"y", "n", "yes", "no", "on", "off"})  # truth values to other readers of YAML


def init(words: Sequence[str], *, file: str | None, project: Path, out: TextIO) -> int:
    """Write a task file for the command `words`, or an example; 0. Raises UsageError where one is there."""
    name = file or DEFAULT_FILE
    if not name.endswith((".yaml", ".yml")):
        raise UsageError(f"-f {name}: a task file's name ends in .yaml")
    if any("\ud800" <= char <= "\udfff" for word in (name, *words) for char in word):
        raise UsageError("the command is not UTF-8 text, so a task file can't hold it")
    found = typed.read(words, str(project)) if words else None
    given = [] if file is None else [name]
    tasks = "".join(f"{line}\n" for line in _lines(found)) if found else _TEMPLATE
    _write(project, name, _HEAD.format(command=paste.command(*given, project="")) + tasks + _more(found))
    print(
        f"wrote {clean(paste.path(name))}" + (f": so far one run, {clean(shlex.join(words))}" if words else ""),
        file=out,
    )
    if found and found.output is None:
        print(_without_output(found), file=out)
    plan, run = paste.command(*given, "-n"), paste.command(*given)
    print(f"next: edit it; then {plan} says what would run, and {run} runs it", file=out)
    return 0


def _write(project: Path, name: str, text: str) -> None:
    path = project / name
    if os.path.lexists(path):
        hint = f"edit it, or write another one: {paste.command('init', '-f', 'tasks/other.yaml')}"
        raise UsageError(f"{paste.path(name)} is there already: {hint}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"can't write {name}: {os.strerror(error.errno or 0)}") from None


def _without_output(found: Typed) -> str:
    why = f"its output can't be promised ({found.no_output})" if found.no_output else "no argument names its output"
    return f"note: {why}; so a run counts as done only once it has succeeded here"


def print_schema(out: TextIO) -> None:
    print(json.dumps(schema.json_schema(), indent=2), file=out)


# ---- a command as YAML ----


def _lines(found: Typed) -> Iterator[str]:
    """The `tasks` of a file that holds this command once."""
    yield "tasks:"
    yield from _command(found.command)
    if found.params:
        yield "    matrix:  # every combination is a run: add values, such as [0.1, 0.01]"
        yield from (f"      {_text(name)}: [{_value(value)}]" for name, value in found.params.items())
    if found.seed is not None:
        yield f"    seeds: [{found.seed}]"
    if found.output is not None:
        yield f"    output: {_text(found.output)}  # each run needs its own: put what varies into it{_example(found)}"
    else:
        yield "    # output: output/run  # what a run promises: where it is there, the run is done and skipped"


def _example(found: Typed) -> str:
    names = [name for name, value in found.params.items() if _is_number(value)][:1]
    names += ["seed"] if found.seed is not None else []
    if not names or not _SIMPLE_WORD.fullmatch(found.output or ""):
        return ""
    return f", as {found.output}/{'_'.join(f'{name}{{{name}}}' for name in names)}"


def _more(found: Typed | None) -> str:
    """The keys that may be wanted later."""
    has_output = found is None or found.output is not None
    return _MORE if has_output else _MORE.replace('file: "{output}/metrics.json"', r"regex: 'accuracy (\S+)'")


def _command(words: Sequence[str]) -> Iterator[str]:
    if not all(map(_SIMPLE_WORD.fullmatch, words)):
        yield "  - command:"
        yield from (f"      - {_text(word)}" for word in words)
    elif len(one := f'  - command: "{" ".join(words)}"') <= _WIDEST:
        yield one
    else:
        yield "  - command: >-"
        yield from (f"      {line}" for line in _wrapped(words))


def _wrapped(words: Sequence[str]) -> Iterator[str]:
    """A line for the program, then one for each option with what follows it."""
    line = ""
    for word in words:
        if line and (word.startswith("-") or len(line) + len(word) > _WIDEST):
            yield line
            line = word
        else:
            line = f"{line} {word}".lstrip()
    yield line


def _value(text: str) -> str:
    """A value that a command gets byte for byte."""
    return text if _is_number(text) else _text(text)


def _is_number(text: str) -> bool:
    """Whether `text` is written just as a number of this value is."""
    value = scalar(text) if text else text
    return isinstance(value, int | float) and not isinstance(value, bool) and written(value) == text


def _text(text: str) -> str:
    """`text` as YAML: quoted where it could mean anything else, to whichever reader."""
    if _PLAIN.fullmatch(text) and isinstance(scalar(text), str) and text.lower() not in _NOT_TEXT:
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in json.dumps(text, ensure_ascii=False))


def _escaped(char: str) -> str:
    number = ord(char)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
