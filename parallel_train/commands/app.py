"""The command line: every command's options, and the one gate where expected errors become sentences."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TextIO

import typer

from parallel_train import __version__
from parallel_train.commands.options import RunOptions
from parallel_train.errors import ParallelTrainError

DEFAULT = RunOptions()

app = typer.Typer(
    name="parallel-train",
    help="Run a list of training runs on every GPU you have: `parallel-train` alone runs tasks/default.yaml.",
    epilog="Without a command, `run` is meant: parallel-train --gpus 0,1 is parallel-train run --gpus 0,1.",
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: fits any terminal, and rich need not be loaded for it
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Directory = Annotated[
    Path | None, typer.Option("-C", "--directory", metavar="DIR", help="Work in this project folder.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
File = Annotated[str | None, typer.Option("-f", "--file", metavar="FILE", help="The task file.")]
Words = Annotated[list[str] | None, typer.Argument(metavar="[TASK]...", show_default=False)]

_WORDS = "[FILE] [TASK|STAGE]... [NAME=VALUE]..."
RunWords = Annotated[list[str] | None, typer.Argument(metavar=_WORDS, show_default=False)]
Gpus = Annotated[str, typer.Option(metavar="LIST", help="auto, 0,1, 0-3, UUIDs, cpu:N, fake:N or fake:FILE.")]
AtOnce = Annotated[int, typer.Option("-j", metavar="N", min=0, help="At most N at once; 0: every slot.")]
CpuSlots = Annotated[int, typer.Option(metavar="N", min=0, help="Slots for tasks with gpus: 0.")]
SkipExisting = Annotated[bool, typer.Option(help="Skip what is done, or run all again.")]
Again = Annotated[bool, typer.Option("-B", help="Run again; old outputs are put aside.")]
DryRun = Annotated[bool, typer.Option("-n", "--dry-run", help="Say what would run and why.")]
PlanJson = Annotated[bool, typer.Option("--json", help="With -n: print JSON.")]
Only = Annotated[list[str] | None, typer.Option(metavar="GLOB", help="Only tasks with such names.")]
Failed = Annotated[bool, typer.Option("--failed", help="Only tasks that failed.")]
FailFast = Annotated[bool, typer.Option("-S", "--fail-fast", help="Start nothing after a failure.")]
KeepGoing = Annotated[bool, typer.Option("-k", help="Go on after a failure (the default).")]
CustomTasks = Annotated[bool, typer.Option("--custom-tasks", help="Run tasks/custom.yaml or .py.")]
DataRoot = Annotated[str, typer.Option(metavar="PATH", help="What {data_root} means.")]
OutputBase = Annotated[str, typer.Option(metavar="PATH", help="What {output_base} means.")]
Trainer = Annotated[str | None, typer.Option(metavar="NAME", help="The same as trainer=NAME.")]
LogDir = Annotated[str, typer.Option(metavar="PATH", help="Where logs go.")]
CheckInterval = Annotated[float, typer.Option(metavar="SECONDS", min=0, help="Between status lines; 0: none.")]
Python = Annotated[str | None, typer.Option(metavar="PATH", help="What {python} means.")]


@app.command()
def run(  # noqa: PLR0913  one parameter per option of the command line
    words: RunWords = None,
    *,
    file: File = None,
    gpus: Gpus = DEFAULT.gpus,
    at_once: AtOnce = DEFAULT.at_once,
    cpu_slots: CpuSlots = DEFAULT.cpu_slots,
    skip_existing: SkipExisting = True,
    again: Again = False,
    dry_run: DryRun = False,
    as_json: PlanJson = False,
    only: Only = None,
    failed: Failed = False,
    fail_fast: FailFast = False,
    keep_going: KeepGoing = False,  # noqa: ARG001  accepted, since going on is what we do
    custom_tasks: CustomTasks = False,
    data_root: DataRoot = DEFAULT.data_root,
    output_base: OutputBase = DEFAULT.output_base,
    trainer: Trainer = None,
    log_dir: LogDir = DEFAULT.log_dir,
    check_interval: CheckInterval = DEFAULT.check_interval,
    python: Python = None,
    directory: Directory = None,
) -> None:
    """Run the tasks of a task file, skipping what is done."""
    from parallel_train.commands import run as command

    options = RunOptions(
        words=tuple(words or ()),
        file=file,
        custom_tasks=custom_tasks,
        only=tuple(only or ()),
        failed=failed,
        dry_run=dry_run,
        as_json=as_json,
        again=again or not skip_existing,
        at_once=at_once,
        fail_fast=fail_fast,
        gpus=gpus,
        cpu_slots=cpu_slots,
        data_root=data_root,
        output_base=output_base,
        trainer=trainer,
        log_dir=log_dir,
        check_interval=check_interval,
        python=python,
        directory=directory,
    )
    raise typer.Exit(command.run(options))


@app.command()
def status(
    tasks: Words = None,
    *,
    file: File = None,
    everything: Annotated[bool, typer.Option("--all", help="Also tasks that no file names any more.")] = False,
    as_json: Json = False,
    directory: Directory = None,
) -> None:
    """Where every task stands."""
    from parallel_train.commands import status as command

    found = command.status(
        _project(directory), tasks or (), file=file, everything=everything, as_json=as_json, out=_out()
    )
    raise typer.Exit(found)


@app.command()
def logs(
    tasks: Words = None,
    *,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the attempt ends.")] = False,
    err: Annotated[bool, typer.Option("--err", help="The .err file.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Those of all failed tasks.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", metavar="N", min=0, help="Last lines; 0: all.")] = 20,
    directory: Directory = None,
) -> None:
    """The last lines of a task's log."""
    from parallel_train.commands import logs as command

    found = command.logs(
        _project(directory), tasks or (), follow=follow, err=err, failed=failed, lines=lines, out=_out()
    )
    raise typer.Exit(found)


@app.command()
def results(
    file: Annotated[str | None, typer.Argument(metavar="[FILE]", show_default=False)] = None,
    *,
    best: Annotated[bool, typer.Option("--best", help="Only the best.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: Json = False,
    directory: Directory = None,
) -> None:
    """The table of results, best first."""
    from parallel_train.commands import results as command

    found = command.results(_project(directory), file=file, best=best, as_csv=as_csv, as_json=as_json, out=_out())
    raise typer.Exit(found)


def _project(directory: Path | None) -> Path:
    from parallel_train.commands.project import project_folder

    return project_folder(directory)


def with_command(argv: Sequence[str]) -> list[str]:
    """`argv` with its command in front: `run` where the first word, after options and their values, is none."""
    root = typer.main.get_command(app)
    commands = getattr(root, "commands", {})
    takes_value = {
        name
        for parameter in commands["run"].params
        if not getattr(parameter, "is_flag", False)
        for name in getattr(parameter, "opts", ())
    }
    if list(argv) in (["--help"], ["-h"], ["--version"]):
        return list(argv)
    place = _first_word(argv, takes_value)
    if place is not None and argv[place] in commands:
        return [argv[place], *argv[:place], *argv[place + 1 :]]
    return ["run", *argv]


def _first_word(argv: Sequence[str], takes_value: set[str]) -> int | None:
    place = 0
    while place < len(argv):
        word = argv[place]
        if word == "--" or not word.startswith("-") or word == "-":
            return place if word != "--" else None
        place += 2 if word in takes_value else 1
    return None


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version:
        print(f"parallel-train {__version__}")
        raise typer.Exit


def _open_standard_streams() -> None:
    """Where one was closed (`>&-`): no other file may get its number, and who only looks needs no special care.

    `sys.stdout` stays None for a run, which then writes its lines to a file.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _out() -> TextIO:
    return sys.stdout or Path(os.devnull).open("w")


def main() -> None:
    """The gate: expected errors one way, Ctrl-C 130, a closed pipe quietly."""
    _open_standard_streams()
    try:
        app(with_command(sys.argv[1:]), prog_name="parallel-train")
    except ParallelTrainError as error:
        print(f"parallel-train: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Nobody reads on: let the interpreter's last flush go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        print(f"parallel-train: {error}", file=sys.stderr)  # a file or folder that can't be read or written
        sys.exit(2)
