"""What explains how one task stands, as values; and how sections of it are written down."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from parallel_train.core.causes import Link, Place, Step
from parallel_train.core.differences import Change
from parallel_train.core.facts import Attempt, Request
from parallel_train.core.muster import Muster
from parallel_train.core.situation import Situation
from parallel_train.core.state import Line
from parallel_train.report import words
from parallel_train.report.workers import Seen

MOST = 6  # needs, links of a chain, tasks before it

Rows = Iterator[tuple[str, str]]  # a label and its text


@dataclass(frozen=True, slots=True)
class Worker:
    seen: Seen
    slots: tuple[str, ...]  # labels, of the kind that the task takes
    takes: bool  # whether it works on the task
    asks: bool = False  # a cluster for workers, and has no slots itself


@dataclass(frozen=True, slots=True)
class Found:
    """What stands on the disk, besides the records of a situation."""

    command: tuple[str, ...]  # as it would be run
    output: str  # an OutputState
    is_done: bool | None  # whether done_when holds; None without one
    aside: Mapping[int, str]  # round -> where the old output lies; empty where nothing was there to put aside
    changed: tuple[Change, ...]
    changed_since: tuple[str, ...]  # see Line
    touched: tuple[tuple[str, str], ...]  # an input, and when it was written: after the last attempt began
    requests: tuple[Request, ...]
    workers: tuple[Worker, ...]
    muster: Muster | None  # what Slurm says of those that it was asked for, where it was
    elsewhere: tuple[str, ...]  # which attempts of other queues hold slots of these workers, in words
    source: str  # what names it: the task file, with what was laid over it; empty where nothing does
    options: tuple[str, ...]  # the words that have it done on a cluster, where that was asked for it
    records: Mapping[str, tuple[str, ...]]  # kind -> paths
    damaged: tuple[str, ...]
    now: datetime


@dataclass(frozen=True, slots=True)
class Story:
    situation: Situation
    line: Line
    links: tuple[Link, ...]
    place: Place | None  # where it could start
    steps: tuple[Step, ...]
    found: Found


# ---- writing ----


def labelled(label: str, texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    for place, said in enumerate(texts):
        yield "" if place else label, words.clean(said)


def shortened(texts: list[str]) -> list[str]:
    """The first ones and the last, and how many are between them."""
    more = len(texts) - MOST
    return texts if more <= 0 else [*texts[: MOST - 1], f"… and {more} more …", texts[-1]]


def numbered(s: Situation, name: str) -> str:
    task = s.lines[name].task
    return f"#{task.number} {words.name(task)}"


def short(at: str) -> str:
    return f"{at[:16].replace('T', ' ')} UTC" if at else ""


def where(attempt: Attempt) -> str:
    claim = attempt.claim
    return f"{words.slot(claim.gpus)} of {words.clean(claim.owner.host)}" if claim.owner.host else ""
