"""What did happen (events, past tense) and what should happen (decisions, imperative)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from parallel_train.core.cluster import AskCluster, Dismiss, Element, Enlist
from parallel_train.core.facts import Array, Claim, End, LostBy, OutputState, Request, Round
from parallel_train.core.task import Task

# ---- events ----


@dataclass(frozen=True, slots=True)
class Submitted:
    """A submission of `source` was read: its tasks are now these, and no others."""

    source: str
    tasks: tuple[Task, ...]


@dataclass(frozen=True, slots=True)
class Requested:
    """A person asked for something."""

    request: Request


@dataclass(frozen=True, slots=True)
class SlotPutAside:
    """This worker uses a slot no more: different tasks failed on it at once, while others succeeded elsewhere."""

    slot: str
    tasks: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Joined:
    """A person added or retried these tasks while this worker lives: it takes them up beside its own."""

    tasks: frozenset[str]


@dataclass(frozen=True, slots=True)
class Company:
    """This worker is number `place`, from 0, of `size` that launch the same tasks now."""

    place: int
    size: int


@dataclass(frozen=True, slots=True)
class RoundOpened:
    round: Round
    ours: bool = False  # whether this worker asked for it


@dataclass(frozen=True, slots=True)
class Launched:
    """A shim was asked for; it has claimed nothing yet."""

    task: str
    attempt: int
    slots: tuple[str, ...]
    at: float


@dataclass(frozen=True, slots=True)
class Claimed:
    claim: Claim
    orphan: bool = False  # its worker lives no more, so that whoever sees it looks after it
    is_here: bool = True  # on this machine, so that its slots are ours too


@dataclass(frozen=True, slots=True)
class Refused:
    """The shim claimed nothing: a slot was held, its view was old, or the machine could not start it."""

    task: str
    attempt: int
    why: Literal["busy", "behind", "trouble"]
    at: float
    slots: tuple[str, ...] = ()  # the held ones
    text: str = ""


@dataclass(frozen=True, slots=True)
class Watched:
    """This process will learn when that attempt ends (or never can: it runs on another host)."""

    task: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Told:
    """An attempt was told to end."""

    task: str
    attempt: int
    level: int


@dataclass(frozen=True, slots=True)
class Vanished:
    """The owner of an attempt left no end, and is dead or taken for dead."""

    task: str
    attempt: int
    why: LostBy = "killed"


@dataclass(frozen=True, slots=True)
class Silent:
    """The owner of an attempt on another host misses beats, or is heard again."""

    task: str
    attempt: int
    is_back: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    end: End
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class OutputFound:
    """What stands where the task promised its output, as somebody looked."""

    task: str
    output: OutputState
    changed_since: tuple[str, ...] = ()  # see Line


@dataclass(frozen=True, slots=True)
class Looked:
    """Everything that others wrote until now was read."""

    at: float


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A person or the system asks this worker to leave: 1 drains, 2 stops its attempts, 3 kills them,
    4 does not wait for those that do not die.
    """

    level: int
    exit_code: int
    at: float


@dataclass(frozen=True, slots=True)
class HungUp:
    """The terminal is gone; the run goes on without it."""


@dataclass(frozen=True, slots=True)
class Enlisted:
    """The record of an array was read; with `is_sent` this worker has just asked the cluster for it."""

    array: Array
    ours: bool  # asked for by this worker, or by one that lives no more
    is_sent: bool = False
    delay: float = 0.0  # see Enlist
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class NotEnlisted:
    """The cluster did not take an array: for good, or it is in trouble."""

    text: str
    is_final: bool
    at: float


@dataclass(frozen=True, slots=True)
class ElementsSeen:
    """All elements of this queue that the cluster knows."""

    elements: tuple[Element, ...]
    at: float


@dataclass(frozen=True, slots=True)
class ClusterSilent:
    """The cluster did not answer, or not to the point."""

    text: str
    at: float


@dataclass(frozen=True, slots=True)
class Dismissed:
    """Elements were told to leave."""

    jobs: tuple[str, ...]
    level: int  # see ports.Cluster


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """What is left of the allocation that this worker runs in."""

    seconds: float  # infinite where nobody knows, or nothing has changed
    at: float
    is_near: bool = False  # the cluster has said that its end comes: nothing more is started


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that a person should know and that changes nothing."""

    text: str
    task: str = ""  # whom it is about, where that is one task


Event: TypeAlias = (
    "Submitted | Requested | Joined | Company | RoundOpened | Launched | Claimed | Refused | Watched | Told | Vanished"
    " | Silent | SlotPutAside | Ended | OutputFound | Looked | Interrupted | HungUp | Warned"
    " | Enlisted | NotEnlisted | ElementsSeen | ClusterSilent | Dismissed | TimeLeft"
)

# ---- decisions ----


@dataclass(frozen=True, slots=True)
class OpenRound:
    round: Round


@dataclass(frozen=True, slots=True)
class NeedSeen:
    """What a launch knows of a need; its shim looks whether it still is so."""

    round: int
    deciding: int  # the attempt it is made from, 0 where the need's output was not ours
    last: int  # the last attempt there is


@dataclass(frozen=True, slots=True)
class Launch:
    task: Task
    attempt: int
    round: int
    needs: Mapping[str, NeedSeen]
    slots: tuple[str, ...]
    aside: int  # the round for which the old output is put aside first, 0: for none
    heard: int = 0  # the last request that is known: its shim looks for newer ones
    asked_round: int = 1  # see Line
    wait: float = 0.0  # seconds after its claim: an owner from whom an attempt was taken may live until it has halted
    resumes: bool = False  # whether what stands in its output was left by an attempt that did not come to its end
    stops_at: float = math.inf  # monotonic seconds: a stop from then on is the end of its allocation


@dataclass(frozen=True, slots=True)
class Watch:
    """Learn when an attempt that this process did not start ends."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Reclaim:
    """End an attempt as lost, after sweeping what its owner left."""

    claim: Claim
    why: LostBy


@dataclass(frozen=True, slots=True)
class Stop:
    """Tell an attempt to end: politely first, or at once."""

    task: str
    attempt: int
    kill: bool


@dataclass(frozen=True, slots=True)
class PutSlotAside:
    """Use that slot no more, and do not hold these attempts against their tasks."""

    slot: str
    tasks: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Look:
    """Read what other workers wrote."""


@dataclass(frozen=True, slots=True)
class Leave:
    exit_code: int
    stuck: tuple[str, ...] = ()  # tasks that wait for something that can't come: a bug, said as one


Decision: TypeAlias = (
    "OpenRound | Launch | Watch | Reclaim | Stop | PutSlotAside | Look | Leave | Enlist | Dismiss | AskCluster"
)
