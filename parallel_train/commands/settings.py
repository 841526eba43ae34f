"""Settings: options of `run` for which a project or a machine has a value of its own.

A setting is an option that `config` takes. Its key in the file is the option's name, its variable PARALLEL_TRAIN_
and that name in capitals: at_once is `at_once: 4`, PARALLEL_TRAIN_AT_ONCE=4 and --at-once 4. What is typed wins, then
variables, then the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from parallel_train.commands.page import plainly
from parallel_train.commands.places import CONFIG_FILE, VARIABLE_PREFIX
from parallel_train.core.graph import did_you_mean, nearest
from parallel_train.core.placeholders import written
from parallel_train.errors import TaskFileError, UsageError
from parallel_train.report import paste, words
from parallel_train.store import yamlfile

# What a task finds in its environment: a scheduler within a task must not take it for a person's wish.
_OF_ATTEMPTS = (
    "RUN_ID",
    "TASK_ID",
    "ATTEMPT",
    "OUTPUT_DIR",
    "SEED",
    "PARAMS",
    "METRICS_FILE",
    "GPUS",
    "COOKIE",
    "RESUME",
)
_OF_BASH = VARIABLE_PREFIX + "SH_"  # the mark that parallel_train.sh leaves on what it starts
ATTEMPT_VARIABLES = frozenset(VARIABLE_PREFIX + name for name in _OF_ATTEMPTS)
_OTHER_OPTIONS = frozenset({"as_json", "directory"})  # what `config` takes that is no setting


@dataclass(frozen=True, slots=True)
class Given:
    """A setting that was given a value, and where: a variable's name, or file:line:column."""

    value: Any
    place: str
    is_variable: bool


def names(ctx: typer.Context) -> dict[str, Any]:
    """The option behind each setting, by name."""
    commands: Mapping[str, Any] = getattr(ctx.find_root().command, "commands", {})
    return {param.name: param for param in commands["config"].params if param.name not in _OTHER_OPTIONS}


def defaults(ctx: typer.Context, directory: Path | None) -> dict[str, Any]:
    """What this command's options mean that are not typed, where the project or the environment says it."""
    if names(ctx).keys().isdisjoint(param.name for param in ctx.command.params):
        return {}  # one that only looks works whatever stands there
    return {name: given.value for name, given in read(ctx, directory or Path()).items()}


def read(ctx: typer.Context, project: Path) -> dict[str, Given]:
    """Every setting that was given, with its value as its option has it. Raises UsageError or TaskFileError."""
    known = names(ctx)
    found = dict(_from_file(ctx, known, project / CONFIG_FILE))
    found.update(_from_variables(ctx, known, os.environ))
    return found


def _from_variables(
    ctx: typer.Context, known: Mapping[str, Any], environment: Mapping[str, str]
) -> Iterator[tuple[str, Given]]:
    is_in_attempt = VARIABLE_PREFIX + "COOKIE" in environment
    variables = {VARIABLE_PREFIX + name.upper(): name for name in known}
    for variable, text in environment.items():
        if not variable.startswith(VARIABLE_PREFIX) or (variable in ATTEMPT_VARIABLES and is_in_attempt):
            continue
        if variable in variables and text:
            name = variables[variable]
            try:
                yield name, Given(known[name].process_value(ctx, text), variable, is_variable=True)
            except typer.BadParameter as error:
                raise UsageError(f"{variable}={words.clean(text)}: {_said(error)}") from None
        elif variable not in ATTEMPT_VARIABLES | variables.keys() and not variable.startswith(_OF_BASH):
            near = nearest(variable.removeprefix(VARIABLE_PREFIX), map(str.upper, known))
            hint = (
                f"did you mean '{VARIABLE_PREFIX}{near}'?"
                if near
                else f"{paste.command('config')} lists those that are known"
            )
            raise UsageError(f"unknown variable {variable} ({hint})")


def _from_file(ctx: typer.Context, known: Mapping[str, Any], file: Path) -> Iterator[tuple[str, Given]]:
    document = yamlfile.settings(CONFIG_FILE, file)
    if document is None:
        return
    if not isinstance(document.data, dict):
        raise TaskFileError([document.fault((), "this must be a mapping of settings to values, such as 'gpus: 0-3'")])
    faults = list(document.faults)
    for name, value in document.data.items():
        if name not in known:
            hint = did_you_mean(name, known) or f"{paste.command('config')} lists those that are known"
            faults.append(document.fault((name,), f"unknown setting '{name}'", hint, at_key=True))
        elif value is not None:
            fault = document.fault((name,), "")
            try:
                place = f"{fault.file}:{fault.line}:{fault.column}"
                yield name, Given(known[name].process_value(ctx, _typed(value)), place, is_variable=False)
            except typer.BadParameter as error:
                faults.append(document.fault((name,), f"{name}: {_said(error)}"))
    if faults:
        raise TaskFileError(sorted(faults, key=lambda fault: (fault.line, fault.column)))


def _typed(value: Any) -> str:
    """A value of the file as it would be typed."""
    if isinstance(value, dict | list):
        raise typer.BadParameter("one value is needed here, as it would be typed")
    text = written(value)
    return str(Path(text).expanduser()) if text.startswith("~/") else text


def _said(error: typer.BadParameter) -> str:
    return plainly(error).message.rstrip(".")
