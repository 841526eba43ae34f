"""A process that runs a queue's calls itself: the core that MultiRunner and the searches share.

A call is a task that a user's own process makes by calling a function. In the records it is a task like any other,
claimed and ended as a shim does it; only no command is launched, and no process of a call is ever signalled: what
counts is its result, and that counts once.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from parallel_train.core import events, policy, wire
from parallel_train.core.apply import apply
from parallel_train.core.copies import worth_it
from parallel_train.core.decide import decide
from parallel_train.core.facts import Claim, Lost, Owner
from parallel_train.core.task import Task
from parallel_train.errors import UsageError
from parallel_train.held import Held, Why
from parallel_train.procs import calls, process, proof
from parallel_train.procs.runner import check_kernel
from parallel_train.procs.shim import RefusedError, stamp
from parallel_train.project.beginning import new_worker
from parallel_train.project.calling import about, as_call, begin
from parallel_train.project.company import refuse_other_hosts
from parallel_train.report import calls as sentences
from parallel_train.store import submissions


class Caller:
    """One process that makes the calls of a queue itself: it claims, lets its companion beat, says how each ended.

    `project` is the folder whose queue it is (made if absent), `lease` the seconds of silence after which other
    hosts take over from it. With `repeat` it makes calls again that had failed, where all had ended and nobody works.
    `log` is where people find what its calls print, relative to `project`. Raises ParallelTrainError.
    """

    def __init__(self, project: Path, *, lease: float = 300.0, repeat: bool = False, log: str = "") -> None:
        check_kernel()
        self.project = Path(os.path.abspath(project))  # noqa: PTH100  not through links: other hosts may have others
        self.log = log
        self.worker = new_worker()
        self._complaint = ""
        self.disk, self.situation = begin(self.project, self.worker, lease, repeat=repeat, amiss=self.complain)
        self._company = calls.Company(self.disk.folder, self.worker, lease)
        self._pid = os.getpid()
        self._held: Held | None = None
        self._first_seen: dict[tuple[str, int], float] = {}  # attempts of others, by this process's own clock
        self.gpus: tuple[str, ...] = ()  # what people are shown of where its calls run
        self._has_joined = False
        self.on_leave: Callable[[], object] = lambda: None

    # ---- what is to be called ----

    def submit(
        self, source: str, tasks: Iterable[Task], *, keep: bool = False, settle: submissions.Settle | None = None
    ) -> None:
        """Make `tasks` what `source` names; with `keep` those that it names already stay. Nothing where they hold.

        Of a task its name, command, params, output, metrics and retries are given. `settle`: see store.submissions.
        Raises UsageError.
        """
        wanted = [as_call(task, source) for task in tasks]
        submissions.submit(
            self.disk.folder / "tasks", source, wanted, stamp(), settle=submissions.beside if keep else settle
        )
        self.refresh()

    def refresh(self) -> None:
        """Read what others wrote. Raises OSError, ParallelTrainError."""
        self._apply(self.disk.changes(time.monotonic()))

    @property
    def is_over(self) -> bool:
        """Whether every call has ended, as far as was read."""
        return not self.situation.open

    def wait(self, seconds: float = policy.POLL) -> None:
        """Until others may have written something."""
        time.sleep(seconds)

    def wait_for_retry(self) -> bool:
        """Wait a moment where a call is free but for its back-off, and say so; False where none is."""
        retries = self.situation.delayed
        left = retries[0][0] - time.monotonic() if retries and not self.situation.is_paused else 0.0
        if left <= 0:
            return False
        self.complain(sentences.retries(self.situation))
        self.wait(min(left, policy.POLL))
        return True

    def say_pause(self) -> None:
        """Where a person's pause keeps calls from being made."""
        if said := sentences.paused(self.situation, str(self.project)):
            self.complain(said)

    # ---- claims ----

    def next(self) -> Held | None:
        """The next call, claimed for this process; None: nothing is free now. Ends the calls of dead owners first.

        A call whose result stands already, for its owner died before it could say so, only gets its end.
        """
        self._check_process()
        try:
            self._join()
            self.refresh()
            return self._next()
        except OSError as error:
            self.complain(error)
            return None

    def _next(self) -> Held | None:
        while True:
            decisions = decide(self.situation, time.monotonic())
            news = [event for decision in decisions for event in self._do(decision)]
            if news:
                self._apply(news)
                continue
            launch = next((decision for decision in decisions if isinstance(decision, events.Launch)), None)
            if launch is not None:
                held = self._claim(launch)
                if held is not None:
                    return held
            elif self.situation.paused_until > time.monotonic():  # what was claimed did not begin: look again soon
                self.wait(policy.BEHIND_PAUSE)
            else:
                return None

    def _do(self, decision: events.Decision) -> Sequence[events.Event]:
        """All but a launch."""
        match decision:
            case events.Watch(claim):
                return self._look_at(claim)
            case events.Reclaim(claim, why):
                if not self.situation.lines[claim.task].task.is_call:
                    proof.sweep(claim)
                return [self.disk.end_as_lost(claim, Lost(why))]
            case events.OpenRound(wanted):
                return [self.disk.open_round(wanted)]
            case events.Look():
                now = time.monotonic()
                return [events.Looked(now), *self.disk.changes(now)]
            case _:
                return []

    def _look_at(self, claim: Claim) -> Sequence[events.Event]:
        """What can be seen of the owner of an attempt: asked again and again, since nothing else tells of its death."""
        key = (claim.task, claim.attempt)
        self._first_seen.setdefault(key, time.monotonic())
        if key in self.situation.vanished or proof.is_alive(claim.owner) is not False:
            return []
        return [events.Vanished(*key, "killed" if claim.owner.boot == process.boot_id() else "rebooted")]

    def _claim(self, launch: events.Launch) -> Held | None:
        """Link, look, act; None where somebody was faster, or it is not to be made."""
        order = calls.order_of(launch, self.disk.folder, self.worker, self.disk.lease)
        order["gpus"] = list(self.gpus)
        try:
            claim = calls.claim(order, self.log)
        except RefusedError:
            self.refresh()
            return None
        self._apply([events.Claimed(wire.claim_of(claim))])
        self._held = held = Held(self, launch.task, launch.attempt, launch.round, order)
        if doubt := calls.doubt(order):
            held.end({"outcome": {"not_started": doubt}})
            self.refresh()
            return None
        order["started"] = stamp()
        try:
            if calls.make_room(order):
                held.end({"outcome": {"exited": 0}, "output": "there", "note": "its result stood there already"})
                return None
            self._company.hold(order)
        except OSError as error:
            held.end({"outcome": {"not_started": f"could not be started: {error}"}})
            raise
        self._complaint = ""  # what was in the way is over
        held.begin()
        return held

    def copy(self) -> Held | None:
        """A call that another process is still making, to be made here too, since this one is expected to win.

        At most one living copy of an attempt; the first end stands. For when `next` has found nothing.
        """
        self._check_process()
        for claim in worth_it(self.situation, self._first_seen, time.monotonic()):
            task = self.situation.lines[claim.task].task
            order = calls.copy_of(claim, task, self.disk.folder, self.worker)
            try:
                self._company.begin()  # its beat tells other hosts that the copier lives
                if calls.announce_copy(order, self._may_live):
                    return Held(self, task, claim.attempt, claim.round, order, is_copy=True)
            except OSError as error:
                self.complain(error)
        return None

    def _may_live(self, owner: Owner) -> bool:
        """Whether a worker lives, as far as can be seen from here: by its process, on another host by its beat."""
        return owner.worker in {self.worker, *(other.worker for other in self.disk.others())}

    # ---- coming and going ----

    def close(self, why: Why = "left") -> None:
        """Leave; a call that has not ended is given back. Also done when the process ends by itself."""
        if not self._has_joined or os.getpid() != self._pid:
            return
        self._has_joined = False
        atexit.unregister(self.close)
        try:
            if self._held is not None:
                self._held.give_back(why)
            self.on_leave()
        finally:
            self._company.close()
            with suppress(OSError):  # its companion has taken its records away, or others see that it is gone
                self.disk.leave()

    def _join(self) -> None:
        if self._has_joined:
            return
        refuse_other_hosts(self.disk, self.project)
        self.disk.about = about(self.situation, self.disk)
        self.disk.join()
        self._has_joined = True
        atexit.register(self.close)
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._on_term)

    def _on_term(self, number: int, _: object) -> None:
        """Told to stop (a time limit, torchrun): what is held costs nothing. Dies as it would have without this."""
        try:
            self.close("terminated")
        finally:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise UsageError("this process was forked from the one that claims here: make it one of its own")

    def _apply(self, news: Iterable[events.Event]) -> None:
        for event in news:
            apply(self.situation, event)

    def complain(self, trouble: str | OSError) -> None:
        """Say a trouble once, not once a second; of the queue's without the file, for each try has one of its own."""
        text = trouble if isinstance(trouble, str) else f"the queue does not answer: {trouble.strerror}; trying again"
        if text != self._complaint:
            self._complaint = text
            print(f"parallel-train: {text}", file=sys.stderr, flush=True)

    def ended(self, held: Held, end: Mapping[str, object] | None) -> None:
        """A call of ours is over."""
        self._company.let_go(held.order)
        if held is self._held:
            self._held = None
        if end is not None:
            self._apply([events.Ended(wire.end_of(end), time.monotonic())])
