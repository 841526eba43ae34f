"""A picture that is drawn again and again: in place on a terminal, one below the other elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from parallel_train.report.outlet import Outlet
from parallel_train.report.table import Picture, plain

if TYPE_CHECKING:
    from parallel_train.report.drawn import Canvas


def print_picture(picture: Picture, out: TextIO) -> None:
    """Once."""
    if out.isatty():
        from parallel_train.report import drawn  # noqa: PLC0415  rich takes its time, and a pipe has no use for it

        console = drawn.terminal(Outlet(out, Path(os.devnull)))
        console.print(drawn.rich_picture(picture, console.width))
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
    from parallel_train.report import drawn  # noqa: PLC0415  as above

    last: list[Picture] = []
    try:
        with drawn.in_place(Outlet(out, Path(os.devnull))) as draw:

            def keep(picture: Picture, head: str) -> None:
                last[:] = [picture]
                draw(picture, head)

            yield keep
    finally:
        for picture in last:
            print_picture(picture, out)


def _append(out: TextIO, text: str) -> None:
    out.write(text)
    out.flush()


def _plain(picture: Picture) -> str:
    parts = [part if isinstance(part, str) else plain(part) + "\n" for part in picture]
    return "\n".join(parts) + "\n"
