"""Do cancel, retry, pause, resume, priority and add record what was asked, and say what that brings about?"""

import io
import os
import signal
import subprocess

import pytest

from parallel_train.commands import add as add_command
from parallel_train.commands import ask
from parallel_train.commands.options import RunOptions
from parallel_train.core.facts import Exited, Lost
from parallel_train.core.situation import name_of
from parallel_train.core.wire import end_of, request_of
from parallel_train.errors import NothingSelectedError, UsageError
from parallel_train.procs import process
from parallel_train.procs.runner import is_alive
from parallel_train.project.reading import known_tasks, look, this_owner
from parallel_train.store import records
from parallel_train.store.queue import DiskQueue
from tests.commands.history import History, task
from tests.support.sweep import FAST_PYTHON


@pytest.fixture
def history(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = os.umask(0o022)
    yield History(tmp_path)
    os.umask(before)


@pytest.fixture
def three(history):
    """A task, what needs it, and a task beside them."""
    a = task("a")
    return history.submit(a, task("after", needs=(a.id,)), task("beside"))


def said(command, history, *words, code=0, **more):
    out = io.StringIO()
    assert command(history.path, words, out, **more) == code
    return out.getvalue()


def asked(history):
    """The requests, in their order."""
    folder = history.queue / "requests"
    return [request_of(records.read_one(str(folder / str(n)))) for n in range(1, len(list(folder.iterdir())) + 1)]


def states(history):
    situation = look(history.path, known_tasks(history.queue))
    return {line.task.name: name_of(line.state) for line in situation.lines.values()}


def working(history, name="w"):
    """Make this process a worker of the queue."""
    DiskQueue(history.queue, this_owner(name), is_alive).join()


# ---- cancel ----


def test_a_cancelled_task_and_what_needs_it_do_not_run(history, three):
    text = said(ask.cancel, history, "a")
    assert "#1 a: will not run; it was ready" in text
    assert "Not run without it: after" in text
    assert "parallel-train retry a" in text
    assert states(history) == {"a": "cancelled", "after": "aborted", "beside": "ready"}
    (request,) = asked(history)
    assert (request.kind, request.tasks) == ("cancel", {three[0].id: 1})
    assert "@" in request.by


def test_what_has_ended_is_not_cancelled(history, three):
    history.measured(three[0], accuracy=1)
    assert "it has succeeded; there is nothing to cancel" in said(ask.cancel, history, "a")
    assert asked(history) == []


def test_a_cancel_says_whom(history, three):
    with pytest.raises(UsageError, match="cancel what"):
        said(ask.cancel, history)
    with pytest.raises(NothingSelectedError, match="beside"):
        said(ask.cancel, history, "besides")


def test_the_attempt_of_a_dead_owner_is_ended_and_what_it_left_is_swept(history, three):
    """Nobody works here, and the shim was killed: the command itself clears up."""
    owner = this_owner("gone")
    gone = subprocess.Popen(["/bin/true"])
    started = process.start_time(gone.pid)
    gone.wait()
    cookie = f"{three[0].id}.1.{gone.pid}.{started}.{owner.boot}"
    left = subprocess.Popen([*FAST_PYTHON, "-c", "import time; time.sleep(600)"], env={"PARALLEL_TRAIN_COOKIE": cookie})
    dead = type(owner)(**{**{f: getattr(owner, f) for f in owner.__slots__}, "pid": gone.pid, "start": started})
    history.start(three[0], owner=dead, cookie=cookie)
    text = said(ask.cancel, history, "a")
    assert "cancelled; attempt 1 is over (lost" in text
    assert left.wait(10) == -signal.SIGKILL
    end = end_of(records.read_one(str(history.queue / "ends" / f"{three[0].id}.1")))
    assert end.outcome == Lost("killed")
    assert states(history)["a"] == "cancelled"


# ---- retry ----


def test_a_retry_opens_a_round_that_keeps_the_folder(history, three):
    history.ran(three[0], outcome=Exited(1))
    text = said(ask.retry, history, "a", failed=False)
    assert "#1 a: runs again (it has failed; its folder is kept)" in text
    assert "To run after it: after" in text
    assert "parallel-train worker" in text
    assert states(history) == {"a": "ready", "after": "waiting", "beside": "ready"}
    (request,) = asked(history)
    assert (request.kind, request.tasks) == ("retry", {three[0].id: 2, three[1].id: 1})


def test_all_that_failed_are_retried(history, three):
    with pytest.raises(NothingSelectedError, match="no task has failed"):
        said(ask.retry, history, failed=True)
    history.ran(three[0], outcome=Exited(1))
    history.ran(three[2], outcome=Exited(1))
    said(ask.retry, history, failed=True)
    assert states(history) == {"a": "ready", "after": "waiting", "beside": "ready"}
    with pytest.raises(UsageError, match="retry what"):
        said(ask.retry, history, failed=False)


def test_a_retry_names_the_workers_that_take_it_up(history, three):
    history.ran(three[0], outcome=Exited(1))
    working(history, "somebody")
    assert f"Taken up by somebody (process {os.getpid()} on" in said(ask.retry, history, "a", failed=False)


def test_two_retries_make_two_rounds_of_which_the_newest_holds(history, three):
    history.ran(three[0], outcome=Exited(1))
    said(ask.retry, history, "a", failed=False)
    assert "#1 a: is to run anyway" in said(ask.retry, history, "a", failed=False)


# ---- pause, resume, priority ----


def test_a_pause_holds_until_somebody_resumes(history, three):
    history.start(three[2])
    assert "1 task runs on" in said(ask.pause, history)
    assert "was paused already" in said(ask.pause, history)
    assert [request.kind for request in asked(history)] == ["pause"]
    assert "The queue goes on" in said(ask.resume, history)
    assert "was not paused" in said(ask.resume, history)
    assert [request.kind for request in asked(history)] == ["pause", "resume"]


def test_a_task_is_held_alone(history, three):
    assert "is not started before parallel-train resume 1" in said(ask.pause, history, "a")
    assert states(history)["a"] == "waiting"
    assert "still paused: parallel-train resume 1" in said(ask.resume, history)
    assert "#1 a: goes on" in said(ask.resume, history, "1")
    assert states(history)["a"] == "ready"
    assert "was not paused" in said(ask.resume, history, "a")


def test_a_priority_is_a_whole_number_after_the_tasks(history, three):
    assert "#3 beside: priority -2 (was 0)" in said(ask.priority, history, "beside", "-2")
    assert "priority 7 (was -2)" in said(ask.priority, history, "3", "7")
    for words in ((), ("a",), ("7",), ("a", "1.5"), ("a", "high"), ("a", "\u0661"), ("a", "9" * 12)):
        with pytest.raises(UsageError, match="name tasks, then a whole number"):
            said(ask.priority, history, *words)


def test_without_a_queue_there_is_nothing_to_ask(tmp_path):
    for command in (ask.pause, ask.resume):
        with pytest.raises(UsageError, match="no queue in"):
            command(tmp_path, (), io.StringIO())
    assert list(tmp_path.iterdir()) == []


# ---- add ----


def add(path, *words, is_command=True, priority=0, env=(), **more):
    out = io.StringIO()
    options = RunOptions(words=words, is_command=is_command, **more)
    assert add_command.add(options, path, out, priority=priority, env=env) == 0
    return out.getvalue()


def test_each_added_command_is_a_task_of_its_own(history):
    for _ in range(2):
        add(history.path, "echo", "a b", "$(x)", priority=3)
    tasks = known_tasks(history.queue)
    assert [(t.number, t.name, t.command, t.priority) for t in tasks] == [
        (1, "echo-1", ("echo", "a b", "$(x)"), 3),
        (2, "echo-2", ("echo", "a b", "$(x)"), 3),
    ]
    assert [request.submission for request in asked(history)] == [1, 2]


def test_an_added_command_that_is_not_there_is_said(history):
    text = add(history.path, "no-such-program", "x")
    assert "Added #1 no-such-program-1: no-such-program x" in text
    assert "note: " in text
    assert "no-such-program" in text.split("note: ")[1]


def test_a_queue_is_made_for_the_first_task(tmp_path):
    before = os.umask(0o022)
    add(tmp_path, "true")
    os.umask(before)
    assert [t.name for t in known_tasks(tmp_path / ".parallel-train")] == ["true-1"]


def test_variables_are_sent_but_no_secret_is_written(history, monkeypatch):
    monkeypatch.setenv("HERE", "1")
    monkeypatch.setenv("WANDB_API_KEY", "canary-value")
    add(history.path, "true", env=("MODE=offline", "EMPTY=", "HERE", "WANDB_API_KEY"))
    (made,) = known_tasks(history.queue)
    assert made.env == {"MODE": "offline", "EMPTY": "", "HERE": "1", "WANDB_API_KEY": "secret:WANDB_API_KEY"}
    assert not any(b"canary-value" in path.read_bytes() for path in history.queue.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("text", "why"),
    [("NOWHERE", "it is not set here"), ("=x", "write NAME=VALUE"), ("MY_TOKEN=abc", "a secret is not written down")],
)
def test_what_can_not_be_sent(history, text, why):
    with pytest.raises(UsageError, match=why):
        add(history.path, "true", env=(text,))
    assert known_tasks(history.queue) == ()


def test_a_task_file_is_added_as_a_whole(history):
    (history.path / "more.yaml").write_text("tasks: [{name: x, command: 'true'}, {name: y, command: 'true 1'}]")
    assert "Added more.yaml: 2 tasks (2 ready)" in add(history.path, "more.yaml", is_command=False)
    assert "Added more.yaml: 2 tasks (2 ready)" in add(history.path, "more.yaml", is_command=False)
    assert [request.submission for request in asked(history)] == [1, 1]
    with pytest.raises(UsageError, match="add takes all tasks of a file"):
        add(history.path, "more.yaml", "x", is_command=False)
    with pytest.raises(UsageError, match="for a command"):
        add(history.path, "more.yaml", is_command=False, priority=1)


@pytest.mark.parametrize("words", [(), ("python", "train.py")])
def test_a_command_stands_after_two_dashes(history, words):
    with pytest.raises(UsageError, match="a command after --"):
        add(history.path, *words, is_command=False)
