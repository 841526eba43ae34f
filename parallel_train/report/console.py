"""The reporter of a run: a live table on a terminal, lines elsewhere, a file once nobody can read either."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from parallel_train.core.events import (
    Claimed,
    Company,
    ElementsSeen,
    Ended,
    Enlisted,
    Event,
    HungUp,
    Interrupted,
    Joined,
    Launched,
    Looked,
    OutputFound,
    RoundOpened,
    Submitted,
    Warned,
    Watched,
)
from parallel_train.core.facts import verdict
from parallel_train.core.situation import Situation
from parallel_train.errors import ParallelTrainError
from parallel_train.ports import Clock
from parallel_train.report import summary, view, words
from parallel_train.report.lines import Narrator
from parallel_train.report.memory import Memory, Moment, Said
from parallel_train.report.outlet import Outlet
from parallel_train.report.table import Sheet, plain
from parallel_train.report.tail import last_lines

if TYPE_CHECKING:
    from parallel_train.report.live import Screen

_SIGNS = "✓✗…"
_PLAIN_SIGNS = str.maketrans({"✓": "OK", "✗": "FAILED", "…": "..."})


class Record(Protocol):
    """Keeps an event for later readers, such as store.journal.Journal.write."""

    def __call__(self, event: str, /, **fields: object) -> None: ...


Results = Callable[[], "Sheet | None"]


@dataclass(frozen=True, slots=True)
class Setup:
    """What a reporter is made of. `lines` is the file that lines go to when the terminal is gone."""

    project: Path
    lines: Path
    clock: Clock
    check_interval: float = 10.0  # seconds between status lines; 0: none
    record: Record | None = None
    results: Results | None = None  # the table for the end
    wall: Callable[[], float] = time.time


def make_reporter(situation: Situation, setup: Setup, stream: TextIO | None) -> ConsoleReporter:
    """A reporter for the people at `stream` (None: the process has no output)."""
    outlet = Outlet(stream, setup.lines)
    screen = _screen(outlet) if outlet.isatty() and _can_draw() else None
    moment = Moment(setup.clock.monotonic(), setup.wall())
    memory = Memory.of(situation, moment)
    journal = str(setup.lines) if outlet.is_terminal else ""
    queue = str(setup.lines.parent.parent)
    narrator = Narrator(memory, lambda log: last_lines(setup.project / log), journal, queue)
    return ConsoleReporter(setup, memory, narrator, outlet, screen)


def _screen(outlet: Outlet) -> Screen:
    from parallel_train.report import drawn, live  # noqa: PLC0415  rich takes its time, and a pipe has no use for it

    return live.Screen(drawn.terminal(outlet))


def print_sheet(sheet: Sheet, out: TextIO) -> None:
    """A table on a terminal, tab-separated lines elsewhere."""
    if out.isatty():
        _screen(Outlet(out, Path(os.devnull))).show(sheet)
    else:
        out.write(plain(sheet) + "\n")


def _can_draw() -> bool:
    return os.environ.get("TERM", "") not in {"", "dumb", "unknown"}


@dataclass(slots=True)
class ConsoleReporter:
    """The Reporter port. `begin` comes before the loop, `stop` after it, whatever happened in between."""

    setup: Setup
    memory: Memory
    narrator: Narrator
    outlet: Outlet
    screen: Screen | None
    _is_dirty: bool = True
    _drawn_second: int = -1
    _status_due: float = 0.0

    def begin(self, situation: Situation, opening: Iterable[Said] | None = None) -> None:
        """Say what is to do, what is skipped and what runs already; or `opening` instead."""
        self.narrator.named.update(situation.named)
        self.narrator.heard = situation.heard
        self._status_due = self._moment().now + self.setup.check_interval
        for said in summary.opening(situation) if opening is None else opening:
            self._say(said, lasting=True)

    def show(self, event: Event, situation: Situation) -> None:
        if situation.wishes.is_lent and self._is_anothers(event, situation):
            return  # who asked for the allocation hears of all: here each has its own lines
        if self.setup.record is not None:
            noted = noted_fields(event)
            if noted is not None:
                self.setup.record(_event_name(type(event).__name__), **noted)
        if isinstance(event, HungUp) and self.outlet.is_terminal:
            self._leave_terminal()
        said = self.narrator.tell(event, situation, self._moment())
        self._is_dirty = True
        is_noticed = self.screen is not None and isinstance(event, Interrupted)  # the table says it as long as it holds
        if said is not None and not is_noticed:
            self._say(said, lasting=said.kind == "bad" or isinstance(event, Warned))

    def _is_anothers(self, event: Event, situation: Situation) -> bool:
        match event:
            case Claimed(claim):
                return claim.owner.worker != situation.wishes.worker
            case Ended(end):
                return (end.task, end.attempt) not in self.memory.active
            case _:
                return False

    def tick(self, situation: Situation, now: float) -> float:
        if self.screen is not None:
            return self._draw(self.screen, situation, now)
        if not self.setup.check_interval:
            return math.inf
        if now >= self._status_due:
            self._status_due = now + self.setup.check_interval
            self.outlet.say(self._plain(view.status_line(situation, self.memory, now)))
        return self._status_due - now

    def close(self, situation: Situation, exit_code: int) -> None:
        self.stop()
        self._show_results()
        for said in summary.closing(situation, self.memory, exit_code, self._moment().now):
            self._say(said, lasting=True)

    def _show_results(self) -> None:
        try:
            sheet = self.setup.results() if self.setup.results else None
        except (OSError, ParallelTrainError) as error:
            self._say(Said(f"! the results can't be read: {words.clean(str(error))}", "bad"), lasting=True)
            return
        if sheet is not None:
            self._print_sheet(sheet)

    def stop(self) -> None:
        """Give the terminal back; harmless when repeated."""
        if self.screen is not None:
            self.screen.stop()

    def _draw(self, screen: Screen, situation: Situation, now: float) -> float:
        """Draw what changed, and the clock each second; the seconds until the next drawing is due."""
        wait = screen.due_in(now)
        is_due = self._is_dirty or int(now) != self._drawn_second
        if wait == 0.0 and (is_due or screen.has_new_size()):
            screen.draw(view.view(situation, self.memory, now), now)
            self._is_dirty, self._drawn_second = False, int(now)
            if self.outlet.is_lost:
                self._leave_terminal()
        return max(wait, 0.0) if self._is_dirty else max(0.05, 1.0 - now % 1)

    def _say(self, said: Said, *, lasting: bool) -> None:
        """Lasting ones stay in the terminal's history, the others pass through the table's last lines."""
        if self.screen is None:
            self.outlet.say(self._plain("\n".join((said.text, *said.more))))
        elif lasting:
            self.screen.say(Said(self._plain(said.text), said.kind, tuple(map(self._plain, said.more))))
            if self.outlet.is_lost:
                self._leave_terminal()
                self._say(said, lasting=True)
        elif said.kind != "plain":  # what is launched shows in the table itself
            self.memory.recent.append(said)

    def _print_sheet(self, sheet: Sheet) -> None:
        if self.screen is None:
            self.outlet.say(plain(sheet))
        else:
            self.screen.show(sheet)

    def _leave_terminal(self) -> None:
        """From now on lines go to the file."""
        self.outlet.lose()
        self.stop()
        self.screen = None

    def _plain(self, text: str) -> str:
        return text if self.outlet.can_show(_SIGNS) else text.translate(_PLAIN_SIGNS)

    def _moment(self) -> Moment:
        return Moment(self.setup.clock.monotonic(), self.setup.wall())


def noted_fields(event: Event) -> dict[str, Any] | None:  # noqa: PLR0911  one shape per event
    """What the journal keeps of an event; None: nothing. Never a command, an environment or a param."""
    match event:
        case Claimed(claim):
            return {name: getattr(claim, name) for name in ("task", "attempt", "round", "gpus", "log")}
        case Ended(end):
            how = {"outcome": words.outcome(end.outcome), "verdict": verdict(end), "seconds": end.seconds}
            return {"task": end.task, "attempt": end.attempt, **how}
        case RoundOpened(round_, ours):
            return {"task": round_.task, "round": round_.number, "why": round_.why, "ours": ours}
        case Submitted(source, tasks):
            return {"source": source, "tasks": len(tasks)}
        case Joined(tasks):
            return {"tasks": len(tasks)}
        case Enlisted(array, is_sent=is_sent):
            return {"array": array.number, "size": array.size, "tasks": len(array.selection), "ours": is_sent}
        case OutputFound() | Looked() | Watched() | Launched() | Company() | ElementsSeen():
            return None
        case _:
            return asdict(event)


@cache
def _event_name(kind: str) -> str:
    """round_opened for RoundOpened."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind).lower()
