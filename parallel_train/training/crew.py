"""The processes that train: started, given one model after another, listened to, and ended whatever happens."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess, SpawnProcess

from parallel_train.training.forking import NAME, not_started, start
from parallel_train.training.job import Done, Failed, Job, NotNew, Progress, Ready, Told
from parallel_train.training.worker import work

_TICK = 0.2  # seconds between two looks at the clock


@dataclass(eq=False)
class _Worker:
    process: ForkProcess | SpawnProcess
    connection: Connection
    device: str
    index: int | None  # of the model that it trains; None: it is leaving
    is_ready: bool = False


class Crew:
    """At most `limits[device]` processes for each device, each with one model after the other.

    They are started one by one, and only while models wait: many small ones are done by a few processes. One that
    failed takes its process with it, and a fresh one goes on with the rest.
    """

    def __init__(
        self, job: Job, limits: Mapping[str, int], *, is_forked: bool, hear: Callable[[Progress | Done | Failed], None]
    ) -> None:
        self._job = job
        self._limits = limits
        self._is_forked = is_forked
        self._hear = hear
        self._waiting: dict[str, deque[int]] = {device: deque() for device in limits}
        for setting in job.settings:
            self._waiting[setting.device].append(setting.index)
        self._workers: list[_Worker] = []

    def run(self, tick: Callable[[], None]) -> None:
        """Until every model is trained or has failed. Leaves no process, also by KeyboardInterrupt."""
        try:
            while True:
                has_started = self._start_one()
                if not self._workers:
                    return
                self._listen(0 if has_started else _TICK)
                tick()
        finally:
            self._end()

    def _start_one(self) -> bool:
        """Start one more process where a model waits for one."""
        for device, waiting in self._waiting.items():
            if waiting and sum(worker.device == device for worker in self._workers) < self._limits[device]:
                self._start(device, waiting.popleft())
                return True
        return False

    def _start(self, device: str, index: int) -> None:
        context = get_context("fork") if self._is_forked else get_context("spawn")
        if not self._is_forked:
            resource_tracker.ensure_running()  # its first start would let signals through again
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, self._job, os.getpid()), name=f"{NAME} {device}")
        self._workers.append(_Worker(process, ours, device, index))  # before: a Ctrl-C may come with the start
        try:
            start(process)
        except BrokenPipeError as error:
            raise not_started(None) from error
        theirs.close()
        with suppress(BrokenPipeError):  # it has ended already
            ours.send(index)

    def _listen(self, seconds: float) -> None:
        handles = {handle: w for w in self._workers for handle in (w.connection, w.process.sentinel)}
        heard = {handles[handle] for handle in wait(list(handles), seconds)}  # type: ignore[index]
        for worker in heard:
            has_ended = not worker.process.is_alive()  # looked at first: what it has said is there by then
            with suppress(EOFError, OSError):  # killed in the middle of a word
                while worker.connection.poll():
                    self._take(worker, worker.connection.recv())
            if has_ended:
                self._bury(worker)

    def _take(self, worker: _Worker, told: Told) -> None:
        match told:
            case Ready():
                worker.is_ready = True
            case NotNew(index):
                self._waiting[worker.device].appendleft(index)
                worker.index = None
            case Done():
                self._hear(told)  # before the answer, which a process that was killed meanwhile does not take
                self._give_next(worker)
            case Failed():
                worker.index = None
                self._hear(told)
            case Progress():
                self._hear(told)

    def _give_next(self, worker: _Worker) -> None:
        """The next model, or None: nothing is left for it."""
        waiting = self._waiting[worker.device]
        worker.index = waiting.popleft() if waiting else None
        try:
            worker.connection.send(worker.index)
        except OSError:  # it is dead, through no fault of that model
            if worker.index is not None:
                waiting.appendleft(worker.index)
            worker.index = None

    def _bury(self, worker: _Worker) -> None:
        worker.process.join()
        worker.connection.close()
        self._workers.remove(worker)
        code = worker.process.exitcode or 0
        if not worker.is_ready and not self._is_forked and code > 0:
            raise not_started(code)
        if worker.index is not None:
            self._hear(Failed(worker.index, _end_of(code)))

    def _end(self) -> None:
        started = [worker for worker in self._workers if worker.process.pid is not None]
        for worker in started:
            worker.process.kill()
        for worker in started:
            worker.process.join()
            worker.connection.close()
        self._workers.clear()


def _end_of(code: int) -> str:
    """How a process ended in the middle of a model."""
    if code >= 0:
        return f"its process left with exit code {code} in the middle of it"
    number = -code
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    hint = {signal.SIGKILL: ", as it is when the memory runs out", signal.SIGSEGV: ": a crash in compiled code"}
    return f"its process was killed by {name}{hint.get(signal.Signals(number), '') if number in hint else ''}"
