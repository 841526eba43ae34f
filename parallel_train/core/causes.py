"""What a task's state goes back to: the chain of causes, its place among those that are ready, what would change it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from parallel_train.core import explain
from parallel_train.core.explain import Reason, reason
from parallel_train.core.facts import Attempt
from parallel_train.core.situation import Key, Situation
from parallel_train.core.state import Ended, Line, Running
from parallel_train.core.task import Task

Standing = Literal["decides", "last", "runs", "not started", "earlier round", "followed"]
Do = Literal["follow", "logs", "retry", "run", "again", "resume", "resume all", "worker", "call", "priority", "cancel"]


@dataclass(frozen=True, slots=True)
class Link:
    task: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Order:
    """Who may start, the next one first, and who holds slots; each of tasks with GPUs, and of those without."""

    ready: Sequence[Key]
    ready_cpu: Sequence[Key]
    on_gpu: tuple[str, ...]
    on_cpu: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task that could start stands in the order of priority and number."""

    ahead: tuple[str, ...]  # ready tasks that start before it, the next one first
    running: tuple[str, ...]  # tasks on slots of the kind that it waits for


@dataclass(frozen=True, slots=True)
class Step:
    """Something a person can do. `task` is whom it is done to."""

    do: Do
    task: str
    value: int = 0  # the priority


@dataclass(frozen=True, slots=True)
class Outlook:
    """What could start a task."""

    is_worked_on: bool  # a worker lives that takes it
    sources: Mapping[str, str]  # task -> the task file that names it now; empty where it is no file


def chain(s: Situation, task: str, former: Task | None = None) -> tuple[Link, ...]:
    """`task`, what it waits for or was aborted by, and so on to the one that hangs on no other."""
    found = {task: Link(task, reason(s, task, former))}
    following = _behind(found[task].reason)
    while following and following not in found:
        found[following] = Link(following, reason(s, following))
        following = _behind(found[following].reason)
    return tuple(found.values())


def _behind(found: Reason) -> str:
    """The task that this reason points at."""
    match found.why:
        case explain.NeedOpen(need) | explain.NeedFailed(need):
            return need
        case explain.BehindCanary(canary):
            return canary
        case explain.HasReaders(tasks):
            return tasks[0]
        case _:
            return ""


def order(s: Situation, named: Collection[str]) -> Order:
    """Only tasks that a task file names start; `named` are these."""
    gpu, cpu = ([key for key in keys if key[2] in named] for keys in (s.ready, s.ready_cpu))
    tasks = [line.task for line in s.lines.values() if isinstance(line.state, Running)]
    on_gpu, on_cpu = (tuple(t.id for t in tasks if (t.gpus == 0) == is_cpu) for is_cpu in (False, True))
    return Order(gpu, cpu, on_gpu, on_cpu)


def place(everyone: Order, line: Line) -> Place:
    is_cpu = line.task.gpus == 0
    ready = everyone.ready_cpu if is_cpu else everyone.ready
    before = bisect_left(ready, (-line.priority, line.task.number, line.task.id))
    return Place(tuple(name for *_, name in ready[:before]), everyone.on_cpu if is_cpu else everyone.on_gpu)


def standing(line: Line, attempt: Attempt) -> Standing:
    """What `attempt` means for its task."""
    if attempt.end is None:
        return "runs"
    if not attempt.is_started:
        return "not started"
    if attempt.claim.round < line.round:
        return "earlier round"
    if attempt != line.deciding:
        return "followed"
    return "decides" if isinstance(line.state, Ended) else "last"  # one that cost nothing, or will be repeated


def steps(s: Situation, links: tuple[Link, ...], outlook: Outlook, ahead: Sequence[str] = ()) -> tuple[Step, ...]:
    """What would change the state that `links` explain; `ahead` as in Place."""
    found = [*_for_cause(s, links, outlook)]
    mine, root = links[0].task, links[-1]
    if mine not in outlook.sources:  # nothing starts it, whatever is asked
        return tuple(step for step in found if step.do in {"follow", "logs", "cancel"})
    is_open = root.reason.decision in {"run", "wait"} and not isinstance(root.reason.why, explain.Paused)
    if is_open and not outlook.is_worked_on and not any(step.do == "run" for step in found):
        found.append(Step("call" if s.lines[mine].task.is_call else "worker", mine))
    if is_open and not isinstance(s.lines[mine].state, Running):
        found[:0] = [
            *([Step("resume all", mine)] if s.is_paused else []),
            *([Step("resume", mine)] if s.lines[mine].is_paused else []),
        ]
    if ahead:
        found.append(Step("priority", mine, s.lines[ahead[0]].priority + 1))
    return tuple(found)


def _for_cause(s: Situation, links: tuple[Link, ...], outlook: Outlook) -> Iterator[Step]:  # noqa: C901  one case per cause
    mine, root = links[0].task, links[-1]
    blamed = mine if isinstance(s.lines[mine].state, Ended) else root.task  # a retry clears the way for what has ended
    match root.reason.why:
        case explain.RunsNow(_, claim):
            if claim is not None and _has_log(s, root.task):
                yield Step("follow", root.task)
            yield Step("cancel", root.task)
        case explain.Failed():
            yield from _logs(s, root.task)
            yield Step("retry", blamed)
        case explain.Cancelled():
            yield Step("retry", blamed)
        case explain.Paused(request):
            yield Step("resume" if request.tasks else "resume all", root.task)
        case explain.BackOff():
            yield from _logs(s, root.task)
        case explain.DoneByUs() | explain.OutputExists():
            yield Step("again" if _has_file(s, root.task, outlook) else "retry", root.task)
        case explain.Superseded() | explain.Stale():
            yield Step("run" if _has_file(s, mine, outlook) else "retry", mine)
        case _ if root.task in s.to_open:
            yield Step("run" if _has_file(s, mine, outlook) else "retry", mine)


def _logs(s: Situation, task: str) -> Iterator[Step]:
    if _has_log(s, task):
        yield Step("logs", task)


def _has_log(s: Situation, task: str) -> bool:
    """Whether what it says is kept anywhere: not that of a search's trials."""
    line = s.lines[task]
    return not line.task.is_call or any(attempt.claim.log for attempt in line.attempts)


def _has_file(s: Situation, task: str, outlook: Outlook) -> bool:
    """Whether a run of its task file runs it."""
    return bool(outlook.sources.get(task)) and not s.lines[task].task.is_call
