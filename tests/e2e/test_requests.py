"""Does what people ask from a second terminal happen, on a live sweep and on a queue that nobody works on?"""

from __future__ import annotations

import json

from tests.support.sweep import Project, lives, overlaps, program, shell
from tests.support.wait import wait_until


def ask(project: Project, *words: str, code: int = 0) -> str:
    done = project.ask(*words)
    assert done.code == code, done.text
    return done.out


def test_a_running_task_is_cancelled_with_all_that_it_started(project: Project):
    """The tree is gone and the slot is free when the command returns; the rest of the sweep goes on."""
    project.tasks(
        {"name": "forks", "command": program("leaves_daemon", "pids", "never")},
        {"name": "after", "command": shell("true"), "needs": "forks"},
        project.recording("next"),
    )
    run = project.start(gpus="fake:1")
    pids = [int(pid) for pid in wait_until(lambda: read(project, "pids"), "it has forked").split()]
    said = ask(project, "cancel", "forks")
    assert "forks: cancelled; attempt 1 is over" in said
    assert [pid for pid in pids if lives(pid)] == []
    assert run.wait(30) == 1, project.said
    assert project.endings() == {"forks": "cancelled", "after": "aborted", "next": "succeeded"}


def read(project: Project, name: str) -> str:
    path = project.root / name
    return path.read_text() if path.exists() else ""


def test_a_cancelled_task_stays_so_until_somebody_retries_it(project: Project):
    """Asked for while nobody works here; kept across runs."""
    project.tasks(project.recording("a"), project.recording("b"))
    ask(project, "add", "tasks/default.yaml")
    ask(project, "cancel", "a")
    assert project.run().code == 1
    assert project.run().code == 1
    assert project.order() == ["b"]
    ask(project, "retry", "a")
    assert project.run().code == 0
    assert project.order() == ["b", "a"]


def test_a_failure_is_retried_within_the_living_run_and_what_waited_for_it_follows(project: Project):
    """Its folder is kept; the run ends well, since its selection does."""
    project.tasks(
        {"name": "a", "command": shell("mkdir -p {output}; ls go && touch {output}/done"), "output": "output/a"},
        project.recording("after", needs="a"),
        project.recording("long", more={"until": "enough"}),
    )
    run = project.start()
    wait_until(lambda: "Task failed: a" in project.said, "a failed")
    project.write("go", "")
    project.write("output/a/checkpoint", "kept")
    assert "after" in ask(project, "retry", "a")
    project.until_started("after")
    project.write("enough", "")
    assert run.wait(30) == 0, project.said
    assert read(project, "output/a/checkpoint") == "kept"
    assert project.aside() == []


def test_a_paused_queue_starts_nothing_across_a_restart(project: Project):
    project.tasks(*(project.recording(name, more={"until": f"go-{name}"}) for name in ("a", "b")))
    first = project.start(gpus="fake:1")
    project.until_started("a")
    ask(project, "pause")
    project.write("go-a", "")
    wait_until(lambda: "Task completed: a" in project.said, "what ran has ended")
    first.terminate()
    assert first.wait(30) == 143
    second = project.start("--check-interval", "0.1", gpus="fake:1")
    wait_until(lambda: "parallel-train resume goes on" in project.said, "the second one says why it waits")
    assert project.order() == ["a"]
    project.write("go-b", "")
    ask(project, "resume")
    assert second.wait(30) == 0, project.said
    assert project.order() == ["a", "b"]


def test_priorities_change_the_order_while_it_runs(project: Project):
    project.tasks(*(project.recording(name, more={"until": "go"}) for name in ("a", "b", "c")))
    run = project.start(gpus="fake:1")
    project.until_started("a")
    ask(project, "priority", "c", "5")
    wait_until(lambda: "Priority 5: c" in project.said, "the run has heard of it")
    project.write("go", "")
    assert run.wait(30) == 0
    assert project.order() == ["a", "c", "b"]


def test_added_tasks_join_a_living_run_and_do_not_change_its_exit_code(project: Project):
    project.tasks(project.recording("a", more={"until": "go"}))
    project.tasks(project.recording("x"), project.recording("bad", more={"code": 3}), file="tasks/more.yaml")
    run = project.start()
    project.until_started("a")
    assert "Taken up by" in ask(project, "add", "tasks/more.yaml")
    ask(project, "add", "--", *project.recorder("command"))
    project.until_started("x", "bad", "command")
    project.write("go", "")
    assert run.wait(30) == 0, project.said
    assert sorted(project.order()) == ["a", "bad", "command", "x"]
    assert overlaps(project.effects()) == []


def test_an_added_command_reaches_its_task_as_it_was_typed(project: Project):
    project.tasks(project.recording("a", more={"until": "go"}))
    run = project.start()
    project.until_started("a")
    typed = ["", " ", "-x", "--", "a'b\"c", "$(touch pwned)", "new\nline", "{python}", "é\udcff", "~", "*", "x=1"]
    ask(project, "add", "--", "python3", "-c", "import json, sys; json.dump(sys.argv[1:], open('seen', 'w'))", *typed)
    wait_until(lambda: read(project, "seen").endswith("]"), "it ran")
    project.write("go", "")
    assert run.wait(30) == 0
    assert json.loads(read(project, "seen")) == typed


def test_one_of_each_template_runs_first_and_a_failure_holds_the_others_back(project: Project):
    script = project.recorder("{x}", output="output/{x}", code="{code}")
    kind = {"name": "{x}", "command": script, "output": "output/{x}", "matrix": {"x": ["a", "b", "c"], "code": [1]}}
    project.tasks(kind, project.recording("beside"))
    found = project.run("--canary", gpus="fake:4")
    assert found.code == 1
    assert sorted(project.order()) == ["a", "beside"]
    assert "a did not succeed, and was to run first: 2 tasks are held back" in found.out
    # mended: the one that failed runs first again, then the others
    kind["command"] = project.recorder("{x}", output="output/{x}", code="0", x="{code}")
    project.tasks(kind, project.recording("beside"))
    assert project.run("--canary", gpus="fake:4").code == 0
    assert project.order()[2] == "a"
    assert sorted(project.order()[3:]) == ["b", "c"]


def test_nothing_is_started_after_so_many_failures(project: Project):
    project.tasks(*(project.recording(f"t{n}", more={"code": 1}) for n in range(4)))
    found = project.run("--max-failures", "2", gpus="fake:1")
    assert found.code == 1
    assert project.order() == ["t0", "t1"]
    assert "2 failures: nothing more is started" in found.out


def test_a_failed_need_counts_as_met_under_i(project: Project):
    project.tasks(project.recording("a", more={"code": 1}), project.recording("after", needs="a"))
    assert project.run("-i").code == 0
    assert project.order() == ["a", "after"]
    assert project.endings() == {"a": "failed", "after": "succeeded"}


def test_a_run_that_is_about_to_leave_takes_up_what_was_added_in_its_last_moment(project: Project):
    """However the two fall together, a task whose `add` named a living run is run by it."""
    project.tasks(project.recording("a", more={"seconds": 0.3}))
    for number in range(2):
        run = project.start("-B")
        project.until_started("a", times=number + 1)
        said = ask(project, "add", "--", *project.recorder(f"late{number}"))
        assert run.wait(30) == 0
        if "Taken up by" in said:
            assert f"late{number}" in project.order()
