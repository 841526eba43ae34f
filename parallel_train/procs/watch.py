"""The wait for one command: reaps, keeps its time limit, climbs the ladder when told to stop, sweeps.

Standard library only, Python 3.8 and newer.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any, Callable

from parallel_train.procs import fence, locks, process
from parallel_train.procs.beat import Beat

SWEEP_GRACE = 2.0  # seconds that processes which outlive their task get after TERM
STUBBORN = 6  # times the grace, after KILL: what has not died by then is named
TIME = 5.0  # seconds that what Slurm says of the time left may change by
TELLING = 0.5  # seconds that Slurm takes at most to tell all processes of an allocation that it ends
TOUCH = 3600.0  # seconds between two touches of the slot locks: cleaners of /tmp go by age
STOPS = {signal.SIGTERM, signal.SIGQUIT}
SIGNALS = {signal.SIGCHLD, *STOPS}
LADDER = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


class Watch:
    """One running command, from its start until nothing of it is left."""

    def __init__(
        self, pid: int, order: dict[str, Any], held: list[int], beat: Beat, *, say: Callable[[str], None]
    ) -> None:
        self.pid = pid
        self.say = say
        self.log = str(order["log"])
        self.grace = float(order["grace"])  # seconds between INT, TERM and KILL
        self.group = str(order["group"])
        self.held = held
        self.beat = beat
        self.is_halted = False
        self.is_granted = "SLURM_JOB_ID" in os.environ
        timeout = order["timeout"]
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.time_up = float("inf") if order["stops_at"] is None else order["stops_at"] - TIME
        self.stopped = ""
        self.rung = 0  # of LADDER, the next to send
        self.next_rung = 0.0
        self.next_touch = time.monotonic() + TOUCH
        self.status: int | None = None
        self.usage: Any = None
        self.swept = 0
        self.killed = 0.0  # when what is left was first killed

    def wait(self) -> None:
        self._on_time(time.monotonic())  # we may have been stopped since it was started
        while self.status is None:
            told = signal.sigtimedwait(SIGNALS, self._patience())
            self._reap()  # first: a task that has ended is not stopped any more
            if self.status is None and told is not None:
                self._on_signal(told.si_signo)
            elif told is not None:
                self._on_late_signal(told.si_signo)
            if self.status is None:
                self._on_time(time.monotonic())
        self._hear_who_told_all()
        self.beat.stop()
        self._sweep()

    def outcome(self) -> dict[str, Any]:
        """The parts of the end record that say how it ended."""
        status = self.status or 0
        if self.stopped == "timeout":
            outcome: dict[str, Any] = {"timed_out": True}
        elif os.WIFSIGNALED(status):
            outcome = {"signalled": os.WTERMSIG(status)}
        else:
            outcome = {"exited": os.WEXITSTATUS(status)}
        return {
            "outcome": outcome,
            "stopped": "cancel" if self.stopped in {"worker", "time"} and self._was_cancelled() else self.stopped,
            "max_rss_kib": self.usage.ru_maxrss,
            "cpu_seconds": round(self.usage.ru_utime + self.usage.ru_stime, 3),
            "swept": self.swept,
        }

    def _was_cancelled(self) -> bool:
        try:
            return self.beat.asked.against() == "cancelled"
        except OSError:
            return False  # can't be seen now

    def _patience(self) -> float:
        now = time.monotonic()
        seen = Beat.now()
        until = [self.next_touch, now + self.beat.due(seen) - seen]
        if self.stopped:
            until.append(self.next_rung)
        elif self.deadline is not None:
            until.append(self.deadline)
        return max(0.0, min(until) - now)

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGTERM and not self.stopped:
            self._stop(self._teller())  # or a person: the requests say, but a disk that hangs must not hold us here
        elif number == signal.SIGQUIT:
            self.stopped = self.stopped or self._teller()
            self.rung = LADDER.index(signal.SIGKILL)
            self._climb()

    def _teller(self) -> str:
        """Who tells us to stop: our worker, or its allocation's end by way of it."""
        return "time" if time.monotonic() >= self.time_up else "worker"

    def _on_late_signal(self, number: int) -> None:
        """The task has ended. Slurm tells all processes of an allocation at once: this is what ended it then."""
        if number == signal.SIGTERM and self.is_granted:
            self.stopped = self.stopped or self._teller()

    def _hear_who_told_all(self) -> None:
        """The task may have heard of it, and have ended, before us."""
        if self.is_granted and not self.stopped:
            told = signal.sigtimedwait({signal.SIGTERM}, TELLING if self.status else 0)
            if told is not None:
                self._on_late_signal(told.si_signo)

    def _on_time(self, now: float) -> None:
        if now >= self.next_touch:
            self.next_touch = now + TOUCH
            for descriptor in self.held:
                locks.touch(descriptor)
        self._on_beat(self.beat.look(Beat.now()))
        if self.stopped:
            if now >= self.next_rung:
                self._climb()
        elif self.deadline is not None and now >= self.deadline:
            self._stop("timeout")
        self._name_what_lives(now)

    def _on_beat(self, found: str) -> None:
        """Halt while nobody can know that we live, and go on when the disk answers; give up what is another's."""
        if found == "taken" and self.stopped != "takeover":
            self.stopped = "takeover"
            self.rung = LADDER.index(signal.SIGKILL)
            self._climb()
        elif found == "cancelled" and not self.stopped:
            self._stop("cancel")
        elif (found == "silent") != self.is_halted:
            self.is_halted = found == "silent"
            self._signal_tree(signal.SIGSTOP if self.is_halted else signal.SIGCONT)

    def _signal_tree(self, number: int) -> None:
        self._signal_group(number)  # first: at once, however many processes there are to look through
        _signal_all([pid for pid in process.descendants(os.getpid()) if pid != self.beat.child], number)

    def _stop(self, why: str) -> None:
        self.stopped = why
        if self.is_halted:  # it may not run on to hear anything else
            self.rung = LADDER.index(signal.SIGKILL)
        self._climb()

    def _climb(self) -> None:
        number = LADDER[min(self.rung, len(LADDER) - 1)]
        self.rung += 1
        self.next_rung = time.monotonic() + self.grace
        if number == signal.SIGKILL:
            self._signal_tree(number)
            fence.kill(self.group)
            self.killed = self.killed or time.monotonic()
        else:
            self._signal_group(number)

    def _signal_group(self, number: int) -> None:
        try:
            os.killpg(self.pid, number)  # its own session, and not reaped yet: the group is the task's
        except OSError:
            pass  # gone, or a setuid program that only root may signal: we wait on

    def _reap(self) -> bool:
        """Reap whatever has ended; whether children are left."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.pid:
                self.status, self.usage = status, usage
            elif pid == self.beat.child:
                self.beat.restart()

    def _sweep(self) -> None:
        """End every process that outlived the task: no children left proves that the whole tree is gone."""
        if not self._reap():
            return
        left = process.descendants(os.getpid())
        self.swept = len(left)
        _signal_all(left, signal.SIGTERM)
        until = time.monotonic() + min(SWEEP_GRACE, self.grace)
        while self._reap():
            now = time.monotonic()
            if now >= until or signal.SIGQUIT in signal.sigpending():
                _signal_all(process.descendants(os.getpid()), signal.SIGKILL)
                fence.kill(self.group)
                self.killed = self.killed or now
            self._name_what_lives(now)
            signal.sigtimedwait({signal.SIGCHLD}, 0.05)

    def _name_what_lives(self, now: float) -> None:
        """Say it once where KILL does not help: all else goes on, and this attempt keeps its slot."""
        if not self.killed or now < self.killed + STUBBORN * self.grace:
            return
        self.killed = float("inf")
        for pid in process.descendants(os.getpid()):
            if pid != self.beat.child:
                self.say(f"process {process.described(pid)} does not die: the slot of {self.log} stays taken")


def _signal_all(pids: list[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)  # descendants of a subreaper stay in the table until it reaps them itself
        except (ProcessLookupError, PermissionError):
            pass
