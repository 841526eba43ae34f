"""`parallel-train logs`: what tasks wrote, once or as they write it."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TextIO

from rich.cells import set_cell_size

from parallel_train.commands import project as projects
from parallel_train.commands.select import select
from parallel_train.commands.tail import Tail, last_state
from parallel_train.core.facts import Attempt, End, Lost, verdict
from parallel_train.core.state import Ended, Line
from parallel_train.core.task import Task
from parallel_train.core.wire import end_of
from parallel_train.errors import NothingSelectedError
from parallel_train.procs.runner import is_alive
from parallel_train.report import words
from parallel_train.store import queue, records

_POLL = 0.2  # seconds


def logs(project: Path, tasks: Sequence[str], *, follow: bool, err: bool, failed: bool, lines: int, out: TextIO) -> int:
    """Show the last `lines` lines (0: all) of each task's newest attempt; with `follow` go on until they end.

    Without `tasks` and `failed`: of all that run, else of the one that began last.
    """
    views = [View(project, *pair, err=err, lines=lines, follow=follow) for pair in _chosen(project, tasks, failed)]
    screen = Screen(out, has_headers=len(views) > 1 or not tasks)
    try:
        while views:
            for view in views:
                view.show(screen)
            screen.flush()
            views = [view for view in views if not view.is_over]
            if views:
                time.sleep(_POLL)
    except BrokenPipeError:
        # Whoever read has seen enough. What the stream still holds must not fail again at the very end.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), out.fileno())
    finally:
        for view in views:
            view.close()
    return 0


# ---- which attempts ----


def _chosen(project: Path, asked: Sequence[str], failed: bool) -> list[tuple[Task, Attempt]]:
    folder = projects.existing_queue(project)
    known = projects.known_tasks(folder, everything=not failed and not _are_current(folder, asked))
    situation = projects.look(project, known)
    lines = [situation.lines[task.id] for task in (select(asked, known) if asked else known)]
    if failed:
        lines = [line for line in lines if isinstance(line.state, Ended) and line.state.ending == "failed"]
    found = [(line.task, attempt) for line in lines for attempt in _newest(line)]
    if not found:
        raise NothingSelectedError(_nothing(lines, failed=failed))
    return found if asked or failed else _running_or_last(found)


def _are_current(folder: Path, asked: Sequence[str]) -> bool:
    """Whether `asked` names tasks that hold; a number also means one that no file names any more."""
    if not asked:
        return False
    try:
        select(asked, projects.known_tasks(folder))
    except NothingSelectedError:
        return not all(word.isdigit() for word in asked)
    return True


def _newest(line: Line) -> Iterator[Attempt]:
    """The attempt that runs, else the last one that started, else the last: it says why it did not."""
    started = [attempt for attempt in line.attempts if attempt.is_started]
    yield from (started or line.attempts)[-1:]


def _running_or_last(found: Sequence[tuple[Task, Attempt]]) -> list[tuple[Task, Attempt]]:
    running = [pair for pair in found if pair[1].end is None]
    return running or [max(found, key=lambda pair: pair[1].claim.at)]


def _nothing(lines: Sequence[Line], *, failed: bool) -> str:
    if failed:
        return "no task has failed" if not lines else "no failed task has a log"
    if len(lines) == 1:
        return f"{words.name(lines[0].task)} has no log yet: it was never started"
    return "there are no logs yet: nothing was started"


# ---- one attempt ----


@dataclass(slots=True)
class View:
    """The logs of one attempt, as far as they were shown."""

    project: Path
    task: Task
    attempt: Attempt
    err: bool
    lines: int
    follow: bool
    _tails: dict[str, Tail | None] = field(default_factory=dict)  # None: it can't be read, and that was said

    @property
    def is_over(self) -> bool:
        return not self.follow or self.attempt.end is not None

    def show(self, screen: Screen) -> None:
        """Write what is new. What was written before the end is all there once the end is."""
        if self.attempt.end is None:
            self.attempt = replace(self.attempt, end=_end(self.project / queue.NAME, self.attempt))
        for path in self._files():
            if path not in self._tails:
                screen.head(path, self._title(path))
                self._tails[path] = self._open(path, screen)
            tail = self._tails[path]
            if tail is not None:
                self._show(path, tail, screen)
        if self.is_over:
            self.close()

    def _show(self, path: str, tail: Tail, screen: Screen) -> None:
        for line in chain(tail.lines(), tail.flush() if self.is_over else ()):
            screen.head(path, self._title(path))
            screen.line(line)
        screen.unfinished(path, tail.rest)

    def close(self) -> None:
        for tail in self._tails.values():
            if tail is not None:
                tail.close()

    def _files(self) -> list[str]:
        """The .log; the .err as well where the task failed, or instead where the .log is empty."""
        claim = self.attempt.claim
        if self.err or (_size(self.project / claim.err) and not _size(self.project / claim.log)):
            return [claim.err]
        end = self.attempt.end
        has_failed = end is not None and verdict(end) in {"failed", "lost"}
        if claim.err in self._tails or (has_failed and _size(self.project / claim.err)):
            return [claim.log, claim.err]
        return [claim.log]

    def _open(self, path: str, screen: Screen) -> Tail | None:
        try:
            return Tail.open(self.project / path, self.lines)
        except OSError as error:
            screen.line(f"({path}: {error.strerror})".encode())
            return None

    def _title(self, path: str) -> str:
        end = self.attempt.end
        how = words.end(end, self.task) if end else "running"
        return f"==> {words.name(self.task)} (attempt {self.attempt.number}, {how}): {words.clean(path)} <=="


def _end(folder: Path, attempt: Attempt) -> End | None:
    """How `attempt` ended, if it did: as its record says, or lost where its owner died without one."""
    claim = attempt.claim
    is_dead = is_alive(claim.owner) is False  # before the record, which a living owner may yet write
    try:
        return end_of(records.read_one(str(folder / "ends" / f"{claim.task}.{claim.attempt}")))
    except FileNotFoundError:
        return End(claim.task, claim.attempt, Lost("killed")) if is_dead else None
    except (records.DamagedError, KeyError, TypeError, ValueError):
        return End(claim.task, claim.attempt, Lost("damaged"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


# ---- the screen ----


@dataclass(slots=True)
class Screen:
    """Lines of several files on one stream. A terminal gets nothing that it would obey."""

    out: TextIO
    has_headers: bool
    _path: str = ""  # of the file whose lines came last
    _is_blank: bool = True
    _standing: str = ""  # an unfinished line on the terminal

    def head(self, path: str, title: str) -> None:
        """From now on lines are of `path`: say so, unless it is the only file so far."""
        if path == self._path:
            return
        if self._path or self.has_headers:
            self._clear()
            self._write(f"{title}\n" if self._is_blank else f"\n{title}\n")
        self._path = path

    def line(self, line: bytes) -> None:
        self._clear()
        self._write(self._shown(line) + "\n")

    def unfinished(self, path: str, line: bytes) -> None:
        """Keep the beginning of a line, such as a progress bar, on a terminal until there is more of it."""
        if path != self._path or not self.out.isatty():
            return
        columns = shutil.get_terminal_size().columns
        text = set_cell_size(self._shown(last_state(line))[:columns], columns - 1).rstrip()
        if text != self._standing:
            self._clear()
            self._write(text)
            self._standing = text

    def flush(self) -> None:
        self.out.flush()

    def _clear(self) -> None:
        if self._standing:
            self._write("\r\x1b[K")
            self._standing = ""

    def _shown(self, line: bytes) -> str:
        text = line.decode(errors="replace")
        return "\t".join(map(words.clean, text.split("\t"))) if self.out.isatty() else text

    def _write(self, text: str) -> None:
        encoding = self.out.encoding or "utf-8"
        self.out.write(text.encode(encoding, "backslashreplace").decode(encoding))
        self._is_blank = False
