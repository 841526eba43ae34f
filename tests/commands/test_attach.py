"""Does attach find the worker that is meant, and see what that one sees?"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from parallel_train.commands import attach
from parallel_train.core.decide import exit_code
from parallel_train.core.facts import Exited, Request
from parallel_train.core.situation import Situation, Wishes, load
from parallel_train.core.slots import Device, Pool
from parallel_train.core.task import Task
from parallel_train.errors import UsageError
from parallel_train.procs.runner import is_alive
from parallel_train.project import workers
from parallel_train.project.reading import this_owner
from parallel_train.project.workers import Worker
from parallel_train.report.view import view
from parallel_train.store import requests, submissions
from parallel_train.store.queue import DiskQueue
from tests.commands.history import History, task
from tests.support.call import Caller, call

__all__ = ["call"]

GPU = Device("gpu", "0", "0", "gpu-0")


@pytest.fixture
def history(call: Caller) -> History:
    return History(call.root)


def work_here(history: History, *tasks: Task, name: str = "worker", source: str = "tasks/default.yaml") -> Worker:
    """Make this process a worker that was asked for `tasks` of what holds now."""
    disk = DiskQueue(history.queue, this_owner(name), is_alive)
    known = submissions.read_all(history.queue / "tasks")
    disk.submission = known[-1].number if known else 0
    disk.request = requests.last(history.queue)
    situation = Situation(Wishes(worker=name, selection=frozenset(one.id for one in tasks)), Pool.of([GPU]))
    load(situation, tasks)
    disk.about = workers.about(situation, disk, source, "logs")
    disk.join()
    return next(found for found in workers.living(history.path) if found.name == name)


def seen(history: History, worker: Worker) -> Situation:
    return attach.situation_of(history.path, worker, lambda _: None)[1]


def chosen(situation: Situation) -> set[str]:
    return {situation.lines[name].task.name for name in situation.wishes.selection}


# ---- which ----


def test_nobody_to_attach_to_is_refused_with_what_there_is(history: History, call: Caller):
    found = call("attach")
    assert (found.code, found.out) == (2, "")
    assert found.err == (
        "parallel-train: no scheduler works here now; parallel-train status says where every task stands\n"
    )
    history.write(".parallel-train/journal/w1.log", "")
    assert "the last one without a terminal left its lines in .parallel-train/journal/w1.log" in call("attach").err


def test_the_only_one_is_meant(history: History):
    made = work_here(history)
    assert attach.chosen(history.path, None).name == made.name


@pytest.mark.parametrize(("wanted", "meant"), [("ann", "anna"), ("bert", "bert"), ("anna", "anna")])
def test_of_several_one_is_named_by_the_beginning_of_its_name(history: History, wanted: str, meant: str):
    work_here(history, name="anna")
    work_here(history, name="bert")
    assert attach.chosen(history.path, wanted).name == meant


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (None, "several workers live here: name one, as in parallel-train attach"),
        (str(os.getpid()), "several workers live here"),  # both are this process
        ("carl", "no worker 'carl' lives here; these do:"),
    ],
    ids=["none", "this process", "unknown"],  # the same in every process of pytest
)
def test_others_are_refused_and_listed(history: History, wanted: str | None, said: str):
    work_here(history, name="anna")
    work_here(history, name="bert")
    with pytest.raises(UsageError) as caught:
        attach.chosen(history.path, wanted)
    assert said in str(caught.value)
    assert all(f"  {name} (process {os.getpid()} on " in str(caught.value) for name in ("anna", "bert"))


# ---- what it sees ----


def test_it_sees_what_the_worker_was_asked_for(history: History):
    first, second, _ = history.submit(task("first"), task("second"), task("third"))
    history.submit(task("other"), source="tasks/other.yaml")
    worker = work_here(history, first, second)
    claim = history.start(first)
    found = seen(history, worker)
    assert chosen(found) == {"first", "second"}
    assert found.mine == {(first.id, 1): claim}
    assert found.counts == {"running": 1, "ready": 1}


def test_its_slots_are_shown_as_the_worker_has_them(history: History):
    (first,) = history.submit(task("first"))
    worker = work_here(history, first)
    reporter_memory = attach.make_reporter(
        seen(history, worker), attach.Setup(history.path, history.path / "x", attach.Clock()), None
    ).memory
    assert view(seen(history, worker), reporter_memory, 0.0).idle == "GPU 0"
    history.start(first)
    assert view(seen(history, worker), reporter_memory, 0.0).idle == ""


def test_it_follows_an_edited_file_as_the_worker_does(history: History):
    whole = history.submit(task("first"), task("second"))
    worker = work_here(history, *whole)
    history.submit(task("first"), task("third"))
    assert chosen(seen(history, worker)) == {"first", "third"}


def test_a_part_of_a_file_stays_that_part(history: History):
    first, _ = history.submit(task("first"), task("second"))
    worker = work_here(history, first)
    history.submit(task("first"), task("second"), task("third"))
    assert chosen(seen(history, worker)) == {"first"}


def test_what_was_added_later_is_seen_beside(history: History):
    first, other = history.submit(task("first"), task("other"))
    requests.ask(history.queue, Request(0, "retry", {other.id: 1}))
    worker = work_here(history, first)
    assert seen(history, worker).joined == set()  # asked for before it came
    (added,) = history.submit(task("added"), source="added")
    requests.ask(history.queue, Request(0, "add", submission=2))
    found = seen(history, worker)
    assert found.joined == {added.id}
    assert chosen(found) == {"first"}


def test_a_worker_of_the_whole_queue_is_seen_whole(history: History):
    one = history.submit(task("one"), source="tasks/a.yaml")
    two = history.submit(task("two"), source="tasks/b.yaml")
    worker = work_here(history, *one, *two, source="")
    history.submit(task("three"), source="tasks/c.yaml")
    assert chosen(seen(history, worker)) == {"one", "two", "three"}


@pytest.mark.parametrize(("outcome", "code"), [(Exited(0), 0), (Exited(3), 1)])
def test_its_exit_code_is_the_runs(history: History, outcome: Exited, code: int):
    first, second = history.submit(task("first"), task("second"))
    worker = work_here(history, first)
    history.ran(first, outcome=outcome)
    history.write(f"{first.output}/result", "1")
    assert exit_code(seen(history, worker)) == code
    assert second.id not in seen(history, worker).wishes.selection


def test_a_record_that_says_nothing_is_enough(history: History):
    """As an older version wrote them."""
    history.submit(task("first"), source="tasks/a.yaml")
    DiskQueue(history.queue, this_owner("old"), is_alive).join()
    worker = attach.chosen(history.path, None)
    assert (worker.source, worker.numbers, worker.age(0.0)) == ("", frozenset(), None)
    assert chosen(seen(history, worker)) == {"first"}


# ---- its end ----


def test_a_worker_that_renews_its_record_is_not_taken_for_gone(history: History):
    worker = work_here(history)
    disk, situation = attach.situation_of(history.path, worker, lambda _: None)
    record = history.queue / "workers" / "worker"
    content = record.read_bytes()
    watching = attach.Attached(worker, disk, situation, None, None)  # type: ignore[arg-type]  not asked
    record.unlink()
    assert not watching._is_gone()
    record.write_bytes(content)
    assert not watching._is_gone()
    record.unlink()
    assert [watching._is_gone(), watching._is_gone()] == [False, True]


def test_a_dead_process_is_gone_at_once(history: History):
    worker = work_here(history)
    disk, situation = attach.situation_of(history.path, worker, lambda _: None)
    dead = replace(worker, owner=replace(worker.owner, start=1))
    watching = attach.Attached(dead, disk, situation, None, None)  # type: ignore[arg-type]  not asked
    assert watching._is_gone()
