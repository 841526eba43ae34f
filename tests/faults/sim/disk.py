"""The records and outputs of the simulated project. Every method is one step: nobody sees half of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from parallel_train.core.facts import Claim, End, NotStarted, Owner, Request, Round
from parallel_train.core.task import Task

Key = tuple[str, int]
Token = tuple[str, int]  # what an attempt wrote; attempt 0: somebody before us


class FixedDict(dict):  # type: ignore[type-arg]
    """The needs of a claim, which must be hashable here."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self.items()))


@dataclass(frozen=True, slots=True)
class Submission:
    number: int
    source: str
    tasks: tuple[Task, ...]
    is_damaged: bool = False


class Beats(dict):  # type: ignore[type-arg]
    """The counters as they stood, and `at` which time of the disk's own clock each was written."""

    at: dict[str, float]


@dataclass(slots=True)
class Disk:
    tasks: dict[Key, Submission] = field(default_factory=dict)
    rounds: dict[Key, Round] = field(default_factory=dict)
    claims: dict[Key, Claim] = field(default_factory=dict)
    ends: dict[Key, End] = field(default_factory=dict)
    requests: dict[Key, Request] = field(default_factory=dict)
    workers: dict[str, Owner] = field(default_factory=dict)
    outputs: dict[str, tuple[Token, ...]] = field(default_factory=dict)
    parts: dict[tuple[str, int, int], tuple[Token, ...]] = field(default_factory=dict)
    aside: dict[Key, tuple[Token, ...]] = field(default_factory=dict)
    beats: dict[str, str] = field(default_factory=dict)  # of an attempt or a worker
    beat_at: dict[str, float] = field(default_factory=dict)  # when that was, in the world's time: files have times

    listed: dict[str, dict[str, Any]] = field(default_factory=dict)  # folders as they stood, until something changes

    def copy(self) -> Disk:
        return Disk(*(dict(getattr(self, name)) for name in Disk.__slots__))

    def link(self, kind: str, key: Key, record: Any) -> bool:
        folder = getattr(self, kind)
        if key in folder:
            return False
        folder[key] = record
        self.listed.pop(kind, None)
        return True

    def counters(self) -> Beats:
        found = Beats(self.beats)
        found.at = dict(self.beat_at)
        return found

    def names(self, kind: str) -> dict[str, Any]:
        """A folder as it stands: the names in it, with what they hold."""
        found = self.listed.get(kind)
        if found is None:
            found = self.listed[kind] = {_name(kind, *key): record for key, record in getattr(self, kind).items()}
        return found

    def newest(self) -> dict[str, Submission]:
        return {s.source: s for _, s in sorted(self.tasks.items())}

    # ---- what the records come to, said again and simply: the judge does not ask the core ----

    def round_of(self, task: str) -> int:
        number = 1
        while (task, number + 1) in self.rounds:
            number += 1
        return number

    def attempts(self, task: str) -> list[tuple[Claim, End | None]]:
        found = []
        while (task, len(found) + 1) in self.claims:
            key = (task, len(found) + 1)
            found.append((self.claims[key], self.ends.get(key)))
        return found

    def tries(self, task: str) -> list[tuple[Claim, End | None]]:
        """The started attempts of the newest round."""
        number = self.round_of(task)
        started = [(c, e) for c, e in self.attempts(task) if e is None or not isinstance(e.outcome, NotStarted)]
        return [(c, e) for c, e in started if c.round == number]

    def deciding(self, task: str) -> int:
        tries = self.tries(task)
        return tries[-1][0].attempt if tries and tries[-1][1] is not None else 0

    def is_paused(self, task: str) -> bool:
        paused = {"": False, task: False}
        for _, request in sorted(self.requests.items()):
            if request.kind in {"pause", "resume"}:
                paused.update({n: request.kind == "pause" for n in request.tasks or ("",) if n in paused})
        return any(paused.values())

    def is_cancelled(self, task: str) -> bool:
        rounds = [r.tasks[task] for r in self.requests.values() if r.kind == "cancel" and task in r.tasks]
        return bool(rounds) and self.holds(task, max(rounds))

    def holds(self, task: str, number: int) -> bool:
        """Whether a cancel of that round holds for what would start now."""
        asked = max((n for (t, n), r in self.rounds.items() if t == task and r.why == "asked for"), default=1)
        return number >= asked and not any(has_succeeded(e) for c, e in self.attempts(task) if c.round == number)

    def excused(self, task: str) -> set[int]:
        """The attempts that a sick slot spoilt."""
        return {r.tasks[task] for r in self.requests.values() if r.kind == "excuse" and task in r.tasks}

    def put_aside_for(self, task: str, number: int) -> int:
        """The newest round up to `number` whose output must not hold anything older; 0: none."""
        return max((n for (t, n), r in self.rounds.items() if t == task and n <= number and r.aside), default=0)

    def output(self, task: Task) -> str:
        if task.output is None:
            return "none"
        return "there" if self.outputs.get(task.id) else "missing"

    def is_satisfied(self, task: Task) -> bool:
        tries = self.tries(task.id)
        if not tries:
            is_untouched = not any(t == task.id for t, _ in self.rounds) and not any(
                e is None or not isinstance(e.outcome, NotStarted) for _, e in self.attempts(task.id)
            )
            return is_untouched and self.output(task) == "there" and not self.is_cancelled(task.id)
        claim, end = tries[-1]
        made_from = {need: self.deciding(need) for need in task.needs}
        return (
            claim.identity == task.identity
            and has_succeeded(end)
            and dict(claim.needs) == made_from
            and self.output(task) in {"none", "there"}
            and not self.is_cancelled(task.id)
        )


def _name(kind: str, task: str, number: int) -> str:
    if kind == "tasks":
        return f"{number:06d}.jsonl"
    return f"{task}.{number}" if task else str(number)


def has_succeeded(end: End | None) -> bool:
    return (
        end is not None
        and not end.stopped
        and getattr(end.outcome, "code", None) == 0
        and end.output in {"none", "there"}
    )
