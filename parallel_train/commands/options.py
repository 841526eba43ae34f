"""The options that commands share, spelt once; and what was typed for a run, as one frozen value."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from parallel_train.commands.places import CONFIG_FILE, VARIABLE_PREFIX

SETTINGS = f"Settings (also from {CONFIG_FILE} or {VARIABLE_PREFIX}NAME)"


@dataclass(frozen=True, slots=True)
class RunOptions:
    words: tuple[str, ...] = ()  # [FILE] [TASK|STAGE …] [NAME=VALUE …]
    file: str | None = None
    custom_tasks: bool = False
    only: tuple[str, ...] = ()
    failed: bool = False
    dry_run: bool = False
    as_json: bool = False
    again: bool = False  # -B, --no-skip-existing
    at_once: int = 0  # -j
    fail_fast: bool = False
    max_failures: int = 0  # 0: whatever fails
    ignore_failures: bool = False  # -i
    canary: bool = False
    detach: bool = False
    array: int = 0  # whose elements run this; 0: none
    is_command: bool = False  # the words are a command to add, and no task file
    gpus: str = "auto"
    cpu_slots: int = 2
    data_root: str = "~/datasets/nlprompt/caltech-101"
    output_base: str = "output"
    trainer: str | None = None
    log_dir: str = "logs"
    check_interval: float = 10.0
    lease: float = 300.0
    shared_group: bool = False
    python: str | None = None
    directory: Path | None = None  # -C
    on: str = "local"  # or slurm; the rest belongs to that, and None is what the project's file says
    workers: int | None = None
    gpus_per_worker: int | None = None
    one_task_per_element: bool = False
    time: str | None = None
    partition: str | None = None
    account: str | None = None
    sbatch: tuple[str, ...] = ()


def _with_settings(ctx: typer.Context, directory: Path | None) -> Path | None:
    """Lay the settings of the project in `directory` under what is typed: -C is read before every other option."""
    is_set = any(name.startswith(VARIABLE_PREFIX) for name in os.environ)
    if (is_set or os.path.lexists(Path(directory or "", CONFIG_FILE))) and not ctx.resilient_parsing:
        from parallel_train.commands import settings  # noqa: PLC0415  most projects have none: they need no YAML yet
        from parallel_train.report import paste  # noqa: PLC0415

        paste.stand_outside(str(directory or ""))
        ctx.default_map = settings.defaults(ctx, directory)
    return directory


def complete_words(ctx: typer.Context, incomplete: str) -> list[str]:
    from parallel_train.commands import complete  # noqa: PLC0415  only a shell asks

    return complete.words(ctx.params.get("directory") or Path(), incomplete)


def complete_tasks(ctx: typer.Context, incomplete: str) -> list[str]:
    from parallel_train.commands import complete  # noqa: PLC0415  only a shell asks

    return complete.tasks(ctx.params.get("directory") or Path(), incomplete)


def not_empty(value: str | None) -> str | None:
    if value is not None and not value.strip():
        raise typer.BadParameter("it is empty; give a value or leave it out")
    return value


def _a_place(value: str) -> str:
    if value not in {"local", "slurm"}:
        raise typer.BadParameter(f"'{value}' is neither local nor slurm")
    return value


Directory = Annotated[
    Path | None,
    typer.Option(
        "-C", "--directory", metavar="DIR", is_eager=True, callback=_with_settings, help="Work in this project folder."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
File = Annotated[str | None, typer.Option("-f", "--file", metavar="FILE", help="The task file.", callback=not_empty)]
Words = Annotated[
    list[str] | None, typer.Argument(metavar="TASK", hidden=True, show_default=False, autocompletion=complete_tasks)
]

# ---- run ----

RunWords = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILE|TASK|STAGE|NAME=VALUE", hidden=True, show_default=False, autocompletion=complete_words
    ),
]
SkipExisting = Annotated[bool, typer.Option(help="Skip what is done, or run all again.")]
Again = Annotated[bool, typer.Option("-B", help="Run again; old outputs are put aside.")]
DryRun = Annotated[bool, typer.Option("-n", "--dry-run", help="Say what would run and why.")]
PlanJson = Annotated[bool, typer.Option("--json", help="With -n: print JSON.")]
Only = Annotated[list[str] | None, typer.Option(metavar="GLOB", help="Only tasks with such names.")]
Failed = Annotated[bool, typer.Option("--failed", help="Only tasks that failed.")]
MaxFailures = Annotated[int, typer.Option(metavar="N", min=0, help="Start nothing more after N failures.")]
IgnoreFailures = Annotated[bool, typer.Option("-i", help="A failed need counts as met; the exit code is 0.")]
Canary = Annotated[bool, typer.Option("--canary", help="Of each template one task first, the rest after its success.")]
Detach = Annotated[bool, typer.Option("--detach", help="Go on in the background; see attach and status.")]
KeepGoing = Annotated[bool, typer.Option("-k", help="Go on after a failure (the default).")]
OfArray = Annotated[int, typer.Option("--array", metavar="N", min=0, hidden=True, help="As an element of an array.")]
CustomTasks = Annotated[bool, typer.Option("--custom-tasks", help="Run tasks/custom.yaml or .py.")]
Trainer = Annotated[str | None, typer.Option(metavar="NAME", help="The same as trainer=NAME.", callback=not_empty)]

# ---- run, on a cluster ----

ON_SLURM = "On a Slurm cluster (what it always needs: configs/slurm.yaml)"
On = Annotated[
    str, typer.Option(metavar="local|slurm", rich_help_panel=ON_SLURM, help="Where tasks run.", callback=_a_place)
]
Workers = Annotated[int | None, typer.Option(metavar="N", min=1, rich_help_panel=ON_SLURM, help="At most N (4).")]
GpusPerWorker = Annotated[
    int | None, typer.Option(metavar="N", min=1, rich_help_panel=ON_SLURM, help="GPUs of each worker (1).")
]
OneTaskPerElement = Annotated[
    bool, typer.Option("--one-task-per-element", rich_help_panel=ON_SLURM, help="Show Slurm each task.")
]
Time = Annotated[
    str | None,
    typer.Option(metavar="TIME", rich_help_panel=ON_SLURM, help="A worker's time limit.", callback=not_empty),
]
Partition = Annotated[str | None, typer.Option(metavar="NAME", rich_help_panel=ON_SLURM, callback=not_empty)]
Account = Annotated[str | None, typer.Option(metavar="NAME", rich_help_panel=ON_SLURM, callback=not_empty)]
Sbatch = Annotated[
    list[str] | None,
    typer.Option(metavar="OPTION", rich_help_panel=ON_SLURM, help="An option of sbatch, as --sbatch --mem=32G."),
]

# ---- settings: the options that `config` takes may stand in its file, too ----

Gpus = Annotated[
    str,
    typer.Option(metavar="LIST", rich_help_panel=SETTINGS, help="auto, 0,1, 0-3, UUIDs, cpu:N, fake:N or fake:FILE."),
]
AtOnce = Annotated[
    int,
    typer.Option(
        "-j", "--at-once", metavar="N", min=0, rich_help_panel=SETTINGS, help="At most N at once; 0: every slot."
    ),
]
CpuSlots = Annotated[
    int, typer.Option(metavar="N", min=0, max=9999, rich_help_panel=SETTINGS, help="Slots for tasks with gpus: 0.")
]
FailFast = Annotated[
    bool, typer.Option("-S", "--fail-fast", rich_help_panel=SETTINGS, help="Start nothing after a failure.")
]
DataRoot = Annotated[
    str, typer.Option(metavar="PATH", rich_help_panel=SETTINGS, help="What {data_root} means.", callback=not_empty)
]
OutputBase = Annotated[
    str, typer.Option(metavar="PATH", rich_help_panel=SETTINGS, help="What {output_base} means.", callback=not_empty)
]
LogDir = Annotated[
    str, typer.Option(metavar="PATH", rich_help_panel=SETTINGS, help="Where logs go.", callback=not_empty)
]
CheckInterval = Annotated[
    float,
    typer.Option(metavar="SECONDS", min=0, rich_help_panel=SETTINGS, help="Between status lines; 0: none."),
]
Lease = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        min=1,
        max=31_536_000,
        rich_help_panel=SETTINGS,
        help="Of silence, before other hosts take over.",
    ),
]
SharedGroup = Annotated[
    bool, typer.Option("--shared-group", rich_help_panel=SETTINGS, help="Share the queue with the folder's group.")
]
Python = Annotated[
    str | None, typer.Option(metavar="PATH", rich_help_panel=SETTINGS, help="What {python} means.", callback=not_empty)
]
