"""What do Ctrl-C, TERM, a lost terminal, Ctrl-Z and a closed output do to a run, and to what runs in it?"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import ptrace
from tests.support.sweep import Project, lives, overlaps, shell
from tests.support.terminal import CTRL_C, Terminal
from tests.support.wait import wait_until

Open = Callable[..., Terminal]


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


# ---- Ctrl-C ----


def test_ctrl_c_once_lets_what_runs_end_and_starts_nothing_new(project: Project, terminal: Open):
    names = ("a", "b", "c", "d")
    project.tasks(*(project.recording(name, more={"until": "go"}) for name in names))
    screen = terminal()
    project.until_started("a", "b")
    screen.type(CTRL_C)
    screen.until("Draining: 2 tasks left; Ctrl-C again stops them")
    project.write("go", "")
    assert screen.process.wait(30) == 130
    assert sorted(project.order()) == ["a", "b"]
    assert project.endings() == {"a": "succeeded", "b": "succeeded", "c": None, "d": None}

    assert project.run().code == 0  # the same command goes on
    assert sorted(project.order()) == list(names)


def test_ctrl_c_twice_stops_the_tasks_and_they_are_ready_again(project: Project, terminal: Open):
    project.tasks(
        project.recording("a", more={"until": "go"}),
        {
            "name": "forks",
            "command": shell("sleep 600 & setsid sleep 600 & touch forked; wait; echo done > {output}"),
            "output": "output/forks",
        },
    )
    screen = terminal()
    project.until_started("a")
    wait_until((project.root / "forked").exists, "it has forked")
    screen.type(CTRL_C)
    screen.until("Draining")
    screen.type(CTRL_C)
    assert screen.process.wait(30) == 130
    project.until_quiet()
    status = project.status()
    assert {name: (task["state"], task["ending"]) for name, task in status.items()} == {
        "a": ("ready", None),
        "forks": ("ready", None),
    }
    assert not (project.root / "output" / "a").exists()
    assert {decision for decision, _ in project.plan().values()} == {"run"}

    project.write("go", "")
    project.write("output/forks", "as if")  # an attempt of ours was started: a file alone proves nothing
    assert project.run("a").code == 0
    assert [effect.attempt for effect in project.effects("a")] == [1, 2]
    assert project.plan()["forks"][0] == "run"


def test_a_task_that_exits_with_0_when_told_to_stop_has_not_succeeded(project: Project, terminal: Open):
    script = "trap 'echo half > {output}; exit 0' INT; touch started; while :; do sleep 0.02; done"
    project.tasks({"name": "polite", "command": shell(script), "output": "output/polite"})
    screen = terminal()
    wait_until((project.root / "started").exists, "it has started")
    screen.type(CTRL_C)
    screen.until("Draining")
    screen.type(CTRL_C)
    assert screen.process.wait(30) == 130
    assert (project.root / "output/polite").read_text() == "half\n"
    assert project.status()["polite"]["ending"] is None
    assert project.plan()["polite"][0] == "run"


def test_ctrl_c_three_times_kills_what_ignores_signals(project: Project, terminal: Open):
    project.tasks(project.recording("deaf", more={"until": "never", "ignore_signals": 1}))
    screen = terminal()
    task = project.until_started("deaf")[0]
    for word in ("Draining", "Stopping 1 task"):
        screen.type(CTRL_C)
        screen.until(word)
        assert lives(task.pid)
    screen.type(CTRL_C)
    assert screen.process.wait(15) == 130  # without a third it would be 20
    project.until_quiet()
    assert project.status()["deaf"]["state"] == "ready"


def test_ctrl_c_a_fourth_time_leaves_what_does_not_die(project: Project, terminal: Open):
    """Like a task that waits for a disk; here it is kept by whoever traces it."""
    project.tasks(project.recording("stuck", more={"until": "never"}))
    screen = terminal()
    task = project.until_started("stuck")[0]
    try:
        ptrace.seize(task.pid)
    except OSError as error:
        pytest.skip(f"no process can be traced here: {error}")
    for word in ("Draining", "Stopping 1 task", "Killing 1 task"):
        screen.type(CTRL_C)
        screen.until(word)
    wait_until(lambda: not lives(task.pid), "it is killed, and yet it is there for its shim")
    assert screen.process.poll() is None
    screen.type(CTRL_C)
    assert screen.process.wait(20) == 130
    assert project.status()["stuck"]["state"] == "running"
    os.waitpid(task.pid, 0x40000000)  # __WALL: now it may go
    project.until_quiet()
    assert project.status()["stuck"]["state"] == "ready"


def test_ctrl_c_reaches_no_task_by_itself(project: Project, terminal: Open):
    """A task has a session of its own, and its standard input is not the terminal."""
    script = "test -t 0 && exit 9; (: < /dev/tty) 2>/dev/null && exit 8; read -r line && exit 7; echo fine > {output}"
    project.tasks(
        {"name": "input", "command": shell(script), "output": "output/input"},
        project.recording("a", more={"until": "go"}),
    )
    screen = terminal()
    screen.type(b"this is typed ahead\n")
    task = project.until_started("a")[0]
    screen.type(CTRL_C)
    screen.until("Draining")
    assert lives(task.pid)
    assert task.pid != os.getpgid(screen.process.pid) != os.getpgid(task.pid)
    project.write("go", "")
    screen.process.wait(30)
    assert {n: t["exit_code"] for n, t in project.status().items()} == {"input": 0, "a": 0}


# ---- TERM ----


def test_term_stops_at_once(project: Project):
    project.tasks(project.recording("a", more={"until": "go"}), project.recording("b", more={"until": "go"}))
    scheduler = project.start(gpus="fake:1")
    project.until_started("a")
    scheduler.terminate()
    assert scheduler.wait(30) == 143
    project.until_quiet()
    assert project.endings() == {"a": None, "b": None}


def test_term_stops_what_a_dead_scheduler_left(project: Project):
    project.tasks(project.recording("a", more={"until": "go"}))
    first = project.start()
    project.until_started("a")
    first.kill()
    first.wait()
    second = project.start()
    wait_until(lambda: "Still running from before" in project.said, "it is taken over")
    second.terminate()
    assert second.wait(30) == 143
    project.until_quiet()
    assert project.status()["a"]["state"] == "ready"


# ---- a lost terminal, a closed output ----


def test_a_lost_terminal_changes_nothing(project: Project, terminal: Open):
    project.tasks(*(project.recording(name, more={"until": "go"}) for name in ("a", "b", "c")))
    screen = terminal()
    project.until_started("a", "b")
    screen.until("running")
    screen.hang_up()
    wait_until(lambda: "The terminal is gone" in project.journal(), "it is written where lines now go")
    assert screen.process.poll() is None
    project.write("go", "")
    assert screen.process.wait(30) == 0
    assert sorted(project.order()) == ["a", "b", "c"]
    assert set(project.endings().values()) == {"succeeded"}
    assert "Task completed: c" in project.journal()


def test_nohup_is_respected(project: Project):
    """A HUP that is ignored from the start stays so, and what runs goes on in any case."""
    project.tasks(project.recording("a", more={"until": "go"}))
    scheduler = subprocess.Popen(
        ["nohup", *project.argv()],
        cwd=project.root,
        env=project.environment,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    project.started.append(scheduler)
    project.until_started("a")
    os.kill(scheduler.pid, signal.SIGHUP)
    project.write("go", "")
    out, _ = scheduler.communicate(timeout=30)
    assert scheduler.returncode == 0
    assert "Task completed: a" in out


def test_a_reader_that_goes_away_changes_nothing(project: Project):
    """As in parallel-train | head -1."""
    project.tasks(*(project.recording(f"t{number}", more={"until": "go"}) for number in range(3)))
    scheduler = project.start(stdout=subprocess.PIPE)
    assert scheduler.stdout is not None
    assert "3 to do" in scheduler.stdout.readline()
    scheduler.stdout.close()
    project.write("go", "")
    assert scheduler.wait(30) == 0
    assert len(project.order()) == 3
    assert "Task completed: t2" in project.journal()


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&- <&-"])
def test_closed_streams_change_nothing(project: Project, closed: str):
    project.tasks(project.recording("a"), {"name": "speaks", "command": shell("echo out; echo err >&2")})
    command = " ".join(project.argv())
    done = subprocess.run(
        f"exec {command} {closed}", shell=True, cwd=project.root, env=project.environment, timeout=30, check=False
    )
    assert done.returncode == 0
    assert "Task completed: a" in project.journal()
    log = project.root / project.status()["speaks"]["log"]
    assert log.read_text() == "out\n"
    assert log.with_suffix(".err").read_text() == "err\n"


@pytest.mark.parametrize("looking", ["status", "logs", "results", "-n --gpus fake:1"])
def test_looking_with_a_closed_output_is_no_crash(project: Project, looking: str):
    project.tasks(project.recording("a"))
    project.run()
    command = " ".join(project.argv(*looking.split(), gpus=None))
    done = subprocess.run(
        f"exec {command} >&-", shell=True, cwd=project.root, env=project.environment, capture_output=True, check=False
    )
    assert done.stderr in {b"", b"a: attempt 1 wrote nothing (exit code 0)\n"}
    assert done.returncode == 0


# ---- Ctrl-Z ----


def test_a_halted_scheduler_harms_nothing(project: Project):
    """As Ctrl-Z does: it halts the scheduler only; its tasks run on, and it goes on where it was."""
    project.tasks(*(project.recording(f"t{number}", more={"seconds": 0.1}) for number in range(6)))
    scheduler = project.start()
    project.until_started("t0")
    os.kill(scheduler.pid, signal.SIGSTOP)
    wait_until(lambda: state_of(scheduler.pid) == "T", "it is halted")
    wait_until(lambda: all(effect.ended for effect in project.effects()), "what ran has ended")
    started = project.order()
    assert len(started) < 6
    os.kill(scheduler.pid, signal.SIGCONT)
    assert scheduler.wait(30) == 0
    assert sorted(project.order()) == [f"t{number}" for number in range(6)]
    assert overlaps(project.effects()) == []


# ---- the table ----


@pytest.mark.parametrize("columns", [60, 200])
def test_the_live_table_shows_what_runs_and_how_far_it_is(project: Project, terminal: Open, columns: int):
    project.tasks(
        project.recording("slow", more={"until": "go"}),
        {"name": "t{n}", "command": ["true"], "matrix": {"n": list(range(200))}},
    )
    screen = terminal(gpus="fake:3", size=(columns, 30))
    screen.until("/201 done")
    screen.until("200/201 done")
    frame = screen.text[screen.text.rindex("Slot  ", 0, screen.text.rindex("200/201 done")) :]
    assert "slow" in frame
    screen.until("1 running")
    screen.until("200 succeeded")
    project.write("go", "")
    assert screen.process.wait(30) == 0
    screen.until("201 succeeded")
    screen.until("201 tasks in")
    assert max(map(len, re.split(r"[\r\n]+", screen.text))) <= columns
    assert "Traceback" not in screen.text


def test_a_resized_terminal_is_drawn_anew(project: Project, terminal: Open):
    project.tasks(project.recording("task-with-a-long-name" * 3, more={"until": "go"}))
    screen = terminal(size=(60, 20))
    screen.until("1 running")
    screen.resize(150, 20)
    screen.until("task-with-a-long-name" * 3)
    project.write("go", "")
    assert screen.process.wait(30) == 0
