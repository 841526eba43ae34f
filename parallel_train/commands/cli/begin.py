"""Begin, and clean up."""

from __future__ import annotations

from typing import Annotated

import typer

from parallel_train.commands.cli.doors import out, project, trusted
from parallel_train.commands.options import (
    AtOnce,
    CheckInterval,
    CpuSlots,
    DataRoot,
    Directory,
    FailFast,
    File,
    Gpus,
    Json,
    Lease,
    LogDir,
    OutputBase,
    Python,
    RunOptions,
    SharedGroup,
    not_empty,
)

DEFAULT = RunOptions()


def init(
    command: Annotated[list[str] | None, typer.Argument(metavar="-- COMMAND", hidden=True, show_default=False)] = None,
    *,
    file: File = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of task files.")] = False,
    directory: Directory = None,
) -> None:
    """Write a first task file, tasks/default.yaml.

    With a command after --, the file holds this command, and its matrix begins with these arguments: add values,
    and every combination becomes a run. Nothing is ever overwritten.

    Examples:
      parallel-train init                                an example to edit
      parallel-train init -- python train.py --lr 0.1    from a command that works
      parallel-train init -f tasks/b.yaml -- ./train.sh  under another name
      parallel-train init --schema > tasks/schema.json   for an editor
    """
    from parallel_train.commands import init as module

    if schema:
        module.print_schema(out())
        return
    raise typer.Exit(module.init(command or (), file=file, project=project(directory), out=out()))


def config(  # noqa: PLR0913  one parameter per setting: this list says what a setting is
    ctx: typer.Context,
    *,
    gpus: Gpus = DEFAULT.gpus,
    at_once: AtOnce = DEFAULT.at_once,
    cpu_slots: CpuSlots = DEFAULT.cpu_slots,
    fail_fast: FailFast = False,
    data_root: DataRoot = DEFAULT.data_root,
    output_base: OutputBase = DEFAULT.output_base,
    log_dir: LogDir = DEFAULT.log_dir,
    check_interval: CheckInterval = DEFAULT.check_interval,
    lease: Lease = DEFAULT.lease,
    shared_group: SharedGroup = False,
    python: Python = None,
    as_json: Json = False,
    directory: Directory = None,
) -> None:
    """The settings in force, and where each comes from.

    An option that is typed wins; then a variable, PARALLEL_TRAIN_LOG_DIR for --log-dir; then the project's
    configs/parallel-train.yaml, whose keys are the names shown here; then the default.

    Examples:
      parallel-train config                            what holds here
      parallel-train config --json                     for a script
      echo 'gpus: 0-3' >> configs/parallel-train.yaml  for all in this project
      export PARALLEL_TRAIN_DATA_ROOT=/data            for this shell
    """
    from parallel_train.commands import config as command

    options = RunOptions(
        gpus=gpus,
        at_once=at_once,
        cpu_slots=cpu_slots,
        fail_fast=fail_fast,
        data_root=data_root,
        output_base=output_base,
        log_dir=log_dir,
        check_interval=check_interval,
        lease=lease,
        shared_group=shared_group,
        python=python,
    )
    raise typer.Exit(command.config(ctx, options, project(directory), as_json=as_json, out=out()))


def gc(
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is listed.")] = False,
    as_json: Json = False,
    shared_group: SharedGroup = False,
    directory: Directory = None,
) -> None:
    """What only takes room, largest first; --yes removes it.

    Old outputs that were put aside, with the task, the reason and the way back; logs of attempts that do not count;
    files that killed writers left in the queue. Nothing that a living attempt uses is listed.

    Examples:
      parallel-train gc        list it
      parallel-train gc --yes  remove it
    """
    from parallel_train.commands import gc as command

    folder = trusted(directory, shared_group=shared_group) if yes else project(directory)
    raise typer.Exit(command.gc(folder, yes=yes, as_json=as_json, out=out()))


def doctor(
    *,
    gpus: Gpus = DEFAULT.gpus,
    python: Python = None,
    shared: Annotated[
        str | None,
        typer.Option(
            "--shared", metavar="DIR", callback=not_empty, help="Try the disk of DIR with two processes instead."
        ),
    ] = None,
    as_json: Json = False,
    directory: Directory = None,
) -> None:
    """What is fine on this machine and what is not, each with what to do.

    Looks at the Python that tasks get and its torch, the GPUs and their driver, the disk, the limits, the cores,
    the kernel, and what becomes of a detached run at logout. The exit code is 1 where something stands against a
    run. Nothing is changed.

    With --shared DIR it tries whether several workers may share the disk of DIR: two processes race for names there,
    in a new folder that is removed again. On a network disk run it on two hosts at about the same time: they find
    each other.

    Examples:
      parallel-train doctor                      this machine, as a run would use it
      parallel-train doctor --python ~/env/bin/python
      parallel-train doctor --shared /shared     whether workers may share that disk
      parallel-train doctor --json               for a script
    """
    from parallel_train.commands import doctor as command

    if shared is not None:
        raise typer.Exit(command.shared(project(directory) / shared, as_json=as_json, out=out()))
    raise typer.Exit(command.doctor(project(directory), gpus=gpus, python=python, as_json=as_json, out=out()))
