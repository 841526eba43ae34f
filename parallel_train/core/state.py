"""What is known of one task, and the state that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from parallel_train.core import policy
from parallel_train.core.facts import Attempt, Claim, OutputState, Request, Round, Verdict, Why, verdict
from parallel_train.core.task import Task

_NONE: Mapping[str, int] = {}

Ending = Literal["succeeded", "failed", "cancelled", "aborted", "skipped"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not ready: for a need, for dependents that still read the old output, for a time, for a person, or for the
    success of the one task of its template that runs first.
    """

    on: tuple[str, ...] = ()
    why: Literal["needs", "readers", "back-off", "paused", "canary"] = "needs"
    until: float = 0.0  # monotonic seconds, for a back-off


@dataclass(frozen=True, slots=True)
class Ready:
    pass


@dataclass(frozen=True, slots=True)
class Running:
    attempt: int
    claimed: bool = True  # False while a shim is starting and has claimed nothing


@dataclass(frozen=True, slots=True)
class Ended:
    """`attempt` is the deciding attempt, 0 where none of ours was made.

    `stale` says why it would have to run again to be true now; `because` names the need that aborted it.
    """

    ending: Ending
    attempt: int = 0
    stale: Why | None = None
    because: str = ""

    @property
    def is_satisfied(self) -> bool:
        return self.ending in {"succeeded", "skipped"} and self.stale is None


State: TypeAlias = "Waiting | Ready | Running | Ended"


@dataclass(frozen=True, slots=True)
class Success:
    """What decisions hang on of the last attempt that succeeded, where no more is kept of it and of those before."""

    attempt: int
    round: int
    identity: str
    needs: Mapping[str, int]
    earlier: tuple[int, ...] = ()  # rounds before that succeeded too


@dataclass(slots=True)
class Line:
    """One task's line of attempts: what is known, and the state derived from it."""

    task: Task
    rounds: tuple[Round, ...] = ()
    success: Success | None = None  # what is kept of the attempts before these
    attempts: tuple[Attempt, ...] = ()
    output: OutputState = "missing"
    changed_since: tuple[str, ...] = ()  # no part of the identity, but not as when the output was made: a script
    cancel: Request | None = None
    hold: Request | None = None  # the newest pause or resume
    urgency: Request | None = None
    excused: frozenset[int] = frozenset()  # attempts that failed on a sick slot
    launching: int = 0  # the attempt a shim was asked for, until it claims
    state: State = Waiting()

    @property
    def round(self) -> int:
        return self.rounds[-1].number if self.rounds else 1

    @property
    def priority(self) -> int:
        return self.urgency.tasks[self.task.id] if self.urgency else self.task.priority

    @property
    def is_paused(self) -> bool:
        return self.hold is not None and self.hold.kind == "pause"

    @property
    def asked_round(self) -> int:
        """The newest round that a person asked for, else the first: a cancel of it or of a later one holds."""
        return max((r.number for r in self.rounds if r.why == "asked for"), default=1)

    @property
    def is_cancelled(self) -> bool:
        """A cancel holds for its round, unless that succeeded first, and for later ones that no person asked for."""
        if self.cancel is None:
            return False
        number = self.cancel.tasks[self.task.id]
        if number < self.asked_round:
            return False
        return number not in self.rounds_succeeded

    @property
    def rounds_succeeded(self) -> tuple[int, ...]:
        kept = (*self.success.earlier, self.success.round) if self.success else ()
        return kept + tuple(a.claim.round for a in self.attempts if a.end and verdict(a.end) == "succeeded")

    @property
    def tries(self) -> tuple[Attempt, ...]:
        """The started attempts of the newest round."""
        number = self.round
        return tuple(a for a in self.attempts if a.is_started and a.claim.round == number)

    @property
    def last_started(self) -> Attempt | None:
        """Of whichever round."""
        return next((a for a in reversed(self.attempts) if a.is_started), None)

    @property
    def is_interrupted(self) -> bool:
        """Whether a script can go on from its last started attempt, which did not succeed and whose output is kept."""
        last = self.last_started
        if last is None or last.end is None or verdict(last.end) == "succeeded":
            return False
        return last.claim.round >= self.aside_due  # a lost one may not have put it aside: the next sees to that

    @property
    def next_attempt(self) -> int:
        if self.attempts:
            return self.attempts[-1].number + 1
        return self.success.attempt + 1 if self.success else 1

    @property
    def deciding(self) -> Attempt | None:
        """The last started attempt of the newest round, once it has ended."""
        tries = self.tries
        return tries[-1] if tries and tries[-1].end is not None else None

    @property
    def has_succeeded(self) -> bool:
        """Whether the deciding attempt did, be the task satisfied by now or not."""
        deciding = self.deciding
        if deciding is None:
            return self.standing is not None
        return deciding.end is not None and verdict(deciding.end) == "succeeded"

    @property
    def standing(self) -> Success | None:
        """The success that is kept, if nothing was started since and nobody asked for it again."""
        is_newest = self.success is not None and self.success.round == self.round and not self.tries
        return self.success if is_newest else None

    @property
    def attempts_of_round(self) -> int:
        """How many claims the newest round has, started or not."""
        return sum(1 for a in self.attempts if a.claim.round == self.round)

    @property
    def is_untouched(self) -> bool:
        """Never started by us, and nobody asked for it again: whatever lies in its output is not ours."""
        return not self.rounds and not self.success and not any(a.is_started for a in self.attempts)

    @property
    def aside_due(self) -> int:
        """The newest round since the last attempt that ran which puts the old output aside; 0: none.

        A lost attempt may have died before it did so: the folder of that round says whether it did.
        """
        kept = self.success.round if self.success else 0
        last = max([kept, *(a.claim.round for a in self.attempts if a.has_run)])
        return max((r.number for r in self.rounds if r.aside and r.number > last), default=0)

    @property
    def is_aside_due(self) -> bool:
        return self.aside_due > 0

    def forget(self) -> None:
        """If the last attempt succeeded, keep of it, and of those before, only what decisions hang on: the records
        tell the rest.
        """
        if not self.attempts or self.attempts[-1].end is None or verdict(self.attempts[-1].end) != "succeeded":
            return
        last, task = self.attempts[-1], self.task
        identity = task.identity if last.claim.identity == task.identity else last.claim.identity  # one string for both
        needs = last.claim.needs or _NONE
        self.success = Success(last.number, last.claim.round, identity, needs, self.rounds_succeeded[:-1])
        self.attempts = ()


def count(line: Line, wanted: Verdict) -> int:
    """How many started attempts of the newest round ended so."""
    return sum(1 for a in line.tries if a.end is not None and verdict(a.end) == wanted)


@dataclass(frozen=True, slots=True)
class Around:
    """What the state of a task hangs on besides its own records."""

    lines: Mapping[str, Line]  # of its needs and of its canary
    to_open: Mapping[str, object]  # tasks whose next round this run is about to open: what depends on them waits
    readers: tuple[str, ...] = ()  # its dependents that run at present
    ignore_failures: bool = False  # a failed need counts as met
    canary: str = ""  # the task of its template that must succeed first


def derive(line: Line, around: Around) -> State:
    """The state of `line`, from its records and what is around it."""
    if line.launching:
        return Running(line.launching, claimed=False)
    if line.attempts and line.attempts[-1].end is None:
        return Running(line.attempts[-1].number)
    if line.is_cancelled:
        return Ended("cancelled", _decided_by(line))
    lines = around.lines
    needs = line.task.needs
    for name in reversed(needs):  # the last one is likely to be open longest: one look is enough for most events
        if name in around.to_open or not isinstance(lines[name].state, Ended):
            return Waiting((name,))
    found = _from_own_history(line, {name: _attempt(lines[name].state) for name in needs})
    # From what failed too, under -i: that holds until it changes.
    is_made = isinstance(found, Ended) and found.is_satisfied
    for name in needs:
        if not is_made and not _is_met(lines[name].state, around):
            return Ended("aborted", because=name)
    return found if isinstance(found, Ended) else _held(line, around) or found


def _held(line: Line, around: Around) -> Waiting | None:
    """What keeps a task from being started that is due by its own history."""
    if line.is_paused:
        return Waiting(why="paused")
    if around.canary not in {"", line.task.id} and not is_satisfied(around.lines[around.canary].state):
        return Waiting((around.canary,), "canary")
    if around.readers and line.is_aside_due:
        return Waiting(around.readers, "readers")
    return None


def is_satisfied(state: State) -> bool:
    return isinstance(state, Ended) and state.is_satisfied


def _is_met(state: State, around: Around) -> bool:
    is_ignored = around.ignore_failures and isinstance(state, Ended) and state.ending == "failed" and not state.stale
    return is_ignored or is_satisfied(state)


def _decided_by(line: Line) -> int:
    if (kept := line.standing) is not None:
        return kept.attempt
    return line.deciding.number if line.deciding else 0


def _attempt(state: State) -> int:
    return state.attempt if isinstance(state, Ended) else 0


def _from_own_history(line: Line, made_from: Mapping[str, int]) -> State:
    if (kept := line.standing) is not None:
        return _succeeded(line, kept.attempt, _stale(line, kept, made_from))
    tries = line.tries
    if not tries:
        return _unstarted(line)
    last = tries[-1]
    found = verdict(last.end) if last.end else "free"
    stale = _stale(line, last.claim, made_from)
    if found == "succeeded":
        return _succeeded(line, last.number, stale)
    if stale:
        return Ended("failed", last.number, stale)
    return _again(line, last, found)


def _stale(line: Line, then: Claim | Success, made_from: Mapping[str, int]) -> Why | None:
    """Whether what was executed `then` is not what would be executed now."""
    if then.identity != line.task.identity:
        return "changed"
    return "a need changed" if dict(then.needs) != dict(made_from) else None


def _succeeded(line: Line, attempt: int, stale: Why | None) -> State:
    is_gone = line.output not in {"none", "there"}
    return Ended("succeeded", attempt, stale or ("output gone" if is_gone else None))


def _unstarted(line: Line) -> State:
    """The newest round has no started attempt."""
    if line.rounds and line.rounds[-1].identity != line.task.identity:
        return Ended("aborted", stale="changed")
    if line.is_untouched and line.output == "there":
        return Ended("skipped")
    return Ready()


def _again(line: Line, last: Attempt, found: Verdict) -> State:
    """After an attempt that did not succeed: ready again, later, or failed."""
    if found == "free":
        return Ready()
    # Excused: it runs once more elsewhere, whatever its retries; there it counts, and this one with it.
    if found == "lost" or last.number in line.excused:
        free = count(line, "lost") + sum(a.number in line.excused for a in line.tries)
        return Ready() if free < policy.LOST_LIMIT else Ended("failed", last.number)
    failures = count(line, "failed")
    # A call that had failed is tried once by a new start, not as often as at first.
    is_repeated = line.task.is_call and any(r.why == "failed before" for r in line.rounds[-1:])
    if is_repeated or failures > line.task.retries:
        return Ended("failed", last.number)
    return Waiting(why="back-off", until=last.seen + policy.backoff(line.task.id, failures))
