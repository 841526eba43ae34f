"""Is nobody signalled because a record says so?"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from parallel_train.core.facts import Claim, Owner
from parallel_train.procs import locks, process, proof
from parallel_train.procs.runner import is_alive, stop, sweep
from tests.support.machine import Machine, machine
from tests.support.sweep import FAST_PYTHON

HERE = process.this_machine()


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Machine]:
    with machine(tmp_path) as machine_:
        yield machine_


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process of this user's that is none of ours. It would say that it heard a signal."""
    code = (
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {15, 3}); print(flush=True); signal.sigwait({15, 3})"
    )
    started = subprocess.Popen([*FAST_PYTHON, "-c", code], stdout=subprocess.PIPE)
    assert started.stdout is not None
    started.stdout.readline()
    yield started
    started.kill()
    started.wait()
    started.stdout.close()


def forged(pid: int, cookie: str = "", slots: tuple[str, ...] = ()) -> Claim:
    """A claim that names a living process, with its true start time."""
    owner = Owner("gone", HERE["host"], HERE["machine"], HERE["boot"], HERE["pidns"], pid, process.start_time(pid))
    named = cookie or f"task.1.{pid}.{owner.start}.{owner.boot}"
    return Claim("task", 1, 1, "same", {}, owner, slots, (), "log", "err", named)


def is_untouched(stranger: subprocess.Popen[bytes]) -> bool:
    pending = next(
        line for line in Path(f"/proc/{stranger.pid}/status").read_text().splitlines() if line.startswith("ShdPnd")
    )
    return stranger.poll() is None and int(pending.split()[1], 16) == 0


FORGERIES: dict[str, Callable[[Machine, int], Claim]] = {
    "no slots": lambda _, pid: forged(pid),
    "a slot of nobody": lambda _, pid: forged(pid, slots=("cpu-of-nobody",)),
    "a slot of ours": lambda made, pid: forged(pid, slots=made.claimed().slots),
    "our cookie": lambda made, pid: replace(forged(pid, made.claimed().cookie), slots=made.claimed().slots),
}


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize("kill", [False, True])
def test_a_stranger_that_a_claim_names_is_not_signalled(
    made: Machine, stranger: subprocess.Popen[bytes], forgery: str, kill: bool
):
    made.start(made.task("sleep", "600"))
    made.claimed()
    claim = FORGERIES[forgery](made, stranger.pid)
    assert is_alive(claim.owner)
    assert not stop(claim, kill=kill)
    made.runner.watch(replace(claim, task="other"))
    made.runner.stop("other", 1, kill=kill)
    sweep(claim)
    assert is_untouched(stranger)
    assert process.start_time(made.claimed().owner.pid)


def test_the_shim_that_a_claim_names_is(made: Machine):
    made.start(made.task("sleep", "600"))
    assert stop(made.claimed())
    assert made.ended().stopped == "worker"


def test_a_stranger_under_a_cookie_that_is_not_its_owners_is_not_swept(made: Machine):
    """A record that says that the owner of a living attempt is dead."""
    made.start(made.task("sleep", "600"))
    true = made.claimed()
    gone = subprocess.Popen(["/bin/true"])
    start = process.start_time(gone.pid)
    gone.wait()
    sweep(replace(true, owner=replace(true.owner, pid=gone.pid, start=start)))
    assert process.start_time(true.owner.pid)
    stop(true)
    assert made.ended().swept == 0


def test_where_the_locks_can_not_be_trusted_nobody_is_signalled(
    made: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    made.start(made.task("sleep", "600"))
    claim = made.claimed()
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks").chmod(0o777)
    with monkeypatch.context() as patch:
        patch.setattr(locks, "place", lambda: str(tmp_path / "locks"))
        assert not stop(claim)
    assert stop(claim)
    made.ended()


def test_a_process_that_is_hidden_is_not_taken_for_dead(
    monkeypatch: pytest.MonkeyPatch, stranger: subprocess.Popen[bytes]
):
    """As /proc is mounted with hidepid: the processes of others have no entry there."""
    owner = forged(stranger.pid).owner
    monkeypatch.setattr(process, "start_time", lambda _: 0)
    monkeypatch.setattr(os.path, "exists", lambda _: False)
    assert is_alive(owner) is None
    with pytest.raises(PermissionError):
        proof.lives(owner)
    stranger.send_signal(signal.SIGKILL)
    stranger.wait()
    assert is_alive(owner) is False
