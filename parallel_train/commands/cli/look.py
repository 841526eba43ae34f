"""Look: commands that only read."""

from __future__ import annotations

from typing import Annotated

import typer

from parallel_train.commands.cli.doors import out, project, within
from parallel_train.commands.options import (
    CheckInterval,
    DataRoot,
    Directory,
    File,
    Gpus,
    Json,
    Python,
    RunOptions,
    Words,
)

DEFAULT = RunOptions()


def status(
    tasks: Words = None,
    *,
    file: File = None,
    failed: Annotated[bool, typer.Option("--failed", help="Those that failed, or were not run.")] = False,
    running: Annotated[bool, typer.Option("--running", help="Those that run now.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Also tasks that no file names any more.")] = False,
    again: Annotated[bool, typer.Option("-w", "--watch", help="Look again every 2 s until Ctrl-C.")] = False,
    as_json: Json = False,
    directory: Directory = None,
) -> None:
    """Where every task stands.

    One line for each task: its number, its state, where and how long it ran, and why it is so. A task's number
    stays, and stands for it in every command. Below, how many are in which state, and who works on them; where Slurm
    was asked for workers, which run, and which wait and why.

    Examples:
      parallel-train status                  all tasks
      parallel-train status tasks/mine.yaml  those of one file
      parallel-train status 3 '*seed1'       some tasks
      parallel-train status --failed         what did not succeed, and why
      parallel-train status --running -w     what runs, again and again
      parallel-train status --json           for a script
      parallel-train status ini/             in that folder, as with -C
    """
    from parallel_train.commands import status as command

    place, words = within(directory, tasks)
    raise typer.Exit(
        command.status(
            place,
            words,
            file=file,
            everything=everything,
            only=["failed"] * failed + ["running"] * running,
            again=again,
            as_json=as_json,
            out=out(),
        )
    )


def attach(
    worker: Annotated[str | None, typer.Argument(metavar="WORKER", hidden=True, show_default=False)] = None,
    *,
    check_interval: CheckInterval = DEFAULT.check_interval,
    directory: Directory = None,
) -> None:
    """See a run again that goes on elsewhere.

    Its table, as on its own terminal, until it ends; then its closing words, and its exit code. Ctrl-C leaves the
    table and harms nothing. Where several workers live, WORKER says which: its process or the beginning of its name,
    as parallel-train status shows them.

    Examples:
      parallel-train attach       the one that lives here
      parallel-train attach 4711  the one with this process
    """
    from parallel_train.commands import attach as command

    raise typer.Exit(command.attach(project(directory), worker, check_interval=check_interval, out=out()))


def wait(
    tasks: Words = None,
    *,
    as_json: Json = False,
    directory: Directory = None,
) -> None:
    """Wait until tasks have ended; for scripts.

    Without TASK all that the queue holds, with what is added meanwhile. The exit code is 0 where all of them succeeded
    or were skipped, else 1. It starts nothing: that is for a run or a worker.

    Examples:
      parallel-train --detach && parallel-train wait && python report.py
      parallel-train wait 3 '*seed1'   some tasks
      parallel-train wait --json       and print them as status --json does
    """
    from parallel_train.commands import wait as command

    place, words = within(directory, tasks)
    raise typer.Exit(command.wait(place, words, as_json=as_json, out=out()))


def logs(
    tasks: Words = None,
    *,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on, attempt after attempt, until no other can come.")
    ] = False,
    err: Annotated[bool, typer.Option("--err", help="The .err file.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="The bytes as they are, nothing added.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Those of all failed tasks.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", metavar="N", min=0, help="Last lines; 0: all.")] = 20,
    directory: Directory = None,
) -> None:
    """The last lines of a task's log.

    What a task prints goes to a .log and an .err file of its own. This shows the newest attempt's; without a task,
    those of all that run, else of the one that began last. The .err comes too where an attempt failed or wrote nothing
    else. A progress bar is its last state, and nothing in a log can command your terminal, except with --raw.

    Examples:
      parallel-train logs 3                      the end of task 3's log
      parallel-train logs 3 -f                   and what comes, retries too
      parallel-train logs -f                     of all that run
      parallel-train logs '*seed1' -f            of some, each with its name
      parallel-train logs --failed               of everything that failed
      parallel-train logs 3 --err -n0            all of its .err
      parallel-train logs 3 --raw -n0 > all.log  byte for byte
    """
    from parallel_train.commands import logs as command

    place, words = within(directory, tasks)
    raise typer.Exit(
        command.logs(
            place,
            words,
            failed=failed,
            follow=follow,
            err=err,
            raw=raw,
            lines=lines,
            out=out(),
        )
    )


def results(
    file: Annotated[str | None, typer.Argument(metavar="FILE", hidden=True, show_default=False)] = None,
    *,
    best: Annotated[bool, typer.Option("--best", help="Only the best.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: Json = False,
    directory: Directory = None,
) -> None:
    """The table of results, best first.

    The tasks that are done, ranked by the metric that their task file names, and those without a result, with
    the reason.

    Examples:
      parallel-train results                        of all task files
      parallel-train results tasks/mine.yaml        of one
      parallel-train results --csv > results.csv    for a spreadsheet
      parallel-train results --best                 the best only
      parallel-train results ini/                   in that folder, as with -C
    """
    from parallel_train.commands import results as command

    place, words = within(directory, [file] if file else None)
    file = words[0] if words else None
    raise typer.Exit(command.results(place, file=file, best=best, as_csv=as_csv, as_json=as_json, out=out()))


def gpus(
    *,
    gpus: Gpus = DEFAULT.gpus,
    again: Annotated[bool, typer.Option("-w", "--watch", help="Look again every 2 s until Ctrl-C.")] = False,
    as_json: Json = False,
    directory: Directory = None,
) -> None:
    """The GPUs here, who computes on them, and which a run would take.

    For every card its use, memory and temperature, and whether a run would take it, or why it leaves it out; for
    every process on one the task it belongs to, in whichever of your queues, or its owner and command.

    Examples:
      parallel-train gpus              what a run without --gpus would take
      parallel-train gpus --gpus 0,1   what a run with these would take
      parallel-train gpus -w           and go on looking
      parallel-train gpus --json       for a script; with -w a line for each look
    """
    from parallel_train.commands import gpus as command

    raise typer.Exit(command.gpus(project(directory), gpus, again=again, as_json=as_json, out=out()))


def explain(
    tasks: Words = None,
    *,
    as_json: Json = False,
    data_root: DataRoot = DEFAULT.data_root,
    python: Python = None,
    directory: Directory = None,
) -> None:
    """Why a task waits, runs, was skipped, is stale or did not succeed.

    What it goes back to, what would change it, the command, each attempt and which of them decides, and the records
    that say so. Without TASK: whatever is not done.

    Examples:
      parallel-train explain 3         the task of that number
      parallel-train explain           all that is not done
      parallel-train explain 3 --json  for a script
    """
    from parallel_train.commands import explain as command

    options = RunOptions(data_root=data_root, python=python)
    place, words = within(directory, tasks)
    raise typer.Exit(command.explain(place, words, options, as_json=as_json, out=out()))
