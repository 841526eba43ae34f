"""config: what is in force, and from where. It only looks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import typer

from parallel_train.commands import plan, settings
from parallel_train.commands.options import RunOptions
from parallel_train.report import paste, words
from parallel_train.report.console import print_sheet
from parallel_train.report.table import Column, Sheet


@dataclass(frozen=True, slots=True)
class Setting:
    """`place` is the option, the variable or file:line:column that gave the value; empty for a default."""

    name: str
    value: Any
    source: str  # option, variable, file or default
    place: str


def config(ctx: typer.Context, options: RunOptions, project: Path, *, as_json: bool, out: TextIO) -> int:
    """Print every setting; 0."""
    found = list(_settings(ctx, options, project))
    if as_json:
        print(json.dumps({"settings": [asdict(each) for each in found]}, indent=2), file=out)
    else:
        rows = tuple((each.name, _shown(each.value), _from(each)) for each in found)
        print_sheet(
            Sheet((Column("setting"), Column("value", may_break=True), Column("from", may_break=True)), rows), out
        )
    return 0


def _settings(ctx: typer.Context, options: RunOptions, project: Path) -> Iterator[Setting]:
    given = settings.read(ctx, project)
    for name, option in settings.names(ctx).items():
        value = getattr(options, name)
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            yield Setting(name, value, "option", option.opts[-1])
        elif name in given:
            yield Setting(name, value, "variable" if given[name].is_variable else "file", given[name].place)
        else:
            yield Setting(name, plan.interpreter(None) if name == "python" else value, "default", "")


def _from(found: Setting) -> str:
    return paste.path(found.place) if found.source == "file" else found.place or found.source


def _shown(value: Any) -> str:
    return words.clean(value if isinstance(value, str) else json.dumps(value))
