"""Why a task runs, waits, is skipped or is not run at all, as values. The sentences are in report.words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal, TypeAlias

from parallel_train.core.facts import Attempt, Claim, End
from parallel_train.core.facts import Why as RoundWhy
from parallel_train.core.situation import Situation
from parallel_train.core.state import Ended, Ending, Line, Running, Waiting, count
from parallel_train.core.task import Json, Task, show

Verb = Literal["run", "skip", "wait", "abort"]

_MOST_DIFFERENCES = 6
_MOST_CHARACTERS = 40  # of one value
_SECRET_ENDINGS = ("TOKEN", "KEY", "SECRET", "PASSWORD")


@dataclass(frozen=True, slots=True)
class FirstRun:
    """No attempt of ours was started yet."""


@dataclass(frozen=True, slots=True)
class AskedFor:
    """A person asked for it again."""


@dataclass(frozen=True, slots=True)
class FailedBefore:
    end: End | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """Its wording, or the content of an input, is not what the last attempt was made from."""

    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NeedChanged:
    needs: tuple[str, ...] = ()  # those that were made again since


@dataclass(frozen=True, slots=True)
class OutputGone:
    output: str


@dataclass(frozen=True, slots=True)
class GoesOn:
    """Attempt `end.attempt` was cut off without fault of its own; `lost` of its round were lost."""

    end: End
    lost: int = 0


@dataclass(frozen=True, slots=True)
class DoneByUs:
    end: End
    changed_since: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OutputExists:
    """The output is there and not ours. `is_verified`: the task file's `done_when` holds."""

    output: str
    is_verified: bool


@dataclass(frozen=True, slots=True)
class Stale:
    """It ended, but would have to run again to be true now, and this run may not open another round."""

    ending: Ending
    why: RoundWhy


@dataclass(frozen=True, slots=True)
class Failed:
    end: End
    failures: int  # attempts of its round that failed
    lost: int


@dataclass(frozen=True, slots=True)
class Cancelled:
    pass


@dataclass(frozen=True, slots=True)
class NeedOpen:
    need: str
    others: int  # how many needs are open besides


@dataclass(frozen=True, slots=True)
class HasReaders:
    """Its old output is put aside first, and these dependents are reading it."""

    tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BackOff:
    until: float  # monotonic seconds
    retry: int  # the first is 1
    retries: int
    end: End


@dataclass(frozen=True, slots=True)
class RunsNow:
    attempt: int
    claim: Claim | None  # None while its shim is starting


@dataclass(frozen=True, slots=True)
class NeedFailed:
    need: str
    ending: str  # an Ending, or "stale"


@dataclass(frozen=True, slots=True)
class Superseded:
    """Its newest round is for another wording, which somebody else asked for."""


Cause: TypeAlias = (
    "FirstRun | AskedFor | FailedBefore | Changed | NeedChanged | OutputGone | GoesOn | DoneByUs"
    " | OutputExists | Stale | Failed | Cancelled | NeedOpen | HasReaders | BackOff | RunsNow"
    " | NeedFailed | Superseded"
)


@dataclass(frozen=True, slots=True)
class Reason:
    """What is done about a task, and why."""

    decision: Verb
    why: Cause


def reason(situation: Situation, task: str, former: Task | None = None) -> Reason:
    """Why `task` stands as it does. `former` is the wording its last attempt was made from, where known."""
    line = situation.lines[task]
    wish = situation.to_open.get(task)
    if wish is not None:
        return Reason("run", _again(situation, line, wish.round.why, former))
    match line.state:
        case Running(attempt):
            live = line.attempts[-1] if line.attempts and line.attempts[-1].end is None else None
            return Reason("wait", RunsNow(attempt, live.claim if live else None))
        case Waiting():
            return Reason("wait", _waits(situation, line, line.state))
        case Ended():
            return _ended(situation, line, line.state)
        case _:
            return Reason("run", _starts(situation, line, former))


def _starts(s: Situation, line: Line, former: Task | None) -> Cause:
    tries = line.tries
    if tries and tries[-1].end is not None:
        return GoesOn(tries[-1].end, count(line, "lost"))
    if line.rounds:
        return _again(s, line, line.rounds[-1].why, former)
    return FirstRun()


def _again(s: Situation, line: Line, why: RoundWhy, former: Task | None) -> Cause:
    match why:
        case "asked for":
            return AskedFor()
        case "failed before":
            last = _last_started(line)
            return FailedBefore(last.end if last else None)
        case "changed":
            return Changed(differences(former, line.task) if former else ())
        case "a need changed":
            return NeedChanged(_needs_made_again(s, line))
        case "output gone":
            return OutputGone(line.task.output or "")


def _last_started(line: Line) -> Attempt | None:
    return next((a for a in reversed(line.attempts) if a.is_started), None)


def _needs_made_again(s: Situation, line: Line) -> tuple[str, ...]:
    last = _last_started(line)
    before: Mapping[str, int] = last.claim.needs if last else {}
    now = {name: s.lines[name].state for name in line.task.needs}
    return tuple(n for n, state in now.items() if isinstance(state, Ended) and before.get(n) != state.attempt)


def _waits(s: Situation, line: Line, state: Waiting) -> Cause:
    match state.why:
        case "readers":
            return HasReaders(state.on)
        case "back-off":
            end = line.tries[-1].end
            if end is not None:
                return BackOff(state.until, count(line, "failed"), line.task.retries, end)
    is_open = {n for n in line.task.needs if n in s.to_open or not isinstance(s.lines[n].state, Ended)}
    first = next(iter(state.on), "")
    return NeedOpen(first, len(is_open - {first}))


def _ended(s: Situation, line: Line, state: Ended) -> Reason:
    if state.because:
        return Reason("abort", NeedFailed(state.because, _ending(s.lines[state.because])))
    if state.ending == "aborted":
        return Reason("abort", Superseded())
    return Reason("skip", _stays(line, state))


def _stays(line: Line, state: Ended) -> Cause:
    end = next((a.end for a in line.attempts if a.number == state.attempt), None)
    match state.ending:
        case "cancelled":
            return Cancelled()
        case ending if state.stale:
            return Stale(ending, state.stale)
        case "failed" if end is not None:
            return Failed(end, count(line, "failed"), count(line, "lost"))
        case "succeeded" if end is not None:
            return DoneByUs(end, line.changed_since)
        case _:
            return OutputExists(line.task.output or "", line.task.done_when is not None)


def _ending(line: Line) -> str:
    state = line.state
    return ("stale" if state.stale else state.ending) if isinstance(state, Ended) else "open"


# ---- two wordings of one task ----


def differences(old: Task, new: Task) -> tuple[str, ...]:
    """What changed from `old` to `new`, as short texts such as `params.lr: 0.1 -> 0.01`; at most seven."""
    found = [*_in_mapping("params", old.params, new.params), *_in_command(old, new)]
    found += _in_mapping("env", old.env, new.env)
    for name in ("output", "cwd", "shell", "inputs", "needs"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            found.append("needs: changed" if name == "needs" else f"{name}: {_text(before)} -> {_text(after)}")
    more = len(found) - _MOST_DIFFERENCES
    return (*found[:_MOST_DIFFERENCES], *([f"and {more} more"] if more > 0 else []))


def _in_mapping(where: str, old: Mapping[str, Json], new: Mapping[str, Json]) -> Iterator[str]:
    for name in dict.fromkeys((*old, *new)):
        if name in old and name in new and _same(old[name], new[name]):
            continue
        if where == "env" and name.upper().endswith(_SECRET_ENDINGS):
            yield f"env.{name}: changed"
        elif name not in old:
            yield f"{where}.{name}: added ({_text(new[name])})"
        elif name not in new:
            yield f"{where}.{name}: removed ({_text(old[name])})"
        else:
            yield f"{where}.{name}: {_text(old[name])} -> {_text(new[name])}"


def _same(old: Json, new: Json) -> bool:
    """As identities see it: 1, 1.0 and true are three values, and NaN is one."""
    return json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)


def _in_command(old: Task, new: Task) -> Iterator[str]:
    for place, (before, after) in enumerate(zip_longest(old.command, new.command), start=1):
        if before is None:
            yield f"command: word {place} added ({_text(after)})"
        elif after is None:
            yield f"command: word {place} removed ({_text(before)})"
        elif before != after:
            yield f"command: word {place}: {_text(before)} -> {_text(after)}"


def _text(value: object) -> str:
    if value is None:
        return "none"
    text = show(value) if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"
