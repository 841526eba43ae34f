"""Does a process that makes calls itself claim each once, say how it ended, and leave what others can go on from?"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from parallel_train.caller import Caller
from parallel_train.commands import ask
from parallel_train.core.situation import name_of
from parallel_train.core.state import Ended
from parallel_train.core.task import Metric, Task
from parallel_train.errors import UsageError
from parallel_train.held import Held
from parallel_train.procs import calls, process
from parallel_train.store import records
from tests.support.sweep import Project
from tests.support.wait import wait_until


def call(name: str, **more) -> Task:
    output = f"results/{name}.json"
    return Task(
        name, ("f", name), params={"name": name}, output=output, metrics=(Metric("value", file=output),), **more
    )


@pytest.fixture
def caller(project: Project) -> Iterator[Caller]:
    with closing(Caller(project.root)) as one:
        one.submit("grid", [call("a"), call("b")])
        yield one


@pytest.fixture
def other(project: Project, caller: Caller) -> Iterator[Caller]:
    del caller
    with closing(Caller(project.root)) as one:
        yield one


def states(project: Project) -> dict[str, str | None]:
    return project.endings()


def taken(caller: Caller) -> Held:
    held = caller.next()
    assert held is not None
    return held


# ---- what is to be called ----


def test_the_same_calls_again_are_the_same_and_others_take_their_place(caller, project):
    before = project.tree()
    caller.submit("grid", [call("a"), call("b")])
    assert {name: what for name, what in project.tree().items() if "/tasks" in name} == {
        name: what for name, what in before.items() if "/tasks" in name
    }
    caller.submit("grid", [call("b"), call("c")])
    assert list(project.status()) == ["b", "c"]
    assert [task["name"] for task in project.status(everything=True).values()] == ["a", "b", "c"]


def test_what_agents_add_at_the_same_time_stands_together(caller, other, project):
    caller.submit("grid", [call("c")], keep=True)
    other.submit("grid", [call("d")], keep=True)
    assert list(project.status()) == ["a", "b", "c", "d"]


def test_a_call_needs_a_place_for_its_result(caller):
    with pytest.raises(UsageError, match="has no output"):
        caller.submit("grid", [Task("a", ("f",))])


# ---- claims ----


def test_each_call_is_given_once_and_ends_with_its_result(caller, other, project):
    one, two = taken(caller), taken(other)
    assert {one.task.name, two.task.name} == {"a", "b"}
    assert caller.next() is None
    assert not caller.is_over
    assert one.succeed({"value": 1.5})
    assert two.succeed({"value": float("nan")})
    assert caller.next() is other.next() is None
    assert caller.is_over
    assert other.is_over
    assert states(project) == {"a": "succeeded", "b": "succeeded"}
    result = json.loads((project.root / "results/a.json").read_text())
    assert result["value"] == 1.5
    assert result["made_by"]["attempt"] == 1
    assert (project.root / "results/a.json").stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


def test_what_is_given_back_costs_nothing_and_what_fails_comes_again_after_a_while(caller, other, project, asked):
    held = taken(caller)
    held.give_back("dropped")
    again = taken(other)
    assert (again.task.name, again.attempt) == (held.task.name, 2)
    assert again.fail("ValueError: no")
    assert other.situation.lines[again.task.id].state == Ended("failed", 2)  # these have no retries
    assert project.status()[again.task.name]["attempts"] == 2
    assert "ValueError: no" in asked("explain", "1").out
    logs = asked("logs", "1")
    assert "the process that makes the call says what it has to say itself" in logs.out + logs.err


def test_a_pause_holds_all_and_a_cancelled_call_is_not_made(caller, project):
    ask.pause(project.root, [], sys.stdout)
    assert caller.next() is None
    assert not caller.is_over
    ask.resume(project.root, [], sys.stdout)
    ask.cancel(project.root, ["a"], sys.stdout)
    assert taken(caller).task.name == "b"


def test_a_cancelled_call_that_is_being_made_is_over_though_it_goes_on(caller, project):
    held = taken(caller)
    assert not held.is_cancelled()
    assert ask.cancel(project.root, [held.task.name], sys.stdout) == 0  # its companion has ended it
    assert held.is_cancelled()
    assert held.is_taken()
    assert not held.succeed({"value": 1})
    assert not (project.root / "results/a.json").exists()
    assert states(project)["a"] == "cancelled"


def test_what_stands_in_the_results_place_is_put_aside_or_adopted(caller, other, project):
    project.write("results/a.json", "somebody's")
    held = taken(caller)
    assert held.succeed({"value": 1})
    assert "somebody's" in project.aside()
    ask.retry(project.root, ["a"], sys.stdout, failed=False)
    again = taken(other)
    assert (again.task.name, again.round) == ("a", 2)
    assert any('"value": 1' in text for text in project.aside())
    assert again.succeed({"value": 2})
    assert json.loads((project.root / "results/a.json").read_text())["value"] == 2


def test_a_text_that_utf_8_can_not_hold_is_a_result_too(caller, other, project):
    held = taken(caller)
    assert held.succeed({"value": "\udcff\ud800"})
    assert json.loads((project.root / held.task.output).read_text())["value"] == "\udcff\ud800"
    assert calls.is_result(held.order)


def test_a_queue_that_was_deleted_under_a_call_does_not_take_its_result(caller, project, capsys):
    held = taken(caller)
    for kind in ("claims", "ends"):
        shutil.rmtree(project.root / ".parallel-train" / kind)
        (project.root / ".parallel-train" / kind).mkdir(mode=0o700)
    assert not held.succeed({"value": 1})
    assert "the queue was deleted under this attempt" in capsys.readouterr().err


def test_it_is_seen_while_it_works_and_gone_when_it_leaves(caller, project, asked):
    assert project.queue("workers") == []
    held = taken(caller)
    [record] = project.queue("workers")
    assert record.name == caller.worker
    assert "No process makes these calls" not in asked("status").out
    beat = project.root / ".parallel-train" / "beats" / f"{held.task.id}.{held.attempt}"
    assert not beat.exists()  # a call shorter than a beat writes none
    held.give_back("dropped")
    caller.close()
    assert project.queue("workers") == project.queue("beats") == []
    assert "No process makes these calls now: start their script again" in asked("status").out


def test_its_companion_beats_as_often_as_its_lease_asks_for(project):
    with closing(Caller(project.root, lease=0.6)) as caller:
        caller.submit("grid", [call("a")])
        held = taken(caller)
        beat = project.root / ".parallel-train" / "beats" / f"{held.task.id}.1"
        wait_until(lambda: beat.exists() and int(beat.read_text()) > 2, "it has beaten")
        held.succeed({"value": 1})
        wait_until(lambda: not beat.exists(), "of no use any more")


def test_a_fork_can_not_claim_for_its_parent(caller):
    taken(caller)
    pid = os.fork()
    if pid == 0:
        try:
            caller.close()  # leaves the parent alone
            caller.next()
        except UsageError:
            os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert len(list((caller.disk.folder / "workers").iterdir())) == 1


# ---- a disk that refuses ----


def test_a_full_disk_is_waited_out_and_said_once(caller, capsys):
    refusals = iter((errno.ENOSPC, errno.EDQUOT))

    def write() -> str:
        if (number := next(refusals, None)) is not None:
            raise OSError(number, "it is full", f".tmp-{number}")  # each try has a name of its own
        return "written"

    assert calls.wait_out("results/a.json", write, caller.complain) == "written"
    assert capsys.readouterr().err == (
        "parallel-train: results/a.json can't be written yet: it is full; trying until it can\n"
    )


@pytest.mark.parametrize("name", ["EACCES", "EPERM", "EROFS", "ENAMETOOLONG", "ENOTDIR", "ELOOP", "EFBIG", "EEXIST"])
def test_what_does_not_pass_is_not_waited_for(name):
    def write() -> None:
        raise OSError(getattr(errno, name), name)

    with pytest.raises(OSError, match=name):
        calls.wait_out("results/a.json", write, pytest.fail)


def test_a_result_that_can_not_be_written_is_the_failure_of_its_call_and_an_error(caller, project, asked):
    held = taken(caller)
    project.write("results", "a file")
    with pytest.raises(
        UsageError, match=r"a: its result can't be written to .*/results/a.json: .*/results is no folder"
    ):
        held.succeed({"value": 1})
    (project.root / "results").unlink()
    assert states(project)["a"] == "failed"
    assert "its result can't be written" in asked("explain", "a").out


def test_an_end_that_can_not_be_written_is_an_error_and_the_process_can_leave(caller, project):
    held = taken(caller)
    ends = project.root / ".parallel-train/ends"
    kept = ends.rename(ends.with_name("kept"))
    ends.symlink_to("ends")
    with pytest.raises(UsageError, match=r"how a ended can't be written to .*: Too many levels"):
        held.succeed({"value": 1})
    caller.close()
    ends.unlink()
    kept.rename(ends)
    assert project.queue("workers") == []
    assert states(project)["a"] is None


# ---- copies ----

COPIES = """
import time
from parallel_train.caller import Caller
caller = Caller(".")
assert caller.next() is None
caller._first_seen = dict.fromkeys(caller._first_seen, -1000.0)
print(caller.copy().task.name, flush=True)
time.sleep(60)
"""


@pytest.fixture
def late(caller: Caller, other: Caller) -> Held:
    """A call that `caller` makes for so long that `other` would copy it."""
    taken(other).succeed({"value": 1})
    held = taken(caller)
    assert other.next() is None
    other._first_seen = dict.fromkeys(other._first_seen, -1000.0)
    return held


def test_one_who_lives_copies_a_call_and_when_it_is_killed_another_does(late, other, project):
    argv = [sys.executable, "-c", COPIES]
    process = subprocess.Popen(argv, cwd=project.root, env=project.environment, stdout=subprocess.PIPE, text=True)
    project.started.append(process)
    with process.stdout:
        assert process.stdout.readline().strip() == late.task.name
    assert other.copy() is None
    process.kill()
    process.wait()
    copy = other.copy()
    assert (copy.task, copy.attempt, copy.is_copy) == (late.task, late.attempt, True)
    assert other.copy() is None  # it has one
    assert copy.succeed({"value": 2})
    assert not late.succeed({"value": 1})
    assert list((project.root / ".parallel-train/beats").glob("*copy*")) == []


def test_a_copier_on_another_host_is_gone_after_a_lease_of_silence(late, other):
    there = {**process.this_process("there"), "machine": "another", "host": "another"}
    folder = other.disk.folder
    records.publish(str(folder / "workers/there"), [{"owner": there, "lease": 0.5}])
    records.publish(str(folder / f"beats/{late.task.id}.{late.attempt}.copy1"), [there])
    began = time.monotonic()
    assert other.copy() is None
    assert wait_until(other.copy, "it is silent").task == late.task
    assert time.monotonic() - began > 0.5


def test_a_copiers_mark_that_nobody_can_read_holds_nothing_up(late, other):
    mark = other.disk.folder / f"beats/{late.task.id}.{late.attempt}.copy1"
    mark.write_text("nonsense")
    assert other.copy().task == late.task
    assert mark.read_text() == "nonsense"


# ---- death ----

DIES = """
import os, sys, time
from parallel_train.caller import Caller
caller = Caller(".")
held = caller.next()
print(held.task.name, flush=True)
if sys.argv[1:] == ["fork"] and os.fork() == 0:
    time.sleep(60)
time.sleep(60)
"""


@pytest.mark.parametrize("how", ["alone", "fork", "without its companion"])
def test_the_call_of_a_dead_process_is_free_at_once(caller, project, how):
    argv = [sys.executable, "-c", DIES, how]
    process = subprocess.Popen(argv, cwd=project.root, env=project.environment, stdout=subprocess.PIPE, text=True)
    project.started.append(process)
    with process.stdout:
        name = process.stdout.readline().strip()
    if how == "without its companion":
        for pid in set(project.living()) - {process.pid}:
            os.kill(pid, signal.SIGKILL)
        assert caller.next().task.name != name
    process.kill()
    process.wait()
    if how != "without its companion":  # nobody else has to look
        ends = project.root / ".parallel-train" / "ends"
        wait_until(lambda: list(ends.iterdir()), "its companion says that it is lost")
        wait_until(lambda: project.queue("workers") == [], "and that it is gone")
    line = next(line for line in caller.situation.lines.values() if line.task.name == name)
    held = wait_until(caller.next, "it is free")
    while held.task.name != name:
        held = taken(caller)
    assert (held.attempt, name_of(caller.situation.lines[line.task.id].state)) == (2, "running")


# ---- schedulers ----


def test_a_run_in_the_same_queue_ends_without_the_calls(caller, project):
    project.tasks(project.recording("t"))
    done = project.run()
    assert done.code == 0, done.text
    assert project.order() == ["t"]
    assert project.endings() == {"a": None, "b": None, "t": "succeeded"}
    assert {taken(caller).task.name for _ in "ab"} == {"a", "b"}
    assert caller.next() is None


def test_wait_waits_for_calls_too(caller, project):
    waiting = project.start("wait", gpus=None)
    for _ in "ab":
        taken(caller).succeed({"value": 1})
    assert waiting.wait(30) == 0, project.said
    assert "2 tasks: 2 succeeded" in project.said
