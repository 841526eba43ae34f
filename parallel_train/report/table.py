"""Tables of tasks, plans and results: rows in, a sheet out, written with tabs or drawn (see drawn). Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from parallel_train.core.task import Json
from parallel_train.report import paste, words

# How long a row stays where there is no room for all.
_RANKS = {
    name: rank for rank, name in enumerate(("running", "failed", "cancelled", "aborted", "stale", "ready", "waiting"))
}


@dataclass(frozen=True, slots=True)
class StatusRow:
    number: int
    name: str
    state: str  # waiting, ready, running, an ending, or stale
    gpus: tuple[str, ...] = ()
    seconds: float | None = None
    attempts: int = 0
    reason: str = ""
    log: str = ""


@dataclass(frozen=True, slots=True)
class PlanRow:
    number: int
    name: str
    decision: str
    reason: str


@dataclass(frozen=True, slots=True)
class ResultRow:
    number: int
    name: str
    state: str
    params: Mapping[str, Json] = field(default_factory=dict)
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    seconds: float | None = None
    attempts: int = 0
    log: str = ""
    is_best: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """`spare`: the highest is left out first where there is no room, 0 never. `part_of`: see `_folded`."""

    title: str
    is_number: bool = False
    spare: int = 0
    part_of: str = ""
    may_break: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    best: frozenset[int] = frozenset()  # rows that stand out
    note: str = ""  # below the rows
    is_tight: bool = False  # on a terminal each row has one line: text is cut and not broken


Picture = Sequence["Sheet | str"]  # tables and lines, from top to bottom


def status_sheet(rows: Iterable[StatusRow]) -> Sheet:
    """In the order given."""
    columns = (
        Column("#", is_number=True),
        Column("task", may_break=True),
        Column("state"),
        Column("slot", spare=3),
        Column("time", is_number=True, spare=2),
        Column("tries", is_number=True, spare=4),
        Column("why", may_break=True, spare=1),
        Column("log", may_break=True, spare=5),
    )
    return _without_empty(
        Sheet(
            columns,
            tuple(
                (
                    *(_count(row.number), words.clean(row.name), row.state),
                    *(words.slot(row.gpus) if row.gpus else "", _time(row.seconds), _count(row.attempts)),
                    *(words.clean(row.reason), words.clean(paste.path(row.log))),
                )
                for row in rows
            ),
        )
    )


def shortened(rows: Sequence[StatusRow], room: int) -> Sheet:
    """The same in at most `room` rows of one line: what runs or went wrong stays longest, what is done goes first."""
    room = max(1, room)
    kept = sorted(rows, key=lambda row: _RANKS.get(row.state, len(_RANKS)))[:room]
    shown = {row.number for row in kept}
    sheet = status_sheet(row for row in rows if row.number in shown)
    left_out = len(rows) - len(sheet.rows)
    return replace(sheet, note=f"… and {left_out} more: {paste.command('status')}" if left_out else "", is_tight=True)


def plan_sheet(rows: Iterable[PlanRow]) -> Sheet:
    columns = (
        Column("#", is_number=True, spare=1),
        Column("decision"),
        Column("task", may_break=True),
        Column("why", may_break=True),
    )
    return _without_empty(
        Sheet(
            columns,
            tuple((_count(r.number), r.decision, words.clean(r.name), words.clean(r.reason)) for r in rows),
        )
    )


def results_sheet(rows: Sequence[ResultRow], params: Sequence[str]) -> Sheet:
    """In the order given, which ranks them; `params` (those that vary) get a column each."""
    metrics = _keys(r.metrics for r in rows)
    columns = (
        *(Column("best"), Column("#", is_number=True, spare=1)),
        # Where no param varies, only the name tells one task from another.
        *([Column(words.clean(name), part_of="params") for name in params] or [Column("task", may_break=True)]),
        *(Column(words.clean(name), is_number=True) for name in metrics),
        *(Column("state"), Column("time", is_number=True, spare=2)),
        *(Column("tries", is_number=True, spare=3), Column("log", may_break=True, spare=4)),
    )
    cells = (
        (
            *("*" if row.is_best else "", _count(row.number)),
            *([_value(row.params.get(name)) for name in params] or [words.clean(row.name)]),
            *(_metric(row.metrics.get(name)) for name in metrics),
            *(row.state, _time(row.seconds), _count(row.attempts), words.clean(paste.path(row.log))),
        )
        for row in rows
    )
    best = frozenset(place for place, row in enumerate(rows) if row.is_best)
    return _without_empty(Sheet(columns, tuple(cells), best))


def plain(sheet: Sheet) -> str:
    """Every column, with tabs between cells and a header: for a file, a pipe or cut."""
    lines = [tuple(column.title for column in sheet.columns), *sheet.rows]
    return "\n".join(["\t".join(line) for line in lines] + ([sheet.note] if sheet.note else []))


# ---- cells ----


def _count(number: int) -> str:
    return str(number) if number else ""


def _time(seconds: float | None) -> str:
    return "" if seconds is None else words.clock(seconds)


def _metric(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _value(value: Json) -> str:
    if value is None:
        return ""
    return words.clean(value if isinstance(value, str) else json.dumps(value, sort_keys=True))


def _keys(mappings: Iterable[Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(key for mapping in mappings for key in mapping))


# ---- room ----


def _without_empty(sheet: Sheet) -> Sheet:
    return keep(sheet, [not sheet.rows or any(row[n] for row in sheet.rows) for n in range(len(sheet.columns))])


def keep(sheet: Sheet, kept: Sequence[bool]) -> Sheet:
    places = [place for place, is_kept in enumerate(kept) if is_kept]
    rows = tuple(tuple(row[place] for place in places) for row in sheet.rows)
    return replace(sheet, columns=tuple(sheet.columns[place] for place in places), rows=rows)
