"""-w: look again every two seconds until Ctrl-C."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, TextIO

from parallel_train.errors import ParallelTrainError
from parallel_train.report.table import Picture
from parallel_train.report.watch import canvas

INTERVAL = 2.0  # seconds, as watch(1) does


def watch(
    look: Callable[[], Picture],
    out: TextIO,
    *,
    as_json: bool = False,
    wait: Callable[[float], None] = time.sleep,
) -> int:
    """Draw what `look` sees, again and again; 0 when Ctrl-C ends it.

    The first look may raise: then there is nothing to watch. A later one that fails is shown, and tried again.
    """
    try:
        picture = look()
        with _left_by_term(), canvas(out, is_for_programs=as_json) as draw:
            while True:
                draw(picture, time.strftime("%Y-%m-%d %H:%M:%S"))
                wait(INTERVAL)
                picture = _again(look, as_json=as_json)
    except KeyboardInterrupt:
        return 0


def _again(look: Callable[[], Picture], *, as_json: bool) -> Picture:
    try:
        return look()
    except ParallelTrainError as error:
        return [json.dumps({"error": str(error)}) if as_json else str(error)]


@contextmanager
def _left_by_term() -> Iterator[None]:
    """Let TERM give the terminal back before it ends us."""

    def leave(number: int, _: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
