"""The providers that ask the NVIDIA driver: through NVML, through nvidia-smi, or the one where the other is no help.

Either can hang, and a hung thread can't be killed: so a child asks, under a time limit.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import sys
from importlib.util import find_spec
from typing import Any, Protocol

from parallel_train.core.machine import Card, Driver, GpuProcess
from parallel_train.procs import bounded
from parallel_train.procs.cards import QUERY_LIMIT, NoDriverError, ProviderError

_DISPLAY = "0x03"  # what the PCI classes of cards that draw or compute begin with


class Asker(Protocol):
    """Asks a driver."""

    def ask(self) -> Driver:
        """What it says now. Raises NoDriverError and ProviderError, as Provider.cards does."""


class NvmlProvider:
    """Asks NVML, the driver's library."""

    def __init__(self, binding: str | None = None, limit: float = QUERY_LIMIT) -> None:
        """`binding` is the folder that holds pynvml.py, by default that of the installed one."""
        self._binding = binding
        self._limit = limit

    def cards(self) -> tuple[Card, ...]:
        return self.ask().cards

    def ask(self) -> Driver:
        return _ask("nvml.py", self._binding or _installed_binding(), self._limit, "the NVIDIA driver")


class SmiProvider:
    """Asks nvidia-smi, which comes with the driver and brings what it needs."""

    def __init__(self, program: str | None = None, limit: float = QUERY_LIMIT) -> None:
        """`program` is by default the nvidia-smi on PATH."""
        self._program = program
        self._limit = limit

    def cards(self) -> tuple[Card, ...]:
        return self.ask().cards

    def ask(self) -> Driver:
        program = self._program or shutil.which("nvidia-smi")
        if program is None:
            raise NoDriverError("nvidia-smi is not on PATH")
        return _ask("smi.py", program, self._limit, "nvidia-smi")


class DriverProvider:
    """Asks NVML, and nvidia-smi where NVML can't be asked or gives no answer."""

    def __init__(self, first: Asker | None = None, second: Asker | None = None) -> None:
        self._first = first or NvmlProvider()
        self._second = second or SmiProvider()

    def cards(self) -> tuple[Card, ...]:
        return self.ask().cards

    def ask(self) -> Driver:
        try:
            return self._first.ask()
        except (NoDriverError, ProviderError) as error:
            return self._ask_second(error)

    def _ask_second(self, error: NoDriverError | ProviderError) -> Driver:
        try:
            return self._second.ask()
        except NoDriverError:
            raise error from None
        except ProviderError as second:
            raise (second if isinstance(error, NoDriverError) else ProviderError(f"{error}; {second}")) from None


def has_nvidia_card(root: str = "/") -> bool:
    """Whether the machine has an NVIDIA card, driver or no driver. `root` is where `sys` is mounted."""
    for folder in glob.iglob(os.path.join(root, "sys/bus/pci/devices/*")):
        if _read(folder, "vendor") == "0x10de" and _read(folder, "class").startswith(_DISPLAY):
            return True
    return False


def _read(folder: str, name: str) -> str:
    try:
        with open(os.path.join(folder, name), encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _ask(script: str, argument: str, limit: float, who: str) -> Driver:
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), script)
    try:
        # Isolated: nothing in the user's folders stands in for a module.
        said = bounded.run([sys.executable, "-I", path, argument, str(limit)], limit)
    except TimeoutError as error:
        raise ProviderError(f"{who} {error}") from None
    except OSError as error:
        raise ProviderError(f"asking {who} failed: no process could be started: {error}") from None
    try:
        # The last line: a driver's library may print its own warnings before.
        answer = dict(json.loads(said.output.splitlines()[-1]))
    except (IndexError, ValueError):
        raise ProviderError(f"asking {who} failed: {said.last_complaint}") from None
    return _driver(answer, who)


def _driver(answer: dict[str, Any], who: str) -> Driver:
    if "none" in answer:
        raise NoDriverError(str(answer["none"]))
    if "error" in answer:
        raise ProviderError(f"{who} answers with an error: {answer['error']}")
    return Driver(tuple(_card(facts) for facts in answer["cards"]), answer["version"], answer["cuda"])


def _card(facts: dict[str, Any]) -> Card:
    processes = tuple(GpuProcess(**process) for process in facts.pop("processes"))
    return Card(processes=processes, mig=tuple(facts.pop("mig")), **facts)


def _installed_binding() -> str:
    spec = find_spec("pynvml")
    if spec is None or spec.origin is None:
        raise ProviderError("the package nvidia-ml-py is missing here (pip install nvidia-ml-py)")
    return os.path.dirname(spec.origin)
