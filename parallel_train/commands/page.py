"""The pages of --help, plain and as man has them; and a first word that is no command means `run`.

A command's docstring is its page: a sentence, paragraphs, and a last part that begins with `Examples:`, which
stands below the options with its lines as they are.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

_EXAMPLES = "\n\nExamples:\n"
_RANGE = re.compile(r"; x>=[\d.]+(?=\])|  \[x>=[\d.]+\]")  # what an option says when it is broken is enough

# What typer has pydantic say about a value, and what we say instead.
_PLAIN = {
    r"Input should be a valid integer.*": "it must be a whole number",
    r"Input should be a valid number.*": "it must be a number",
    r"Input should be a valid boolean.*": "it must be true or false",
    r"Input should be greater than or equal to (\S+)": r"it must be \1 or more",
    r"Input should be less than or equal to (\S+)": r"it must be \1 or less",
}


class Page(TyperCommand):
    """One command."""

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)
        for param in params:
            param._runtime_param = param._runtime_param or _Plain()  # noqa: SLF001  see there
        return params

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            raise plainly(error) from None

    def format_help_text(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        _write_text(self.help, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """In the groups that options name, those that name none first."""
        params = sorted(self.get_params(ctx), key=lambda param: bool(_panel(param)))
        for panel, group in groupby(params, key=_panel):
            rows = [row for param in group if (row := param.get_help_record(ctx))]
            if rows:
                with formatter.section(panel or "Options"):
                    formatter.write_dl([(names, _RANGE.sub("", text)) for names, text in rows])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        _write_examples(self.help, formatter)


class _Plain:
    """What typer asks for the meaning of a value: text is text, and a default is what it is. Only for all else it loads
    pydantic, which takes a tenth of a second.
    """

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        if type(value) is type(param.default) and value == param.default:
            return value
        from parallel_train.core.placeholders import is_unicode  # noqa: PLC0415  --help has no use for it

        annotation = param.type_descriptor.annotation
        if annotation in (str, Path) and isinstance(value, str) and is_unicode(value):
            return annotation(value)
        if annotation == list[str] and all(isinstance(each, str) and is_unicode(each) for each in value):
            return list(value)
        param._runtime_param = None  # noqa: SLF001
        return param.get_runtime_param().coerce(value, param=param, ctx=ctx)


class Program(TyperGroup):
    """All of them, in the groups that they name."""

    def get_params(self, ctx: Any) -> list[Any]:
        params = super().get_params(ctx)
        for param in params:
            if getattr(param, "is_flag", False) and param.default is None:
                param.default = False  # to find that None is no flag, typer would load pydantic
        return params

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        is_first_word_open = ctx.resilient_parsing and not args  # a shell asks what could stand there
        return super().parse_args(
            ctx, args if is_first_word_open else with_command(args, self.commands, self._own(ctx))
        )

    def _own(self, ctx: Any) -> set[str]:
        return {name for param in self.get_params(ctx) for name in param.opts}

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Commands, and what may follow `run`, which need not be typed."""
        run = self.commands["run"]
        inner: Any = run.make_context("run", [], parent=ctx, resilient_parsing=True)
        found = run.shell_complete(inner, incomplete)
        if not incomplete.startswith("-"):
            found += run.params[0].shell_complete(inner, incomplete)
        return [*super().shell_complete(ctx, incomplete), *found]

    def format_help_text(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        _write_text(self.help, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        widest = max(map(len, self.commands))
        for panel, group in groupby(self.commands.values(), key=_panel):
            with formatter.section(panel):
                formatter.write_dl(
                    [
                        (f"{command.name or '':{widest}}", command.get_short_help_str(formatter.width))
                        for command in group
                    ]
                )

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        _write_examples(self.help, formatter)


def plainly(error: typer.BadParameter) -> typer.BadParameter:
    for theirs, ours in _PLAIN.items():
        error.message = re.sub(theirs, ours, error.message)
    return error


def _panel(what: Any) -> str:
    return getattr(what, "rich_help_panel", None) or ""


def _write_text(help_: str | None, formatter: Any) -> None:
    text, _, _ = inspect.cleandoc(help_ or "").partition(_EXAMPLES)
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text(text)


def _write_examples(help_: str | None, formatter: Any) -> None:
    _, _, examples = inspect.cleandoc(help_ or "").partition(_EXAMPLES)
    if examples:
        with formatter.section("Examples"):
            formatter.write("\n".join(f"  {line.strip()}" for line in examples.splitlines()) + "\n")


def with_command(argv: Sequence[str], commands: Mapping[str, Any], own: set[str]) -> list[str]:
    """`argv` with its command in front: `run` where the first word, after options and their values, is none.

    Without any word, an option of the program's own in front stands for itself.
    """
    takes_value = {
        name for param in commands["run"].params if not getattr(param, "is_flag", False) for name in param.opts
    }
    place = _first_word(argv, takes_value)
    if place is not None and argv[place] in commands:
        return [argv[place], *argv[:place], *argv[place + 1 :]]
    if place is None and argv and argv[0] in own:
        return list(argv)
    return ["run", *argv]


def _first_word(argv: Sequence[str], takes_value: set[str]) -> int | None:
    place = 0
    while place < len(argv):
        word = argv[place]
        if word == "--" or not word.startswith("-") or word == "-":
            return place if word != "--" else None
        place += 2 if word in takes_value else 1
    return None
