"""How long a run still takes, guessed from how long tasks of the same kind took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from parallel_train.core.facts import End, verdict
from parallel_train.core.situation import Situation
from parallel_train.core.task import Kind, Task, kind_of

_TASKS_PER_SECOND = 10_000  # counted at most: a larger run is guessed anew less often


@dataclass(slots=True)
class _Took:
    seconds: float = 0.0
    tasks: int = 0

    def add(self, seconds: float) -> None:
        self.seconds += seconds
        self.tasks += 1

    @property
    def mean(self) -> float | None:
        return self.seconds / self.tasks if self.tasks else None


@dataclass(slots=True)
class Pace:
    """Durations of succeeded attempts, by kind of task, and the guess that follows from them.

    A guess counts the open tasks by kind: one quick pass (about 1 ms for 10,000 tasks), at most each second,
    and less often where there are more tasks. In between, the last guess runs down with the clock.
    """

    numbers: dict[Kind, int] = field(default_factory=dict)  # by which the kinds go here; 0: not known
    kinds: dict[str, int] = field(default_factory=dict)  # task -> kind
    widths: dict[int, int] = field(default_factory=dict)  # kind -> slots that one of its tasks takes
    took: dict[int, _Took] = field(default_factory=dict)
    all: _Took = field(default_factory=_Took)
    _ends_at: float | None = None
    _next_guess: float = 0.0

    @staticmethod
    def of(situation: Situation) -> Pace:
        """The pace that the records tell of."""
        pace = Pace()
        for line in situation.lines.values():
            deciding = line.deciding
            pace.note(line.task, deciding.end if deciding else None)
        return pace

    def note(self, task: Task, end: End | None = None) -> None:
        """Learn of a task, and how an attempt of it ended."""
        kind = self.kinds[task.id] = self.numbers.setdefault(kind_of(task), len(self.numbers) + 1)
        self.widths[kind] = max(1, task.gpus)
        if end is not None and verdict(end) == "succeeded":
            self.took.setdefault(kind, _Took()).add(end.seconds)
            self.all.add(end.seconds)
            self._next_guess = 0.0

    def eta(self, situation: Situation, now: float, running: Mapping[str, float]) -> float | None:
        """Seconds until the last ending of this run; None where nothing tells (no finish yet, or overdue).

        `running` maps the tasks that run to the seconds they have run for.
        """
        if now >= self._next_guess:
            self._next_guess = now + max(1.0, len(situation.open) / _TASKS_PER_SECOND)
            left = self._left(situation, running)
            self._ends_at = None if left is None else now + left
        if self._ends_at is None or self._ends_at <= now:
            return None
        return self._ends_at - now

    def _left(self, situation: Situation, running: Mapping[str, float]) -> float | None:
        mean = self.all.mean
        if mean is None:
            return None
        live = {task: age for task, age in running.items() if task in situation.open and task in self.kinds}
        oldest: dict[int, float] = {}
        for task, age in live.items():
            oldest[self.kinds[task]] = max(age, oldest.get(self.kinds[task], 0.0))
        waiting = Counter(self.kinds.get(task, 0) for task in situation.open - live.keys())
        expected = {
            # One that runs for longer than the others took says that its kind takes longer.
            kind: max(self._mean(kind, mean), oldest.get(kind, 0.0))
            for kind in (*waiting, *oldest)
        }
        rest = {task: expected[self.kinds[task]] - age for task, age in live.items()}
        longest = max((*rest.values(), *(expected[kind] for kind in waiting)), default=0.0)
        work = sum(seconds * self.widths.get(self.kinds[task], 1) for task, seconds in rest.items())
        work += sum(expected[kind] * number * self.widths.get(kind, 1) for kind, number in waiting.items())
        return max(longest, work / _slots(situation, len(live)))

    def _mean(self, kind: int, otherwise: float) -> float:
        took = self.took.get(kind)
        mean = took.mean if took else None
        return otherwise if mean is None else mean


def _slots(situation: Situation, running: int) -> int:
    here = len(situation.pool.slots) or len(situation.pool.extra)
    at_once = situation.wishes.at_once
    return max(1, running, min(here, at_once) if at_once else here)
