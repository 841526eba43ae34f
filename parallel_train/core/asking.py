"""What a person's request comes to, from what is known when it is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from parallel_train.core.facts import Round
from parallel_train.core.situation import Situation
from parallel_train.core.state import Ended, Line, Running


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
    for name in asked:
        line = s.lines[name]
        if isinstance(line.state, Running):
            found.running.add(name)
        elif isinstance(line.state, Ended) and _has_own_end(line):
            found.rounds[name] = _next_round(line, by)
        else:
            found.due.add(name)
    for name in [*found.rounds, *found.due]:
        _clear_the_way(s, name, found, by)
    _free_dependents(s, found)
    return found


def _has_own_end(line: Line) -> bool:
    """Whether it ended by itself or by a person, not by a need."""
    return isinstance(line.state, Ended) and not line.state.because


def _next_round(line: Line, by: str) -> Round:
    return Round(line.task.id, line.round + 1, line.task.identity, "asked for", aside=False, by=by)


def _clear_the_way(s: Situation, name: str, found: Retry, by: str) -> None:
    for need in s.lines[name].task.needs:
        state = s.lines[need].state
        if isinstance(state, Ended) and not state.is_satisfied and need not in found.tasks:
            if state.because:
                found.due.add(need)
            else:
                found.rounds[need] = _next_round(s.lines[need], by)
            _clear_the_way(s, need, found, by)


def _free_dependents(s: Situation, found: Retry) -> None:
    pending = list(found.rounds)
    while pending:
        for name in s.dependents.get(pending.pop(), ()):
            state = s.lines[name].state
            if name not in found.tasks and isinstance(state, Ended) and state.because:
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
