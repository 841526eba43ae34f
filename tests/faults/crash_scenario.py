"""The small project that crashpoints breaks, and its commands: forks of a process that has loaded the package.

Three tasks on one slot: one takes too long, twice; one succeeds and leaves a daemon behind; one fails, and succeeds
when it is repeated.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from parallel_train.commands import app, ask, run, work  # noqa: F401  loaded before the first fork
from tests.faults.checker import History, history
from tests.support.sweep import FAST_PYTHON, PROGRAMS, QUEUE, Project

# The numbers make names whose back-off is short: its jitter hangs on the output's path.
SLOW, GOOD, AGAIN = "slow327", "good", "again263"
GOOD_SHIM, SLOW_SHIM = f"shim-{GOOD}.1", f"shim-{SLOW}.1"
TOO_SLOW = 2  # attempts of the slow task in a round
ONE_SLOT, TWO_SLOTS = ("--gpus", "fake:1"), ("--gpus", "fake:2")
_LEAVE = str(Path(__file__).parent / "programs" / "leave.py")
_PATIENCE = 150  # seconds for one command, on the busiest machine

app.app = typer.main.get_command(app.app)  # type: ignore[assignment]  built once, not in each fork
gc.freeze()  # nor copied there


class HungError(Exception):
    pass


def make(project: Project) -> None:
    recorder = str(PROGRAMS / "recorder.py")
    once = 'if mkdir effects/.once 2>/dev/null; then code=3; else code=0; fi; exec "$@" code=$code'
    fails_once = ["/bin/sh", "-c", once, "sh", *project.recorder(AGAIN, output=f"output/{AGAIN}")]
    leaves = [*FAST_PYTHON, _LEAVE, recorder, "effects", GOOD, f"output=output/{GOOD}"]
    project.tasks(
        {**project.recording(SLOW, more={"seconds": 60}), "timeout": 0.2, "retries": TOO_SLOW - 1},
        {"name": GOOD, "command": leaves, "output": f"output/{GOOD}"},
        {"name": AGAIN, "command": fails_once, "output": f"output/{AGAIN}", "retries": 1},
    )


def outcomes(told: History, name: str) -> list[dict[str, Any]]:
    """How the attempts of a task ended, in their order."""
    return [end["outcome"] for (task, _), end in sorted(told.ends.items()) if told.names.get(task) == name]


def is_settled(project: Project) -> bool:
    """Whether every task has the end that it should come to."""
    told = history(project.root / QUEUE)
    have_succeeded = all(outcomes(told, name)[-1:] == [{"exited": 0}] for name in (GOOD, AGAIN))
    return have_succeeded and outcomes(told, SLOW).count({"timed_out": True}) == TOO_SLOW


# ---- commands ----


def main(project: Project, *arguments: str) -> int:
    """In a fork: the command as a user's shell would start it. Its exit code."""
    os.setsid()
    os.chdir(project.root)
    os.environ.clear()
    os.environ.update(project.environment)
    said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for target, source in enumerate((os.open(os.devnull, os.O_RDONLY), said, said)):
        os.dup2(source, target)
    os.closerange(3, 64)
    sys.argv = ["parallel-train", *arguments]
    code: Any = 1
    try:
        app.main()
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:  # noqa: BLE001  as the interpreter would
        traceback.print_exc()
    with suppress(OSError):
        sys.stdout.flush()
    return int(code)


def forked(project: Project, *arguments: str) -> int:
    """Run the command to its end; its exit code."""
    pid = begun(project, *arguments)
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except HungError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def begun(project: Project, *arguments: str) -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(main(project, *arguments))
    return pid


@contextmanager
def patience(what: str) -> Iterator[None]:
    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise HungError(f"{what} goes on after {_PATIENCE} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(_PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
