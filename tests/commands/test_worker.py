"""What does a worker take up, and what does it leave?"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from parallel_train.commands import worker
from parallel_train.commands.options import RunOptions
from parallel_train.core.facts import Exited
from parallel_train.store import requests
from tests.commands.history import History, task
from tests.support.call import Caller, call

__all__ = ["call"]

FAILED = Exited(1)


@pytest.fixture
def history(call: Caller) -> History:
    return History(call.root)


def taken(history: History, gpus: str = "fake:2", **more: object) -> set[str]:
    situation = prepared(history, gpus, **more).situation
    return {situation.lines[name].task.name for name in situation.wishes.selection}


def prepared(history: History, gpus: str = "fake:2", **more: object):
    umask = os.umask(0o022)
    os.umask(umask)
    return worker.prepare(RunOptions(gpus=gpus, **more), history.path, umask)


def test_what_has_not_ended_is_taken_with_its_needs_and_nothing_is_repeated(history: History):
    done, failed, fresh = task("done"), task("failed"), task("fresh")
    after, hopeless = task("after", needs=(done.id,)), task("hopeless", needs=(failed.id,))
    done, failed, fresh, after, hopeless, alone = history.submit(done, failed, fresh, after, hopeless, task("alone"))
    for one in (done, alone):
        history.ran(one)
        history.write(f"{one.output}/result", "1")
    history.ran(failed, outcome=FAILED)
    assert taken(history) == {"fresh", "after", "done"}


def test_the_newest_submission_of_every_source_holds(history: History):
    history.submit(task("withdrawn"), task("kept"), source="tasks/a.yaml")
    history.submit(task("other"), source="tasks/b.yaml")
    history.submit(task("kept"), source="tasks/a.yaml")
    assert taken(history) == {"kept", "other"}
    assert prepared(history).situation.named.keys() == {"tasks/a.yaml", "tasks/b.yaml"}


def test_an_edited_task_is_due_and_an_output_that_was_removed_is_not(history: History):
    changed, cleared = history.submit(task("changed"), task("cleared"))
    for one in (changed, cleared):
        history.ran(one)
    history.write(f"{changed.output}/result", "1")
    history.submit(replace(changed, command=("true", "more"), identity="another"), cleared)
    assert taken(history) == {"changed"}


def test_what_waits_for_an_edited_task_is_due_too(history: History):
    first = task("first")
    first, second = history.submit(first, task("second", needs=(first.id,)))
    history.ran(first)
    history.write(f"{first.output}/result", "1")
    history.submit(replace(first, command=("true", "more"), identity="another"), second)
    assert taken(history) == {"first", "second"}


def test_a_task_that_is_too_wide_is_left_to_others_with_what_needs_it_and_said_once(history: History):
    wide = task("wide", gpus=4)
    middle = task("middle", needs=(wide.id,))
    history.submit(wide, middle, task("last", needs=(middle.id,)), task("narrow", gpus=2))
    found = prepared(history)
    assert taken(history) == {"narrow"}
    assert found.notes == ("Left to others, since they want more than 2 slots: wide, and 2 tasks that need them",)
    assert taken(history, gpus="fake:4") == {"wide", "middle", "last", "narrow"}


def test_a_task_without_a_gpu_needs_a_cpu_slot(history: History):
    history.submit(task("light", gpus=0))
    assert taken(history) == {"light"}
    assert taken(history, cpu_slots=0) == set()


def test_only_later_requests_and_submissions_join(history: History):
    history.submit(task("one"))
    (history.queue / "requests" / "7").write_bytes(b"")
    found = prepared(history).disk
    assert (found.everything, found.submission, found.request) == (True, 1, requests.last(history.queue))


def test_nothing_to_do_is_said(history: History, call: Caller):
    done, failed = history.submit(task("done"), task("failed"))
    history.ran(done)
    history.write(f"{done.output}/result", "1")
    history.ran(failed, outcome=FAILED)
    before = sorted(path for path in history.path.rglob("*"))
    found = call("worker", "--gpus", "fake:1")
    assert found.code == 0
    assert found.out == (
        "Nothing to do here (2 tasks: 1 succeeded, 1 failed); parallel-train retry --failed runs what failed again\n"
    )
    assert sorted(path for path in history.path.rglob("*")) == before


def test_an_empty_queue_has_nothing_to_do(history: History, call: Caller):
    assert "the queue holds no task" in call("worker", "--gpus", "fake:1").out


def test_without_a_queue_it_is_refused(call: Caller):
    found = call("worker", "--detach")
    assert found.code == 2
    assert "no queue in" in found.err
