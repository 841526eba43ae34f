"""What a cluster is asked for and told, and what it says. Its word is for people: claims and ends decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from parallel_train.core.facts import Array

Phase = Literal["waiting", "running", "over"]

LATER = "BeginTime"  # the reason of an element that may not begin yet
CANCEL, DRAIN, STOP, KILL = range(4)  # how an element is dismissed: see ports.Cluster


@dataclass(frozen=True, slots=True)
class Element:
    """One job of an array."""

    job: str  # as the cluster names it to people, such as 123_4
    array: int  # the number of its record
    index: int  # in its array, from 0
    phase: Phase
    state: str = ""  # the cluster's own word, such as PENDING
    reason: str = ""  # why it is so, in the cluster's own word, such as Resources
    meaning: str = ""  # the state in words that follow "123_4", such as: its machine failed
    host: str = ""
    why: str = ""  # why it waits, in words; empty where there is nothing to tell
    log: str = ""  # the file that says why it is over, where one does
    has_left: bool = False  # over since its worker wanted so


# ---- decisions ----


@dataclass(frozen=True, slots=True)
class Enlist:
    """Ask the cluster for `wanted`, whose record gets its number then."""

    wanted: Array
    delay: float = 0.0  # seconds before the cluster may start it


@dataclass(frozen=True, slots=True)
class Dismiss:
    """Tell elements to leave."""

    jobs: tuple[str, ...]
    level: int  # see ports.Cluster


@dataclass(frozen=True, slots=True)
class AskCluster:
    """See which elements there are."""
