"""Sheets and pictures on a terminal, as they fit into its width.

Imported only where there is one: rich takes its time, and a pipe has no use for it (see table.plain).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, Protocol, cast

from rich.cells import cell_len, chop_cells
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from parallel_train.report.outlet import Outlet
from parallel_train.report.table import Column, Picture, Sheet, keep

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


class Canvas(Protocol):
    def __call__(self, picture: Picture, head: str) -> None:
        """Draw `picture` in the place of the one before; `head` stands above it."""


def terminal(outlet: Outlet) -> Console:
    """A console that shows text as it is: what comes from logs and names is never read as markup."""
    return Console(file=cast("IO[str]", outlet), markup=False, highlight=False, emoji=False)


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


def rich_picture(picture: Picture, width: int) -> RenderableType:
    parts: list[RenderableType] = []
    for place, part in enumerate(picture):
        if place and not (isinstance(part, str) and isinstance(picture[place - 1], str)):
            parts.append(Text())
        parts.append(Text(part) if isinstance(part, str) else rich_table(part, width))
    return Group(*parts)


@contextmanager
def in_place(outlet: Outlet) -> Iterator[Canvas]:
    """Each picture in the place of the one before, on a screen of their own."""
    console = terminal(outlet)
    with Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False) as live:

        def draw(picture: Picture, head: str) -> None:
            live.update(Group(Text(head, "dim"), Text(), rich_picture(picture, console.width)), refresh=True)

        yield draw


# ---- room ----


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
            sheet = keep(sheet, [column.spare != spare for column in sheet.columns])
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


def clip(text: str, width: int) -> str:
    """`text` in at most `width` columns, cut in its middle: runs of a sweep differ at both ends."""
    if cell_len(text) <= width:
        return text
    head = (width - 1) // 2
    tail = width - 1 - head
    backwards = chop_cells(text[::-1], tail)[0] if tail > 0 else ""
    return f"{chop_cells(text, head)[0] if head > 0 else ''}…{backwards[::-1]}"
