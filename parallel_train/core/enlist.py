"""What to ask of a cluster: how many workers, when again after a loss, and who is no longer needed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from math import ceil

from parallel_train.core import policy
from parallel_train.core.cluster import CANCEL, DRAIN, KILL, AskCluster, Dismiss, Element, Enlist
from parallel_train.core.events import Decision
from parallel_train.core.facts import Array
from parallel_train.core.roster import Roster
from parallel_train.core.situation import Situation
from parallel_train.core.state import Line, Waiting

REFUSED, LOST = 2, 1  # exit codes


def orders(s: Situation, r: Roster, now: float, *, is_leaving: bool) -> list[Decision]:
    """What the cluster should be asked or told now; the caller has found nothing else to do."""
    is_over = is_leaving or not s.open
    if is_over and not r.is_met:
        return []
    if now >= ask_at(r, is_leaving=is_leaving) or (is_over and r.is_stale and not r.silent):
        return [AskCluster()]
    if r.silent:
        return []
    if is_over:
        return list(_dismissals(s, r, is_leaving=is_leaving))
    if s.is_paused or r.refused:
        return []
    return list(_too_late(s, r)) or list(_tasks(s, r) if r.terms.is_each else _workers(s, r))


def ask_at(r: Roster, *, is_leaving: bool) -> float:
    """When the cluster is asked next (monotonic seconds)."""
    return r.heard_at + (min(r.patience, policy.CLUSTER_HURRY) if is_leaving and not r.silent else r.patience)


def is_awaited(s: Situation, r: Roster) -> bool:
    """Whether elements that this run answers for may still be there."""
    return bool(r.unseen) or any(True for _ in ours(s, r))


def has_given_up(s: Situation, r: Roster) -> bool:
    """Whether nobody works for this run and nobody will: the cluster refuses, or loses all that it is asked for."""
    is_idle = not r.silent and not r.unseen and not any(useful(s, r)) and not any(s.running())
    return is_idle and bool(r.refused or r.repeats >= policy.ENLIST_LIMIT) and any(_due(s, r))


def leaves_with(s: Situation, r: Roster) -> int | None:
    """The exit code of a run that does not wait for its tasks; None: it waits."""
    if has_given_up(s, r):
        return REFUSED if r.refused else LOST
    if r.terms.is_detached:
        return LOST if r.silent and not r.sent else 0
    return None


def _dismissals(s: Situation, r: Roster, *, is_leaving: bool) -> Iterator[Dismiss]:
    """Who waits is not needed any more; who runs leaves by itself once nothing is left, or is told to."""
    elements = list(ours(s, r))
    waiting = tuple(e.job for e in elements if e.phase == "waiting" and e.job not in r.told)
    if waiting:
        yield Dismiss(waiting, CANCEL)
    level = min(max(s.stopping, DRAIN), KILL)
    running = tuple(e.job for e in elements if e.phase == "running" and r.told.get(e.job, CANCEL) < level)
    if running and is_leaving:
        yield Dismiss(running, level)


def _too_late(s: Situation, r: Roster) -> Iterator[Dismiss]:
    """Who lost its host goes: others are asked for in its place, and come sooner."""
    late = {element.job for element in r.put_off} & {element.job for element in ours(s, r)} - r.told.keys()
    if late and any(_due(s, r)):
        yield Dismiss(tuple(sorted(late)), CANCEL)


def ours(s: Situation, r: Roster) -> Iterator[Element]:
    """The living elements that this run answers for."""
    numbers = {number for number in {element.array for element in r.living} if _is_ours(s, r, number)}
    return (element for element in r.living if element.array in numbers)


def _is_ours(s: Situation, r: Roster, number: int) -> bool:
    """Whether this run answers for that array: it has sent it, or it has taken over all that it is for."""
    return number in r.sent or (number in r.left and all(_works_on(s, task) for task in r.arrays[number].selection))


def useful(s: Situation, r: Roster) -> Iterator[Element]:
    """The living elements that work on something of this run, whoever asked for them."""
    known = {element.array for element in r.living} & r.arrays.keys()
    numbers = {number for number in known if any(_works_on(s, task) for task in r.arrays[number].selection)}
    return (element for element in r.living if element.array in numbers)


def _works_on(s: Situation, task: str) -> bool:
    return task in s.lines and s.works_on(task)


def _due(s: Situation, r: Roster) -> Iterator[Line]:
    """What a worker would start now, or once its back-off is over."""
    return (line for line in s.to_start() if r.terms.carries(line.task.gpus))


# ---- workers that pull ----


def _workers(s: Situation, r: Roster) -> Iterator[Enlist]:
    terms = r.terms
    living = Counter(element.array for element in useful(s, r))
    missing = min(terms.workers, _needed(s, r)) - living.total() if living.total() < terms.workers else 0
    there = living + Counter(element.array for element in r.done.values())
    is_again = any(there[number] < r.arrays[number].size for number in r.sent)
    if missing < 1 or (is_again and r.repeats >= policy.ENLIST_LIMIT):
        return
    selection = sorted(s.open - _held(s), key=lambda name: s.lines[name].task.number)
    for first in range(0, missing, terms.most):
        array = _array(s, selection, terms.gpus, min(terms.most, missing - first))
        yield Enlist(array, policy.enlist_delay(r.repeats) if is_again else 0.0)


def _array(s: Situation, tasks: Sequence[str], gpus: int, size: int) -> Array:
    wishes = s.wishes
    return Array(0, size, tuple(tasks), gpus, ignore_failures=wishes.ignore_failures, options=wishes.options)


def _needed(s: Situation, r: Roster) -> int:
    """How many workers would have something to do."""
    terms, due = r.terms, list(_due(s, r))
    running = (line for line in s.running() if terms.carries(line.task.gpus))
    if not due:
        return 0  # who is there has it all
    widths = Counter(line.task.gpus for line in chain(due, running))
    by_count = Fraction(widths.total(), terms.at_once or widths.total())
    on_cpu = Fraction(widths.pop(0, 0), terms.cpu_slots or 1)
    on_gpu = sum(Fraction(number, terms.slots // width) for width, number in widths.items())
    return max(ceil(by_count), ceil(on_cpu), ceil(on_gpu))


def _held(s: Situation) -> set[str]:
    """What waits for the first task of its template, and what needs that."""
    held = [n for n in s.open if isinstance(state := s.lines[n].state, Waiting) and state.why == "canary"]
    found = set(held)
    for name in held:  # grows while it is walked
        fresh = [d for d in s.dependents.get(name, ()) if d not in found]
        found.update(fresh)
        held += fresh
    return found


# ---- an element for each task ----


def _tasks(s: Situation, r: Roster) -> Iterator[Enlist]:
    taken = {task for element in r.living for task in _alone(r, element)}
    done = {(element.array, task) for element in r.done.values() for task in _alone(r, element)}
    before = {task for number in r.sent for task in r.arrays[number].selection if (number, task) not in done}
    shapes: dict[tuple[int, bool], list[str]] = defaultdict(list)
    for line in _due(s, r):
        name = line.task.id
        if name not in taken:
            shapes[min(line.task.gpus, r.terms.gpus), name in before].append(name)
    for (gpus, is_again), names in shapes.items():
        if is_again and r.repeats >= policy.ENLIST_LIMIT:
            continue
        delay = policy.enlist_delay(r.repeats) if is_again else 0.0
        for chunk in _split(names, r.terms.most):
            array = _array(s, chunk, gpus, len(chunk))
            yield Enlist(replace(array, is_each=True, at_once=r.terms.workers), delay)


def _alone(r: Roster, element: Element) -> Sequence[str]:
    array = r.arrays.get(element.array)
    if array is None or not array.is_each:
        return ()
    return array.selection[element.index : element.index + 1]


def _split(names: Sequence[str], most: int) -> Iterable[Sequence[str]]:
    return (names[first : first + most] for first in range(0, len(names), most))
