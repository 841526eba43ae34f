"""What would make tasks fail at once, said before the first one is launched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from parallel_train.core.outputs import holds
from parallel_train.core.script import script_of
from parallel_train.core.task import Task, fill, is_secret, show
from parallel_train.errors import UsageError

_SHORTEST_SECRET = 16  # characters
_LONGEST_ARGUMENT = 32 * os.sysconf("SC_PAGE_SIZE")
# Of all words together; without a limit on the stack it is 6 MiB, and there must be room for the environment.
_MOST_BYTES = min(os.sysconf("SC_ARG_MAX"), 6 * 2**20) - 256 * 1024


def check(
    tasks: Sequence[Task],
    project: Path,
    late_values: Mapping[str, str],
    *,
    log_dir: str = "logs",
    is_elsewhere: bool = False,
) -> list[str]:
    """A sentence for each thing that is missing or can't be written, with the tasks that it concerns.

    `late_values` are the values of the late marks; tasks that run elsewhere may find more programs there. Looks at the
    disk, changes nothing.
    """
    disk = _Disk(project, tasks, has_every_program=is_elsewhere)
    found: dict[str, list[str]] = {}
    for task in tasks:
        for sentence in (*_of(task, late_values, disk), *_of_logs(task, project, log_dir)):
            found.setdefault(sentence, []).append(task.name)
    said = [f"{sentence} ({_whose(names)})" for sentence, names in found.items()]
    refused = disk.refusal(project / log_dir)
    return [*said, f"logs can't be written: {refused}"] if refused else said


def _whose(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} tasks, the first is {names[0]}"


class _Disk:
    """What is there or will be made by a task. Each path is looked at once."""

    def __init__(self, project: Path, tasks: Sequence[Task], *, has_every_program: bool) -> None:
        self.project = project
        self._has_every_program = has_every_program
        self._made = {os.path.normpath(project / task.output) for task in tasks if task.output is not None}
        self._there: dict[str, bool] = {}
        self._folders: dict[str, bool] = {}
        self._programs: dict[tuple[str, str | None], bool] = {}
        self._refusals: dict[Path, str] = {}

    def has(self, path: str) -> bool:
        """Whether `path` exists, or lies where a task will put it."""
        if path not in self._there:
            at = os.path.normpath(path)
            made = at in self._made or any(str(parent) in self._made for parent in Path(at).parents)
            self._there[path] = made or os.path.exists(at)  # noqa: PTH110 - many paths, as text
        return self._there[path]

    def is_folder(self, path: str) -> bool:
        if path not in self._folders:
            self._folders[path] = os.path.isdir(path)  # noqa: PTH112 - many paths, as text
        return self._folders[path]

    def has_program(self, program: str, search: str | None) -> bool:
        key = (program, search)
        if key not in self._programs:
            self._programs[key] = self._has_every_program or shutil.which(program, path=search) is not None
        return self._programs[key]

    def refusal(self, folder: Path) -> str:
        """Why nothing can be made at `folder`; empty where it can."""
        if folder not in self._refusals:
            nearest = next(at for at in (folder, *folder.parents) if os.path.lexists(at))
            if not nearest.is_dir():
                self._refusals[folder] = f"{nearest} is no folder"
            elif not os.access(nearest, os.W_OK | os.X_OK):
                self._refusals[folder] = f"no right to write in {nearest}"
            else:
                self._refusals[folder] = ""
        return self._refusals[folder]


def _of(task: Task, late_values: Mapping[str, str], disk: _Disk) -> Iterator[str]:
    cwd = os.path.join(disk.project, fill(task.cwd, late_values))  # noqa: PTH118 - many paths, as text
    if disk.is_folder(cwd):
        if not task.shell:
            yield from _of_command(task, cwd, late_values, disk)
    elif os.path.exists(cwd):  # noqa: PTH110 - many paths, as text
        yield f"the folder {show(task.cwd)} is no folder"
    elif not disk.has(cwd):
        yield f"the folder {show(task.cwd)} is missing"
    yield from _of_secrets(task)
    yield from _of_lengths(task, late_values)
    for given in task.inputs:
        if not disk.has(os.path.join(disk.project, given)):  # noqa: PTH118 - many paths, as text
            yield f"the input {given} is missing"
    if task.output is not None and (refused := disk.refusal((disk.project / task.output).parent)):
        yield f"the output {task.output} can't be written: {refused}"


def _of_lengths(task: Task, late_values: Mapping[str, str]) -> Iterator[str]:
    """What the kernel would not take: the task could not be started."""
    words = [fill(word, late_values) for word in (*task.command, *task.env.values())]
    longest = max(words, key=len)
    size = len(os.fsencode(longest))
    if size >= _LONGEST_ARGUMENT:
        yield f"{longest[:20]}… has {size:,} bytes; Linux takes {_LONGEST_ARGUMENT - 1:,} in a word: put it in a file"
    elif (total := sum(len(os.fsencode(word)) + 9 for word in words)) > _MOST_BYTES:
        yield f"a command of {total:,} bytes is longer than Linux takes ({_MOST_BYTES:,}): put it in a file"


def _of_logs(task: Task, project: Path, log_dir: str) -> Iterator[str]:
    if task.output is not None and holds(task.output, log_dir, str(project)):
        yield f"the output {task.output} would hold the logs ({log_dir}): give it a folder of its own"


def check_secrets(tasks: Iterable[Task]) -> None:
    """Raises UsageError where a task holds the value of a secret of this environment, for a task is written down."""
    secrets = {name: value for name, value in os.environ.items() if is_secret(name) and _is_like_a_secret(value)}
    if not secrets:
        return
    text = "\0".join({text for task in tasks for text in _texts(task)})
    for name, value in secrets.items():
        if value in text:
            raise UsageError(
                f"a task holds the value of {name}, and would be recorded and shown with it: give the task "
                f"env {{{name}: secret:{name}}} (add --env {name}) and let its script read that"
            )


def _is_like_a_secret(value: str) -> bool:
    """And no word or path, as SORT_KEY and SSH_KEY may hold."""
    return len(value) >= _SHORTEST_SECRET and not value.startswith(("/", "~", "."))


def _texts(task: Task) -> Iterator[str]:
    yield from (task.name, task.stage or "", task.cwd, task.output or "")
    yield from (*task.command, *task.env.values(), *task.inputs, *map(str, task.params.values()))
    if task.done_when is not None:
        yield from (*task.done_when.files, task.done_when.contains or "")
    for metric in task.metrics:
        yield from (metric.name, metric.file or "", metric.regex or "")


def _of_secrets(task: Task) -> Iterator[str]:
    for name, value in task.env.items():
        kind, _, wanted = value.partition(":")
        if kind == "secret" and wanted not in os.environ:
            yield f"{wanted} is not set in your environment; env {name} takes its secret from there"


def _of_command(task: Task, cwd: str, late_values: Mapping[str, str], disk: _Disk) -> Iterator[str]:
    words = [fill(word, late_values) for word in task.command]
    program = words[0]
    if "/" in program:
        found = disk.has_program(os.path.join(cwd, program), None)  # noqa: PTH118 - many paths, as text
    else:
        found = disk.has_program(program, task.env.get("PATH"))
    if not found:
        yield f"the program {program or repr(program)} is not found"
    for path in (script_of(words), *_config_files(words)):
        if path and not disk.has(os.path.join(cwd, path)):  # noqa: PTH118 - many paths, as text
            yield f"the file {path} is missing"


def _config_files(words: Sequence[str]) -> Iterator[str]:
    """What stands after options such as --config-file and --dataset-config-file."""
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name.startswith("-") and "config" in name and "file" in name:
            if equals:
                yield value
            elif index + 1 < len(words) and not words[index + 1].startswith("-"):
                yield words[index + 1]
