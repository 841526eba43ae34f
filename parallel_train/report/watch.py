"""A picture that is drawn again and again: in place on a terminal, one below the other elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TextIO

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from parallel_train.report.console import terminal
from parallel_train.report.outlet import Outlet
from parallel_train.report.table import Sheet, plain, rich_table

Picture = Sequence["Sheet | str"]  # tables and lines, from top to bottom


class Canvas(Protocol):
    def __call__(self, picture: Picture, head: str) -> None:
        """Draw `picture` in the place of the one before; `head` stands above it."""


def print_picture(picture: Picture, out: TextIO) -> None:
    """Once."""
    if out.isatty():
        console = terminal(Outlet(out, Path(os.devnull)))
        console.print(_drawn(picture, console.width))
    else:
        out.write(_plain(picture))


@contextmanager
def canvas(out: TextIO, *, is_for_programs: bool = False) -> Iterator[Canvas]:
    """Pictures in place, on a screen of their own, the last of which stays when it is left; or plain ones.

    `is_for_programs` leaves out what is not part of the picture.
    """
    if is_for_programs:
        yield lambda picture, _: _append(out, _plain(picture))
        return
    if not (out.isatty() and os.environ.get("TERM", "") not in {"", "dumb", "unknown"}):
        yield lambda picture, head: _append(out, f"{head}\n{_plain(picture)}\n")
        return
    console = terminal(Outlet(out, Path(os.devnull)))
    last: list[Picture] = []
    try:
        with Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False) as live:

            def draw(picture: Picture, head: str) -> None:
                last[:] = [picture]
                live.update(Group(Text(head, "dim"), Text(), _drawn(picture, console.width)), refresh=True)

            yield draw
    finally:
        for picture in last:
            print_picture(picture, out)


def _append(out: TextIO, text: str) -> None:
    out.write(text)
    out.flush()


def _drawn(picture: Picture, width: int) -> RenderableType:
    parts: list[RenderableType] = []
    for place, part in enumerate(picture):
        if place and not (isinstance(part, str) and isinstance(picture[place - 1], str)):
            parts.append(Text())
        parts.append(Text(part) if isinstance(part, str) else rich_table(part, width))
    return Group(*parts)


def _plain(picture: Picture) -> str:
    parts = [part if isinstance(part, str) else plain(part) + "\n" for part in picture]
    return "\n".join(parts) + "\n"
