"""`parallel-train results`: what came out, best first."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from parallel_train.core.graph import did_you_mean
from parallel_train.core.situation import Situation
from parallel_train.core.task import Json, Task
from parallel_train.errors import NothingSelectedError
from parallel_train.project import reading
from parallel_train.report import paste, shape, table, words
from parallel_train.report.console import print_sheet
from parallel_train.results import collate
from parallel_train.results.collate import Missing, Row, Table

NO_RESULT = 3  # the exit code
_AT_THE_END = 20  # rows that a run shows when it is over
_MOST_REASONS = 8


def results(project: Path, *, file: str | None, best: bool, as_csv: bool, as_json: bool, out: TextIO) -> int:
    """Print the results of the tasks of `file`, or of all; with `best` only the best of each table."""
    situation = reading.look(project, _tasks(reading.existing_queue(project), file))
    tables = collate.collate(situation, project)
    rows = [(ranked, row) for ranked in tables for row in _chosen(ranked, best=best)]
    if as_json:
        json.dump({"tasks": _tasks_json(situation, rows, tables, best=best)}, out, indent=2)
        out.write("\n")
    elif as_csv:
        _write_csv([row for _, row in rows], out)
    else:
        _draw(tables, out, best=best)
    has_results = any(ranked.best for ranked in tables) if best else any(t.has_results for t in tables)
    return 0 if has_results else NO_RESULT


def sheet(situation: Situation, project: Path) -> table.Sheet | None:
    """The top of the first table that ranks results, for the end of a run. Raises OSError, ParallelTrainError.

    From the records once more: a run keeps in memory only what it decides by.
    """
    tasks = [line.task for line in situation.lines.values()]
    if not any(task.metrics for task in tasks):
        return None
    seen = reading.look(project, tasks, amiss=lambda _: None)
    for ranked in collate.collate(seen, project):
        if ranked.metric and ranked.has_results:
            top = table.results_sheet([_shown(row, ranked) for row in ranked.rows[:_AT_THE_END]], ranked.varying)
            more = len(ranked.rows) - _AT_THE_END
            return replace(top, note=f"{more} more: {paste.command('results')}" if more > 0 else "")
    return None


def _tasks(folder: Path, file: str | None) -> tuple[Task, ...]:
    if file is None:
        return reading.known_tasks(folder)
    source = str(Path(file))
    found = reading.known_tasks(folder, source)
    if not found:
        hint = did_you_mean(source, sorted({task.source for task in reading.known_tasks(folder)}))
        raise NothingSelectedError(f"nothing of {file} was run here" + (f" ({hint})" if hint else ""))
    return found


def _chosen(ranked: Table, *, best: bool) -> tuple[Row, ...]:
    if not best:
        return ranked.rows
    return (ranked.best,) if ranked.best else ()


# ---- JSON ----


def _tasks_json(
    situation: Situation, rows: Iterable[tuple[Table, Row]], tables: Sequence[Table], *, best: bool
) -> list[dict[str, Any]]:
    """The finished tasks in their ranking, then those that have no result to be ranked by."""
    ids = {row.id: row.metrics for _, row in rows}
    if not best:
        for missing in (missing for ranked in tables for missing in ranked.missing):
            metrics = situation.lines[missing.id].task.metrics
            ids.setdefault(missing.id, dict.fromkeys((metric.name for metric in metrics), None))
    return [
        {**shape.task_json(situation.lines[name]), "metrics": shape.to_json(metrics)} for name, metrics in ids.items()
    ]


# ---- CSV ----


def _write_csv(rows: Sequence[Row], out: TextIO) -> None:
    params = list(dict.fromkeys(name for row in rows for name in row.params))
    metrics = list(dict.fromkeys(name for row in rows for name in row.metrics))
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["number", "name", *params, *metrics, "seconds", "attempts", "output", "log"])
    for row in rows:
        writer.writerow(
            [
                *(row.number, row.name),
                *(_cell(row.params.get(name)) for name in params),
                *(row.metrics.get(name) for name in metrics),
                *(row.seconds, row.attempts, row.output, row.log),
            ]
        )


def _cell(value: Json) -> str:
    """A param as a task file writes it; empty where the task has none."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


# ---- for people ----


def _draw(tables: Sequence[Table], out: TextIO, *, best: bool) -> None:
    if best:
        tables = [ranked for ranked in tables if ranked.metric] or tables
    for place, ranked in enumerate(tables):
        if place:
            out.write("\n")
        if len(tables) > 1 and ranked.metric:
            out.write(f"{words.clean(ranked.metric)} ({ranked.mode})\n")
        _draw_one(ranked, out, best=best)
    if not tables:
        out.write("no result: no task was asked for yet\n")


def _draw_one(ranked: Table, out: TextIO, *, best: bool) -> None:
    rows = _chosen(ranked, best=best)
    if rows:
        print_sheet(table.results_sheet([_shown(row, ranked) for row in rows], ranked.varying), out)
    if best and rows and rows[0].output:
        out.write(f"output: {words.clean(paste.path(rows[0].output))}\n")
    if not best or not rows:
        shown = {row.id for row in rows}
        blank = [missing for missing in ranked.missing if missing.id in shown]
        others = [missing for missing in ranked.missing if missing.id not in shown]
        out.writelines(f"{line}\n" for line in (*_blank(blank), *_without(others)))


def _shown(row: Row, ranked: Table) -> table.ResultRow:
    return table.ResultRow(
        number=row.number,
        name=row.name,
        state=row.ending,
        params=row.params,
        metrics=row.metrics,
        seconds=row.seconds,
        attempts=row.attempts,
        log=row.log,
        is_best=row is ranked.best,
    )


def _blank(missing: Sequence[Missing]) -> list[str]:
    """Why rows of the table have no number: the first stands for all, for each names a file of its own."""
    more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
    return [f"without a number: {words.clean(one.name)} ({words.clean(one.why)}){more}" for one in missing[:1]]


def _without(missing: Iterable[Missing]) -> list[str]:
    """Why tasks have no result, each reason once with the names of the first tasks, and not too many reasons."""
    tasks: dict[str, list[str]] = {}
    for one in missing:
        tasks.setdefault(one.why, []).append(words.clean(one.name))
    shown = list(tasks.items())[:_MOST_REASONS]
    lines = [f"no result ({words.clean(why)}): {_few(names)}" for why, names in shown]
    others = sum(map(len, tasks.values())) - sum(len(names) for _, names in shown)
    return [*lines, f"no result: {words.plural(others, 'more task')}"] if others else lines


def _few(names: Sequence[str], most: int = 3) -> str:
    more = [f"{len(names) - most} more"] if len(names) > most else []
    return ", ".join([*names[:most], *more])
