"""Why a task runs, waits, is skipped or is not run at all, as values. The sentences are in report.words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from parallel_train.core.differences import differences
from parallel_train.core.facts import Claim, End, Request
from parallel_train.core.facts import Why as RoundWhy
from parallel_train.core.limit import cut_off
from parallel_train.core.situation import Situation
from parallel_train.core.state import Ended, Ending, Line, Running, Waiting, count
from parallel_train.core.task import Task

Verb = Literal["run", "skip", "wait", "abort"]


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
    cut_off: int = 0  # attempts in a row whose allocation ended


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
    request: Request


@dataclass(frozen=True, slots=True)
class Paused:
    """A person holds it, or the whole queue."""

    request: Request


@dataclass(frozen=True, slots=True)
class BehindCanary:
    """Another task of its template runs first, or did not succeed."""

    canary: str
    ending: str  # "open" while it has not ended


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
    " | OutputExists | Stale | Failed | Cancelled | Paused | BehindCanary | NeedOpen | HasReaders | BackOff | RunsNow"
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
        case _ if situation.is_paused and situation.pause is not None:
            return Reason("wait", Paused(situation.pause))
        case _:
            return Reason("run", _starts(situation, line, former))


def _starts(s: Situation, line: Line, former: Task | None) -> Cause:
    tries = line.tries
    if tries and tries[-1].end is not None:
        return GoesOn(tries[-1].end, count(line, "lost"), cut_off(line))
    if line.rounds:
        return _again(s, line, line.rounds[-1].why, former)
    return FirstRun()


def _again(s: Situation, line: Line, why: RoundWhy, former: Task | None) -> Cause:
    match why:
        case "asked for":
            return AskedFor()
        case "failed before":
            last = line.last_started
            return FailedBefore(last.end if last else None)
        case "changed":
            return Changed(differences(former, line.task) if former else ())
        case "a need changed":
            return NeedChanged(_needs_made_again(s, line))
        case "output gone":  # pragma: no branch
            return OutputGone(line.task.output or "")


def _needs_made_again(s: Situation, line: Line) -> tuple[str, ...]:
    last = line.last_started
    before: Mapping[str, int] = last.claim.needs if last else {}
    now = {name: s.lines[name].state for name in line.task.needs}
    return tuple(n for n, state in now.items() if isinstance(state, Ended) and before.get(n) != state.attempt)


def _waits(s: Situation, line: Line, state: Waiting) -> Cause:
    match state.why:
        case "readers":
            return HasReaders(state.on)
        case "paused" if line.hold is not None:
            return Paused(line.hold)
        case "canary":
            return BehindCanary(state.on[0], _ending(s.lines[state.on[0]]))
        case "back-off" if (deciding := line.deciding) is not None and deciding.end is not None:
            return BackOff(state.until, count(line, "failed"), line.task.retries, deciding.end)
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
        case "cancelled" if line.cancel is not None:
            return Cancelled(line.cancel)
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
