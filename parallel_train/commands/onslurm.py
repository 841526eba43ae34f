"""--on slurm: what was typed, laid over what the project's file says, as a cluster."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from parallel_train.cluster import site as sites
from parallel_train.cluster import slurm
from parallel_train.cluster.script import Plan
from parallel_train.cluster.site import Site
from parallel_train.cluster.slurm import Slurm
from parallel_train.commands.options import RunOptions
from parallel_train.errors import UsageError
from parallel_train.store.folders import NAME

_OPTIONS = ("workers", "gpus_per_worker", "one_task_per_element", "time", "partition", "account", "sbatch")
# What a worker has to be told besides.
_OF_WORKERS = ("gpus", "at_once", "cpu_slots", "data_root", "log_dir", "check_interval", "lease", "python")
_CPUS = re.compile(r"cpu:([1-9][0-9]{0,3})")


@dataclass(frozen=True, slots=True)
class Granted:
    """The cluster, and what is asked of it: at most so many workers, each with so many GPUs."""

    cluster: Slurm
    plan: Plan
    workers: int
    gpus: int  # of each worker; 0 where it has CPU slots


def check(options: RunOptions) -> None:
    """Raises UsageError where an option of --on slurm stands without it."""
    given = next((name for name in _OPTIONS if getattr(options, name) != getattr(RunOptions(), name)), "")
    if given and options.on != "slurm":
        raise UsageError(f"--{given.replace('_', '-')} belongs to --on slurm")


def words(options: RunOptions) -> tuple[str, ...]:
    """What makes another run ask for the like; nothing for one that asks no cluster."""
    return ("--on", "slurm", *_said(options)) if options.on == "slurm" else ()


def _said(options: RunOptions) -> Iterator[str]:
    usual = RunOptions()
    for name in (*_OPTIONS, *_OF_WORKERS, "shared_group"):
        value = getattr(options, name)
        if value == getattr(usual, name):
            continue
        option = f"--{name.replace('_', '-')}"
        if value is True:
            yield option
        else:
            for each in value if isinstance(value, tuple) else (value,):
                yield from (option, f"{each:g}" if isinstance(each, float) else str(each))


def granted(options: RunOptions, project: Path, umask: int) -> Granted:
    """Raises UsageError or TaskFileError, and ClusterError where a run could ask for nothing here."""
    if not options.dry_run:
        slurm.check_installed()
    site = _site(options, project)
    cpus = _cpus(options)
    plan = Plan(
        project=str(project),
        log_dir=str(project / options.log_dir),
        python=sys.executable,
        worker=tuple(_worker(options)),
        site=site,
        cpus=cpus,
        umask=umask,
    )
    with suppress(OSError):  # a queue that -n does not make
        plan = replace(plan, name=slurm.names_of(project / NAME))
    return Granted(Slurm(project / NAME, plan), plan, site.workers, 0 if cpus else site.gpus_per_worker)


def _site(options: RunOptions, project: Path) -> Site:
    for name in ("time", "partition", "account"):
        sites.check_typed(f"--{name}", getattr(options, name) or "")
    for option in options.sbatch:
        sites.check_typed("--sbatch", option, of_sbatch=True)
    site = sites.read(project)
    typed = {name: getattr(options, name) for name in ("workers", "gpus_per_worker", "time", "partition", "account")}
    given = {name: value for name, value in typed.items() if value is not None}
    return replace(site, sbatch=(*site.sbatch, *options.sbatch), **given)


def _cpus(options: RunOptions) -> int:
    """The CPU slots of a worker that asks for no GPU; 0 for one that does."""
    found = _CPUS.fullmatch(options.gpus)
    if found is None and options.gpus != RunOptions().gpus:
        raise UsageError(
            f"--gpus {options.gpus}: on a cluster Slurm chooses the GPUs; say --gpus-per-worker N (and --gpus auto), "
            "or --gpus cpu:N for workers without one"
        )
    if found and options.gpus_per_worker:
        raise UsageError(f"--gpus {options.gpus} asks for workers without a GPU: leave out --gpus-per-worker")
    return int(found[1]) if found else 0


def _worker(options: RunOptions) -> list[str]:
    """What a worker has to be told: it may see neither this environment nor what was typed here."""
    told = {
        "gpus": options.gpus,
        "at-once": options.at_once,
        "cpu-slots": options.cpu_slots,
        "data-root": options.data_root,
        "log-dir": options.log_dir,
        "check-interval": f"{options.check_interval:g}",
        "lease": f"{options.lease:g}",
    }
    typed = [f"--{name}={value}" for name, value in told.items()]
    if options.python is not None:
        typed.append(f"--python={options.python}")
    return [*typed, "--shared-group"] if options.shared_group else typed
