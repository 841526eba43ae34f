"""Does a detached run live on by itself, can it be found, seen and stopped, and leaves a failed start nothing?"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from parallel_train.core.facts import Request, Round
from parallel_train.core.task import identity, task_id
from parallel_train.core.wire import round_data
from parallel_train.project.reading import known_tasks
from parallel_train.store import records, requests, submissions
from tests.support.sweep import Project, lives
from tests.support.terminal import CTRL_C, Terminal
from tests.support.wait import wait_until

Open = Callable[..., Terminal]


def worker_of(project: Project) -> int:
    """The process of the one worker that lives."""
    (record,) = project.queue("workers")
    return int(records.read_one(str(record))["owner"]["pid"])


def waiting_file(project: Project) -> None:
    """A task file that is read for as long as there is no file `read`."""
    task = project.recording("a", more={"until": "go"})
    project.write(
        "tasks/slow.py",
        "import os, time\n"
        "def tasks():\n"
        "    open('asked', 'w').close()\n"
        "    while not os.path.exists('read'): time.sleep(0.005)\n"
        f"    return [{task!r}]\n",
    )


# ---- it lives on ----


def test_a_detached_run_outlives_its_terminal_and_is_seen_again(project: Project, terminal: Open):
    project.tasks(*(project.recording(name, more={"until": "go"}) for name in ("a", "b", "c")))
    start = terminal("--detach")
    assert start.process.wait(30) == 0
    project.until_started("a", "b")
    worker = worker_of(project)
    for said in (
        "3 tasks: 3 to do on GPU 0-1",
        f"(process {worker} on ",
        f"kill -INT {worker}",
        "parallel-train attach",
    ):
        start.until(said)
    assert os.getsid(worker) == worker  # no terminal, and no shell whose job it is
    start.hang_up()

    seen = terminal("attach", gpus=None)
    seen.until("2 running  1 ready")
    seen.type(CTRL_C)
    assert seen.process.wait(10) == 130
    seen.until("it goes on (parallel-train attach shows it again)")
    assert lives(worker)

    said = project.ask("status").out
    assert f"Worked on by {said.split('Worked on by ')[1].split()[0]} (process {worker} on " in said
    assert re.search(r"\n  its lines: \.parallel-train/journal/\S+\.log\n", said)
    last = project.start("attach", gpus=None)
    wait_until(lambda: "Runs: a" in project.said, "it is attached")
    project.write("go", "")
    assert last.wait(30) == 0
    assert "Task completed: c" in project.said
    assert "3 tasks in" in project.said
    assert set(project.endings().values()) == {"succeeded"}
    assert "Task completed: c" in project.journal()
    assert "The terminal is gone" not in project.journal()
    wait_until(lambda: not lives(worker), "it has left")
    assert project.queue("workers") == []


def test_its_streams_are_let_go(project: Project):
    """As `ssh host parallel-train --detach` needs it: whoever reads the output sees its end."""
    project.tasks(project.recording("a", more={"until": "go"}))
    done = project.run("--detach")  # reads until both streams are closed
    assert done.code == 0, done.text
    assert done.err == ""
    worker = worker_of(project)
    assert {str(Path(f"/proc/{worker}/fd/{number}").readlink()) for number in (0, 1)} == {os.devnull}
    os.kill(worker, signal.SIGHUP)
    project.write("go", "")
    wait_until(lambda: not lives(worker), "it has left")
    assert project.endings() == {"a": "succeeded"}


def test_kill_stops_a_detached_run_and_attach_says_so(project: Project):
    project.tasks(project.recording("a", more={"until": "go"}))
    assert project.run("--detach").code == 0
    project.until_started("a")
    seen = project.start("attach", gpus=None)
    wait_until(lambda: "Attached to" in project.said, "it is attached")
    os.kill(worker_of(project), signal.SIGTERM)
    assert seen.wait(30) == 1
    assert "Not ended: 1 task" in project.said
    project.until_quiet()
    assert project.endings() == {"a": None}


def test_attach_tells_when_its_worker_died(project: Project):
    project.tasks(project.recording("a", more={"until": "go"}))
    assert project.run("--detach").code == 0
    project.until_started("a")
    seen = project.start("attach", gpus=None)
    wait_until(lambda: "Attached to" in project.said, "it is attached")
    os.kill(worker_of(project), signal.SIGKILL)
    assert seen.wait(30) == 1
    assert "has died; what it started may run on" in project.said
    project.write("go", "")


# ---- what is refused, or called off ----


def test_what_is_refused_is_refused_in_the_foreground(project: Project):
    project.tasks({"name": "a", "command": ["no-such-program"]})
    done = project.run("--detach")
    assert done.code == 2
    assert done.out == ""
    assert "nothing was started" in done.err
    assert not (project.root / ".parallel-train").exists()
    assert project.living() == []


def test_with_nothing_to_do_it_stays(project: Project):
    project.tasks(project.recording("a"))
    assert project.run().code == 0
    done = project.run("--detach")
    assert done.code == 0
    assert "1 task: 0 to do, 1 succeeded" in done.out
    assert "background" not in done.out


def test_ctrl_c_calls_a_start_off(project: Project, terminal: Open):
    waiting_file(project)
    start = terminal("tasks/slow.py", "--detach")
    wait_until((project.root / "asked").exists, "it reads its tasks")
    start.type(CTRL_C)
    assert start.process.wait(30) == 130
    project.until_quiet()
    assert not (project.root / ".parallel-train").exists()


def test_a_foreground_that_is_lost_early_changes_nothing(project: Project, terminal: Open):
    waiting_file(project)
    start = terminal("tasks/slow.py", "--detach")
    wait_until((project.root / "asked").exists, "it reads its tasks")
    start.process.kill()
    start.process.wait()
    start.hang_up()
    project.write("read", "")
    project.until_started("a")


def test_a_terminal_that_is_lost_early_changes_nothing(project: Project, terminal: Open):
    waiting_file(project)
    start = terminal("tasks/slow.py", "--detach")
    wait_until((project.root / "asked").exists, "it reads its tasks")
    start.hang_up()
    project.write("read", "")
    assert start.process.wait(30) == 0
    project.until_started("a")


# ---- worker ----


def test_a_worker_takes_what_is_asked_for_until_nothing_is_left(project: Project):
    project.tasks(project.recording("a", more={"until": "go"}), project.recording("b", more={"code": 1}))
    run = project.start("a", gpus="fake:1")
    project.until_started("a")
    run.kill()
    run.wait()
    assert project.run("worker", "--detach", gpus="fake:1").code == 0
    worker = worker_of(project)

    folder = project.root / ".parallel-train"
    (known,) = submissions.read_all(folder / "tasks")
    added = replace(known.tasks[0], name="added", command=tuple(project.recorder("added")), output=None, source="added")
    added = replace(added, id=task_id(added), identity=identity(added, {}, ()))
    submission, _ = submissions.submit(folder / "tasks", "added", [added], "2026-01-02T03:04:05Z")
    requests.ask(folder, Request(0, "add", submission=submission.number))
    project.write("go", "")
    project.until_started("a", "b", "added")
    wait_until(lambda: not lives(worker), "nothing is left")
    assert project.endings() == {"a": "succeeded", "b": "failed", "added": "succeeded"}

    failed = next(task for task in known_tasks(folder) if task.name == "b")
    opened = Round(failed.id, 2, failed.identity, "asked for", aside=False)
    records.publish(str(folder / "rounds" / f"{failed.id}.2"), [round_data(opened)])
    requests.ask(folder, Request(0, "retry", {failed.id: 2}))
    assert project.run("worker", gpus="fake:1").code == 1
    assert [effect.attempt for effect in project.effects("b")] == [1, 2]
    assert [effect.attempt for effect in project.effects("a")] == [1]


def test_wait_speaks_to_programs(project: Project):
    project.tasks(project.recording("a", more={"until": "go"}), project.recording("b", more={"code": 3}))
    assert project.run("--detach").code == 0
    waiting = subprocess.Popen(
        project.argv("wait", "--json", gpus=None), cwd=project.root, env=project.environment, stdout=subprocess.PIPE
    )
    project.started.append(waiting)  # type: ignore[arg-type]  bytes
    project.write("go", "")
    out, _ = waiting.communicate(timeout=30)
    assert waiting.returncode == 1
    assert {one["name"]: one["exit_code"] for one in json.loads(out)["tasks"]} == {"a": 0, "b": 3}
