"""How a new process is made here, and what stands against it."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Iterable
from multiprocessing.process import BaseProcess
from types import FunctionType
from typing import Any

import torch

from parallel_train.errors import UsageError

NAME = "parallel-train"  # of our processes
UNGUARDED = 86  # how a process ends that came to `find` while it was still reading the script
_PATIENCE = 20.0  # seconds for a forked process to try what takes milliseconds

_GUARD = """\
CUDA is already in use in this process, so new ones can't be forked from it: they read this script again, and come to
find() once more. Put the lines that start the training below

    if __name__ == "__main__":

or call find() before anything uses CUDA."""


def can_fork(devices: Iterable[str]) -> bool:
    """Whether a forked process can train on these devices: not once CUDA, or autograd beside a card, is at work."""
    kinds = {device.partition(":")[0] for device in devices}
    if "fork" not in multiprocessing.get_all_start_methods() or not kinds <= {"cpu", "cuda"}:
        return False
    if torch.cuda.is_initialized():
        return False
    # The first optimizer of a process imports half of torch: here once, and not in each that is forked.
    torch.optim.SGD([torch.zeros(1, requires_grad=True)])
    if not torch.backends.cuda.is_built():
        return True
    # What spoils a fork leaves no other sign: `torch.cuda.is_available()` does, and a backward pass beside a card.
    probe = multiprocessing.get_context("fork").Process(target=_try, args=("cuda" in kinds,), name=NAME)
    start(probe)
    probe.join(_PATIENCE)
    probe.kill()
    probe.join()
    return probe.exitcode == 0


def start(process: BaseProcess) -> None:
    """Start it so that Ctrl-C does not reach it: at a terminal that goes to all processes, and one that is still
    importing torch would answer with a traceback. It is for whoever started it to end it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # and what is blocked is inherited
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads in a fork: see worker.work
            process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _try(uses_cuda: bool) -> None:
    if uses_cuda and getattr(torch._C, "_cuda_isInBadFork", lambda: False)():  # noqa: SLF001  torch asks it so too
        os._exit(1)
    try:
        torch.ones(1, requires_grad=True).sum().backward()
    except RuntimeError:
        os._exit(1)
    os._exit(0)


def leave_if_reading_the_script() -> None:
    """End a new process of ours that has come to `find` because the script has no guard. Its parent says so, once."""
    process = multiprocessing.current_process()
    if getattr(process, "_inheriting", False) and process.name.startswith(NAME):
        os._exit(UNGUARDED)


def not_started(exit_code: int | None) -> UsageError:
    """Why a process that was not forked has ended before it could train anything; None: while it read the script."""
    if exit_code in {UNGUARDED, None}:
        return UsageError(_GUARD)
    return UsageError(f"a new process could not start (exit code {exit_code}); what it said stands above")


def not_sendable(named: Iterable[tuple[str, Any]]) -> list[str]:
    """What of these a process that is not forked could not find again, with what to do."""
    main = sys.modules["__main__"]
    is_typed_in = getattr(main, "__file__", None) is None and getattr(main, "__spec__", None) is None
    faults = []
    for name, given in named:
        found = given
        while isinstance(found, functools.partial):
            found = found.func
        if not isinstance(found, FunctionType | type):
            continue
        if found.__module__ == "__main__" and is_typed_in:
            faults.append(
                f"{name} ({found.__qualname__}) is defined in the session itself: put it into a file of its own"
            )
        elif "<" in found.__qualname__:
            faults.append(f"{name} ({found.__qualname__}) is defined inside another: define it at the top of a file")
    return faults
