"""The sbatch script of an array, as text: what is asked for, what comes before the worker, the worker."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from parallel_train.cluster.site import CONTROL, Site
from parallel_train.core.facts import Array
from parallel_train.errors import UsageError

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./\[\]-]+")
_OF_GPUS = ("--gres", "--gpus", "-G")
GPUS = "{gpus}"  # in an option of the site's own: how many an element asks for


@dataclass(frozen=True, slots=True)
class Plan:
    """What the scripts of a run have in common."""

    project: str  # absolute, as every host sees it
    log_dir: str  # absolute
    python: str
    worker: tuple[str, ...]  # options of the worker, each in one word
    site: Site
    cpus: int = 0  # of each element; 0: what the cluster gives
    umask: int = 0o022  # the user's: it holds for what tasks write
    name: str = "parallel-train-new"  # of the jobs, up to the array's number: only a queue that is made has its own


def job_name(plan: Plan, number: int) -> str:
    return f"{plan.name}-{number}"


def script(array: Array, plan: Plan) -> str:
    """Raises UsageError where a path or a value can't stand in one."""
    if "\\" in plan.log_dir:  # Slurm takes it out of the name of a log, and fails the job that it can't write for
        raise UsageError(
            f"a Slurm job can't write into {plan.log_dir}, for the backslash in it: --log-dir names another"
        )
    site = plan.site
    worker = (plan.python, "-m", "parallel_train", "worker", f"--array={array.number}", f"--directory={plan.project}")
    lines = [
        f"#!/bin/bash{' -l' if site.modules else ''}",  # a login shell knows `module`
        *(f"#SBATCH {' '.join(map(_word, option))}" for option in words(array, plan)),
        "",
        *(f"module load {shlex.quote(module)}" for module in site.modules),
        *(f"export {name}={shlex.quote(value)}" for name, value in site.env.items()),
        *site.lines,
        f"umask {plan.umask:04o}",
        "trap '' USR1  # so that it ends no worker that is about to start and can't hear it yet",
        "cd /  # so that no file of the project is taken for a module of Python's",
        f"exec {shlex.join([*worker, *plan.worker])}",
    ]
    if wrong := next((line for line in lines if CONTROL.search(line)), None):
        raise UsageError(f"a Slurm script can't hold a line break or another control character: {wrong}")
    return "\n".join([*lines, ""])


def words(array: Array, plan: Plan) -> Iterator[tuple[str, ...]]:
    """What is asked for: the words of each option, as sbatch gets them."""
    site = plan.site
    limit = f"%{array.at_once}" if array.at_once else ""
    own = [tuple(shlex.split(option)) for option in site.sbatch]
    asks_for_gpus = any(word.startswith(_OF_GPUS) for option in own for word in option)
    yield (f"--job-name={job_name(plan, array.number)}",)
    yield (f"--array=0-{array.size - 1}{limit}",)
    if array.gpus and not asks_for_gpus:
        yield (f"--gres=gpu:{array.gpus}",)
    if plan.cpus:
        yield (f"--cpus-per-task={plan.cpus}",)
    for name in ("account", "partition", "qos", "constraint", "time"):
        if value := getattr(site, name):
            yield (f"--{name}={value}",)
    yield (f"--signal=B:USR1@{site.drain}",)
    yield ("--requeue",)
    yield ("--open-mode=append",)
    yield (f"--output={plan.log_dir.replace('%', '%%')}/slurm-%A_%a.log",)
    yield (f"--chdir={plan.project}",)
    for option in own:  # the last one of a kind wins
        if array.gpus or not any(GPUS in word for word in option):
            yield tuple(word.replace(GPUS, str(array.gpus)) for word in option)


def _word(word: str) -> str:
    """`word` as sbatch reads it in a script: within quotes a backslash stands before a quote or a backslash."""
    return word if _PLAIN.fullmatch(word) else '"' + re.sub(r'(["\\])', r"\\\1", word) + '"'
