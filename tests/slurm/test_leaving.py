"""Is a run on a cluster left as one here: by Ctrl-C, by a kill, and by --detach?"""

from __future__ import annotations

import signal

import pytest

from tests.slurm.test_runs import run
from tests.support.wait import wait_until

__all__ = ["run"]
pytestmark = pytest.mark.slurm


def until_go(project, *names, **more):
    project.tasks(*(project.recording(name, more={"until": "go"}, **more) for name in names))


def test_ctrl_c_once_lets_what_runs_finish_and_sends_away_who_waits(run):
    project = run.project
    until_go(project, "a", "b", "c", gpus=4)
    whole = run.start("--workers", "3", "--gpus-per-worker", "4")
    before = {
        effect.name for effect in wait_until(lambda: len(project.effects()) == 2 and project.effects(), "two run")
    }
    whole.send_signal(signal.SIGINT)
    wait_until(lambda: run.workers_say.count("Draining") == 2 and not run.jobs("PENDING"), "all have heard")
    workers = set(run.jobs())
    project.write("go", "")
    assert whole.wait(60) == 130
    assert run.jobs() == []
    wait_until(lambda: workers <= set(run.jobs("COMPLETED")), "Slurm has seen no worker fail")
    assert {name for name, ending in project.endings().items() if ending == "succeeded"} == before
    assert set(project.order()) == before


def test_ctrl_c_twice_stops_at_no_cost_and_a_detached_run_goes_on_alone_until_somebody_joins(run):
    project = run.project
    until_go(project, "a")
    whole = run.start("--workers", "1")
    project.until_started("a")
    whole.send_signal(signal.SIGINT)
    wait_until(lambda: "Draining" in run.workers_say, "the worker has heard")
    whole.send_signal(signal.SIGINT)
    assert whole.wait(60) == 130
    assert (run.jobs(), [end["stopped"] for end in run.ends("a")]) == ([], ["worker"])
    detached = run.run("--workers", "1", "--detach")
    assert (detached.code, "1 to do" in detached.out) == (0, True)
    project.until_started("a", times=2)
    again = run.start("--workers", "1")
    wait_until(lambda: "joins" in project.said, "it has joined")
    project.write("go", "")
    assert again.wait(60) == 0
    assert len(project.queue("arrays")) == 2  # one for each run that was left alone


def test_a_run_that_is_killed_loses_nothing_and_the_same_command_finds_its_workers(run):
    project = run.project
    until_go(project, "a", "b")
    whole = run.start("--workers", "1", "--gpus-per-worker", "2")
    project.until_started("a", "b")
    whole.kill()
    whole.wait()
    again = run.start("--workers", "1", "--gpus-per-worker", "2")
    wait_until(lambda: "joins" in project.said, "it has joined")
    project.write("go", "")
    assert again.wait(60) == 0
    assert sorted(project.order()) == ["a", "b"]
    assert len(project.queue("arrays")) == 1
