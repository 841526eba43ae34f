"""--detach: what can be refused is refused in the foreground; then it goes on without the terminal.

The foreground forks before anything is opened. The child is the worker, in a session of its own from the beginning:
what it has to say before it has begun it says on the terminal, and its exit code is passed on. It has begun when it
waits for the first time: rounds are opened then, and what can run was started. From then on it needs nobody.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from parallel_train.core.events import Event
from parallel_train.core.situation import Situation
from parallel_train.ports import Reporter
from parallel_train.procs.logout import kills_at_logout
from parallel_train.report import workers as words
from parallel_train.report.outlet import Outlet
from parallel_train.report.workers import Seen
from parallel_train.store import records

_DEADLY = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(slots=True)
class Background:
    """The child's way out of the foreground, whose ear is the pipe `tells`."""

    tells: int

    def leave(self, seen: Seen, opening: list[str], lines: Path) -> None:
        """Let go of the terminal, and tell the foreground; it may be gone already."""
        nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for target in range(3):
            os.dup2(nowhere, target)
        os.close(nowhere)
        with suppress(OSError):  # what Python says of a crash belongs to the lines
            file = records.open_own(str(lines), os.O_WRONLY | os.O_APPEND)
            os.dup2(file, 2)
            os.close(file)
        with suppress(OSError):
            os.write(self.tells, json.dumps({"seen": asdict(seen), "opening": opening}).encode())
        os.close(self.tells)


@dataclass(slots=True)
class Departing:
    """A reporter that calls `leave` when the loop waits for the first time. It writes its lines into a file, which is
    shown where the run is over before that.
    """

    reporter: Reporter
    leave: Callable[[], None]
    lines: Path
    has_left: bool = False

    def show(self, event: Event, situation: Situation) -> None:
        self.reporter.show(event, situation)

    def tick(self, situation: Situation, now: float) -> float:
        if not self.has_left:
            self.has_left = True
            self.leave()
        return self.reporter.tick(situation, now)

    def close(self, situation: Situation, exit_code: int) -> None:
        self.reporter.close(situation, exit_code)
        if not self.has_left and self.lines.exists():
            print(self.lines.read_text(), end="")


def in_background(begin: Callable[[Background], int]) -> int:
    """Run `begin` in a child: its exit code where it ends before it leaves the foreground, else 0."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    hears, tells = os.pipe()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _DEADLY)  # until both sides know what they are
    child = os.fork()
    if child == 0:
        os.close(hears)
        os.setsid()
        # What was open here already belongs to whoever started us: a lock of theirs must not last as long as the run.
        os.closerange(3, tells)
        os.closerange(tells + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # `command &` in a script had it ignored
        signal.signal(signal.SIGTERM, _leave)  # as Ctrl-C: whoever has started something ends it
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return begin(Background(tells))
    os.close(tells)
    with _called_off_by_signals(child), os.fdopen(hears, "rb") as pipe:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        told = pipe.read()
        if not told:
            return _exit_code(child)
    _say(json.loads(told))
    return 0


@contextmanager
def _called_off_by_signals(child: int) -> Iterator[None]:
    """Ctrl-C and TERM end the child with us, as long as it has not begun. A terminal that is lost changes nothing."""
    former = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, _leave),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    }
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        _call_off(child)
        raise
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _leave(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _call_off(child: int) -> None:
    """A child that only prepares ends what it has started for that; one that is about to leave stops its tasks."""
    while True:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
        with suppress(KeyboardInterrupt, SystemExit):
            os.waitpid(child, 0)
            return


def _exit_code(child: int) -> int:
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        print(f"parallel-train: ended by {signal.Signals(-code).name} before it had begun", file=sys.stderr)
        return 128 - code
    return code


def _say(told: dict[str, Any]) -> None:
    seen = Seen(**told["seen"])
    out = Outlet(sys.stdout, Path(os.devnull))  # whoever asked for it may be gone
    out.say("\n".join(words.departed(seen, told["opening"], kills_at_logout())))
