"""The command within this process, as a real one would answer, with a watch on its time and its memory."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from unittest import mock

from parallel_train.commands import app
from tests.faults.frame import ROOT
from tests.support import call

CPU = 2.0  # seconds
WALL = 60.0  # seconds: nothing that a machine under load does takes so long
MOST_MEMORY = 200 * 2**20
MOST_SAID = 100_000  # bytes of a message that anybody would read
CODES = frozenset({0, 1, 2, 3})

# What a terminal would obey, and words of our libraries' and of Python's inside.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_INSIDE = re.compile(r"pydantic|validation error|Traceback \(most|<class '|object at 0x|NoneType")
_COMPLAINT = re.compile(r"^(?:parallel-train|Error): ", re.MULTILINE)


class TooSlow(BaseException):
    """It took too long, or waits for ever."""


@dataclass(frozen=True)
class Call:
    """What is typed, and where."""

    argv: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    code: int | None
    out: str
    err: str
    crash: str = ""  # what escaped that is no exit, with its traceback; or how it went beyond its limits
    memory: int = 0  # bytes that it needed on top


def ask(root: Path, asked: Call) -> Answer:
    """Call it in `root`. Its streams are as strict as real ones."""
    out, err = _stream("strict"), _stream("backslashreplace")
    code: int | None = None
    crash = ""
    before = _peak()
    with _at(root, asked), redirect_stdout(out), redirect_stderr(err):
        try:
            with _limits():
                app.main()
            code = 0
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 0 if left.code is None else 1
        except TooSlow as slow:
            crash = f"{slow}: {_where(slow)}"
        except BaseException as error:  # noqa: BLE001  whatever escapes is what we look for
            crash = "".join(traceback.format_exception(error, limit=-4))
    return Answer(code, _text(out), _text(err), crash, _peak(reset=False) - before)


def ask_process(root: Path, asked: Call) -> Answer:
    """The same by a process of its own."""
    program = [sys.executable, "-m", "parallel_train", *asked.argv]
    environment = {**_clean(), "PYTHONPATH": str(ROOT), **asked.variables}
    try:
        done = subprocess.run(
            program, cwd=root, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=WALL, check=False
        )
    except subprocess.TimeoutExpired:
        return Answer(None, "", "", f"it did not end within {WALL:g} s")
    return Answer(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def wrong(answer: Answer) -> Iterator[str]:
    """What no input may bring about."""
    if answer.crash:
        yield answer.crash
        return
    said = answer.out + answer.err
    if answer.code not in CODES:
        yield f"exit code {answer.code}: {answer.err[-300:]}"
    if found := _INSIDE.search(said):
        yield f"it speaks of its inside ({found[0]}): {said[-1000:]}"
    if found := _CONTROL.search(said):
        yield f"it writes {found[0]!r} to the terminal: {said[max(0, found.start() - 100) : found.start() + 20]!r}"
    complaints = len(_COMPLAINT.findall(answer.err))
    if answer.code in {2, 3} and (complaints != 1 or not _COMPLAINT.sub("", answer.err).strip()):
        yield f"exit code {answer.code} with {complaints} messages: {answer.err[-300:]!r}"
    if len(answer.err) > MOST_SAID or answer.memory > MOST_MEMORY:
        yield f"a message of {len(answer.err):,} characters, {answer.memory / 2**20:.0f} MiB of memory"


def _stream(errors: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), "utf-8", errors, newline="", write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.detach()
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode(errors="replace")


@contextmanager
def _at(root: Path, asked: Call) -> Iterator[None]:
    before, umask = Path.cwd(), os.umask(0o022)
    os.chdir(root)
    program = mock.patch.multiple(sys, argv=["parallel-train", *asked.argv]), mock.patch.object(app, "app", _program())
    try:
        with program[0], program[1], mock.patch.dict(os.environ, {**_clean(), **asked.variables}, clear=True):
            yield
    finally:
        os.chdir(before)
        os.umask(umask)


def _program() -> object:
    return call._program()


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PARALLEL_TRAIN_")}


@contextmanager
def _limits() -> Iterator[None]:
    """CPU seconds, which hang on no other process, and much real time for what waits."""

    def too_slow(number: int, frame: FrameType | None) -> None:
        raise TooSlow(f"over {CPU:g} s of CPU time" if number == signal.SIGPROF else f"it still waits after {WALL:g} s")

    timers = ((signal.SIGPROF, signal.ITIMER_PROF, CPU), (signal.SIGALRM, signal.ITIMER_REAL, WALL))
    former = [signal.signal(number, too_slow) for number, _, _ in timers]
    for _, timer, seconds in timers:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for (number, timer, _), handler in zip(timers, former, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "parallel_train" in frame.filename] or frames
    return "; ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in ours[-4:])


def _peak(*, reset: bool = True) -> int:
    """The most memory that this process had since the last reset."""
    if reset:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024
