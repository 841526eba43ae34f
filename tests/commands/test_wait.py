"""Does wait end when the tasks have ended, and say how?"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest

from parallel_train.commands import wait
from parallel_train.commands.select import select
from parallel_train.core.facts import Exited
from parallel_train.procs.runner import is_alive
from parallel_train.project import workers
from parallel_train.project.reading import known_tasks, this_owner
from parallel_train.store.queue import DiskQueue
from tests.commands.history import History, task
from tests.support.call import Caller, call
from tests.support.wait import wait_until

__all__ = ["call"]

FAILED = Exited(3)


@pytest.fixture
def history(call: Caller) -> History:
    return History(call.root)


def succeed(history: History, *tasks) -> None:
    for one in tasks:
        history.ran(one)
        history.write(f"{one.output}/result", "1")


def work_here(history: History, source: str) -> DiskQueue:
    disk = DiskQueue(history.queue, this_owner("w1"), is_alive, about={"source": source})
    disk.join()
    return disk


@contextmanager
def waiting(history: History, *words: str) -> Iterator[threading.Thread]:
    """It waits meanwhile, and has ended afterwards."""
    chosen = select(words, known_tasks(history.queue))
    found = wait.Waiting.of(history.path, tuple(one.id for one in chosen))
    thread = threading.Thread(target=found.until_ended, daemon=True)
    thread.start()
    yield thread
    thread.join(10)
    assert not thread.is_alive(), "it still waits"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("good",), 0, "1 task: 1 succeeded"),
        (("bad",), 1, "1 task: 1 failed"),
        (("after",), 1, "1 task: 1 aborted"),
        ((), 1, "3 tasks: 1 succeeded, 1 failed, 1 aborted"),
    ],
)
def test_what_has_ended_is_told_at_once(history: History, call: Caller, *, words: Sequence[str], code: int, said: str):
    bad = task("bad")
    good, bad, _ = history.submit(task("good"), bad, task("after", needs=(bad.id,)))
    succeed(history, good)
    history.ran(bad, outcome=FAILED)
    found = call("wait", *words)
    assert (found.code, found.out, found.err) == (code, f"{said}\n", "")
    as_json = json.loads(call("wait", *words, "--json").out)
    assert as_json == json.loads(call("status", *words, "--json").out)


def test_what_matches_nothing_is_3(history: History, call: Caller):
    assert call("wait").code == 3
    history.submit(task("one"))
    assert call("wait", "two").code == 3


def test_it_waits_for_the_last_one(history: History):
    first, second = history.submit(task("first"), task("second"))
    work_here(history, "tasks/default.yaml")
    succeed(history, first)
    with waiting(history) as thread:
        assert thread.is_alive()
        succeed(history, second)


def test_it_waits_for_what_was_added_meanwhile_unless_it_was_told_what_for(history: History):
    (first,) = history.submit(task("first"))
    work_here(history, "tasks/default.yaml")
    with waiting(history) as all_, waiting(history, "first") as one:
        (late,) = history.submit(task("late"), source="tasks/more.yaml")
        succeed(history, first)
        wait_until(lambda: not one.is_alive(), "it waits for the first only")
        assert all_.is_alive()
        history.ran(late, outcome=FAILED)


def test_what_its_file_no_longer_names_is_not_waited_for(history: History):
    first, _ = history.submit(task("first"), task("withdrawn"))
    work_here(history, "tasks/default.yaml")
    with waiting(history, "withdrawn") as thread:
        assert thread.is_alive()
        history.submit(first)


def test_a_stale_task_has_ended_unless_somebody_may_run_it_again(history: History, call: Caller):
    (old,) = history.submit(task("old"))
    succeed(history, old)
    history.submit(replace(old, identity="another"))
    disk = work_here(history, "tasks/other.yaml")
    assert call("wait").code == 1
    disk.leave()
    disk = work_here(history, "tasks/default.yaml")
    found = wait.Waiting.of(history.path, ())
    assert [line.task.name for line in found._open(workers.living(history.path))] == ["old"]
    disk.leave()
    assert list(found._open(workers.living(history.path))) == []


@pytest.mark.parametrize(
    ("is_call", "note"),
    [
        (False, "2 tasks that have not ended. No scheduler works here: parallel-train worker does what is open"),
        (True, "2 calls that have not ended. No process makes these calls now: start their script again"),
    ],
)
def test_nobody_who_works_is_said_once(
    history: History, capsys: pytest.CaptureFixture[str], *, is_call: bool, note: str
):
    first, second = history.submit(task("first", is_call=is_call), task("second", is_call=is_call))
    said: list[str] = []
    with waiting(history):
        wait_until(lambda: said.append(capsys.readouterr().err) or "".join(said).endswith("\n"), "it is said")
        succeed(history, first, second)
    assert "".join(said) == f"note: waiting for {note}\n"


def test_what_runs_on_by_itself_needs_nobody(history: History, capsys: pytest.CaptureFixture[str]):
    (one,) = history.submit(task("one"))
    history.start(one)  # by this process, which lives
    with waiting(history):
        history.end(one)
    assert capsys.readouterr().err == ""
