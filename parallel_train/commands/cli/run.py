"""Run: commands that work on tasks."""

from __future__ import annotations

import typer

from parallel_train.commands.cli.doors import out
from parallel_train.commands.options import (
    Account,
    Again,
    AtOnce,
    Canary,
    CheckInterval,
    CpuSlots,
    CustomTasks,
    DataRoot,
    Detach,
    Directory,
    DryRun,
    Failed,
    FailFast,
    File,
    Gpus,
    GpusPerWorker,
    IgnoreFailures,
    KeepGoing,
    Lease,
    LogDir,
    MaxFailures,
    OfArray,
    On,
    OneTaskPerElement,
    Only,
    OutputBase,
    Partition,
    PlanJson,
    Python,
    RunOptions,
    RunWords,
    Sbatch,
    SharedGroup,
    SkipExisting,
    Time,
    Trainer,
    Workers,
)

DEFAULT = RunOptions()


def run(  # noqa: PLR0913  one parameter per option of the command line
    words: RunWords = None,
    *,
    file: File = None,
    again: Again = False,
    dry_run: DryRun = False,
    as_json: PlanJson = False,
    only: Only = None,
    failed: Failed = False,
    skip_existing: SkipExisting = True,
    keep_going: KeepGoing = False,
    ignore_failures: IgnoreFailures = False,
    max_failures: MaxFailures = 0,
    canary: Canary = False,
    custom_tasks: CustomTasks = False,
    trainer: Trainer = None,
    detach: Detach = False,
    on: On = DEFAULT.on,
    workers: Workers = None,
    gpus_per_worker: GpusPerWorker = None,
    one_task_per_element: OneTaskPerElement = False,
    time: Time = None,
    partition: Partition = None,
    account: Account = None,
    sbatch: Sbatch = None,
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
    directory: Directory = None,
) -> None:
    """Run the tasks of a task file, skipping what is done.

    A word that ends in .yaml, .yml or .py is the task file (tasks/default.yaml where there is none), NAME=VALUE
    sets a param, any other word names tasks: a number, a name, a stage, the beginning of an id, or a pattern. What
    they need runs too. Without words all tasks run. Ctrl-C once lets what runs finish, twice stops it.

    Examples:
      parallel-train                             run tasks/default.yaml
      parallel-train tasks/mine.yaml -n          say what would run, and why
      parallel-train tasks/mine.yaml --gpus 2,3  on these two GPUs
      parallel-train tasks/mine.yaml lr=0.5 -B   again, with this value
      parallel-train 'train-*' --failed          what failed of these tasks
      parallel-train tasks/mine.yaml --canary    one task of each template first
      parallel-train tasks/mine.yaml --detach    go on when you log out
      parallel-train --gpus fake:4               try it without a GPU
      parallel-train --on slurm --workers 8      on a Slurm cluster
    """
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
        fail_fast=fail_fast and not keep_going,
        ignore_failures=ignore_failures,
        max_failures=max_failures,
        canary=canary,
        gpus=gpus,
        cpu_slots=cpu_slots,
        data_root=data_root,
        output_base=output_base,
        trainer=trainer,
        detach=detach,
        log_dir=log_dir,
        check_interval=check_interval,
        lease=lease,
        shared_group=shared_group,
        python=python,
        directory=directory,
        on=on,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
        one_task_per_element=one_task_per_element,
        time=time,
        partition=partition,
        account=account,
        sbatch=tuple(sbatch or ()),
    )
    raise typer.Exit(command.run(options))


def worker(  # noqa: PLR0913  one parameter per option of the command line
    *,
    array: OfArray = 0,
    detach: Detach = False,
    gpus: Gpus = DEFAULT.gpus,
    at_once: AtOnce = DEFAULT.at_once,
    cpu_slots: CpuSlots = DEFAULT.cpu_slots,
    data_root: DataRoot = DEFAULT.data_root,
    log_dir: LogDir = DEFAULT.log_dir,
    check_interval: CheckInterval = DEFAULT.check_interval,
    lease: Lease = DEFAULT.lease,
    shared_group: SharedGroup = False,
    python: Python = None,
    directory: Directory = None,
) -> None:
    """Run whatever the queue holds.

    All tasks that were ever asked for here and have not ended, of every task file, and what is added meanwhile. What
    had failed is not repeated (retry asks for that). It leaves when nothing is left. Any number of workers may share a
    queue, on as many hosts as share the disk.

    Examples:
      parallel-train worker                   on every free GPU
      parallel-train worker --gpus 2,3        lend two more GPUs to what runs
      parallel-train worker --detach          go on when you log out
      parallel-train worker -C /data/project  in another folder
    """
    from parallel_train.commands import worker as command

    options = RunOptions(
        array=array,
        detach=detach,
        gpus=gpus,
        at_once=at_once,
        cpu_slots=cpu_slots,
        data_root=data_root,
        log_dir=log_dir,
        check_interval=check_interval,
        lease=lease,
        shared_group=shared_group,
        python=python,
        directory=directory,
    )
    raise typer.Exit(command.worker(options, out()))
