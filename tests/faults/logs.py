"""Logs that nobody would write on purpose: do the viewers stay small and quick, and is the terminal left alone?"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from parallel_train.core.facts import Exited
from tests.commands.history import History, task
from tests.faults.corrupt import ask
from tests.faults.frame import ROOT, Piece, Plan, Verdict
from tests.support.sweep import PROGRAMS, Project
from tests.support.sweep import project as project_in
from tests.support.wait import wait_until

MIB = 2**20
MOST = 64  # MiB that a viewer may take
QUICK = 0.1  # seconds of CPU that it may take beyond those for an empty log
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
HOSTILE = b"".join(
    (
        b"\x1b[2J\x1b[H\x1b]0;owned\x07\x1b]52;c;cm0gLXJmIC8=\x07\x1bP+q544e\x1b\\\x1b[6n\x1b[?1049h\x1bc\x1b(0\n",
        b"\x9b31m\x90+q\x9c \xc2\x9b31m \xc2\x85 \x0e\x0f\x07\x08\x08\x7f\x00 \x1b[999999999;1H\x1b[?25l\x1b[5i\n",
        b"\x1b]8;;file:///etc/passwd\x1b\\link\x1b]8;;\x1b\\ \x1b[200~ls\x1b[201~ \x1b\x1b\x1b[[[ \x1b\n",
    )
)
INVALID = b"".join(bytes([n]) + b"\xc3\x28\xa0\xf0\x28\x8c\xed\xa0\x80\xff" + b"\n" * (n % 3 == 0) for n in range(256))

LOG, ERR = "logs/gpu0_a_1.log", "logs/gpu0_a_1.err"

Log = Iterator[bytes]
VIEWERS = (("logs", "a"), ("logs", "a", "--err"), ("logs", "--failed", "-n", "500"), ("status",), ("explain", "a"))


def run(plan: Plan) -> Verdict:
    return plan.in_pieces(lambda piece: KINDS[piece.number](piece), smoke=3, full=len(KINDS))


# ---- the logs ----


def _progress(size: int) -> Log:
    """A bar that is drawn again and again, and never a line break."""
    bar = b"\repoch 3:  %3d%%|%-20s| %d/100 [00:12<99:59, 3.14it/s]"
    yield from _repeated(b"".join(bar % (n, b"#" * (n // 5), n) for n in range(100)), size)


def _long_line(size: int) -> Log:
    yield from _repeated("weights: 0.125 é, ".encode(), size)


def _repeated(part: bytes, size: int) -> Log:
    block = part * (MIB // len(part) + 1)
    for _ in range(size // len(block)):
        yield block


def _random(piece: Piece, size: int) -> Log:
    for _ in range(size // MIB):
        yield piece.chance.randbytes(MIB)


def progress(piece: Piece) -> None:
    _viewed(piece, _progress((2048 if piece.is_full else 30) * MIB))


def long_line(piece: Piece) -> None:
    _viewed(piece, _long_line((200 if piece.is_full else 30) * MIB))


def hostile(piece: Piece) -> None:
    """Escapes, and what is no UTF-8; also in what a run says of a task that failed."""
    _viewed(piece, iter([HOSTILE, INVALID] * (100 if piece.is_full else 5)))
    (piece.folder / "run").mkdir()
    with project_in(piece.folder / "run") as project:
        (project.root / "bytes").write_bytes(INVALID + HOSTILE)
        script = "cat bytes; cat bytes >&2; exit 3"
        project.tasks({"name": "a", "command": ["sh", "-c", script]})
        done = subprocess.run(
            project.argv(gpus="fake:1"), cwd=project.root, env=project.environment, capture_output=True, check=False
        )
    piece.fault(*(f"a run {fault}" for fault in _unsafe(done.stdout + done.stderr)))


def noise(piece: Piece) -> None:
    _viewed(piece, _random(piece, 200 * MIB))


def followed(piece: Piece) -> None:
    """A viewer that follows while 200 MiB come, of a bar first and of one line then."""
    folder = piece.folder
    history = History(folder)
    (a,) = history.submit(task("a"))
    claim = history.start(a, log=b"begun\n")
    with _start(folder, ("logs", "a", "-f"), "follow") as viewer:
        wait_until(lambda: b"begun" in (folder / "follow.out").read_bytes(), "it follows")
        with (folder / claim.log).open("ab") as log:
            for made in (_progress(200 * MIB), iter([b"\n"]), _long_line(200 * MIB), iter([b"\nlast\n"])):
                for block in made:
                    log.write(block)
        history.end(a, outcome=Exited(1))
        assert viewer.wait(120) == 0
    _judge(piece, folder, "follow")
    if b"last\n" not in (folder / "follow.out").read_bytes():
        piece.fault("logs -f does not show the end")


KINDS: tuple[Callable[[Piece], None], ...] = (progress, long_line, hostile, noise, followed)


# ---- the viewers ----


def _viewed(piece: Piece, log: Log) -> None:
    """Each viewer on this log, and on an empty one."""
    empty, full = (_history(piece.folder / name) for name in ("empty", "full"))
    with (full / LOG).open("wb") as file:
        written = sum(file.write(block) for block in log)
    (full / ERR).write_bytes(HOSTILE)
    piece.count(mib=round(written / MIB, 1))
    for argv in VIEWERS:
        beyond = max(0.0, _seconds(piece, full, argv) - _seconds(piece, empty, argv))
        piece.count(most_ms_beyond_start=round(1000 * beyond))
        if beyond > QUICK:
            piece.fault(f"{' '.join(argv)} takes {beyond:.2f} s beyond its start")
    for argv in (("logs", "a"), ("logs", "a", "-n", "0"), *(VIEWERS if piece.is_full else ())):
        name = "".join(argv)
        with _start(full, argv, name) as viewer:
            if viewer.wait(600):
                piece.fault(f"{' '.join(argv)} exits with {viewer.returncode}")
        _judge(piece, full, name)


def _history(folder: Path) -> Path:
    folder.mkdir()
    history = History(folder)
    (a,) = history.submit(task("a"))
    history.start(a)
    history.end(a, outcome=Exited(1))
    return folder


def _seconds(piece: Piece, folder: Path, argv: tuple[str, ...]) -> float:
    """The CPU time that a viewer takes once it is loaded, the least of a few."""
    took = []
    for _ in range(4):
        before = time.process_time()
        code, out, err = ask(folder, *argv)
        took.append(time.process_time() - before)
    if code:
        piece.fault(f"{' '.join(argv)} exits with {code}")
    piece.fault(*(f"{' '.join(argv)} {fault}" for fault in _unsafe((out + err).encode())))
    return min(took)


def _start(folder: Path, argv: tuple[str, ...], name: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(PROGRAMS / "measured.py"), str(folder / f"{name}.took"), *argv]
    environment = {**Project(folder).environment, "PYTHONPATH": str(ROOT)}
    with (folder / f"{name}.out").open("wb") as out:
        return subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)


def _judge(piece: Piece, folder: Path, name: str) -> None:
    """What a viewer took and wrote."""
    mebibytes = round(float((folder / f"{name}.took").read_text().split()[1]), 1)
    if mebibytes > MOST:
        piece.fault(f"{name} takes {mebibytes} MiB")
    piece.fault(*(f"{name} {fault}" for fault in _unsafe((folder / f"{name}.out").read_bytes())))
    piece.count(viewers=1, most_viewer_mib=mebibytes)


def _unsafe(written: bytes) -> Iterator[str]:
    """What a terminal would obey or choke on."""
    try:
        text = written.decode()
    except UnicodeDecodeError as error:
        yield f"writes what is no UTF-8: {error}"
        return
    found = CONTROLS.search(text)
    if found:
        yield f"writes {found[0]!r} in {text[max(0, found.start() - 30) : found.start() + 30]!r}"
    if "Traceback" in text:
        yield text[-1000:]
