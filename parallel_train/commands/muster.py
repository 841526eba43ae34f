"""What Slurm says of the workers that it was asked for, for commands that look.

It is asked only where this queue has asked it for workers, and never waited for long: the records say the rest.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from parallel_train.commands.options import RunOptions
from parallel_train.core import policy
from parallel_train.core.cluster import CANCEL, Element
from parallel_train.core.facts import Array
from parallel_train.core.muster import Muster
from parallel_train.core.situation import Situation
from parallel_train.core.state import Running
from parallel_train.errors import ClusterError, UsageError
from parallel_train.project.workers import Worker, living
from parallel_train.report import muster as sentences
from parallel_train.store import arrays
from parallel_train.store.queue import NAME

if TYPE_CHECKING:
    from parallel_train.cluster.slurm import Slurm

DEFAULT = RunOptions()
_PATIENCE = 2.0  # seconds
_REMEMBERED = 10  # of the newest arrays, where Slurm's queue has forgotten them all


@dataclass(slots=True)
class Musters:
    """What a cluster says to somebody who keeps looking; many ask it, so it is not asked each time."""

    folder: Path  # of the queue
    patience: float = _PATIENCE
    _last: Muster | None = None
    _due: float = 0.0
    _silences: int = 0

    def look(self) -> Muster | None:
        """None where no cluster was ever asked for workers."""
        numbers = arrays.numbers(self.folder)
        if not numbers:
            return None
        if self._last is None or time.monotonic() >= self._due:
            self._last = _muster(self.folder, numbers, self.patience)
            self._silences = self._silences + 1 if self._last.silent else 0
            pause = policy.cluster_pause(self._silences - 1) if self._silences else policy.CLUSTER_POLL
            self._due = time.monotonic() + pause
        return self._last

    def at_work(self, workers: Sequence[Worker]) -> list[Worker]:
        """Without those whose element is over: nobody who looks from elsewhere sees them die."""
        found = self.look() if any(worker.job for worker in workers) else None
        return [w for w in workers if found is None or not (found.is_gone(w.job) and self._is_mine(w))]

    def _is_mine(self, worker: Worker) -> bool:
        """Of other people's elements Slurm is not asked."""
        with suppress(OSError):
            return (self.folder / "workers" / worker.name).stat().st_uid == os.getuid()
        return True


def typed(folder: Path) -> Mapping[str, tuple[str, ...]]:
    """Task -> the options by which a cluster was asked to do it last, where that was of late. Nobody is asked."""
    newest = _read(folder, arrays.numbers(folder)[-_REMEMBERED:])
    return {task: array.options for array in newest.values() for task in array.selection}


def beside(project: Path, s: Situation) -> list[str]:
    """What to say to a run that does on a CPU what a cluster is asked to do on GPUs."""
    if s.roster is not None or any(slot.device.kind == "gpu" for slot in s.pool.slots.values()):
        return []
    lines = (s.lines[name] for name in s.open)
    wanting = [line.task for line in lines if line.task.gpus and not isinstance(line.state, Running)]
    found = Musters(project / NAME).look() if wanting else None
    if found is None or not (found.present or any(worker.roster for worker in living(project))):
        return []
    return [sentences.on_cpu(wanting, found)]


def dismiss(folder: Path, waiting: Sequence[Element]) -> str:
    """Cancel these; why they could not be."""
    try:
        _slurm(folder, _PATIENCE).dismiss([element.job for element in waiting], CANCEL)
    except (OSError, ClusterError) as error:
        return str(error)
    return ""


def _slurm(folder: Path, patience: float) -> Slurm:
    from parallel_train.cluster.slurm import Slurm  # noqa: PLC0415  most queues have nothing to do with it

    return Slurm(folder, limit=patience)


def _muster(folder: Path, numbers: Sequence[int], patience: float) -> Muster:
    slurm = _slurm(folder, patience)
    try:
        elements = slurm.elements()
    except (OSError, ClusterError) as error:
        return Muster(arrays=_read(folder, numbers[-1:]), silent=str(error))
    if not any(element.array == numbers[-1] or element.phase != "over" for element in elements):
        elements = (*elements, *_forgotten(slurm, folder, numbers[-_REMEMBERED:]))
    arrays_ = _read(folder, {*numbers[-1:], *(element.array for element in elements)})
    return Muster([_with_log(element, folder.parent) for element in elements], arrays_)


def _with_log(element: Element, project: Path) -> Element:
    """Where its worker failed, and logs are where they are unless somebody says otherwise."""
    log = f"{DEFAULT.log_dir}/slurm-{element.job}.log"
    return replace(element, log=log) if element.state == "FAILED" and (project / log).is_file() else element


def _forgotten(slurm: Slurm, folder: Path, numbers: Sequence[int]) -> tuple[Element, ...]:
    """What the accounts say, where the site keeps any."""
    first = _read(folder, numbers[:1]).get(numbers[0])
    with suppress(OSError, ClusterError):
        return slurm.forgotten(numbers, first.at if first else "")
    return ()


def _read(folder: Path, numbers: Iterable[int]) -> Mapping[int, Array]:
    """Those that can be read."""
    found = {}
    for number in numbers:
        with suppress(UsageError, OSError):
            found[number] = arrays.read(folder, number)
    return found
