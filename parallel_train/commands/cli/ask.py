"""Ask: records that every worker heeds, now and later."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from parallel_train.commands.cli.doors import out, trusted
from parallel_train.commands.options import (
    DataRoot,
    Directory,
    OutputBase,
    Python,
    RunOptions,
    RunWords,
    SharedGroup,
    Trainer,
    Words,
)

DEFAULT = RunOptions()


def add(  # noqa: PLR0913  one parameter per option of the command line
    words: RunWords = None,
    *,
    priority: Annotated[int, typer.Option(metavar="N", help="The higher, the sooner it starts.")] = 0,
    env: Annotated[
        list[str] | None, typer.Option(metavar="NAME[=VALUE]", help="Give the command this variable.")
    ] = None,
    trainer: Trainer = None,
    data_root: DataRoot = DEFAULT.data_root,
    output_base: OutputBase = DEFAULT.output_base,
    python: Python = None,
    shared_group: SharedGroup = False,
    directory: Directory = None,
) -> None:
    """Put a command or a task file into the queue.

    A command stands after `--` and is run as it is, without a shell; each `add` makes a new task. Of a task file all
    tasks are added. Whoever works in this folder takes them up; nothing is started here.

    Examples:
      parallel-train add -- python train.py --lr 0.1
      parallel-train add --priority 5 --env WANDB_MODE=offline -- python train.py
      parallel-train add tasks/more.yaml
      parallel-train worker                           run what was added
    """
    from parallel_train.commands import add as command

    options = RunOptions(
        words=tuple(words or ()),
        is_command="--" in sys.argv,
        data_root=data_root,
        output_base=output_base,
        trainer=trainer,
        python=python,
        shared_group=shared_group,
    )
    raise typer.Exit(
        command.add(options, trusted(directory, shared_group=shared_group), out(), priority=priority, env=env or ())
    )


def cancel(tasks: Words = None, *, shared_group: SharedGroup = False, directory: Directory = None) -> None:
    """Stop tasks, and start them no more.

    What runs of them is stopped with all that it started (INT, TERM, KILL, 10 s apart); what waits is not started.
    Tasks that need them do not run. It holds until you retry them. Workers that wait in Slurm are cancelled there once
    nothing is left for them.

    Examples:
      parallel-train cancel 3
      parallel-train cancel 'lr0.1-*'
    """
    from parallel_train.commands import ask as command

    raise typer.Exit(command.cancel(trusted(directory, shared_group=shared_group), tasks or (), out()))


def retry(
    tasks: Words = None,
    *,
    failed: Annotated[bool, typer.Option("--failed", help="All that failed.")] = False,
    shared_group: SharedGroup = False,
    directory: Directory = None,
) -> None:
    """Run tasks again that have ended.

    Their folders are kept, so that a script can resume from its checkpoint (-B of run puts them aside). Needs that
    failed run again first, and what was not run because of them runs afterwards. A cancelled task is run after all.

    Examples:
      parallel-train retry 3
      parallel-train retry --failed
    """
    from parallel_train.commands import ask as command

    raise typer.Exit(command.retry(trusted(directory, shared_group=shared_group), tasks or (), out(), failed=failed))


def pause(tasks: Words = None, *, shared_group: SharedGroup = False, directory: Directory = None) -> None:
    """Start nothing new, or hold some tasks.

    Without a task the whole queue is paused, on every worker and across restarts. What runs goes on.

    Examples:
      parallel-train pause            give the GPUs to a colleague, one by one
      parallel-train pause 'big-*'    hold these only
    """
    from parallel_train.commands import ask as command

    raise typer.Exit(command.pause(trusted(directory, shared_group=shared_group), tasks or (), out()))


def resume(tasks: Words = None, *, shared_group: SharedGroup = False, directory: Directory = None) -> None:
    """Go on after a pause.

    Without a task the queue goes on; tasks that were paused by name are resumed by name.

    Examples:
      parallel-train resume
      parallel-train resume 'big-*'
    """
    from parallel_train.commands import ask as command

    raise typer.Exit(command.resume(trusted(directory, shared_group=shared_group), tasks or (), out()))


def priority(
    words: Annotated[list[str] | None, typer.Argument(metavar="TASK... N", hidden=True, show_default=False)] = None,
    *,
    shared_group: SharedGroup = False,
    directory: Directory = None,
) -> None:
    """Start tasks sooner or later than others.

    The last word is the priority, a whole number: the higher, the sooner. It holds over what a task file says. Among
    equals the order of the task file decides. What runs already goes on.

    Examples:
      parallel-train priority 7 10          task 7 is next
      parallel-train priority 'big-*' -- -1 these come last
    """
    from parallel_train.commands import ask as command

    raise typer.Exit(command.priority(trusted(directory, shared_group=shared_group), words or (), out()))
