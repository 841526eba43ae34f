"""Tables of tasks, plans and results: rows in, a sheet out, drawn by rich or written with tabs. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from parallel_train.core.task import Json
from parallel_train.report import paste, words
from parallel_train.report.live import clip

_GAP = 2
_NARROWEST = 12  # of a column whose text may be broken
_STYLES = {
    "succeeded": "green",
    "skipped": "green",
    "skip": "green",
    "running": "cyan",
    "run": "cyan",
    "failed": "red",
    "aborted": "red",
    "abort": "red",
}

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


def rich_table(sheet: Sheet, width: int) -> Table:
    """As it fits into `width` columns: spare columns go, params fold into one, text is broken or cut."""
    lean = _without_spare(sheet, width)
    sheet = lean if _width(lean) <= width else _without_spare(_folded(sheet), width)
    if sheet.is_tight:
        sheet = _cut(sheet, width)
    note = Text(sheet.note) if sheet.note else None
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold", caption=note)
    table.caption_justify = "left"
    names = next((place for place, column in enumerate(sheet.columns) if column.may_break), None)
    for place, (column, natural) in enumerate(zip(sheet.columns, _widths(sheet), strict=True)):
        is_whole = place == names and natural <= width // 2  # easier to read than whole reasons
        table.add_column(
            Text(column.title),
            justify="right" if column.is_number else "left",
            no_wrap=is_whole or not column.may_break,
            overflow="fold" if column.may_break else "ellipsis",
        )
    for place, row in enumerate(sheet.rows):
        cells = (Text(cell, style=_STYLES.get(cell, "")) for cell in row)
        table.add_row(*cells, style="bold" if place in sheet.best else "")
    return table


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
    return _keep(sheet, [not sheet.rows or any(row[n] for row in sheet.rows) for n in range(len(sheet.columns))])


def _keep(sheet: Sheet, kept: Sequence[bool]) -> Sheet:
    places = [place for place, is_kept in enumerate(kept) if is_kept]
    rows = tuple(tuple(row[place] for place in places) for row in sheet.rows)
    return replace(sheet, columns=tuple(sheet.columns[place] for place in places), rows=rows)


def _folded(sheet: Sheet) -> Sheet:
    """The columns that are parts of one, as one: lr=0.1 seed=1."""
    parts = [place for place, column in enumerate(sheet.columns) if column.part_of]
    if not parts:
        return sheet
    first, last = parts[0], parts[-1] + 1
    one = Column(sheet.columns[first].part_of, may_break=True)
    columns = (*sheet.columns[:first], one, *sheet.columns[last:])
    rows = tuple(
        (
            *row[:first],
            " ".join(f"{sheet.columns[place].title}={row[place]}" for place in parts if row[place]),
            *row[last:],
        )
        for row in sheet.rows
    )
    return replace(sheet, columns=columns, rows=rows)


def _cut(sheet: Sheet, width: int) -> Sheet:
    """With text cut until it fits, that of the last column first."""
    over = _width(sheet) - width
    rows = sheet.rows
    for place, natural in reversed(list(enumerate(_widths(sheet)))):
        if over > 0 and sheet.columns[place].may_break:
            room = max(natural - over, min(natural, _NARROWEST))
            over -= natural - room
            rows = tuple((*row[:place], _in(row[place], room), *row[place + 1 :]) for row in rows)
    return replace(sheet, rows=rows)


def _in(cell: str, room: int) -> str:
    """Names of a sweep differ at both ends; a sentence says most at its beginning."""
    if " " not in cell:
        return clip(cell, room)
    text = Text(cell)
    text.truncate(room, overflow="ellipsis")
    return text.plain


def _without_spare(sheet: Sheet, width: int) -> Sheet:
    """Without what is spare, the highest first, until it fits; little of it goes where breaking or cutting does."""
    most = 3 if sheet.is_tight else 1
    for spare in sorted({column.spare for column in sheet.columns if column.spare}, reverse=True):
        if _least_width(sheet) > width or (spare > most and _width(sheet) > width):
            sheet = _keep(sheet, [column.spare != spare for column in sheet.columns])
    return sheet


def _width(sheet: Sheet) -> int:
    return sum(_widths(sheet)) + _GAP * (len(sheet.columns) - 1)


def _least_width(sheet: Sheet) -> int:
    """With every breakable column at its narrowest."""
    least = (
        min(width, _NARROWEST) if column.may_break else width
        for column, width in zip(sheet.columns, _widths(sheet), strict=True)
    )
    return sum(least) + _GAP * (len(sheet.columns) - 1)


def _widths(sheet: Sheet) -> list[int]:
    return [
        max(cell_len(column.title), *(cell_len(row[place]) for row in sheet.rows), 0)
        for place, column in enumerate(sheet.columns)
    ]
