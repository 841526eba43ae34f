"""The records of the queue as values: what was asked, who started what, how it ended. Facts, never states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Why = Literal["asked for", "failed before", "changed", "a need changed", "output gone"]
Verdict = Literal["succeeded", "failed", "free", "lost"]
OutputState = Literal["none", "there", "missing", "empty", "not done"]
# Its process is dead, its machine was started anew, or it was silent for a lease.
LostBy = Literal["killed", "rebooted", "expired"]
GIVEN_BACK = "its process"  # stopped so: a call that its own process did not finish
TIME_UP = "time"  # stopped so: its allocation ended
Asking = Literal["cancel", "pause", "resume", "priority", "retry", "add", "excuse"]


@dataclass(frozen=True, slots=True)
class Round:
    """The attempts of one task made for one reason to run. Round 1 is implied and has no record."""

    task: str
    number: int
    identity: str
    why: Why
    aside: bool  # whether the old output is put aside (or kept, so that a script can resume)
    by: str = ""  # the worker that opened it


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that owns an attempt, so that nobody takes another process for it."""

    worker: str
    host: str
    machine: str  # machine id
    boot: str  # boot id
    pidns: str  # PID namespace
    pid: int
    start: int  # start time in clock ticks since boot: a pid alone may be used again


@dataclass(frozen=True, slots=True)
class Claim:
    """The exclusive right to run attempt `attempt` of `task`."""

    task: str
    attempt: int
    round: int
    identity: str
    needs: Mapping[str, int]  # need -> its deciding attempt, 0 where its output was not ours
    owner: Owner
    slots: tuple[str, ...]  # names of the slot locks
    gpus: tuple[str, ...]  # labels of the devices
    log: str
    err: str
    cookie: str = ""
    group: str = ""  # the folder of its control group, where it may have one
    made_with: Mapping[str, str] = field(default_factory=dict)  # what may matter but is no part of the identity
    lease: float = 300.0  # seconds of silence after which others may take over
    at: str = ""  # ISO 8601 UTC


@dataclass(frozen=True, slots=True)
class Exited:
    code: int


@dataclass(frozen=True, slots=True)
class Signalled:
    number: int


@dataclass(frozen=True, slots=True)
class TimedOut:
    pass


@dataclass(frozen=True, slots=True)
class NotStarted:
    why: str


@dataclass(frozen=True, slots=True)
class Lost:
    why: LostBy | Literal["damaged"]


Outcome: TypeAlias = "Exited | Signalled | TimedOut | NotStarted | Lost"


@dataclass(frozen=True, slots=True)
class End:
    """How attempt `attempt` of `task` ended. The first end of an attempt is its only one."""

    task: str
    attempt: int
    outcome: Outcome
    stopped: str = ""  # who told it to stop, where somebody did: such an attempt is never a success
    output: OutputState = "none"  # what the task promised, as its shim found it
    note: str = ""  # such as "command not found: trian.py"
    started: str = ""  # ISO 8601 UTC; empty where its command was not executed
    ended: str = ""
    seconds: float = 0.0  # by the monotonic clock
    max_rss_kib: int = 0
    cpu_seconds: float = 0.0
    swept: int = 0  # processes of the task that had outlived it
    # What decisions hang on of its claim, for whoever needs no more; round 0: its claim alone says it.
    round: int = 0
    identity: str = ""
    needs: Mapping[str, int] = field(default_factory=dict)
    worker: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """What a person, or a worker, asked of all workers. Of those on one subject the highest number holds."""

    number: int
    kind: Asking
    # Whom it names: a task with its round (cancel, retry), its priority, or the attempt that a sick slot spoilt
    # (excuse). Nobody: the whole queue, or what was added.
    tasks: Mapping[str, int] = field(default_factory=dict)
    submission: int = 0  # what was added
    by: str = ""  # user@host
    at: str = ""  # ISO 8601 UTC


@dataclass(frozen=True, slots=True)
class Array:
    """Jobs that were asked of a cluster together: its elements. Each holds one worker or, with `is_each`, one task."""

    number: int
    size: int
    selection: tuple[str, ...]  # the tasks it is for; with `is_each` element i runs selection[i] alone
    gpus: int = 1  # of each element
    is_each: bool = False
    at_once: int = 0  # so many elements at most run at the same time; 0: as many as the cluster lets
    ignore_failures: bool = False  # -i of the run that asked for it
    options: tuple[str, ...] = ()  # the words by which another run asks for the like: --on slurm …
    by: str = ""  # the worker that asked for it
    at: str = ""  # ISO 8601 UTC


@dataclass(frozen=True, slots=True)
class Attempt:
    """One execution of a task: its claim and, once it is over, its end."""

    claim: Claim
    end: End | None = None
    seen: float = field(default=0.0, compare=False)  # when this process learnt of the end, monotonic seconds

    @property
    def number(self) -> int:
        return self.claim.attempt

    @property
    def is_started(self) -> bool:
        return self.end is None or not isinstance(self.end.outcome, NotStarted)

    @property
    def has_run(self) -> bool:
        """Whether its command was surely executed (or is about to be)."""
        return self.end is None or (bool(self.end.started) and not isinstance(self.end.outcome, Lost))


def claim_in(end: End) -> Claim | None:
    """The claim of that attempt as far as its end repeats it; None where it does not."""
    if not end.round:
        return None
    owner = Owner(end.worker, "", "", "", "", 0, 0)
    return Claim(end.task, end.attempt, end.round, end.identity, end.needs, owner, (), (), "", "")


def verdict(end: End) -> Verdict:
    """What an end means for its task. `free` costs nothing: the task is ready again."""
    match end.outcome:
        case NotStarted():
            return "free"
        case Lost(why):
            return "free" if why == "rebooted" else "lost"
        case TimedOut():
            return "failed"
        case _ if end.stopped:
            return "free"
        case Exited(0) if end.output in {"none", "there"}:
            return "succeeded"
        case _:
            return "failed"
