"""Who waits, runs and is over on a cluster, as somebody sees it who only looks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from parallel_train.core.cluster import Element, Phase
from parallel_train.core.facts import Array

_LEFT = frozenset({"COMPLETED", "COMPLETING"})  # in Slurm's words: its worker went by itself


@dataclass(frozen=True, slots=True)
class Muster:
    """What a cluster says of a queue's elements; `silent` is why it says nothing."""

    elements: Sequence[Element] = ()
    arrays: Mapping[int, Array] = field(default_factory=dict)  # the newest, and those of the elements
    silent: str = ""

    @property
    def present(self) -> list[Element]:
        """Those that run or wait."""
        return [element for element in self.elements if element.phase != "over"]

    def of(self, phase: Phase) -> list[Element]:
        return [element for element in self.elements if element.phase == phase]

    def lost(self, open_: Collection[str]) -> list[Element]:
        """Those that are over though tasks that they were asked for are open, and whose workers did not just leave."""
        wanted = frozenset(open_)
        over = (element for element in self.of("over") if element.state not in _LEFT)
        return [element for element in over if self.serves(element, wanted)]

    def serves(self, element: Element, tasks: frozenset[str]) -> bool:
        """Whether it was asked for one of these. One whose record can't be read may have been."""
        array = self.arrays.get(element.array)
        if array is None:
            return True
        first, last = (element.index, element.index + 1) if array.is_each else (0, None)
        return not tasks.isdisjoint(array.selection[first:last])

    def takers(self, tasks: Collection[str]) -> list[Element]:
        """Those that work on these or will: what is added or retried joins who runs, unless that is for one task."""
        wanted = frozenset(tasks)
        joined = {number for number, array in self.arrays.items() if not array.is_each}
        return [e for e in self.present if (e.phase == "running" and e.array in joined) or self.serves(e, wanted)]

    def about(self, tasks: Collection[str]) -> Muster:
        """What of it matters to these."""
        takers, lost = self.takers(tasks), self.lost(tasks)
        return replace(self, elements=[*takers, *lost])

    def needless(self, open_: Collection[str]) -> list[Element]:
        """Those that wait for nothing that is still open."""
        wanted = frozenset(open_)
        return [element for element in self.of("waiting") if not self.serves(element, wanted)]

    def is_gone(self, job: str) -> bool:
        """Whether it is known that this element works no more."""
        return not self.silent and bool(job) and all(element.job != job for element in self.present)
