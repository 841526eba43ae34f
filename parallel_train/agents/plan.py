"""What is searched in a folder: the trials, and which of them are asked for next. The same for all agents there."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

from parallel_train.core import halving
from parallel_train.core.axis import Axis, Listed, Range
from parallel_train.core.branches import nodes
from parallel_train.core.halving import Bracket
from parallel_train.core.placeholders import written
from parallel_train.core.situation import Situation
from parallel_train.core.space import Space, order
from parallel_train.core.state import Ended, Line
from parallel_train.core.task import Json, Metric, Task, assigned, digest
from parallel_train.errors import UsageError
from parallel_train.results import metrics
from parallel_train.store import records, searches

Mode = Literal["max", "min"]
Block = tuple[str, list[Task]]  # the source that names them, and trials that are asked for together

_FIRST_BLOCK, _DOUBLED = 64, 6  # trials, and how often a block is twice the one before
_ERRORS = 3  # a trial that has failed so often is given up
_MOST_TOLD, _LONGEST_TOLD = 100, 80  # values of a param, and characters of them in a sentence
_LONGEST = 120  # characters of a file's name that tell the values
_UNFIT = re.compile(r"[^\w.+=-]+", re.ASCII)
_NAME = re.compile(r"trial-(\d+)(?:\.(\d+))?(?:-b(\d+)l(\d+))?")


class SearchError(UsageError):
    """A search or an agent that was asked for what it can't do."""


@dataclass(frozen=True, slots=True)
class Trial:
    """The point at `index`, tried for the `repetition`th time from 0; where trials are halved, on which rung."""

    index: int
    repetition: int = 0
    bracket: int = 0
    level: int = -1  # none

    @property
    def name(self) -> str:
        rung = f"-b{self.bracket}l{self.level}" if self.level >= 0 else ""
        return f"trial-{self.index}{f'.{self.repetition}' if self.repetition else ''}{rung}"


def trial_of(task: Task) -> Trial:
    found = _NAME.fullmatch(task.name)
    if found is None:
        raise SearchError(f"task {task.name} is no trial of a search")
    index, repetition, bracket, level = (int(each) if each else None for each in found.groups())
    return Trial(index or 0, repetition or 0, bracket or 0, -1 if level is None else level)


@dataclass(frozen=True, slots=True)
class Ground:
    """The points in the order in which they are tried, each as often as it is repeated."""

    space: Space
    seed: int | None  # None: in the document's order
    mode: Mode
    shuffled: Callable[[int], int] = field(init=False)

    def __post_init__(self) -> None:
        count = self.space.count()
        drawn = (lambda position: position) if self.seed is None else order(count, self.seed)
        object.__setattr__(self, "shuffled", drawn)

    def __len__(self) -> int:
        return self.space.count() * self.space.repetitions

    def trial(self, position: int, bracket: int = 0, level: int = -1) -> Trial:
        place, repetition = divmod(position, self.space.repetitions)
        return Trial(self.shuffled(place), repetition, bracket, level)

    def task(self, trial: Trial, source: str, extra: Mapping[str, Json]) -> Task:
        params = {**self.space.point(trial.index), **extra}
        result = f"results/{trial.name}.json"
        return Task(
            name=trial.name,
            command=("trial", *(assigned(name, written(value)) for name, value in params.items())),
            source=source,
            params=params,
            output=result,
            gpus=0,
            retries=_ERRORS - 1,
            metrics=(Metric("metric", self.mode, result),),
            is_call=True,
        )


@dataclass(frozen=True, slots=True)
class Draws:
    """Random and grid search: the first `limit` positions, in blocks that grow, for a space may be huge."""

    ground: Ground
    limit: int

    def more(self, situation: Situation, _: Path) -> Block | None:
        """What to ask for next, where nothing is left to claim; None: all of it has been asked for."""
        nth = sum(name.startswith("search block ") for name in situation.named)
        if nth and len(situation.named[_block(nth - 1)]) < len(self._positions(nth - 1)):
            nth -= 1  # it was cut short by a smaller limit
        positions = self._positions(nth)
        if not positions:
            return None
        return _block(nth), [self.ground.task(self.ground.trial(each), _block(nth), {}) for each in positions]

    def _positions(self, nth: int) -> range:
        doubled = min(nth, _DOUBLED)
        first = _FIRST_BLOCK * (2**doubled - 1 + 2**doubled * (nth - doubled))
        return range(first, min(self.limit, first + _FIRST_BLOCK * 2**doubled))


def _block(nth: int) -> str:
    return f"search block {nth}"


@dataclass(frozen=True, slots=True)
class Halvings:
    """HyperBand: each rung is asked for once the one below it is over, from what was found there."""

    ground: Ground
    brackets: Sequence[Bracket]
    resource: str

    def more(self, situation: Situation, project: Path) -> Block | None:
        """As for Draws; None also while every rung that could tell who goes on is still being run."""
        firsts = [0, *accumulate(bracket[0].trials for bracket in self.brackets)]
        for nth, bracket in enumerate(self.brackets):
            level = next((each for each in range(len(bracket)) if _rung(nth, each) not in situation.named), None)
            if level is None:
                continue
            if level == 0:
                trials = [self.ground.trial(firsts[nth] + each, nth, 0) for each in range(bracket[0].trials)]
            else:
                trials = self._promoted(situation, project, nth, level)
            if trials:
                source, extra = _rung(nth, level), {self.resource: bracket[level].resource}
                return source, [self.ground.task(trial, source, extra) for trial in trials]
        return None

    def _promoted(self, situation: Situation, project: Path, nth: int, level: int) -> list[Trial]:
        """Who goes on to that rung; nobody while the one below it is not over."""
        below = [situation.lines[each] for each in situation.named[_rung(nth, level - 1)]]
        below.sort(key=lambda line: line.task.number)
        if not all(isinstance(line.state, Ended) for line in below):
            return []
        try:
            found = [_metric(line, project) for line in below]
        except FileNotFoundError:
            return []  # a network disk shows it later; who goes on must not hang on that
        places = halving.promoted(found, self.brackets[nth][level].trials, self.ground.mode)
        went = [trial_of(below[place].task) for place in places]
        return [Trial(trial.index, trial.repetition, nth, level) for trial in went]


def _rung(bracket: int, level: int) -> str:
    return f"search bracket {bracket} level {level}"


def _metric(line: Line, project: Path) -> float | None:
    """The number of a trial that is over; None where it failed. Raises FileNotFoundError for one that can't be seen."""
    if not isinstance(line.state, Ended) or line.state.ending != "succeeded":
        return None
    result = project / str(line.task.output)
    if result.name not in os.listdir(result.parent):  # noqa: PTH208  listed: a network disk may take a new file for absent
        raise FileNotFoundError(result)
    return metrics.read(line.task.metrics[0], project, ()).value


Plan = Draws | Halvings


def agree(folder: Path, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What the search in `folder` is: as `wanted`, or as whoever came first has written down.

    A value of None is left to whoever came first. Raises UsageError for another search than the one that is there.
    """
    path = folder / searches.NAME
    settled = dict(wanted)
    if "seed" in wanted and wanted["seed"] is None:
        settled["seed"] = secrets.randbits(32)
    try:
        if records.place(str(path), (json.dumps(settled, indent=2) + "\n").encode(), durable=True):
            return settled
        there = json.loads(path.read_bytes())
        told = list(_differences(there, wanted))
    except (ValueError, KeyError, TypeError) as error:
        raise SearchError(f"{path} can't be read: it says what is searched here, and is never changed") from error
    except OSError as error:
        raise SearchError(f"can't write to the folder {folder}: {error.strerror}") from error
    if told:
        repair = "give this one a folder of its own, or make them equal to go on with that one"
        raise SearchError(f"{folder} holds another search ({'; '.join(told)}): {repair}")
    return dict(there)


def _differences(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """Why `wanted` is another search than the one `there`. Raises KeyError where that does not say what it is."""
    plain = [name for name, value in wanted.items() if name not in {"space", "params"} and value is not None]
    yield from (f"{name} is {there[name]}, not {wanted[name]}" for name in plain if there[name] != wanted[name])
    if there["space"] != wanted["space"]:
        yield _first_difference(there.get("params"), wanted["params"])  # an older version told no params


def _first_difference(there: Mapping[str, Json] | None, wanted: Mapping[str, Json]) -> str:
    if there is None:
        return "its points are others"
    for name in {**there, **wanted}:
        if name not in wanted:
            return f"it has '{name}', this one has not"
        if name not in there:
            return f"this one has '{name}', that one has not"
        if there[name] != wanted[name]:
            one, other = _clipped(there[name]), _clipped(wanted[name])
            return f"{name} is {one}, not {other}" if one != other else f"{name} has other values"
    return "its values are the same, in other branches or another order"


def _clipped(value: Json) -> str:
    text = json.dumps(value)
    return text if len(text) <= _LONGEST_TOLD else f"{text[:_LONGEST_TOLD]}…"


def outline(space: Space) -> dict[str, list[Json]]:
    """What each param may be, wherever it is chosen, for people: long lists are cut."""
    told: dict[str, list[Json]] = {name: [] for name in space.params}
    for node in nodes(space.tree):
        values = _values(node.axis)
        told[node.key] += [value for value in values if value not in told[node.key]]
    told |= {name: [value] for name, value in space.constants.items()}
    return {name: its if len(its) <= _MOST_TOLD else [*its[:_MOST_TOLD], "…"] for name, its in told.items()}


def _values(axis: Axis) -> list[Json]:
    if isinstance(axis, Listed):
        return list(axis.values[: _MOST_TOLD + 1])
    return [{"from": axis.first, "to": axis.last, "count": axis.count, "log": axis.is_log}]


def fingerprint(space: Space) -> str:
    """Equal for equal spaces, and for no others: what each point is, and in which order they stand."""
    done: dict[int, str] = {id(None): ""}
    pending = [space.tree]
    while pending:
        node = pending[-1]
        below = [] if node is None else [*node.cases.values(), node.default]
        missing = [each for each in below if id(each) not in done]
        pending += missing
        if missing:
            continue
        pending.pop()
        if node is not None:
            cases = {str(position): done[id(each)] for position, each in sorted(node.cases.items())}
            done[id(node)] = digest([node.key, _described(node.axis), cases, done[id(node.default)]])
    return digest([done[id(space.tree)], dict(space.constants), space.repetitions])


def _described(axis: Axis) -> list[Json]:
    if isinstance(axis, Range):
        return ["range", axis.first, axis.last, axis.count, axis.is_log]
    return ["listed", list(axis.values)]


def readable(point: Mapping[str, Json]) -> str:
    """The values of `point` as part of a file's name, whatever they hold; not unique."""
    return _UNFIT.sub("-", "_".join(map(written, point.values())))[:_LONGEST].lstrip(".-")
