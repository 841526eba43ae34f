"""What a request did and what it will bring about, in words. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from parallel_train.core import asking
from parallel_train.core.facts import Claim, End
from parallel_train.core.muster import Muster
from parallel_train.core.situation import Situation, name_of
from parallel_train.core.state import Ended, Line, Running, Waiting
from parallel_train.core.task import Task
from parallel_train.report import paste, words
from parallel_train.report.workers import nobody

MOST = 20  # lines of a kind


def few(lines: Iterable[str]) -> list[str]:
    """The first of them, and how many more there are."""
    every = list(lines)
    return every[:MOST] + ([f"… and {len(every) - MOST} more"] if len(every) > MOST else [])


def workers(living: Sequence[str], tasks: Collection[Task], m: Muster | None = None) -> str:
    """Who will act on what was asked of `tasks`: `living`, and those that Slurm grants."""
    takers = m.takers([task.id for task in tasks]) if m else []
    running = sum(element.phase == "running" for element in takers)
    there = [f"{words.plural(running, 'worker')} in Slurm"] if running else []
    if living or there:
        return f"Taken up by {', '.join([*living, *there])}"
    if takers:
        return f"Taken up in Slurm, when its turn comes, by {words.plural(len(takers), 'worker')} that wait{_s(takers)}"
    return nobody(tasks, m)


def _s(found: Sequence[object]) -> str:
    return "s" if len(found) == 1 else ""


# ---- cancel ----


def cancelled(s: Situation, asked: Sequence[str], wanted: Collection[str]) -> list[str]:
    """Before anything is stopped: `wanted` are those of `asked` that had not ended."""
    lost = [name for name in asking.aborted_by(s, wanted) if name not in wanted]
    without = [f"Not run without {'it' if len(wanted) == 1 else 'them'}: {words.names(lost, s)}"] if lost else []
    return [*few(_cancelled(s.lines[name], has_ended=name not in wanted) for name in asked), *without]


def _cancelled(line: Line, *, has_ended: bool) -> str:
    if has_ended:
        return f"{_name(line)}: {_had_ended(line)}; there is nothing to cancel"
    if isinstance(line.state, Running):
        attempt = f"attempt {line.state.attempt}{_where(line)}"
        if line.task.is_call:
            return f"{_name(line)}: {attempt} may go on, but its result will not count"
        return f"{_name(line)}: {attempt} is told to stop (INT, TERM, KILL, 10 s apart)"
    return f"{_name(line)}: will not run; it was {name_of(line.state)}"


def stopped(line: Line, end: End) -> str:
    """The confirmation for an attempt that had to be stopped."""
    if line.has_succeeded:
        return f"{_name(line)}: attempt {end.attempt} had succeeded before it could be stopped"
    return f"{_name(line)}: cancelled; attempt {end.attempt} is over ({words.end(end, line.task)})"


def not_stopped(line: Line, claim: Claim) -> str:
    where = f"on {words.clean(claim.owner.host)}"
    return (
        f"{_name(line)}: attempt {claim.attempt} {where} has not ended yet; the request stands, status says when it has"
    )


def way_back(number: int, asked: Sequence[str]) -> str:
    """`asked` is what the person typed."""
    return f"Run {'it' if number == 1 else 'them'} after all: {paste.command('retry', *asked)}"


# ---- retry ----


def retried(s: Situation, found: asking.Retry) -> list[str]:
    freed = sorted(found.freed, key=lambda name: s.lines[name].task.number)
    then = [f"To run after {'it' if len(found.rounds) == 1 else 'them'}: {words.names(freed, s)}"] if freed else []
    return [*few(_retried(s, found)), *then]


def _retried(s: Situation, found: asking.Retry) -> Iterator[str]:
    for line in _in_order(s, found.running):
        yield f"{_name(line)}: runs now{_where(line)}; left alone"
    for line in _in_order(s, found.rounds):
        kept = "; its folder is kept" if line.task.output else ""
        yield f"{_name(line)}: runs again ({_had_ended(line)}{kept})"
    for line in _in_order(s, found.due):
        yield f"{_name(line)}: is to run anyway" + ("; it is paused" if line.is_paused else "")


def _in_order(s: Situation, names: Iterable[str]) -> list[Line]:
    return sorted((s.lines[name] for name in names), key=lambda line: line.task.number)


# ---- pause, resume, priority ----


def queue_paused(s: Situation, running: int) -> str:
    was = "was paused already" if s.is_paused else "is paused"
    goes_on = f"{words.plural(running, 'task')} run{'s' if running == 1 else ''} on. " if running else ""
    return f"The queue {was}: nothing new is started, on any worker. {goes_on}Go on: {paste.command('resume')}"


def queue_resumed(s: Situation, held: Sequence[str]) -> str:
    what = "The queue goes on" if s.is_paused else "The queue was not paused"
    tasks = [s.lines[name].task for name in held]
    return what + (f"; still paused: {paste.command('resume', *_spoken(tasks))}" if tasks else "")


def task_paused(line: Line) -> str:
    match line.state:
        case Ended():
            return f"{_name(line)}: {_had_ended(line)}; a further attempt would wait"
        case Running(attempt):
            return f"{_name(line)}: paused; attempt {attempt}{_where(line)} runs on"
        case _:
            return f"{_name(line)}: paused; it is not started before {paste.command('resume', line.task.number)}"


def task_resumed(line: Line, *, is_queue_paused: bool) -> str:
    if not line.is_paused:
        return f"{_name(line)}: was not paused"
    still = f"; but the whole queue is paused: {paste.command('resume')}" if is_queue_paused else ""
    return f"{_name(line)}: goes on{still}"


def prioritized(line: Line, value: int) -> str:
    then = ""
    if isinstance(line.state, Ended):
        then = f"; {_had_ended(line)}, so it counts when it runs again"
    elif isinstance(line.state, Running):
        then = "; it runs already"
    elif isinstance(line.state, Waiting):
        then = "; it waits, and takes its place when it is ready"
    return f"{_name(line)}: priority {value} (was {line.priority}){then}"


# ---- add ----


def added(task: Task, command: str) -> str:
    return f"Added {_name_of(task)}: {words.clean(command)}"


def added_file(source: str, states: Mapping[str, int], what_changed: str) -> str:
    every = ", ".join(f"{number} {name}" for name, number in states.items())
    total = words.plural(sum(states.values()), "task")
    return f"Added {words.clean(source)}: {total} ({every})" + (
        f"\n{words.clean(what_changed)}" if what_changed else ""
    )


# ---- parts ----


def _name(line: Line) -> str:
    return _name_of(line.task)


def _name_of(task: Task) -> str:
    return f"#{task.number} {words.name(task)}"


def _spoken(tasks: Sequence[Task]) -> list[str]:
    """What to type for all of them, such as 3-5 9."""
    return words.ranges(str(task.number) for task in tasks).split(",")


def _had_ended(line: Line) -> str:
    """It has succeeded, it is skipped already, and so on."""
    word = name_of(line.state)
    return {"succeeded": "it has succeeded", "failed": "it has failed"}.get(word, f"it is {word} already")


def _where(line: Line) -> str:
    claim = line.attempts[-1].claim if line.attempts and line.attempts[-1].end is None else None
    return f" on {words.slot(claim.gpus)} of {words.clean(claim.owner.host)}" if claim else ""
