"""Do the rarer guards hold: a fixed need, a deleted queue, a refused run, one output in two spellings?"""

from __future__ import annotations

import os
import shutil
import signal

from tests.support.sweep import QUEUE, Project
from tests.support.wait import wait_until


def test_a_first_failure_after_a_fixed_need_is_not_repeated_in_the_same_run(project: Project):
    dependent = project.recording("dep", more={"code": 2}, needs=["need"])
    project.tasks({"name": "need", "command": ["/bin/sh", "-c", "test -e mended"]}, dependent)
    assert project.run().code == 1
    assert project.effects("dep") == []
    project.write("mended", "")
    assert project.run().code == 1
    assert len(project.effects("dep")) == 1


def test_a_shim_of_a_deleted_queue_does_not_end_an_attempt_of_the_new_one(project: Project):
    project.tasks(project.recording("long", output=False, more={"until": "go"}))
    first = project.start()
    old = project.until_started("long")[0]
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    shutil.rmtree(project.root / QUEUE)
    project.write("go", "")
    wait_until(lambda: not os.path.exists(f"/proc/{old.shim}"), "the old shim gives up")  # noqa: PTH110
    (project.root / "go").unlink()
    second = project.start()
    wait_until(lambda: len(project.effects("long")) == 2, "the task runs in the new queue")
    assert not list((project.root / QUEUE / "ends").iterdir())
    project.write("go", "")
    assert second.wait(60) == 0


def test_a_run_that_is_refused_changes_nothing_for_others(project: Project):
    project.tasks(project.recording("good"))
    assert project.run().code == 0
    before = sorted((project.root / QUEUE / "tasks").iterdir())
    project.tasks({"name": "bad", "command": ["no-such-program"]})
    assert project.run().code == 2
    assert project.run("nobody").code == 3
    assert sorted((project.root / QUEUE / "tasks").iterdir()) == before


def test_an_absolute_path_into_the_project_is_the_same_output(project: Project):
    project.tasks(
        {"name": "one", "command": ["/bin/sh", "-c", "mkdir -p out/one; echo >> out/one/f"], "output": "out/one"}
    )
    assert project.run().code == 0
    project.tasks(
        {
            "name": "one",
            "command": ["/bin/sh", "-c", "mkdir -p out/one; echo >> out/one/f"],
            "output": f"{project.root}/out/one",
        }
    )
    again = project.run()
    assert (again.code, (project.root / "out/one/f").read_text()) == (0, "\n")
