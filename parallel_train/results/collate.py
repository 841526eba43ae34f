"""Results: the metrics of finished tasks, ranked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from parallel_train.core.facts import Attempt
from parallel_train.core.situation import Situation, name_of
from parallel_train.core.state import Ended, Ending, Line
from parallel_train.core.task import Json, Metric
from parallel_train.results import metrics
from parallel_train.results.metrics import Reading, is_number, rank


@dataclass(frozen=True, slots=True)
class Row:
    """A finished task. `seconds` is None and `log` empty where its output was not ours."""

    id: str
    number: int
    name: str
    params: Mapping[str, Json]
    metrics: Mapping[str, float | None]
    seconds: float | None
    attempts: int  # of this round
    log: str
    output: str | None
    ending: Ending


@dataclass(frozen=True, slots=True)
class Missing:
    """A task without a result: it has not succeeded (a state or ending), or its number was not found."""

    id: str
    number: int
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Table:
    """Tasks that are ranked by one metric; `metric` is empty for tasks that name none.

    `rows` come best first. A finished task whose number was not found is a row, the last, and also `missing`.
    `varying` names the params in which the tasks differ, finished or not.
    """

    metric: str
    mode: Literal["max", "min"]
    rows: tuple[Row, ...]
    varying: tuple[str, ...]
    missing: tuple[Missing, ...]

    @property
    def best(self) -> Row | None:
        """The first row, if it has a number: neither NaN nor a missing one is ever best."""
        if not self.rows or not is_number(self.rows[0].metrics.get(self.metric)):
            return None
        return self.rows[0]

    @property
    def has_results(self) -> bool:
        without = {missing.id for missing in self.missing}
        return any(row.id not in without for row in self.rows)


def collate(situation: Situation, project: Path) -> tuple[Table, ...]:
    """One table for each metric that ranks, in the order in which the tasks name them; last the tasks without one."""
    groups: dict[tuple[str, Literal["max", "min"]], list[Line]] = {}
    for line in sorted(situation.lines.values(), key=lambda line: line.task.number):
        first = line.task.metrics[0] if line.task.metrics else Metric("")
        groups.setdefault((first.name, first.mode), []).append(line)
    ranked_first = sorted(groups.items(), key=lambda group: not group[0][0])
    return tuple(_table(ranking, lines, project) for ranking, lines in ranked_first)


def _table(ranking: tuple[str, Literal["max", "min"]], lines: Sequence[Line], project: Path) -> Table:
    metric, mode = ranking
    rows: list[Row] = []
    missing: list[Missing] = []
    for line in lines:
        task = line.task
        why = _unfinished(line)
        if not why:
            found = _readings(line, project)
            rows.append(_row(line, found))
            why = found[metric].why if metric else ""
        if why:
            missing.append(Missing(task.id, task.number, task.name, why))
    rows.sort(key=lambda row: rank(row.metrics.get(metric), mode, row.number))
    varying = tuple(_varying(line.task.params for line in lines))
    return Table(metric, mode, tuple(rows), varying, tuple(missing))


def _unfinished(line: Line) -> str:
    """Why `line` has no result that holds; empty where it has one."""
    state = line.state
    if isinstance(state, Ended) and state.is_satisfied:
        return ""
    if isinstance(state, Ended) and state.stale:
        return f"stale: {state.stale}"
    return name_of(state)


def _readings(line: Line, project: Path) -> dict[str, Reading]:
    claim = line.deciding.claim if line.deciding else None
    logs = (claim.log, claim.err) if claim else ()
    return {metric.name: metrics.read(metric, project, logs) for metric in line.task.metrics}


def _row(line: Line, readings: Mapping[str, Reading]) -> Row:
    task, deciding = line.task, line.deciding
    return Row(
        id=task.id,
        number=task.number,
        name=task.name,
        params=task.params,
        metrics={name: reading.value for name, reading in readings.items()},
        seconds=_seconds(deciding),
        attempts=line.attempts_of_round,
        log=deciding.claim.log if deciding else "",
        output=task.output,
        ending="succeeded" if deciding else "skipped",
    )


def _seconds(attempt: Attempt | None) -> float | None:
    return attempt.end.seconds if attempt and attempt.end else None


def _varying(params: Iterable[Mapping[str, Json]]) -> Iterator[str]:
    """The names whose values differ; one that only some have differs."""
    every = list(params)
    for name in dict.fromkeys(name for one in every for name in one):
        values = {json.dumps(one[name], sort_keys=True) if name in one else "" for one in every}
        if len(values) > 1:
            yield name
