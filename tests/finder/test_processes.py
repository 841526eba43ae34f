"""What becomes of the processes: new ones that can't be forked, Ctrl-C, a killed parent, a bar on a terminal."""

import multiprocessing
import os
import pty
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from parallel_train import ParallelFinder
from parallel_train.errors import UsageError
from parallel_train.procs import process
from parallel_train.training import forking
from parallel_train.training.crew import Crew
from parallel_train.training.job import Done
from tests.finder.models import Endless, Killed, Witness, data
from tests.support.wait import wait_until

pytestmark = pytest.mark.torch

# A card that is in use can't be had here: a script that says of itself that it can't be forked.
SPAWN = """
import sys, torch
from torch import nn
from parallel_train import ParallelFinder
from parallel_train.training import forking
forking.can_fork = lambda devices: False
class Model(nn.Linear):
    def __init__(self):
        super().__init__(3, 1)
print("reading", flush=True)
finder = ParallelFinder([Model] * 4)
finder.find(torch.zeros(8, 3), torch.zeros(8, 1), device_str="cpu", processes=1)
"""


def test_a_script_without_the_guard_ends_with_a_sentence(tmp_path):
    (tmp_path / "script.py").write_text(SPAWN)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert done.stdout == "reading\nreading\n"  # the script, and the one process that it started
    assert done.stderr.count("Traceback") == 1
    assert 'if __name__ == "__main__":' in done.stderr
    assert "RuntimeError" not in done.stderr


def test_where_nothing_can_be_forked_new_processes_get_the_data_by_shared_memory(monkeypatch):
    monkeypatch.setattr(forking, "can_fork", lambda _: False)
    finder = ParallelFinder([Witness, Killed, Witness])
    inputs, labels = data()
    wanted = ParallelFinder([Witness])
    with pytest.raises(UsageError, match=r"(?s)can't be forked.*model_list\[1\] \(.*<lambda>\) is defined inside"):
        ParallelFinder([Witness, lambda: Witness()]).find(inputs, labels, device_str="cpu")  # noqa: PLW0108
    finder.model_list = [Witness, Witness]
    table = finder.find(inputs, labels, device_str="cpu", processes=1, seed=1, threads=1)
    monkeypatch.undo()
    again = wanted.find(inputs, labels, device_str="cpu", processes=1, seed=1, threads=1)
    assert [row.losses for row in table] == [again[0].losses] * 2
    assert len({int(weights["pid"]) for weights in finder.models.values()}) == 1
    assert not inputs.is_shared()  # the caller's own are left as they are


def test_what_a_new_process_could_not_find(monkeypatch):
    def inner():
        pass

    typed_in = type(sys)("__main__")
    exec("def make(): pass", typed_in.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", typed_in)
    faults = forking.not_sendable([("a", Witness), ("b", inner), ("c", typed_in.make), ("d", None)])
    assert [fault.partition(" is defined ")[::2] for fault in faults] == [
        ("b (test_what_a_new_process_could_not_find.<locals>.inner)", "inside another: define it at the top of a file"),
        ("c (make)", "in the session itself: put it into a file of its own"),
    ]


def in_fork(action):
    """Run `action` in a forked session of its own, as a script would; its pid."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        action()
        os._exit(0)
    except KeyboardInterrupt:
        os._exit(130)
    finally:
        os._exit(99)


def endless(pids, finder):
    def train():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        finder.find(*data(), device_str="cpu", processes=2)

    pid = in_fork(train)
    wait_until(lambda: len(process.descendants(pid)) == 2, "two processes that train")
    pids += process.descendants(pid)
    return pid


def has_ended(pid):
    return process.start_time(pid) == 0


@pytest.mark.parametrize(("number", "to_all"), [(signal.SIGINT, True), (signal.SIGINT, False), (signal.SIGKILL, False)])
def test_nobody_is_left_behind(number, to_all):
    """Ctrl-C reaches everybody at the terminal, or only the parent as in a notebook; a killed parent can't act."""
    pids = []
    pid = endless(pids, ParallelFinder([Endless] * 3))
    began = time.monotonic()
    os.killpg(pid, number) if to_all else os.kill(pid, number)
    _, status = os.waitpid(pid, 0)
    wait_until(lambda: all(map(has_ended, pids)), "all processes have ended")
    assert os.waitstatus_to_exitcode(status) == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert time.monotonic() - began < 10


def test_a_bar_on_a_terminal():
    def train():
        finder = ParallelFinder([Witness, Witness])
        finder.find(*data(), device_str="cpu", epochs=2)
        finder.find(*data(), device_str="cpu", progress=False)

    pid, screen = pty.fork()
    if not pid:
        os.environ["TERM"] = "xterm"
        sys.stdout, sys.stderr = (os.fdopen(number, "w") for number in (1, 2))
        train()
        sys.stdout.flush()
        os._exit(0)
    shown = b""
    while True:
        try:
            shown += os.read(screen, 4096)
        except OSError:  # the other end was closed
            break
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    last = re.sub(rb"\x1b\[[^a-zA-Z]*[a-zA-Z]", b"", shown).decode().strip().splitlines()[-1]
    assert re.search(r"2/2 models, lowest loss [\d.]+ by model [01] .*100%", last)
    assert shown.count(b"\n") == 1


def test_what_a_process_said_before_it_was_killed_counts_and_no_other_model_pays_for_it():
    heard = []
    settings = [SimpleNamespace(index=index, device="cpu") for index in range(2)]
    crew = Crew(SimpleNamespace(settings=settings), {"cpu": 1}, is_forked=True, hear=heard.append)
    crew._waiting["cpu"].popleft()
    ours, theirs = multiprocessing.Pipe()
    theirs.close()  # it was killed once it had said that it was done
    worker = SimpleNamespace(connection=ours, device="cpu", index=0)
    done = Done(0, (0.5,), (), 1.0, 1.0, b"")
    crew._take(worker, done)
    ours.close()
    assert heard == [done]
    assert worker.index is None
    assert list(crew._waiting["cpu"]) == [1]
