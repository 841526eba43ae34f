"""The command line: all commands, and the one gate where expected errors become sentences.

A command's options, help and examples are a function in commands/cli/, listed below; what it does is the function
of the same name in commands/<name>.py, imported when it runs.
"""

from __future__ import annotations

import gc
import os
import sys
from dataclasses import replace
from itertools import pairwise
from typing import Annotated

import typer

from parallel_train import __version__
from parallel_train.commands.cli import ask, begin, look, run
from parallel_train.commands.page import Page, Program
from parallel_train.core.graph import nearest
from parallel_train.errors import NoTaskFileError, NothingSelectedError, ParallelTrainError, TaskFileError

_FOLDER = {"-C", "--directory"}  # what follows is no command
COMMANDS = {
    "Run": (run.run, run.worker),
    "Look": (look.status, look.attach, look.wait, look.logs, look.explain, look.results, look.gpus),
    "Ask": (ask.add, ask.cancel, ask.retry, ask.pause, ask.resume, ask.priority),
    "Begin and clean up": (begin.init, begin.config, begin.doctor, begin.gc),
}

app = typer.Typer(
    name="parallel-train",
    cls=Program,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: fits any terminal, and rich need not be loaded for it
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """Run a list of training runs on every GPU you have.

    `parallel-train` alone runs tasks/default.yaml. Without a command, `run` is meant: `parallel-train --gpus 0,1` is
    `parallel-train run --gpus 0,1`. Each command has a page of its own: `parallel-train status --help`.

    Examples:
      parallel-train                     run tasks/default.yaml
      parallel-train tasks/mine.yaml -n  say what would run, and why
      parallel-train status              where every task stands
      parallel-train results             what came out, best first
    """
    if version:
        print(f"parallel-train {__version__}")
        raise typer.Exit


for _group, _commands in COMMANDS.items():
    for _command in _commands:
        app.command(cls=Page, rich_help_panel=_group)(_command)


def _open_standard_streams() -> None:
    """Where one was closed (`>&-`): no other file may get its number, and who only looks needs no special care.

    `sys.stdout` stays None for a run, which then writes its lines to a file.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _meant_command(error: ParallelTrainError) -> str:
    """A hint where the first word is nearly a command: `run` was put before it."""
    if not isinstance(error, NothingSelectedError | NoTaskFileError):
        return ""
    names = [command.__name__ for commands in COMMANDS.values() for command in commands]
    typed = pairwise(["", *sys.argv[1:]])
    word = next((word for before, word in typed if not word.startswith("-") and before not in _FOLDER), "")
    near = nearest(word, names) if word not in names else None
    return f"; did you mean the command '{near}'?" if near else ""


def _seen_from_outside(error: ParallelTrainError) -> ParallelTrainError:
    """With the places in files of the project as whoever gave -C can open them."""
    if not isinstance(error, TaskFileError):
        return error
    from parallel_train.report import paste  # noqa: PLC0415  most commands end well

    return TaskFileError([replace(fault, file=paste.path(fault.file)) for fault in error.faults])


def main() -> None:
    """The gate: expected errors one way, Ctrl-C 130, a closed pipe quietly."""
    gc.set_threshold(100_000)  # a tenth of the time to load modules and tasks went into looking for garbage
    _open_standard_streams()
    try:
        app(prog_name="parallel-train")
    except ParallelTrainError as found:
        error = _seen_from_outside(found)
        print(f"parallel-train: {error}{_meant_command(error)}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Nobody reads on: let the interpreter's last flush go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:  # a file or folder that can't be read or written
        said = f"{os.fsdecode(error.filename)}: {error.strerror}" if error.filename else str(error)
        print(f"parallel-train: {ParallelTrainError(said)}", file=sys.stderr)
        sys.exit(2)
