"""What was asked for: one immutable record for each time that a task file was given with something new in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from parallel_train.core import wire
from parallel_train.core.task import Task
from parallel_train.errors import UsageError
from parallel_train.store import records
from parallel_train.store.presence import names

# From what a source names already and what is to be submitted: what it shall name.
Settle = Callable[[tuple[Task, ...], tuple[Task, ...]], tuple[Task, ...]]


@dataclass(frozen=True, slots=True)
class Submission:
    """The tasks of one task file as they were asked for at one time."""

    number: int
    source: str  # the task file, and what the command line laid over it
    at: str  # ISO 8601 UTC
    tasks: tuple[Task, ...]
    is_damaged: bool = False  # it has no tasks: what it asked for can't be known


def read_all(folder: Path) -> list[Submission]:
    """All submissions in `folder`, oldest first. Raises UsageError where one is of a newer version.

    A damaged one keeps its number. Where its first line can be read it supersedes the earlier ones of its source:
    what these asked for may have been withdrawn.
    """
    found = [name for name in names(folder) if number_of(name)]
    return [_read(folder / name) for name in sorted(found, key=number_of)]


def number_of(name: str) -> int:
    """The number of the submission in the file `name`; 0 for a file that is none."""
    number = records.number(name.removesuffix(".jsonl").lstrip("0"))
    return number if name == f"{number:06d}.jsonl" else 0


# Whether a record that was read here is damaged: to read a large one again takes long.
_judged: dict[tuple[str, int, int, int], bool] = {}


def _is_damaged(path: Path) -> bool:
    known = _judged.get(_mark(path))
    return _read(path).is_damaged if known is None else known


def _mark(path: Path) -> tuple[str, int, int, int]:
    """Of this record and no other, as long as nobody damages it."""
    found = path.lstat()
    return str(path), found.st_ino, found.st_size, found.st_mtime_ns


def _read(path: Path) -> Submission:
    mark = _mark(path)
    found = _parsed(path)
    _judged[mark] = found.is_damaged
    return found


def _parsed(path: Path) -> Submission:
    number = number_of(path.name)
    try:
        head, *lines = records.read(str(path))
        source, at = wire.texts(head, "source", "at")
        tasks = tuple(wire.task_of(line) for line in lines)
        _check_needs(tasks)
        return Submission(number, source, at, tasks)
    except records.NewerVersionError as error:
        raise UsageError(f"the record {path} can't be read: {error}") from error
    except (records.DamagedError, KeyError, TypeError, ValueError):
        return Submission(number, _source_of(path), "", (), is_damaged=True)


def _check_needs(tasks: Iterable[Task]) -> None:
    known = {task.id for task in tasks}
    if not all(known.issuperset(task.needs) for task in tasks):
        raise ValueError("a task needs one that is not there")


def _source_of(path: Path) -> str:
    """What a damaged submission's first line says; empty where that can't be read either."""
    try:
        head = json.loads(records.first_line(str(path)))
    except (OSError, records.DamagedError, ValueError, RecursionError):
        return ""
    source = head.get("source") if isinstance(head, dict) else None
    return source if isinstance(source, str) else ""


def damage(folder: Path, names: Iterable[str]) -> list[str]:
    """A sentence for each damaged submission that is not superseded, if one of `names` is damaged."""
    if not any(_is_damaged(folder / name) for name in names if number_of(name)):
        return []
    found = [folder / f"{each.number:06d}.jsonl" for each in newest(read_all(folder)).values() if each.is_damaged]
    return [f"the record {path} is damaged: run its task file again" for path in found]


def newest(submissions: Iterable[Submission]) -> dict[str, Submission]:
    """The newest submission of each source, oldest first: its tasks are the ones that hold."""
    found: dict[str, Submission] = {}
    for submission in submissions:
        found.pop(submission.source, None)
        found[submission.source] = submission
    return found


@dataclass(frozen=True, slots=True)
class Wording:
    """A task as it was submitted once."""

    task: Task
    submission: Submission


def wordings(submissions: Iterable[Submission], identities: Collection[str]) -> dict[str, Wording]:
    """For each of `identities` the task that has it, as it was submitted last."""
    return {t.identity: Wording(t, s) for s in submissions for t in s.tasks if t.identity in identities}


def numbered(tasks: Iterable[Task], known: Iterable[Submission]) -> tuple[Task, ...]:
    """`tasks` with their queue-wide numbers: an id keeps the number it had in any earlier submission."""
    numbers = {task.id: task.number for submission in known for task in submission.tasks}
    taken = set(numbers.values())
    following = max(taken, default=0)
    found = []
    for task in tasks:
        if task.id not in numbers:
            # One that a person has seen in a dry run stays, where nobody else has taken it meanwhile.
            number = task.number if task.number and task.number not in taken else following + 1
            numbers[task.id] = number
            taken.add(number)
            following = max(following, number)
        found.append(replace(task, number=numbers[task.id]))
    return tuple(found)


def submit(
    folder: Path,
    source: str,
    tasks: Iterable[Task],
    at: str,
    *,
    searches: Sequence[str] = (),
    settle: Settle | None = None,
) -> tuple[Submission, Submission | None]:
    """Make `tasks` what `source` names: (the submission that holds, the one it supersedes).

    Nothing is written where these tasks hold already. `searches` say how some of them were drawn, for people who read
    the record. `settle` is asked anew where others submit at the same moment.
    """
    wanted = tuple(tasks)
    while True:
        known = read_all(folder)
        before = newest(known).get(source)
        before = None if before is not None and before.is_damaged else before
        now = numbered(settle(before.tasks if before else (), wanted) if settle else wanted, known)
        if before is not None and _same(before.tasks, now) and _hold(now, known):
            return before, None
        number = known[-1].number + 1 if known else 1
        head = {"source": source, "at": at, **({"searches": list(searches)} if searches else {})}
        lines = [head, *(wire.task_data(task) for task in now)]
        path = folder / f"{number:06d}.jsonl"
        try:
            is_ours = records.publish(str(path), lines)
        except OSError as error:
            raise UsageError(f"can't write to the queue folder {folder.parent}: {error.strerror}") from error
        if is_ours:
            with suppress(OSError):  # it stands; without this it is only read once more
                _judged[_mark(path)] = False
            return Submission(number, source, at, now), before


def beside(before: tuple[Task, ...], wanted: tuple[Task, ...]) -> tuple[Task, ...]:
    """To settle so that what is named already stays."""
    return tuple({task.id: task for task in (*before, *wanted)}.values())


def _hold(tasks: tuple[Task, ...], known: Iterable[Submission]) -> bool:
    """Whether these are the newest wordings of their outputs: another source may have given one a newer one."""
    current = {task.id: task for found in newest(known).values() for task in found.tasks}
    return _same(tuple(current[task.id] for task in tasks), tasks)


def _same(some: tuple[Task, ...], others: tuple[Task, ...]) -> bool:
    """Compared as they are written: NaN is NaN, and a list that was read is the tuple that was given."""
    return len(some) == len(others) and all(_text(a) == _text(b) for a, b in zip(some, others, strict=True))


def _text(task: Task) -> str:
    return json.dumps(wire.task_data(task), sort_keys=True)
