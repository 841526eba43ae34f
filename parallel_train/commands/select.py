"""Which tasks a person means by a word: a number, a name, a stage, an output, an id prefix or a glob."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from glob import has_magic

from parallel_train.core.graph import did_you_mean
from parallel_train.core.task import Task
from parallel_train.errors import NothingSelectedError, UsageError
from parallel_train.project.markers import MARKER

_NUMBERS = re.compile(r"(\d+)(?:-(\d+))?", re.ASCII)
_ID_PREFIX = re.compile(r"[0-9a-f]{4,}")
_MOST_CANDIDATES = 8


def is_task_file(word: str) -> bool:
    """Whether a word names a task file and no task."""
    return word.endswith((".yaml", ".yml", ".py")) and "=" not in word


def select(words: Sequence[str], tasks: Sequence[Task]) -> tuple[Task, ...]:
    """The tasks that `words` mean, each once, in the order of the words.

    Raises NothingSelectedError for a word that means none, UsageError for an id prefix that fits several.
    """
    return tuple({task.id: task for word in words for task in _meant(word, tasks)}.values())


def _meant(word: str, tasks: Sequence[Task]) -> list[Task]:
    for found in _readings(word, tasks):
        if found:
            return found
    hint = did_you_mean(word, _names(tasks))
    raise NothingSelectedError(f"no task, stage or id matches '{word}'" + (f" ({hint})" if hint else ""))


def _readings(word: str, tasks: Sequence[Task]) -> Iterator[list[Task]]:
    """What `word` means in each way it can be read, the strongest way first."""
    yield _numbered(word, tasks)
    yield [task for task in tasks if task.name == word]
    yield [task for task in tasks if task.stage == word]
    yield [task for task in tasks if task.output and _plain_path(task.output) == _plain_path(word)]
    if marker := MARKER.fullmatch(word):
        yield [task for task in tasks if task.is_call and task.name == f"point{marker[1]}"]
    yield _with_prefix(word, tasks)
    if has_magic(word):
        yield [task for task in tasks if fnmatchcase(task.name, word)]


def _numbered(word: str, tasks: Sequence[Task]) -> list[Task]:
    match = _NUMBERS.fullmatch(word)
    if match is None:
        return []
    first, last = (_number(digits) for digits in (match[1], match[2] or match[1]))
    return [task for task in tasks if first <= task.number <= last]


def _plain_path(path: str) -> str:
    """As it is typed elsewhere: without the `..` that leave the project."""
    return re.sub(r"^(\.\./)+", "", os.path.normpath(path))


def _number(digits: str) -> float:
    return float(digits)  # of any length, unlike int


def _with_prefix(word: str, tasks: Sequence[Task]) -> list[Task]:
    if not _ID_PREFIX.fullmatch(word):
        return []
    found = [task for task in tasks if task.id.startswith(word)]
    if len(found) > 1:
        shown = [f"{task.id} ({task.number}, {task.name})" for task in found[:_MOST_CANDIDATES]]
        if len(found) > len(shown):
            shown.append(f"{len(found) - len(shown)} more")
        raise UsageError(f"'{word}' is the beginning of several ids: {', '.join(shown)}")
    return found


def _names(tasks: Sequence[Task]) -> Iterator[str]:
    seen = dict.fromkeys(task.stage for task in tasks if task.stage)
    yield from seen
    yield from (task.name for task in tasks)
