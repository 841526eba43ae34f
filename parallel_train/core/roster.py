"""Who was asked of a cluster, and what it says of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from parallel_train.core import policy
from parallel_train.core.cluster import LATER, Element
from parallel_train.core.events import (
    Claimed,
    ClusterSilent,
    Dismissed,
    ElementsSeen,
    Ended,
    Enlisted,
    Event,
    NotEnlisted,
)
from parallel_train.core.facts import Array


@dataclass(frozen=True, slots=True)
class Terms:
    """What a run asks of a cluster."""

    workers: int  # at most so many at once; for one task each, 0: as many as the cluster lets
    gpus: int  # of each worker; 0: it has CPU slots in their place
    slots: int  # of each worker, for tasks that want GPUs
    cpu_slots: int = 2  # for those that want none
    at_once: int = 0  # tasks that a worker runs at most; 0: as many as there are slots
    is_each: bool = False  # an element for each task
    most: int = 1000  # elements of one array that the cluster takes
    is_detached: bool = False  # it leaves when everything is asked for

    def carries(self, gpus: int) -> bool:
        """Whether a task that wants `gpus` GPUs fits into one worker."""
        return gpus <= self.slots if gpus else self.cpu_slots > 0


@dataclass(slots=True)
class Roster:
    """The arrays and elements of a run, kept up to date by its events."""

    terms: Terms
    arrays: dict[int, Array] = field(default_factory=dict)
    sent: set[int] = field(default_factory=set)  # by this run
    left: set[int] = field(default_factory=set)  # by runs that live no more
    unseen: set[int] = field(default_factory=set)  # sent since the elements were seen
    elements: tuple[Element, ...] = ()
    told: dict[str, int] = field(default_factory=dict)  # job -> how it was dismissed
    done: dict[str, Element] = field(default_factory=dict)  # job -> who has left in order, after some claim
    ran_at: dict[str, float] = field(default_factory=dict)  # job -> when it was seen to run last
    heard_at: float = 0.0  # when the cluster was asked last
    patience: float = 0.0  # seconds until it is asked again
    silences: int = 0  # in a row
    silent: str = ""  # why it does not answer; empty where it does
    refused: str = ""  # why it takes nothing more
    repeats: int = 0  # arrays in a row that replaced lost ones, without any claim
    is_in_vain: bool = False  # no claim has followed the last array yet
    is_met: bool = False  # the cluster has answered before
    is_stale: bool = False  # something has happened since the elements were seen

    @property
    def living(self) -> Iterator[Element]:
        return (element for element in self.elements if element.phase != "over")

    @property
    def put_off(self) -> Iterator[Element]:
        """Those that lost their host: Slurm gives them another turn, and not soon."""
        for element in self.living:
            since = self.heard_at - self.ran_at.get(element.job, self.heard_at)
            if element.phase == "waiting" and element.reason == LATER and since > policy.PUT_OFF:
                yield element

    def note(self, event: Event) -> None:
        match event:
            case ElementsSeen():
                self._on_elements_seen(event)
            case Enlisted():
                self._on_enlisted(event)
            case NotEnlisted(text, is_final=True):
                self.refused = text
            case NotEnlisted(text, at=at) | ClusterSilent(text, at):
                self.silent = text
                self.heard_at, self.patience = at, policy.cluster_pause(self.silences)
                self.silences += 1
            case Dismissed(jobs, level):
                self.told.update(dict.fromkeys(jobs, level))
            case Claimed():
                self.repeats, self.is_in_vain = 0, False
            case Ended():
                self.is_stale = True
            case _:
                pass

    def _on_elements_seen(self, event: ElementsSeen) -> None:
        before = len(list(self.living))
        self.elements = event.elements
        if len(list(self.living)) < before:
            self.refused = ""  # what was too many may be no more
        self.heard_at, self.patience = event.at, policy.cluster_poll(self.patience)
        self.silent, self.silences, self.is_met, self.is_stale = "", 0, True, False
        self.unseen.clear()
        if not self.is_in_vain:
            self.done.update((element.job, element) for element in event.elements if element.has_left)
        running = {element.job for element in self.living if element.phase == "running"}
        self.told = {job: level for job, level in self.told.items() if job in running}
        self.ran_at.update(dict.fromkeys(running, event.at))

    def _on_enlisted(self, event: Enlisted) -> None:
        number = event.array.number
        self.arrays[number] = event.array
        if event.is_sent:
            self.sent.add(number)
            self.unseen.add(number)
            self.patience = 0.0
            self.repeats += event.delay > 0
            self.is_in_vain = True
        elif event.ours and number not in self.sent:
            self.left.add(number)
