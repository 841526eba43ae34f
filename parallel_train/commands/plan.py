"""From what was typed to a situation: the task file, the devices, the selection, and what runs again."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from parallel_train.commands import select
from parallel_train.commands.options import RunOptions
from parallel_train.core import graph
from parallel_train.core.situation import Situation, Template
from parallel_train.core.slots import Pool
from parallel_train.core.state import Ended, Line, Running, is_satisfied
from parallel_train.core.task import Task, has_late
from parallel_train.errors import NoTaskFileError, NothingSelectedError, UsageError
from parallel_train.procs import cores, gpus, process
from parallel_train.report import paste
from parallel_train.store import preflight
from parallel_train.store.inputs import Fingerprints, identities

if TYPE_CHECKING:
    from parallel_train.store import taskfile

DEFAULT_FILE = "tasks/default.yaml"


@dataclass(frozen=True, slots=True)
class Asked:
    """The words of the command line, told apart."""

    file: str
    tasks: tuple[str, ...]
    overrides: Mapping[str, str]

    def source(self, options: RunOptions) -> str:
        """What a later submission supersedes: the file with the same things laid over it."""
        base = [] if options.output_base == RunOptions().output_base else [f"--output-base {options.output_base}"]
        trainer = [] if options.trainer is None else [f"trainer={options.trainer}"]
        return " ".join([self.file, *base, *trainer, *(f"{k}={v}" for k, v in sorted(self.overrides.items()))])


@dataclass(frozen=True, slots=True)
class Machine:
    """What this worker runs on."""

    pool: Pool
    threads: int
    notes: tuple[str, ...]


NO_MACHINE = Machine(Pool(), 1, ())  # of a run whose tasks are done elsewhere


def sort_words(options: RunOptions) -> Asked:
    """A word that ends like a task file, or a first one that names a file, is FILE; one with = is an override."""
    words = list(options.words)
    file = options.file
    if file is None:
        file = next((word for word in words if select.is_task_file(word)), None)
        if file is None and words and _is_file(words[0]):
            file = words[0]
        if file is not None:
            words.remove(file)
    if options.custom_tasks:
        if file is not None:
            raise UsageError(f"--custom-tasks means tasks/custom.yaml or tasks/custom.py; {file} was given too")
        file = _custom_file()
    if second := next((word for word in words if select.is_task_file(word) and _is_file(word)), None):
        raise UsageError(f"{file or 'a task file'} and {second} are two task files: name one")
    overrides = dict(word.split("=", 1) for word in words if "=" in word)
    if "" in overrides:
        raise UsageError(f"={overrides['']} names no param: write NAME=VALUE")
    return Asked(file or DEFAULT_FILE, tuple(w for w in words if "=" not in w), overrides)


def _is_file(word: str) -> bool:
    return os.path.isfile(word)  # noqa: PTH113  Path raises for a word that is too long to be a file


def _custom_file() -> str:
    for name in ("tasks/custom.yaml", "tasks/custom.py"):
        if Path(name).is_file():
            return name
    raise UsageError("--custom-tasks: neither tasks/custom.yaml nor tasks/custom.py is there; write one of them")


def read_tasks(asked: Asked, options: RunOptions, project: Path, queue: Path) -> taskfile.TaskFile:
    """The tasks of the file, with their identities. Raises TaskFileError or UsageError."""
    from parallel_train.store import taskfile  # noqa: PLC0415  it takes its time, and a worker reads no task files

    if not os.path.exists(asked.file):  # noqa: PTH110  Path raises for a word that is too long
        init = f": name a task file, or write that one with {paste.command('init')}"
        hint = init if asked.file == DEFAULT_FILE else ""
        raise NoTaskFileError(f"there is no {asked.file} in {project}{hint}")
    settings = taskfile.LoadSettings(
        project=project,
        output_base=options.output_base,
        trainer=options.trainer,
        overrides=asked.overrides,
        python=interpreter(options.python),
    )
    found = taskfile.load(Path(asked.file), settings)
    preflight.check_secrets(found.tasks)
    fingerprints = Fingerprints(project, queue)
    known = identities(found.tasks, fingerprints)
    if queue.is_dir() and not options.dry_run:
        fingerprints.remember()
    tasks = tuple(replace(task, identity=known[task.id], python=settled(task, settings)) for task in found.tasks)
    return replace(found, tasks=tasks)


def settled(task: Task, settings: taskfile.LoadSettings) -> str:
    """The Python that the task's {python} means from now on; empty where it says none."""
    return settings.python if has_late(task, "python") else ""


def interpreter(asked: str | None) -> str:
    """The Python that tasks run under: the one asked for, the active environment's, or our own.

    Our own is left out where it belongs to a tool's private environment (pipx, uv tool): scripts find nothing there.
    """
    if asked:
        return asked
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        place = os.environ.get(variable)
        if place and Path(place, "bin", "python").exists():
            return str(Path(place, "bin", "python"))
    if not any(part in {"pipx", "tools"} for part in Path(sys.prefix).parts):
        return sys.executable
    return shutil.which("python3") or sys.executable


def late_values(options: RunOptions) -> dict[str, str]:
    """What is filled into commands at launch."""
    home = str(Path.home())
    root = options.data_root
    data_root = home + root[1:] if root == "~" or root.startswith("~/") else root
    return {"python": interpreter(options.python), "data_root": data_root, "home": home}


def machine(options: RunOptions, queue: Path, tasks: Sequence[Task]) -> Machine:
    """The slots of this worker. Raises UsageError where they can't be had, or can't carry a task."""
    found = slots(options, queue)
    for task in tasks:
        if not found.pool.carries(task.gpus) and task.gpus:
            raise UsageError(f"{task.name} wants {task.gpus} GPUs; --gpus gives {len(found.pool.slots)}")
        if not found.pool.carries(task.gpus):
            raise UsageError(f"{task.name} wants no GPU and so a CPU slot; --cpu-slots gives none")
    return found


def slots(options: RunOptions, queue: Path) -> Machine:
    """The same, whatever the tasks are: some that want no GPU may join later."""
    host = gpus.Host(str(queue), ours=process.is_attempt)
    choice = gpus.choose(options.gpus, host)
    is_cpu = all(device.kind == "cpu" for device in choice.devices)
    if is_cpu and options.at_once and options.gpus == "auto":
        choice = replace(gpus.choose(f"cpu:{options.at_once}", host), remarks=choice.remarks)
    extra = gpus.cpu_slots(options.cpu_slots, host, first=len(choice.devices) if is_cpu else 0)
    running = min(len(choice.devices), options.at_once or len(choice.devices))
    return Machine(Pool.of(choice.devices, extra), cores.thread_cap(running), choice.notes)


def selection(asked: Asked, options: RunOptions, situation: Situation) -> frozenset[str]:
    """The tasks that were asked for, and all their needs. Raises NothingSelectedError."""
    tasks = [line.task for line in situation.lines.values()]
    chosen = {task.id for task in (select.select(asked.tasks, tasks) if asked.tasks else tasks)}
    if options.only:
        names = {task.id for task in tasks if any(fnmatchcase(task.name, glob) for glob in options.only)}
        chosen &= names
    if options.failed:
        chosen &= {line.task.id for line in situation.lines.values() if is_unsuccessful(line)}
    if not chosen:
        raise NothingSelectedError("no failed task" if options.failed else f"no task matches {_said(asked, options)}")
    return frozenset(graph.closure(chosen, {task.id: task.needs for task in tasks}))


def _said(asked: Asked, options: RunOptions) -> str:
    return " ".join([*asked.tasks, *(f"--only {glob}" for glob in options.only)])


def is_unsuccessful(line: Line) -> bool:
    return isinstance(line.state, Ended) and line.state.ending in {"failed", "aborted", "cancelled"}


def to_run_again(situation: Situation, chosen: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """For -B: each task with the round to ask for. A task that runs now is left alone; a fresh one needs no round."""
    found = []
    for name in chosen:
        line = situation.lines[name]
        is_fresh = not line.tries and (line.is_aside_due or (line.is_untouched and line.output in {"none", "missing"}))
        if not isinstance(line.state, Running) and not is_fresh:
            found.append((name, line.round + 1))
    return tuple(found)


def canaries(situation: Situation, chosen: Iterable[str], *, again: bool) -> dict[Template, str]:
    """Of each template without a success so far, the task that runs first; with `again` old successes don't count."""
    found: dict[Template, Line] = {}
    proven = set()
    for line in sorted((situation.lines[name] for name in chosen), key=lambda line: (-line.priority, line.task.number)):
        template = (line.task.source, line.task.template)
        if is_satisfied(line.state) and not again:
            proven.add(template)
        elif not line.is_cancelled:
            found.setdefault(template, line)
    return {template: line.task.id for template, line in found.items() if template not in proven}
