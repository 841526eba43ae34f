"""Is a disk that can't keep two hosts off one task left to one of them, and to the next when that is silent?"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from parallel_train.core.facts import Owner
from parallel_train.errors import UsageError
from parallel_train.procs import mounts
from parallel_train.procs.runner import is_alive
from parallel_train.project.company import refuse_other_hosts
from parallel_train.project.reading import this_owner
from parallel_train.store.queue import DiskQueue
from tests.commands.history import History, task
from tests.support.call import Caller, call
from tests.support.sweep import DEADLINE, program

__all__ = ["call"]

LEASE = 12.0  # looked at for 6 s, if nothing moves
SHORT = 0.6
ELSEWHERE = Owner("20260102-030405-7-beef", "elsewhere", "another machine", "another boot", "pid:[1]", 7, 1)


@pytest.fixture
def history(call: Caller) -> History:
    return History(call.root)


@pytest.fixture
def lies_on(call: Caller, monkeypatch: pytest.MonkeyPatch):
    def mounted(kind: str) -> None:
        table = call.write("mountinfo", f"1 0 0:1 / / rw - ext4 /dev/x rw\n2 1 0:2 / {call.root} rw - {kind} x rw\n")
        monkeypatch.setattr(mounts, "TABLE", str(table))

    return mounted


def queue_of(history: History, owner: Owner | None = None, lease: float = LEASE) -> DiskQueue:
    return DiskQueue(history.queue, owner or this_owner("here"), is_alive, lease=lease)


@contextmanager
def beating(worker: DiskQueue) -> Iterator[None]:
    over = threading.Event()
    worker.clock = lambda: time.monotonic() * 1000  # it has much to tell

    def beat() -> None:
        while not over.wait(0.02):
            worker.beat()

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("kind", ["cifs", "smb3", "9p", "fuse.sshfs", "fuse", "vboxsf", "exfat"])
def test_beside_a_living_worker_of_another_host_nobody_begins_there(history, lies_on, call, kind):
    lies_on(kind)
    history.submit(task("a"))
    other = queue_of(history, ELSEWHERE)
    other.join()
    with beating(other):
        said = call("worker", "--gpus", "fake:1", "--lease", str(LEASE))
    assert said.code == 2
    assert f"elsewhere works on this queue ({ELSEWHERE.worker}), and its disk ({kind} at {call.root})" in said.err
    assert "Traceback" not in said.err
    assert [path.name for path in (history.queue / "workers").iterdir()] == [ELSEWHERE.worker]
    assert not any((history.queue / "claims").iterdir())


@pytest.mark.parametrize("kind", ["nfs4", "ext4", "lustre", "fuse.glusterfs", "fuseblk"])
def test_on_others_they_work_together(history, lies_on, kind):
    lies_on(kind)
    other = queue_of(history, ELSEWHERE)
    other.join()
    with beating(other):
        refuse_other_hosts(queue_of(history), history.path)


def test_a_silent_one_is_said_and_hinders_nobody(history, lies_on, capsys):
    lies_on("cifs")
    other = queue_of(history, ELSEWHERE, SHORT)
    other.join()
    other.beat()
    one = queue_of(history, lease=SHORT)
    refuse_other_hosts(one, history.path)
    assert f"whether {ELSEWHERE.worker} of another one lives" in capsys.readouterr().err
    one.join()
    assert ELSEWHERE in one.others()  # until its lease is over, as on every disk


def test_an_attempt_that_its_worker_left_behind_counts_too(history, lies_on):
    lies_on("cifs")
    (found,) = history.submit(task("a"))
    history.start(found, owner=ELSEWHERE, lease=LEASE)
    one = queue_of(history)
    one.changes(0.0)
    attempt = queue_of(history, replace(ELSEWHERE, worker=f"{found.id}.1"))
    with beating(attempt), pytest.raises(UsageError, match=f"{found.id}.1"):
        refuse_other_hosts(one, history.path)


def test_of_two_that_begin_at_once_none_works_beside_the_other(history, lies_on):
    lies_on("cifs")
    one, other = queue_of(history), queue_of(history, ELSEWHERE)
    for each in (one, other):
        refuse_other_hosts(each, history.path)
    other.join()
    with pytest.raises(UsageError, match="elsewhere begins here too"):
        one.join()
    assert [path.name for path in (history.queue / "workers").iterdir()] == [ELSEWHERE.worker]


def test_alone_it_works_as_everywhere(history, lies_on, call):
    lies_on("cifs")
    history.submit(task("a", output=None, metrics=()))
    assert call("worker", "--gpus", "fake:1").code == 0


@pytest.mark.skipif(os.uname().machine not in {"x86_64", "aarch64"}, reason="the filter is written for these")
def test_a_disk_without_hard_links_is_refused_in_one_sentence(call):
    call.write("tasks/default.yaml", "tasks: [{name: a, command: 'true'}]")
    command = [sys.executable, "-m", "parallel_train", "--gpus", "fake:1"]
    refusing = program("without_links", errno.EOPNOTSUPP, *command)
    said = subprocess.run(refusing, capture_output=True, text=True, check=False, timeout=DEADLINE, cwd=call.root)
    assert said.returncode == 2
    assert "makes no hard links" in said.stderr
    assert len(said.stderr.splitlines()) == 1
