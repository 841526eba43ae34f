"""Does status show the tasks that were asked for, how many are in which state, and who works on them?"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator

import pytest

from parallel_train.commands import status
from parallel_train.core.facts import Exited, Request
from parallel_train.core.situation import Situation, Wishes
from parallel_train.core.slots import Pool
from parallel_train.procs.runner import is_alive
from parallel_train.project import workers
from parallel_train.project.reading import this_owner
from parallel_train.report.table import Sheet
from parallel_train.store import requests
from parallel_train.store.queue import DiskQueue
from tests.commands.history import History, task
from tests.support.call import Caller, call
from tests.support.terminal import CTRL_C, Terminal

__all__ = ["call"]

FAILED = Exited(3)


@pytest.fixture
def history(call: Caller) -> History:
    """A task that succeeded, one that failed, what needed it, one that runs, one that is to run."""
    made = History(call.root)
    done, failed, running = task("done"), task("failed"), task("running")
    done, failed, _, running, _ = made.submit(
        done, failed, task("aborted", needs=(failed.id,)), running, task("ready"), source="tasks/a.yaml"
    )
    made.ran(done)
    made.write(f"{done.output}/result", "1")
    made.ran(failed, outcome=FAILED)
    made.start(running)
    return made


def work_here(history: History, *words: str) -> None:
    """Make this process a worker."""
    disk = DiskQueue(history.queue, this_owner("w1"), is_alive)
    situation = Situation(Wishes(worker="w1"), Pool())
    before, sys.argv = sys.argv, ["parallel-train", *words]
    disk.about = workers.about(situation, disk, "tasks/a.yaml", "logs")
    sys.argv = before
    disk.join()


def names(text: str) -> list[str]:
    """The tasks in a printed sheet."""
    return [line.split("\t")[1] for line in text.splitlines()[1:] if "\t" in line]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ((), ["done", "failed", "aborted", "running", "ready"]),
        (("--failed",), ["failed", "aborted"]),
        (("--running",), ["running"]),
        (("--failed", "--running"), ["failed", "aborted", "running"]),
        (("1-2", "--failed"), ["failed"]),
        (("ready", "1"), ["ready", "done"]),
        (("tasks/a.yaml", "5"), ["ready"]),
    ],
)
def test_the_tasks_that_are_asked_for_are_shown(history: History, call: Caller, words: tuple[str, ...], shown):
    found = call("status", *words)
    assert found.code == 0, found.err
    assert names(found.out) == shown
    as_json = call("status", *words, "--json")
    assert [one["name"] for one in json.loads(as_json.out)["tasks"]] == shown


def test_no_such_task_is_3(history: History, call: Caller):
    found = call("status", "ready", "--failed", "--running")
    assert (found.code, found.out) == (3, "")
    assert found.err == "parallel-train: no failed or running task among 5 tasks\n"


def test_tasks_of_all_states_are_counted(history: History, call: Caller):
    every = "1 running, 1 ready, 1 succeeded, 1 failed, 1 aborted"
    assert f"\n5 tasks: {every}\n" in call("status").out
    assert f"\n1 of 5 tasks shown; all: {every}\n" in call("status", "ready").out


def test_a_file_names_other_tasks_no_longer(history: History, call: Caller):
    history.submit(task("ready"), source="tasks/a.yaml")
    assert names(call("status").out) == ["ready"]
    assert "aborted" in names(call("status", "--all").out)


def test_columns_say_each_thing_once(history: History, call: Caller):
    rows = {line.split("\t")[1]: line.split("\t") for line in call("status").out.splitlines() if "\t" in line}
    place = rows["task"].index("why")
    assert rows["failed"][place] == "exit code 3"
    assert rows["done"][place] == "2026-01-02 03:04 UTC"
    assert rows["running"][place].startswith("on ")


def test_an_attempt_of_an_older_round_is_not_shown(history: History, call: Caller):
    history.open_round(history.submit(task("failed"), source="tasks/b.yaml")[0])
    row = next(line for line in call("status", "failed").out.splitlines() if "\tfailed\t" in line)
    assert "GPU" not in row
    assert "logs/" not in row


def test_workers_are_found_with_all_that_tells_them_apart(history: History, call: Caller):
    assert "No scheduler works here: parallel-train worker does what is open" in call("status").out
    work_here(history, "tasks/a.yaml", "--only", "a b", "--detach")
    found = call("status").out
    assert "No scheduler" not in found
    assert f"\nWorked on by w1 (process {os.getpid()} on {this_owner('w1').host}), for " in found
    assert "\n  parallel-train tasks/a.yaml --only 'a b' --detach\n" in found
    assert "its lines" not in found
    history.write(".parallel-train/journal/w1.log", "")
    assert "\n  its lines: .parallel-train/journal/w1.log\n" in call("status").out


def test_a_paused_queue_is_said(history: History, call: Caller):
    requests.ask(history.queue, Request(0, "pause", by="anna@box", at="2026-01-02T03:04:05Z"))
    said = "Paused by anna@box, 2026-01-02 03:04 UTC: nothing is started; parallel-train resume goes on\n"
    assert said in call("status").out
    out = Screen()
    status.status(history.path, (), file=None, everything=False, as_json=False, out=out)
    assert out.text.startswith("Paused by anna@box")


class Screen(io.StringIO):
    """A terminal that is only written to."""

    def isatty(self) -> bool:
        return True

    @property
    def text(self) -> str:
        return self.getvalue()


# ---- again and again ----


def seen(history: History, height: int | None) -> list[Sheet | str]:
    return list(status.Looking(history.path, (), None, everything=False, only=()).screen(height))


def test_a_screen_keeps_what_matters(call: Caller):
    history = History(call.root)
    tasks = history.submit(*(task(f"t{n}") for n in range(100)))
    for one in tasks[:50]:
        history.ran(one)
        history.write(f"{one.output}/result", "1")
    history.ran(tasks[97], outcome=FAILED)
    history.start(tasks[98])
    tally, nobody, sheet = seen(history, 24)
    assert tally == "100 tasks: 1 running, 48 ready, 50 succeeded, 1 failed"
    assert "No scheduler" in str(nobody)
    assert isinstance(sheet, Sheet)
    shown = [row[1] for row in sheet.rows]
    assert {"t97", "t98"} <= set(shown)
    assert shown == sorted(shown, key=lambda name: int(name[1:]))
    assert len(shown) == 16
    assert sheet.note == "… and 84 more: parallel-train status"
    assert len(seen(history, None)[-1].rows) == 100


@pytest.fixture
def watched(history: History) -> Iterator[Terminal]:
    command = [sys.executable, "-m", "parallel_train", "status", "-w"]
    screen = Terminal(command, history.path, os.environ, size=(80, 24))
    yield screen
    screen.process.kill()
    screen.process.wait()
    screen.hang_up()


def test_a_watch_draws_again_and_ctrl_c_leaves_it(history: History, watched: Terminal):
    watched.until("5 tasks: 1 running, 1 ready")
    history.ran(history.submit(task("ready"), source="tasks/b.yaml")[0], outcome=FAILED)
    watched.until("1 running, 1 succeeded, 2 failed")
    watched.type(CTRL_C)
    assert watched.process.wait(10) == 0
