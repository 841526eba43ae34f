"""The table on a terminal: redrawn in place at most four times a second."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.control import Control
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from parallel_train.report import words
from parallel_train.report.drawn import clip, rich_table
from parallel_train.report.memory import Said
from parallel_train.report.table import Sheet
from parallel_train.report.view import Row, View

INTERVAL = 0.25  # seconds between two drawings at least

_STYLES = {"good": "green", "bad": "red", "note": "yellow", "plain": ""}
_STATE_STYLES = {
    "running": "cyan",
    "succeeded": "green",
    "skipped": "green",
    "failed": "red",
    "aborted": "red",
}
_LOG_FROM = 90  # columns of a terminal that has room for the logs' names
_FEWEST_ROWS = 3


class Screen:
    """Draws views in place on `console`; lines of lasting interest scroll away above."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live: Live | None = None
        self._size = console.size
        self._drawn_at = float("-inf")

    def has_new_size(self) -> bool:
        return self.console.size != self._size

    def due_in(self, now: float) -> float:
        """Seconds until another drawing is allowed; a terminal of another size is drawn at once."""
        if self.has_new_size():
            return 0.0
        return max(0.0, self._drawn_at + INTERVAL - now)

    def draw(self, shown: View, now: float) -> None:
        size = self.console.size
        if size.width != self._size.width and self._live is not None:
            # The terminal has broken the old lines anew: where they stand now can't be known.
            self.stop()
            self.console.control(Control.clear(), Control.home())
        self._size = size
        self._drawn_at = now
        if self._live is None:
            self._live = Live(console=self.console, auto_refresh=False, transient=True, redirect_stdout=False)
            self._live.start()
        self._live.update(frame(shown, size.width, size.height), refresh=True)

    def say(self, said: Said) -> None:
        """Print above the table, with all that follows."""
        text = Text(said.text, style=_STYLES[said.kind])
        self.console.print(Text("\n").join([text, *(Text(line) for line in said.more)]))

    def show(self, sheet: Sheet) -> None:
        """Print a sheet above the table."""
        self.console.print(rich_table(sheet, self.console.width))

    def stop(self) -> None:
        """Take the table off the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def frame(shown: View, width: int, height: int) -> RenderableType:
    """A view as it fits on a terminal of that size."""
    width = max(20, width - 1)  # the last column stays free: some terminals break the line there
    below = [_progress(shown, width), *_counts(shown, width), *_slots(shown, width)]
    if shown.notice:
        below.append(_line(shown.notice, width, "bold yellow"))
    room = max(_FEWEST_ROWS, height - len(below) - 2)
    rows = shown.rows
    if len(rows) > room:
        rows = rows[: room - 1]
        below.insert(0, _line(f"… and {len(shown.rows) - len(rows)} more run", width, "dim"))
    left = max(0, room - len(rows) - 1)
    recent = [_line(said.text, width, _STYLES[said.kind] or "dim") for said in shown.recent[-left:]] if left else []
    return Group(*([_table(rows, width)] if rows else []), *below, *recent)


def _table(rows: tuple[Row, ...], width: int) -> Table:
    """Slot, task and time always; the attempt where any is repeated; the log on a wide terminal."""
    times = [words.clock(row.elapsed) if row.elapsed is not None else "starting" for row in rows]
    columns = [("Slot", [row.slot for row in rows], 16), ("Task", [row.task for row in rows], width)]
    columns.append(("Time", times, 12))
    if any(row.attempt > 1 for row in rows):
        columns.append(("Try", [str(row.attempt) for row in rows], 4))
    if width >= _LOG_FROM:
        columns.append(("Log", [row.log for row in rows], width))
    wanted = [min(most, max(cell_len(text) for text in (head, *texts))) for head, texts, most in columns]
    free = width - sum(wanted) - 2 * (len(columns) - 1)
    if free < 0:
        wanted = _narrowed(wanted, -free)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for (head, _, _), size in zip(columns, wanted, strict=True):
        table.add_column(head, width=size, no_wrap=True, justify="right" if head == "Time" else "left")
    for cells in zip(*(texts for _, texts, _ in columns), strict=True):
        table.add_row(*(Text(clip(cell, size)) for cell, size in zip(cells, wanted, strict=True)))
    return table


def _narrowed(wanted: list[int], over: int) -> list[int]:
    """Take `over` columns from the log (the last, where it is shown) down to 20; the task gives the rest."""
    log = min(over, max(0, wanted[-1] - 20))
    return [wanted[0], max(8, wanted[1] - (over - log)), *wanted[2:-1], wanted[-1] - log]


def _line(text: str, width: int, style: str = "") -> Text:
    return Text(clip(text, width), style=style, no_wrap=True)


def _progress(shown: View, width: int) -> RenderableType:
    eta = f", ETA {words.clock(shown.eta)}" if shown.eta is not None else ""
    text = f"{shown.done}/{shown.total} done in {words.clock(shown.elapsed)}{eta}"
    room = min(40, width - cell_len(text) - 2)
    if room < 8:
        return _line(text, width)
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_row(ProgressBar(total=max(1, shown.total), completed=shown.done, width=room), Text(text))
    return row


def _counts(shown: View, width: int) -> Iterator[Text]:
    parts = [Text(f"{number} {name}", _STATE_STYLES.get(name, "")) for name, number in shown.counts]
    text = Text("  ").join(parts)
    text.truncate(width, overflow="ellipsis")
    if parts:
        yield text


def _slots(shown: View, width: int) -> Iterator[Text]:
    if shown.idle:
        yield _line(f"idle: {shown.idle}", width, "dim")
    if shown.held:
        yield _line(f"held by somebody else: {shown.held}", width, "yellow")
