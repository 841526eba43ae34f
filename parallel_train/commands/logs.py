"""`parallel-train logs`: what tasks wrote, once or as they write it, attempt after attempt."""

from __future__ import annotations

import contextlib
import io
import os
import select as system
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TextIO

from parallel_train.commands.sight import Sight
from parallel_train.core import explain
from parallel_train.core.facts import Attempt, verdict
from parallel_train.core.state import Line
from parallel_train.core.task import Task
from parallel_train.errors import NothingSelectedError, UsageError
from parallel_train.report import logs as sentences
from parallel_train.report import words
from parallel_train.report.calls import Part
from parallel_train.report.logs import Screen
from parallel_train.report.tail import Tail

_POLL = 0.2  # seconds


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for of each attempt."""

    follow: bool
    err: bool
    raw: bool
    lines: int


def logs(
    project: Path,
    tasks: Sequence[str],
    *,
    failed: bool,
    follow: bool,
    err: bool,
    raw: bool,
    lines: int,
    out: TextIO,
) -> int:
    """Show the last `lines` lines (0: all) of each task's newest attempt; with `follow` go on until no other can come.

    Without `tasks` and `failed`: of all that run, else of the one that began last. With `raw` the bytes as they are.
    """
    wanted = Wanted(follow, err, raw, lines)
    shown = Shown(Sight(project, tasks, failed=failed), wanted, Screen(out, sys.stderr, is_raw=raw))
    try:
        shown.begin()
        while follow and shown.go_on():
            _wait(out)
    except BrokenPipeError:
        # Whoever read has seen enough. What the stream still holds must not fail again at the very end.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), out.fileno())
    finally:
        shown.close()
    return 0


def _wait(out: TextIO) -> None:
    """Until it is time to look again. Raises BrokenPipeError once nobody reads `out` any more."""
    try:
        descriptor = out.fileno()
    except io.UnsupportedOperation:
        time.sleep(_POLL)
        return
    poll = system.poll()
    poll.register(descriptor, 0)  # 0: only that the other side is gone
    if poll.poll(_POLL * 1000):
        raise BrokenPipeError


# ---- what is shown ----


@dataclass(slots=True)
class Shown:
    """The attempts on the screen, at most one of each task, and those that were."""

    sight: Sight
    wanted: Wanted
    screen: Screen
    _views: dict[str, View] = field(default_factory=dict)
    _seen: dict[str, int] = field(default_factory=dict)  # task -> its last attempt that was shown or passed over

    def begin(self) -> None:
        """The newest attempt of each task. Raises NothingSelectedError where there is none and none will come."""
        sight, lines = self.sight, self.sight.lines
        found = [(line, attempt) for line in lines for attempt in _newest(line)]
        if not sight.is_by_name:
            found = _running_or_last(found)
        expected = [line for line in lines if self.wanted.follow and sight.is_expected(line)]
        if not found and not expected:
            raise NothingSelectedError(sentences.nothing(lines, failed=sight.failed))
        coming = {line.task.id: line.task for line in expected}
        tasks = {line.task.id: line.task for line, _ in found} | coming
        if self.wanted.raw and self.wanted.follow and len(tasks) > 1:
            raise UsageError(f"--raw -f follows one task, these are {len(tasks)}: name one")
        self.screen.has_headers = len(found) > 1 or not sight.is_by_name
        self.screen.expect(tasks.values())
        self._seen = {line.task.id: line.attempts[-1].number for line in lines if line.attempts}
        for line, attempt in found:
            view = self._show(line, attempt)
            if view.is_empty:
                is_one = self.wanted.err or self.wanted.raw
                self.screen.note(sentences.empty(line.task, attempt, view.path if is_one else ""))
            self._leave(line, is_news=line.task.id in coming)
        waiting = [line for line in expected if not line.attempts]
        if waiting and sight.is_by_name:
            why = words.reason(explain.reason(sight.situation, waiting[0].task.id), sight.situation)
            self.screen.note(sentences.not_started(waiting, why))
        self.screen.flush()

    def go_on(self) -> bool:
        """Show what is new; False once no attempt can follow without somebody asking for it."""
        if self.sight.refresh():
            for line in self.sight.lines:
                self._advance(line)
        for view in self._views.values():
            view.show(self.screen)
        self.screen.flush()
        return bool(self._views) or any(map(self.sight.is_expected, self.sight.lines))

    def close(self) -> None:
        for view in self._views.values():
            view.close()
        self.screen.close()

    def _advance(self, line: Line) -> None:
        """Show an attempt that is over to its end, and go on with those that came after it."""
        name = line.task.id
        if name in self._views:
            view = self._views[name]
            view.attempt = next((a for a in line.attempts if a.number == view.attempt.number), view.attempt)
            view.show(self.screen)
            self._leave(line, is_news=True)
        for attempt in line.attempts:
            if attempt.number > self._seen.get(name, 0) and attempt.is_started:
                self._seen[name] = attempt.number
                self.screen.expect([line.task])
                self._show(line, attempt, is_new=True)
                self._leave(line, is_news=True)

    def _show(self, line: Line, attempt: Attempt, *, is_new: bool = False) -> View:
        view = View(self.sight.project, line.task, attempt, self.wanted, is_new=is_new)
        self._views[line.task.id] = view
        if is_new:
            self.screen.head(view.path, sentences.title(line.task, attempt, view.path))
        view.show(self.screen)
        return view

    def _leave(self, line: Line, *, is_news: bool) -> None:
        """Close what is over, and say so to somebody who follows it."""
        name = line.task.id
        if not self._views[name].is_over:
            return
        view = self._views.pop(name)
        view.close()
        if is_news:
            may_go_on, is_worked_on = self.sight.may_go_on(line), self.sight.is_worked_on
            said = sentences.ended(line.task, view.attempt, may_go_on=may_go_on, is_worked_on=is_worked_on)
            self.screen.note(said)
            self.screen.has_headers = True  # what comes is another attempt's


def _newest(line: Line) -> Iterator[Attempt]:
    """The attempt that runs, else the last one that started, else the last: it says why it did not."""
    started = [attempt for attempt in line.attempts if attempt.is_started]
    yield from (started or line.attempts)[-1:]


def _running_or_last(found: list[tuple[Line, Attempt]]) -> list[tuple[Line, Attempt]]:
    running = [pair for pair in found if pair[1].end is None]
    return running or sorted(found, key=lambda pair: pair[1].claim.at)[-1:]


# ---- one attempt ----


@dataclass(slots=True)
class View:
    """The logs of one attempt, as far as they were shown."""

    project: Path
    task: Task
    attempt: Attempt
    wanted: Wanted
    is_new: bool = False  # it began while somebody looked: shown from its beginning
    _part: Part | None = None
    _tails: dict[str, Tail | None] = field(default_factory=dict)  # None: it can't be read, and that was said

    @property
    def is_over(self) -> bool:
        return not self.wanted.follow or self.attempt.end is not None

    @property
    def path(self) -> str:
        """Of the one file that is asked for, or of the .log."""
        return self.attempt.claim.err if self.wanted.err else self.attempt.claim.log

    @property
    def is_empty(self) -> bool:
        """Whether it has written nothing, as long as it is open."""
        return all(tail is not None and tail.is_empty for tail in self._tails.values())

    def show(self, screen: Screen) -> None:
        """Write what is new. What was written before the end is all there once the end is."""
        for path in self._files():
            if path not in self._tails:
                self._tails[path] = self._open(path, screen)
            tail = self._tails[path]
            if tail is not None and self.wanted.raw:
                self._show_bytes(path, tail, screen)
            elif tail is not None:
                self._show_lines(path, tail, screen)

    def close(self) -> None:
        for tail in self._tails.values():
            if tail is not None:
                tail.close()

    def _show_lines(self, path: str, tail: Tail, screen: Screen) -> None:
        for line in self._mine(chain(tail.lines(), tail.flush() if self.is_over else ())):
            screen.head(path, self._title(path))
            screen.line(self.task, line)
        if not self.task.is_call:
            screen.unfinished(self.task, path, tail.rest)

    def _mine(self, lines: Iterable[bytes]) -> Iterable[bytes]:
        """Of a call its part of the log of the process that made it."""
        if not self.task.is_call:
            return lines
        is_first, self._part = self._part is None, self._part or Part.of(self.task.name)
        mine = self._part.lines(lines)
        return deque(mine, self.wanted.lines) if is_first and self.wanted.lines else mine

    def _show_bytes(self, path: str, tail: Tail, screen: Screen) -> None:
        for block in tail.blocks():
            screen.head(path, self._title(path))
            screen.data(block)

    def _files(self) -> list[str]:
        """The .log; the .err as well where the task failed, or instead where the .log is empty.

        The bytes as they are come from one file.
        """
        claim, end = self.attempt.claim, self.attempt.end
        if self.wanted.raw or self.wanted.err:
            return [self.path]
        if not claim.err or not _size(self.project / claim.err):
            return [claim.log]
        if not _size(self.project / claim.log):
            return [claim.err]
        has_failed = end is not None and verdict(end) in {"failed", "lost"}
        return [claim.log, claim.err] if has_failed or claim.err in self._tails else [claim.log]

    def _open(self, path: str, screen: Screen) -> Tail | None:
        if not path:
            screen.note(sentences.without(self.task))
            return None
        is_whole = self.is_new and (self.attempt.end is None or not self._tails)
        try:
            is_whole = is_whole or (self.task.is_call and not self.wanted.raw)
            return Tail.open(self.project / path, 0 if is_whole else self.wanted.lines)
        except OSError as error:
            screen.note(sentences.unreadable(self.task, path, error))
            return None

    def _title(self, path: str) -> str:
        return sentences.title(self.task, self.attempt, path)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
