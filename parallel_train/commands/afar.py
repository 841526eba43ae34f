"""A run whose tasks are done by workers on a cluster: what is asked for, what can't be, and the scripts for -n."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from parallel_train.cluster.script import script
from parallel_train.cluster.slurm import most_elements
from parallel_train.commands.onslurm import Granted
from parallel_train.commands.options import RunOptions
from parallel_train.core import enlist
from parallel_train.core.apply import absorb, apply
from parallel_train.core.cluster import Enlist
from parallel_train.core.events import ElementsSeen, RoundOpened
from parallel_train.core.facts import Array
from parallel_train.core.roster import Roster, Terms
from parallel_train.core.situation import Situation
from parallel_train.core.state import Waiting
from parallel_train.core.task import Task
from parallel_train.errors import UsageError
from parallel_train.report import words


def roster(options: RunOptions, granted: Granted, tasks: Sequence[Task]) -> Roster:
    """Raises UsageError where a task fits into no worker."""
    is_each = options.one_task_per_element
    if is_each and options.gpus_per_worker:
        raise UsageError("--one-task-per-element asks for the GPUs of each task: leave out --gpus-per-worker")
    script(Array(1, 1, ()), granted.plan)  # which raises for what no script can hold
    slots = granted.gpus or granted.plan.cpus
    if is_each and granted.gpus:
        slots = max([1, *(task.gpus for task in tasks)])
    terms = Terms(
        workers=(options.workers or 0) if is_each else granted.workers,
        gpus=slots if granted.gpus else 0,
        slots=slots,
        cpu_slots=1 if is_each else options.cpu_slots,
        at_once=options.at_once,
        is_each=is_each,
        most=most_elements(),
        is_detached=options.detach,
    )
    for task in tasks:
        if not terms.carries(task.gpus):
            raise UsageError(_too_wide(task, terms))
    return Roster(terms)


def _too_wide(task: Task, terms: Terms) -> str:
    if not task.gpus:
        return f"{task.name} wants no GPU and so a CPU slot; --cpu-slots gives none"
    if not terms.gpus:
        return (
            f"{task.name} wants {words.plural(task.gpus, 'GPU')}; a worker has {terms.slots} CPU slots in their place"
        )
    return f"{task.name} wants {task.gpus} GPUs; a worker has {terms.slots}: say --gpus-per-worker {task.gpus}"


def refuse_detached(options: RunOptions, s: Situation) -> None:
    """Raises UsageError for what nobody would see to once the run has left."""
    if options.canary or options.fail_fast or options.max_failures:
        what = "--canary" if options.canary else "--fail-fast" if options.fail_fast else "--max-failures"
        raise UsageError(f"{what} needs a run that stays and watches: leave out --detach")
    waiting = [name for name in s.open if isinstance(state := s.lines[name].state, Waiting) and state.why == "needs"]
    if options.one_task_per_element and waiting:
        number = f"{words.plural(len(waiting), 'task')} {'waits' if len(waiting) == 1 else 'wait'}"
        raise UsageError(
            f"{number} for others, and with --one-task-per-element somebody has to stay and ask for each in its turn: "
            "leave out --detach, or --one-task-per-element"
        )


def scripts(s: Situation, granted: Granted) -> Iterator[str]:
    """What would be asked of a cluster that has nothing of ours yet; `s` goes on as if its rounds were opened."""
    while s.to_open:
        for wish in list(s.to_open.values()):
            apply(s, RoundOpened(wish.round, ours=True))
    if s.roster is None:
        return
    absorb(s, [ElementsSeen((), 0.0)])
    for number, wanted in enumerate(_enlisted(s, s.roster), 1):
        yield script(replace(wanted.wanted, number=number), granted.plan)


def _enlisted(s: Situation, r: Roster) -> Iterable[Enlist]:
    return (found for found in enlist.orders(s, r, 0.0, is_leaving=False) if isinstance(found, Enlist))
