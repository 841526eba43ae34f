"""What a person's request comes to, from what is known when it is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from parallel_train.core.facts import Round
from parallel_train.core.situation import Situation
from parallel_train.core.state import Ended, Running, State


@dataclass(slots=True)
class Retry:
    """Tasks that are to run again, with whatever must or may run with them."""

    rounds: dict[str, Round] = field(default_factory=dict)  # task -> the round to open for it
    due: set[str] = field(default_factory=set)  # of those asked for: they run without a new round
    running: set[str] = field(default_factory=set)  # of those asked for: left alone
    freed: set[str] = field(default_factory=set)  # dependents that were aborted and now wait again

    @property
    def tasks(self) -> set[str]:
        return self.rounds.keys() | self.due | self.freed


def retry(s: Situation, asked: Iterable[str], by: str) -> Retry:
    """`asked` again, the folders kept, with the needs that stand in their way."""
    found = Retry()
    known = set()
    pending = list(asked)
    named = set(pending)
    while pending:
        name = pending.pop()
        if name in known:
            continue
        known.add(name)
        line = s.lines[name]
        if isinstance(line.state, Running):
            found.running.add(name)
            continue
        if isinstance(line.state, Ended) and not line.state.because and (name in named or not line.state.is_satisfied):
            number = line.round + 1
            found.rounds[name] = Round(name, number, line.task.identity, "asked for", aside=False, by=by)
        else:
            found.due.add(name)
        pending += (need for need in line.task.needs if is_in_the_way(s.lines[need].state))
    _free_dependents(s, found)
    return found


def is_in_the_way(state: State) -> bool:
    return isinstance(state, Ended) and not state.is_satisfied


def _free_dependents(s: Situation, found: Retry) -> None:
    pending = list(found.rounds)
    known = found.tasks
    while pending:
        for name in s.dependents.get(pending.pop(), ()):
            state = s.lines[name].state
            if name not in known and name not in found.freed and isinstance(state, Ended) and state.because:
                found.freed.add(name)
                pending.append(name)


def to_cancel(s: Situation, asked: Iterable[str]) -> dict[str, int]:
    """Those of `asked` that have not ended, each with its round."""
    return {name: s.lines[name].round for name in asked if not isinstance(s.lines[name].state, Ended)}


def aborted_by(s: Situation, tasks: Iterable[str]) -> list[str]:
    """What will not run because `tasks` don't: their dependents that have not ended, directly or not."""
    found: dict[str, None] = {}
    pending = list(tasks)
    while pending:
        for name in s.dependents.get(pending.pop(), ()):
            if name not in found and not isinstance(s.lines[name].state, Ended):
                found[name] = None
                pending.append(name)
    return list(found)
