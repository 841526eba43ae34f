"""What does a worker take up, and what does it leave?"""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest

from parallel_train.commands import worker
from parallel_train.commands.options import RunOptions
from parallel_train.core.facts import Array, Exited
from parallel_train.core.task import Task
from parallel_train.errors import UsageError
from parallel_train.procs.runner import is_alive
from parallel_train.project.reading import this_owner
from parallel_train.store import arrays, requests
from parallel_train.store.queue import DiskQueue
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


# ---- as an element of an array ----


def enlisted(history: History, *tasks: Task, **more: object) -> Array:
    wanted = Array(0, **{"size": 2, "selection": tuple(t.id for t in tasks), **more})
    return arrays.record(history.queue, wanted)


def test_an_element_takes_what_is_due_of_its_array_with_its_needs(history: History):
    first = task("first")
    after, done = task("after", needs=(first.id,)), task("done")
    first, after, done = history.submit(first, after, done, task("other"))[:3]
    history.ran(done)
    history.write(f"{done.output}/result", "1")
    enlisted(history, after, done)
    assert taken(history, array=1) == {"first", "after"}
    wishes = prepared(history, array=1).situation.wishes
    assert (wishes.is_lent, wishes.is_alone, wishes.everything, wishes.ignore_failures) == (True, True, False, False)
    assert wishes.patient_until == 0.0


def test_it_follows_the_files_of_its_tasks_and_one_for_a_single_task_none(history: History, monkeypatch):
    (mine,) = history.submit(task("mine"), source="tasks/a.yaml")
    history.submit(task("other"), source="tasks/b.yaml")
    enlisted(history, mine, ignore_failures=True, options=("--on", "slurm"))
    assert prepared(history, array=1).disk.sources == {"tasks/a.yaml"}
    wishes = prepared(history, array=1).situation.wishes
    assert wishes.ignore_failures
    assert wishes.options == ("--on", "slurm")
    enlisted(history, mine, size=1, is_each=True)
    for name in ("JOB_ID", "ARRAY_JOB_ID", "ARRAY_TASK_ID"):
        monkeypatch.setenv(f"SLURM_{name}", "0")
    assert prepared(history, array=2).disk.sources == set()


def test_an_element_for_one_task_runs_not_even_what_that_needs(history: History, monkeypatch):
    first = task("first")
    first, after = history.submit(first, task("after", needs=(first.id,)))
    enlisted(history, first, after, is_each=True)
    for name, value in (("JOB_ID", "8"), ("ARRAY_JOB_ID", "7"), ("ARRAY_TASK_ID", "1")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert taken(history, array=1) == {"after"}


def test_an_element_is_alone_unless_who_asked_for_it_lives(history: History):
    (mine,) = history.submit(task("mine"))
    coordinator = DiskQueue(history.queue, this_owner("coordinator"), is_alive)
    enlisted(history, mine, by="coordinator")
    coordinator.join()
    assert not prepared(history, array=1).situation.wishes.is_alone
    coordinator.leave()
    assert prepared(history, array=1).situation.wishes.is_alone


def test_one_that_is_there_again_waits_a_lease_for_whoever_was_there_before(history: History, monkeypatch):
    (mine,) = history.submit(task("mine"))
    enlisted(history, mine)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    before = time.monotonic()
    assert prepared(history, array=1, lease=60.0).situation.wishes.patient_until - before == pytest.approx(80.0, abs=5)


@pytest.mark.parametrize("place", [{}, {"JOB_ID": "7"}, {"JOB_ID": "8", "ARRAY_JOB_ID": "7", "ARRAY_TASK_ID": "1"}])
def test_who_is_no_element_can_not_know_which_task_is_meant(history: History, monkeypatch, place):
    enlisted(history, *history.submit(task("mine")), size=1, is_each=True)
    for name, value in place.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    with pytest.raises(UsageError, match="--array 1: each of its elements runs one task, and this is none of them"):
        prepared(history, array=1)
    with pytest.raises(UsageError, match="there is no array 7"):
        prepared(history, array=7)
