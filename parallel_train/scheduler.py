"""The one loop: wait for an event, apply it, decide, act, report. It moves values and decides nothing."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from parallel_train.core import lent, policy
from parallel_train.core.apply import apply
from parallel_train.core.cluster import AskCluster, Dismiss, Enlist
from parallel_train.core.decide import decide, wake_at
from parallel_train.core.events import (
    ClusterSilent,
    Decision,
    Dismissed,
    ElementsSeen,
    Enlisted,
    Event,
    Launch,
    Launched,
    Leave,
    Look,
    Looked,
    NotEnlisted,
    OpenRound,
    PutSlotAside,
    Reclaim,
    Refused,
    SlotPutAside,
    Stop,
    Told,
    Warned,
    Watch,
    Watched,
)
from parallel_train.core.facts import Lost
from parallel_train.core.situation import Situation
from parallel_train.errors import ClusterError, ParallelTrainError
from parallel_train.ports import Clock, Cluster, Queue, Reporter, Runner


@dataclass(slots=True)
class Scheduler:
    situation: Situation
    queue: Queue
    runner: Runner
    reporter: Reporter
    clock: Clock
    poll: float = policy.POLL  # seconds between two looks at what others wrote
    poll_most: float = policy.POLL  # and where many share the disk (see lent.poll)
    cluster: Cluster | None = None  # where the situation has a roster
    looked_at: float = 0.0
    had_company: bool = False
    is_withdrawn: bool = False  # as who leaves is: no shim starts anything for it then
    complaint: str = ""  # the last trouble that was said

    def run(self) -> int:
        """Until there is nothing left to do here; the exit code."""
        self.queue.join()
        try:
            return self._loop()
        finally:
            with suppress(OSError):  # the record of a worker that lives no more counts for nobody
                self.queue.leave()
            self.runner.close()

    def _loop(self) -> int:
        while True:
            now = self.clock.monotonic()
            decisions = decide(self.situation, now)
            for decision in decisions:
                if isinstance(decision, Leave):
                    leave = self._leave_after_news()
                    if leave is None:
                        break
                    return self._leave(leave)
                if not self._act(decision):
                    break
            if not decisions:
                self._take(self.runner.wait(self._patience(now)))
            elif any(isinstance(decision, OpenRound) for decision in decisions):
                self._take(self.runner.wait(0.0))  # many rounds take long: hear a Ctrl-C in between
            self._look_around()

    def _leave(self, decision: Leave) -> int:
        for task in decision.stuck:
            self._take([Warned(f"stuck: {task} waits for something that can't come [this is a bug]")])
        self.reporter.close(self.situation, decision.exit_code)
        return decision.exit_code

    def _patience(self, now: float) -> float:
        """Seconds to wait for an event: until something comes due, the screen is old, or others may have written."""
        times = [self.reporter.tick(self.situation, now), self._poll()]
        due = wake_at(self.situation, now)
        if due is not None:
            times.append(due - now)
        return max(0.0, min(times))

    def _poll(self) -> float:
        return lent.poll(self.situation, self.poll, self.poll_most)

    def _look_around(self) -> None:
        """Read what people asked for and, while others work here too, what they wrote."""
        now = self.clock.monotonic()
        if now - self.looked_at >= self._poll():
            self.looked_at = now
            if self.is_withdrawn:
                self._rejoin()
            self._read_others(now)

    def _read_others(self, now: float) -> bool:
        """What others wrote, as long as there are others and once after they left; whether it could be read.

        A cluster's workers come and go between two looks.
        """
        try:
            self.queue.beat()
            has_company = self.queue.has_company()
            is_theirs = has_company or self.had_company or self.cluster is not None
            events = self.queue.changes(now) if is_theirs else self.queue.requests(now)
        except (OSError, ParallelTrainError) as error:
            self._complain(f"the queue can't be read: {error}; trying again")
            return False
        self.had_company = has_company
        self._take(events)
        return True

    def _leave_after_news(self) -> Leave | None:
        """Withdraw and look once more: whoever asks for something afterwards knows that we are gone. What to leave
        with; None where there is something to do after all, for which we have joined again.
        """
        self.is_withdrawn = True
        with suppress(OSError):
            self.queue.leave()
        if not self._read_others(self.clock.monotonic()) and not self.situation.stopping:
            self._take(self.runner.wait(policy.POLL))  # what was asked in the last moment can't be read yet
            self._rejoin()
            return None
        match decide(self.situation, self.clock.monotonic()):
            case [Leave() as again]:
                return again
        self._rejoin()
        return None

    def _rejoin(self) -> None:
        try:
            self.queue.join()
            self.is_withdrawn = False
        except ParallelTrainError as error:
            self._complain(f"{error}; trying again")

    def _take(self, events: Iterable[Event]) -> None:
        for event in events:
            apply(self.situation, event)
            self.reporter.show(event, self.situation)

    def _complain(self, text: str) -> None:
        """Say a trouble once, not once a second."""
        if text != self.complaint:
            self.complaint = text
            self._take([Warned(text)])

    def _act(self, decision: Decision) -> bool:
        """Do what was decided; whether it was done. What disk or machine refuse is said and tried again later."""
        try:
            events = self._do(decision)
        except OSError as error:
            if not isinstance(decision, Launch):
                self._complain(f"{type(decision).__name__}: {error}; trying again")
                self._take(self.runner.wait(policy.POLL))
                return False
            now = self.clock.monotonic()
            events = [Refused(decision.task.id, decision.attempt, "trouble", now, text=str(error))]
        self._take(events)
        return True

    def _do(self, decision: Decision) -> Iterable[Event]:  # noqa: C901, PLR0911  one deed per decision
        now = self.clock.monotonic()
        match decision:
            case Launch(task, attempt, slots=slots):
                self._take([Launched(task.id, attempt, slots, now)])
                self.runner.start(decision, self.situation.pool.devices(slots))
            case OpenRound(wanted):
                return [self.queue.open_round(wanted)]
            case Watch(claim):
                self.runner.watch(claim)
                return [Watched(claim.task, claim.attempt)]
            case Reclaim(claim, why):
                self.runner.sweep(claim)
                return [self.queue.end_as_lost(claim, Lost(why))]
            case Stop(task, attempt, kill):
                self.runner.stop(task, attempt, kill=kill)
                return [Told(task, attempt, 3 if kill else 2)]
            case PutSlotAside(slot, tasks):
                return [self.queue.excuse(tasks), SlotPutAside(slot, tasks)]
            case Look():
                # First: a round that is found now may have come after the claims were listed, and asks for one more.
                return [Looked(now), *self.queue.changes(now)]
            case AskCluster() | Enlist() | Dismiss() if self.cluster is not None:
                answer = self._ask(self.cluster, decision, now)
                # The records afterwards: who is over has written before what came of it.
                return [answer, *self.queue.changes(now)] if isinstance(decision, AskCluster) else [answer]
            case _:
                pass
        return ()

    def _ask(self, cluster: Cluster, decision: AskCluster | Enlist | Dismiss, now: float) -> Event:
        """What came of a word with the cluster, which may well refuse it or be silent."""
        try:
            match decision:
                case AskCluster():
                    return ElementsSeen(cluster.elements(), now)
                case Dismiss(jobs, level):
                    cluster.dismiss(jobs, level)
                    return Dismissed(jobs, level)
                case Enlist(wanted, delay):  # pragma: no branch
                    array = self.queue.enlist(wanted)  # before it is asked for: an element may start at once
                    cluster.submit(array, delay)
                    return Enlisted(array, ours=True, is_sent=True, delay=delay, at=now)
        except (OSError, ClusterError) as error:
            if isinstance(decision, Enlist):
                return NotEnlisted(str(error), is_final=isinstance(error, ClusterError), at=now)
            return ClusterSilent(str(error), now)
