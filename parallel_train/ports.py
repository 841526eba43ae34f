"""The few verbs that the loop needs, so that tests and a dry run can stand in for disk, machine, screen and clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from parallel_train.core.cluster import Element
from parallel_train.core.events import Ended, Event, Launch, Requested, RoundOpened, Silent
from parallel_train.core.facts import Array, Claim, Lost, Round
from parallel_train.core.situation import Situation
from parallel_train.core.slots import Device


class Queue(Protocol):
    """The records that all workers share."""

    def join(self) -> None:
        """Make it known that this worker works here."""

    def leave(self) -> None:
        """Withdraw this worker."""

    def beat(self) -> None:
        """Show that this worker lives, where that is due."""

    def changes(self, now: float) -> list[Event]:
        """What the records say that was not read before; `now` is when (monotonic seconds)."""

    def requests(self, now: float) -> list[Event]:
        """The part of `changes` that people asked for since, with all that it brings along."""

    def has_company(self) -> bool:
        """Whether another worker may be writing: then `changes` is worth asking for."""

    def open_round(self, wanted: Round) -> RoundOpened:
        """Open that round, or learn who opened it first."""

    def excuse(self, tasks: Mapping[str, int]) -> Requested:
        """Record that these attempts were spoilt by a sick slot."""

    def end_as_lost(self, claim: Claim, outcome: Lost) -> Ended | Silent:
        """End an attempt whose owner is surely dead; the end that stands, whoever wrote it. Where it was taken for dead
        and has been heard again, that, and no end.
        """

    def enlist(self, wanted: Array) -> Array:
        """Make the record of an array, under the next free number."""


class Cluster(Protocol):
    """Machines that somebody else grants. Each verb takes seconds at most; it raises ClusterError for what is refused
    for good, and OSError (TimeoutError) for trouble that may pass.
    """

    def submit(self, array: Array, delay: float) -> None:
        """Ask for the elements of an array whose record is there; none starts within `delay` seconds."""

    def elements(self) -> tuple[Element, ...]:
        """The elements of this queue that are known, those that are over for as long as the cluster tells of them."""

    def dismiss(self, jobs: Sequence[str], level: int) -> None:
        """CANCEL those that wait. For those that run: DRAIN is Ctrl-C once (SIGINT to the worker, not the signal of
        the time limit: it leaves when its tasks have ended, and asks for no other turn), STOP is Ctrl-C twice (TERM),
        KILL kills. What is over already is passed over.
        """


class Runner(Protocol):
    """The processes of this machine."""

    def start(self, launch: Launch, devices: Sequence[Device]) -> None:
        """Ask for an attempt; what becomes of it comes from `wait`."""

    def watch(self, claim: Claim) -> None:
        """Learn from `wait` what became of an attempt that this process did not start: at once where it has an end, and
        when its process dies. One that lives on after it leaves its end in the queue, like those of other hosts.
        """

    def stop(self, task: str, attempt: int, *, kill: bool) -> None:
        """Tell an attempt to end."""

    def sweep(self, claim: Claim) -> None:
        """Kill what a dead owner left running."""

    def wait(self, seconds: float | None) -> list[Event]:
        """What happened; waits up to `seconds` (None: for ever) for the first event."""

    def close(self) -> None:
        """Let go of everything; attempts run on."""


class Reporter(Protocol):
    """The people who watch."""

    def show(self, event: Event, situation: Situation) -> None:
        """Say what did happen."""

    def tick(self, situation: Situation, now: float) -> float:
        """Bring the screen up to date; the seconds until it wants to be asked again."""

    def close(self, situation: Situation, exit_code: int) -> None:
        """Say how it all ended."""


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds that only ever grow."""
