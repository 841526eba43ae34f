"""The port to a machine's cards, and the provider that asks NVML in a child of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, Protocol

from parallel_train.errors import ParallelTrainError, UsageError

QUERY_LIMIT = 10.0  # seconds; a healthy driver answers in well under one
_KILL_LIMIT = 1.0  # seconds to wait for a killed query; one that hangs in the kernel does not even die

State = Literal["ok", "gone", "sick"]


class NoDriverError(ParallelTrainError):
    """There is no NVML library or no driver, so there are no cards."""


class ProviderError(UsageError):
    """The cards can't be known: whoever should tell does not answer, or answers with an error."""


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that computes on a card."""

    pid: int
    user: str  # "?" where it can't be known
    memory_mib: int


@dataclass(frozen=True, slots=True)
class Card:
    """One card as it was when asked. What a sick or lost card did not tell is empty or 0."""

    index: int  # in PCI bus order, as nvidia-smi counts
    uuid: str
    name: str
    memory_total_mib: int
    memory_used_mib: int
    processes: tuple[GpuProcess, ...] = ()
    state: State = "ok"
    mig: tuple[str, ...] = ()  # the ids of its MIG instances


class Provider(Protocol):
    """Knows the cards of this machine."""

    def cards(self) -> tuple[Card, ...]:
        """The cards as they are now, in order of their index; takes at most some seconds.

        Raises NoDriverError where there is nothing to ask, and ProviderError.
        """


class NvmlProvider:
    """Asks NVML. It can hang, and a hung thread can't be killed: so a child asks, under a time limit."""

    def __init__(self, binding: str | None = None, limit: float = QUERY_LIMIT) -> None:
        """`binding` is the folder that holds pynvml.py, by default that of the installed one."""
        self._binding = binding
        self._limit = limit

    def cards(self) -> tuple[Card, ...]:
        answer = self._ask()
        if "none" in answer:
            raise NoDriverError(str(answer["none"]))
        if "error" in answer:
            raise ProviderError(f"the NVIDIA driver answers with an error: {answer['error']}")
        return tuple(_card(facts) for facts in answer["cards"])

    def _ask(self) -> dict[str, Any]:
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "nvml.py")
        child = _start([script, self._binding or _installed_binding(), str(self._limit)])
        try:
            output, complaint = child.communicate(timeout=self._limit)
        except subprocess.TimeoutExpired:
            raise ProviderError(
                f"the NVIDIA driver did not answer within {self._limit:g} s (does nvidia-smi answer?)"
            ) from None
        finally:
            _end(child)
        try:
            # The last line: a driver's library may print its own warnings before.
            return dict(json.loads(output.splitlines()[-1]))
        except (IndexError, ValueError):
            last = (complaint.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
            raise ProviderError(f"asking the NVIDIA driver failed: {last}") from None


def _installed_binding() -> str:
    spec = find_spec("pynvml")
    if spec is None or spec.origin is None:
        raise ProviderError("the package nvidia-ml-py is missing here (pip install nvidia-ml-py)")
    return os.path.dirname(spec.origin)


def _start(arguments: list[str]) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            [
                sys.executable,
                "-I",
                *arguments,
            ],  # isolated: nothing in the user's folders stands in for a module
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is not meant for it
        )
    except OSError as error:
        raise ProviderError(f"asking the NVIDIA driver failed: no process could be started: {error}") from None


def _end(child: subprocess.Popen[str]) -> None:
    """Leave no query behind, and wait for none that even KILL can't end."""
    if child.poll() is None:
        child.kill()
        with suppress(subprocess.TimeoutExpired):
            child.wait(_KILL_LIMIT)
    for stream in (child.stdout, child.stderr):
        if stream is not None:
            stream.close()


def _card(facts: dict[str, Any]) -> Card:
    processes = tuple(GpuProcess(**process) for process in facts.pop("processes"))
    return Card(processes=processes, mig=tuple(facts.pop("mig")), **facts)
