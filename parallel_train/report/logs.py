"""What `logs` says about attempts, and its screen: the lines of several logs on one stream, each of them whole."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import TextIO

from rich.cells import cell_len, set_cell_size

from parallel_train.core.facts import Attempt
from parallel_train.core.state import Line, Waiting
from parallel_train.core.task import Task
from parallel_train.report import paste, words
from parallel_train.report.tail import last_state

_COLOUR = re.compile(r"(\x1b\[[0-9;:]{0,60}m)")  # the one kind of escape sequence that only changes how text looks
_PLAIN = "\x1b[0m"
_BOLD, _DIM = "\x1b[1m", "\x1b[2m"
_NAME_COLOURS = tuple(f"\x1b[{number}m" for number in (36, 33, 32, 35, 34, 96, 93, 92, 95, 94))
_NAME_SHARE = 3  # names take at most this part of a terminal's width

# ---- sentences ----


def title(task: Task, attempt: Attempt, path: str) -> str:
    """What the lines below it are from."""
    how = words.end(attempt.end, task) if attempt.end else "running"
    return f"==> {words.name(task)} (attempt {attempt.number}, {how}): {words.clean(paste.path(path))} <=="


def empty(task: Task, attempt: Attempt, path: str = "") -> str:
    """Nothing was written to the log, or to the file at `path` where a certain one was asked for."""
    where = f" to {words.clean(paste.path(path))}" if path else ""
    who = f"{words.name(task)}: attempt {attempt.number}"
    if attempt.end:
        return f"{who} wrote nothing{where} ({words.end(attempt.end, task)})"
    since = f" since {attempt.claim.at[:19].replace('T', ' ')} UTC" if attempt.claim.at else ""
    return f"{who} has written nothing{where} yet (running{since})"


def without(task: Task) -> str:
    """Of a call, of which this process keeps no such file."""
    return f"{words.name(task)}: the process that makes the call says what it has to say itself"


def unreadable(task: Task, path: str, error: OSError) -> str:
    return f"{words.name(task)}: can't read {words.clean(paste.path(path))}: {error.strerror}"


def ended(task: Task, attempt: Attempt, *, may_go_on: bool, is_worked_on: bool) -> str:
    """An attempt that was followed is over; whether another one comes without anybody asking."""
    how = words.end(attempt.end, task) if attempt.end else "lost"
    then = "it will run again" if is_worked_on else "it runs again once a scheduler works here"
    return f"{words.name(task)}: attempt {attempt.number} ended: {how}" + (f"; {then}" if may_go_on else "")


def not_started(lines: Sequence[Line], reason: str) -> str:
    """What is waited for. `reason` is that of the first."""
    if len(lines) > 1:
        return f"{words.plural(len(lines), 'task')} not started yet"
    why = f": {reason}" if isinstance(lines[0].state, Waiting) else ""
    return f"{words.name(lines[0].task)}: not started yet{why}"


def nothing(lines: Sequence[Line], *, failed: bool) -> str:
    """Why there is nothing to show."""
    if failed:
        return "no task has failed" if not lines else "no failed task has a log"
    if len(lines) == 1:
        return f"{words.name(lines[0].task)} has no log yet: it was never started"
    return "there are no logs yet: nothing was started"


# ---- the screen ----


@dataclass(slots=True)
class Screen:
    """Lines go to `out`, what is said about them to `notes`. Nobody gets anything that a terminal would obey.

    A terminal keeps colours, and shows lines that have no end yet, such as progress bars, below all others.
    """

    out: TextIO
    notes: TextIO | None
    is_raw: bool = False
    has_headers: bool = False  # also above the first file
    _path: str = ""  # of the file whose lines came last
    _paths: set[str] = field(default_factory=set)  # of all files that had a header
    _tasks: dict[str, str] = field(default_factory=dict)  # task -> its name
    _names: dict[str, str] = field(default_factory=dict)  # task -> how its lines begin, where there are several
    _open: dict[str, tuple[Task, bytes]] = field(default_factory=dict)  # path -> a line that has no end yet
    _drawn: tuple[str, ...] = ()
    _is_blank: bool = True
    _can_draw: bool = False
    _has_colours: bool = False

    def __post_init__(self) -> None:
        self._can_draw = self.out.isatty() and os.environ.get("TERM", "") not in {"", "dumb", "unknown"}
        self._has_colours = self._can_draw and not os.environ.get("NO_COLOR")

    # ---- what is shown ----

    def expect(self, tasks: Iterable[Task]) -> None:
        """Lines of these tasks will come."""
        known = len(self._tasks)
        self._tasks.update({task.id: words.name(task) for task in tasks})
        if len(self._tasks) > known and len(self._tasks) > 1:
            self._names = self._named()

    def head(self, path: str, text: str) -> None:
        """From now on lines are of the file at `path`: say so, unless it is the only one or its lines show it."""
        is_known = path == self._path or (bool(self._names) and path in self._paths)
        if not is_known and (self._path or self.has_headers):
            if self.is_raw:
                self.note(text)
            else:
                self._clear()
                self._write(("" if self._is_blank else "\n") + self._styled(text, _BOLD) + "\n")
        self._path = path
        self._paths.add(path)

    def line(self, task: Task, line: bytes) -> None:
        self._clear()
        self._write(self._names.get(task.id, "") + self._shown(line) + "\n")

    def unfinished(self, task: Task, path: str, line: bytes) -> None:
        """`line` is all there is of the last line of a file; empty: it has ended."""
        if line:
            self._open[path] = (task, line)
        else:
            self._open.pop(path, None)

    def data(self, data: bytes) -> None:
        """Bytes as they are."""
        self.out.flush()
        self.out.buffer.write(data)

    def note(self, text: str) -> None:
        """One line about attempts, apart from what they wrote."""
        self._clear()
        self.out.flush()
        if self.notes is not None:
            is_here = self.notes.isatty()
            print(self._styled(text, _DIM) if is_here else text, file=self.notes, flush=True)

    def flush(self) -> None:
        if self._can_draw:
            self._draw()
        self.out.flush()

    def close(self) -> None:
        """Leave what is drawn; the next program begins on a line of its own."""
        if self._drawn:
            self._write("\n")
            self._drawn = ()
        self.out.flush()

    # ---- how ----

    def _draw(self) -> None:
        columns, rows = shutil.get_terminal_size()
        found = tuple(self._cut(*last, columns) for last in islice(self._open.values(), max(1, rows - 1)))
        if found != self._drawn:
            self._clear()
            self._write("\n".join(found))
            self._drawn = found

    def _cut(self, task: Task, line: bytes, columns: int) -> str:
        name = self._names.get(task.id, "")
        room = max(1, columns - 1 - cell_len(_COLOUR.sub("", name)))
        text = words.clean(last_state(line).decode(errors="replace"))
        return name + set_cell_size(text[:columns], room).rstrip()

    def _clear(self) -> None:
        if self._drawn:
            up = f"\x1b[{len(self._drawn) - 1}A" if len(self._drawn) > 1 else ""
            self._write(f"\r{up}\x1b[J")
            self._drawn = ()

    def _named(self) -> dict[str, str]:
        """How the lines of each task begin: on a terminal in a colour of its own, and all equally wide."""
        if not self._can_draw:
            return {task: f"{name} | " for task, name in self._tasks.items()}
        room = shutil.get_terminal_size().columns // _NAME_SHARE
        width = min(room, max(map(cell_len, self._tasks.values())))
        return {
            task: self._styled(_fit(name, width), colour) + " | "
            for (task, name), colour in zip(self._tasks.items(), cycle(_NAME_COLOURS), strict=False)
        }

    def _shown(self, line: bytes) -> str:
        text = line.decode(errors="replace")
        if not self._has_colours:
            return _clean(text)
        parts = _COLOUR.split(text)
        shown = [part if place % 2 else _clean(part) for place, part in enumerate(parts)]
        return "".join(shown) + (_PLAIN if len(parts) > 1 else "")

    def _styled(self, text: str, style: str) -> str:
        return f"{style}{text}{_PLAIN}" if self._has_colours else text

    def _write(self, text: str) -> None:
        encoding = self.out.encoding or "utf-8"
        self.out.write(text.encode(encoding, "backslashreplace").decode(encoding))
        self._is_blank = False


def _fit(name: str, width: int) -> str:
    """`name` exactly so wide; both ends of a long one tell it from others."""
    if cell_len(name) > width:
        end = width // 2
        name = f"{name[: width - end - 1]}…{name[-end:]}"
    return set_cell_size(name, width)


def _clean(text: str) -> str:
    return "\t".join(map(words.clean, text.split("\t")))
