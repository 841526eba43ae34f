"""The product's own word on processes of others: who lives, who is told to stop, whose death is waited for.

What it asks the kernel is answered from `KERNEL`, which is set for whoever takes its step. A descriptor of a process is
its number in the whole world.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from parallel_train.core.events import Ended
from parallel_train.core.facts import Owner
from parallel_train.procs import others, proof
from parallel_train.procs import process as processes
from tests.faults.sim.disk import Key
from tests.faults.sim.product import Os
from tests.faults.sim.stepped import again


class Kernel:
    """What there is on the machine of whoever asks."""

    here: dict[str, str]
    starts: Mapping[int, int]  # its processes: when each began, which is its number in the whole world
    signed: dict[str, dict[str, str]]  # what is written into its slot locks
    send: Callable[[int, int], None]
    end_of: Callable[[Key], Ended | None]

    def open_pidfd(self, pid: int) -> int:
        if pid not in self.starts:
            raise ProcessLookupError
        return self.starts[pid]

    def start_time(self, pid: int) -> int:
        return self.starts[pid]


KERNEL = Kernel()
_PROVEN = again(
    processes,
    os=Os(),
    open_pidfd=KERNEL.open_pidfd,
    start_time=lambda pid: KERNEL.start_time(pid),  # noqa: PLW0108  looked up each time: it may be patched
    has_ended=lambda _: True,
)["open_proven"]
_PROCESS = SimpleNamespace(
    this_machine=lambda: KERNEL.here,
    boot_id=lambda: KERNEL.here["boot"],
    open_proven=_PROVEN,
    send=lambda *told: KERNEL.send(*told),  # noqa: PLW0108  it is set each time
)
PROOF = again(proof, os=Os(), process=_PROCESS, locks=SimpleNamespace(holders=lambda: KERNEL.signed))
_OTHERS = again(
    others,
    os=Os(),
    process=_PROCESS,
    lives=PROOF["lives"],
    stop=PROOF["stop"],
    end_of=lambda _, key: KERNEL.end_of(key),
)
found_dead: Callable[..., Any] = _OTHERS["found_dead"]
_NONE: Any = SimpleNamespace(register=lambda *_: None, unregister=lambda *_: None)


def lives(owner: Owner) -> bool | None:
    found: bool | None = PROOF["lives"](owner)
    return found


class Others(_OTHERS["Others"]):  # type: ignore[misc]
    """Whom one scheduler watches."""

    _watched: dict[Owner, Any]

    def __init__(self) -> None:
        super().__init__(Path("queue"), _NONE)

    def copy(self) -> Others:
        other = Others()
        other._watched = {owner: replace(known, claims=dict(known.claims)) for owner, known in self._watched.items()}
        return other

    def processes(self) -> dict[Owner, int]:
        return {owner: known.pidfd for owner, known in self._watched.items()}

    def attempts(self) -> list[tuple[int, Key]]:
        """Those that had no end yet, each with its process."""
        return [(known.pidfd, key) for known in self._watched.values() for key in known.claims]
