"""Does the command do what it says: run each task once, skip what is done, run again what is not true any more?"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from parallel_train import __version__
from tests.support.sweep import Project, most_at_once, overlaps, shell

HERE = Path(__file__).parents[2]


# The keys of a task in `status --json`: a promise to other programs.
SHOWN = {
    *("id", "name", "params", "state", "ending", "attempts", "exit_code", "gpu", "started", "ended", "output", "log")
}

# ---- once ----


def test_a_sweep_runs_each_task_once_and_a_second_run_skips_them(project: Project):
    project.tasks(*(project.recording(f"t{number}", more={"seconds": 0.05}) for number in range(5)))
    first = project.run()
    assert first.code == 0, first.text
    assert sorted(project.order()) == [f"t{number}" for number in range(5)]
    assert overlaps(project.effects()) == []
    assert {effect.slots for effect in project.effects()} == {"0", "1"}
    shown = json.loads(project.ask("status", "--json").out)["tasks"]
    assert {task["name"]: task for task in shown} == project.status()
    assert [set(task) for task in shown] == [SHOWN] * 5
    for name, task in project.status().items():
        assert (task["state"], task["ending"], task["exit_code"], task["attempts"]) == ("ended", "succeeded", 0, 1)
        assert (project.root / task["log"]).exists()
        assert task["output"] == f"output/{name}"

    second = project.run()
    assert second.code == 0
    assert "0 to do, 5 succeeded" in second.out
    assert "Skipped: t3 (done: attempt 1" in second.out
    assert len(project.order()) == 5


def test_a_dry_run_says_what_would_run_and_why_and_writes_nothing(project: Project):
    """Not even the queue's folder is made."""
    project.tasks(project.recording("a"), project.recording("b", needs=["a"]), project.recording("old"))
    project.write("output/old/result.txt", "of another time\n")
    before = project.tree()
    found = project.run("-n")
    assert found.code == 0
    assert found.out.splitlines() == [
        "#\tdecision\ttask\twhy",
        "1\trun\ta\tfirst run",
        "2\twait\tb\twaits for a",
        "3\tskip\told\toutput exists (not verified)",
    ]
    assert project.tree() == before

    assert project.run("a").code == 0
    before = project.tree()
    assert project.plan()["a"][0] == "skip"
    assert project.plan()["b"] == ("run", "first run")
    assert project.tree() == before


def test_a_dry_run_as_json(project: Project):
    project.tasks(
        {
            "name": "t{lr}",
            "command": ["{python}", "-c", "pass", "{lr}"],
            "matrix": {"lr": [0.1]},
            "output": "output/{lr}",
            "env": {"MODE": "fast"},
        },
        {"name": "after", "command": ["true"], "needs": ["t*"]},
    )
    found = project.run("-n", "--json", "--python", sys.executable)
    tasks = json.loads(found.out)["tasks"]
    assert [set(task) for task in tasks] == [
        {"id", "name", "params", "command", "env", "output", "needs", "gpus", "decision", "reason"}
    ] * 2
    first, after = tasks
    assert first["command"] == [sys.executable, "-c", "pass", "0.1"]
    assert first["params"] == {"lr": 0.1}
    assert first["env"]["MODE"] == "fast"
    assert first["env"]["PYTHONUNBUFFERED"] == "1"
    assert (first["output"], first["gpus"], first["decision"]) == ("output/0.1", 1, "run")
    assert (after["needs"], after["decision"]) == ([first["id"]], "wait")


def test_version_and_help(project: Project):
    assert project.ask("--version").out == f"parallel-train {__version__}\n"
    for arguments in (["--help"], ["status", "-h"]):
        found = project.ask(*arguments)
        assert found.code == 0
        assert "Usage: parallel-train" in found.out


# ---- again ----


@pytest.mark.parametrize("option", ["-B", "--no-skip-existing"])
def test_all_again_with_the_old_outputs_put_aside(project: Project, option: str):
    project.tasks(project.recording("a"), project.recording("b"))
    assert project.run("a").code == 0
    assert project.run(option).code == 0
    assert project.order() == ["a", "a", "b"] or project.order() == ["a", "b", "a"]
    assert project.result("a") == "made by attempt 2\n"
    assert project.result("b") == "made by attempt 1\n"
    assert project.aside() == ["made by attempt 1\n"]
    rounds = [path.name for path in project.queue("rounds")]
    assert rounds == [f"{project.status()['a']['id']}.2"]  # b is fresh: there is nothing to run again


def test_all_again_takes_what_is_not_ours_aside_too(project: Project):
    project.tasks(project.recording("a"))
    project.write("output/a/result.txt", "of another time\n")
    assert project.run().code == 0
    assert project.order() == []
    assert project.status()["a"]["ending"] == "skipped"
    assert project.run("-B").code == 0
    assert project.result("a") == "made by attempt 1\n"
    assert project.aside() == ["of another time\n"]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("params", {"lr": 0.2}, "params.lr: 0.1 -> 0.2"),
        ("env", {"MODE": "slow"}, "env.MODE: fast -> slow"),
        ("command", None, "command: word 8 added (seconds=0.01)"),
    ],
)
def test_what_changed_runs_again_and_the_plan_says_what_it_was(project: Project, key: str, value: object, said: str):
    task = project.recording("a", params={"lr": 0.1}, env={"MODE": "fast"})
    project.tasks(task)
    assert project.run().code == 0
    project.tasks({**task, key: value or [*task["command"], "seconds=0.01"]})
    assert project.plan() == {"a": ("run", f"changed: {said}")}
    found = project.run()
    assert found.code == 0, found.text
    assert project.result("a") == "made by attempt 2\n"
    assert project.aside() == ["made by attempt 1\n"]
    assert project.plan()["a"][0] == "skip"


def test_what_makes_no_difference_to_a_result_runs_nothing_again(project: Project):
    project.tasks(project.recording("a"))
    assert project.run().code == 0
    project.tasks(project.recording("a", retries=3, timeout=100, priority=9, gpus=2, done_when={"file": "{output}/*"}))
    assert project.plan()["a"][0] == "skip"


def test_an_input_counts_by_its_content(project: Project):
    data = project.write("data.csv", "1\n")
    project.tasks(project.recording("a", inputs=["data.csv"]))
    assert project.run().code == 0
    os.utime(data, (1, 1))
    assert project.run().code == 0
    assert project.order() == ["a"]
    data.write_text("2\n")
    assert project.plan()["a"][0] == "run"
    assert project.run().code == 0
    assert project.order() == ["a", "a"]


def test_a_deleted_output_is_made_again(project: Project):
    project.tasks(project.recording("a"), project.recording("b"))
    assert project.run().code == 0
    shutil.rmtree(project.root / "output/a")
    assert project.plan()["a"] == ("run", "its output is gone: output/a")
    assert project.run().code == 0
    assert sorted(project.order()) == ["a", "a", "b"]


def test_all_outputs_gone_with_their_folder_is_most_likely_an_unmounted_disk(project: Project):
    project.tasks(project.recording("a"), project.recording("b"))
    assert project.run().code == 0
    shutil.rmtree(project.root / "output")
    found = project.run()
    assert found.code == 2
    assert "is a disk not mounted? To run them all again use -B" in found.err
    assert len(project.order()) == 2
    assert project.run("-B").code == 0
    assert len(project.order()) == 4


def test_a_need_that_is_made_again_makes_what_was_made_from_it_again(project: Project):
    project.tasks(project.recording("a"), project.recording("b", needs=["a"]))
    assert project.run().code == 0
    shutil.rmtree(project.root / "output/a")
    assert project.run().code == 0
    assert project.order() == ["a", "b", "a", "b"]
    assert project.result("b") == "made by attempt 2\n"


# ---- done or not ----


def test_done_when_decides_about_what_is_not_ours(project: Project):
    done_when = {"file": "{output}/log.txt*", "contains": "Finish training"}
    project.tasks(*(project.recording(name, done_when=done_when) for name in ("done", "not", "again")))
    project.write("output/done/log.txt", "…\nFinish training\n")
    project.write("output/not/log.txt", "epoch 3\n")
    project.write("output/again/log.txt", "epoch 3\n")
    project.write("output/again/log.txt-2026-01-01", "Finish training\n")
    os.utime(project.root / "output/again/log.txt", (1, 1))
    decisions = project.plan()
    assert decisions["done"] == ("skip", "output exists (done_when holds)")
    assert decisions["again"][0] == "skip"
    assert decisions["not"][0] == "run"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("true", "output missing, though exit code 0"),
        ("mkdir -p {output}", "output empty, though exit code 0"),
        ("mkdir -p {output}; echo epoch 3 > {output}/log.txt", "done_when does not hold, though exit code 0"),
    ],
)
def test_exit_0_without_what_was_promised_is_a_failure(project: Project, script: str, said: str):
    done_when = {"file": "{output}/log.txt", "contains": "Finish training"}
    project.tasks({"name": "a", "command": shell(script), "output": "output/a", "done_when": done_when})
    found = project.run()
    assert found.code == 1
    assert said in found.out
    assert project.status()["a"]["ending"] == "failed"


def test_what_a_failed_attempt_left_is_not_done(project: Project):
    """It runs again in its folder, which is kept: a script may resume from what it finds."""
    resumes = "test -e {output}/half && echo all > {output}/all"
    script = f"mkdir -p {{output}}; {resumes}; echo half > {{output}}/half; test -e {{output}}/all"
    project.tasks({"name": "a", "command": shell(script), "output": "output/a"})
    assert project.run().code == 1
    assert project.plan()["a"] == ("run", "failed before: exit code 1")
    assert project.run().code == 0
    assert sorted(path.name for path in (project.root / "output/a").iterdir()) == ["all", "half"]
    assert project.aside() == []


# ---- failures ----


def test_a_failure_aborts_what_needs_it_and_nothing_else(project: Project):
    project.tasks(
        project.recording("bad", more={"code": 3}),
        project.recording("child", needs=["bad"]),
        project.recording("grandchild", needs=["child"]),
        project.recording("other"),
    )
    found = project.run()
    assert found.code == 1
    assert sorted(project.order()) == ["bad", "other"]
    assert project.endings() == {"bad": "failed", "child": "aborted", "grandchild": "aborted", "other": "succeeded"}
    assert project.status()["bad"]["exit_code"] == 3
    assert "Not run: 2 tasks that needed it" in found.out
    assert "parallel-train logs 1" in found.out


def test_the_end_of_the_log_is_shown_where_a_task_failed(project: Project):
    script = "for i in $(seq 30); do echo line $i; done; echo Traceback: no luck >&2; exit 5"
    project.tasks({"name": "bad", "command": shell(script)})
    found = project.run()
    assert "| Traceback: no luck" in found.out
    logs = project.ask("logs", "--failed")
    assert "line 30" in logs.out
    assert "line 1\n" not in logs.out


def test_failures_are_repeated_when_all_had_ended_or_when_asked_for(project: Project):
    project.tasks(project.recording("bad", more={"code": 3}), project.recording("good"))
    assert project.run().code == 1
    assert project.run("--failed").code == 1
    assert project.run().code == 1
    assert sorted(project.order()) == ["bad", "bad", "bad", "good"]
    assert project.status()["bad"]["attempts"] == 1  # of its newest round


def test_nothing_failed_is_nothing_selected(project: Project):
    project.tasks(project.recording("good"))
    assert project.run().code == 0
    assert project.run("--failed").code == 3


def test_a_retry_comes_after_a_pause(project: Project):
    project.tasks(project.recording("bad", more={"code": 3}, retries=1), project.recording("good"))
    found = project.run()
    assert found.code == 1
    one, two = project.effects("bad")
    assert 0.9 < two.began - one.ended < 10
    assert "Retry 1 of 1" in found.out
    assert project.status()["bad"]["attempts"] == 2


def test_a_time_out_ends_the_whole_tree(project: Project):
    project.tasks({"name": "slow", "command": shell("sleep 600 & sleep 600; true"), "timeout": 0.3})
    found = project.run()
    assert found.code == 1
    assert "timed out" in found.out
    project.until_quiet()


def test_fail_fast_starts_nothing_after_a_failure(project: Project):
    project.tasks(*(project.recording(f"t{number}", more={"code": number % 2}) for number in range(6)))
    assert project.run("-S", gpus="fake:1").code == 1
    assert project.order() == ["t0", "t1"]
    assert project.endings()["t2"] is None


# ---- order, needs, places ----


def test_needs_come_first(project: Project):
    project.tasks(
        project.recording("last", needs=["left", "right"]),
        project.recording("left", needs=["first"], more={"seconds": 0.1}),
        project.recording("right", needs=["first"]),
        project.recording("first"),
    )
    assert project.run(gpus="fake:4").code == 0
    first, *middle, last = project.effects()
    assert (first.name, last.name) == ("first", "last")
    assert all(first.ended <= effect.began and effect.ended <= last.began for effect in middle)


def test_priority_then_file_order(project: Project):
    project.tasks(
        project.recording("a"), project.recording("b"), project.recording("c", priority=5), project.recording("d")
    )
    assert project.run(gpus="fake:1").code == 0
    assert project.order() == ["c", "a", "b", "d"]


def test_at_most_so_many_at_once(project: Project):
    project.tasks(*(project.recording(f"t{number}", more={"seconds": 0.05}) for number in range(6)))
    assert project.run("-j", "2", gpus="fake:4").code == 0
    assert most_at_once(project.effects()) == 2


@pytest.mark.parametrize(
    ("words", "ran"),
    [
        (["--only", "x*"], ["x1", "x2"]),
        (["2"], ["x2"]),
        (["y1"], ["x1", "y1"]),  # with what it needs
        (["extra"], ["y2"]),  # a stage
        (["y?", "--only", "*2"], ["y2"]),
    ],
)
def test_only_what_is_selected_runs(project: Project, words: list[str], ran: list[str]):
    project.tasks(
        project.recording("x1"),
        project.recording("x2"),
        project.recording("y1", needs=["x1"]),
        project.recording("y2", stage="extra"),
    )
    assert project.run(*words).code == 0
    assert sorted(project.order()) == ran


def test_wide_tasks_get_all_their_cards_at_once(project: Project):
    project.tasks(
        *(project.recording(f"one{number}", more={"seconds": 0.05}) for number in range(3)),
        project.recording("wide1", gpus=2, more={"seconds": 0.05}),
        project.recording("wide2", gpus=2, more={"seconds": 0.05}),
    )
    assert project.run(gpus="fake:3").code == 0
    effects = project.effects()
    assert overlaps(effects) == []
    for wide in ("wide1", "wide2"):
        (slots,) = [effect.slots for effect in effects if effect.name == wide]
        assert len(set(slots.split(","))) == 2


def test_tasks_without_a_gpu_take_cpu_slots(project: Project):
    project.tasks(
        project.recording("gpu", more={"seconds": 0.1}),
        *(project.recording(f"cpu{number}", gpus=0, more={"seconds": 0.1}) for number in range(3)),
    )
    assert project.run("--cpu-slots", "2", gpus="fake:1").code == 0
    slots = {effect.name: effect.slots for effect in project.effects()}
    assert slots == {"gpu": "0", "cpu0": "", "cpu1": "", "cpu2": ""}
    assert most_at_once([effect for effect in project.effects() if not effect.slots]) == 2


def test_what_a_task_gets(project: Project):
    names = "CUDA_VISIBLE_DEVICES CUDA_DEVICE_ORDER PYTHONUNBUFFERED OMP_NUM_THREADS MASTER_PORT PARALLEL_TRAIN_GPUS"
    names += " PARALLEL_TRAIN_ATTEMPT PARALLEL_TRAIN_SEED PARALLEL_TRAIN_PARAMS PARALLEL_TRAIN_OUTPUT_DIR"
    script = "; ".join(f'echo "{name}=${name}"' for name in names.split())
    project.tasks({"name": "a", "command": shell(script + "; umask; pwd"), "seeds": [7], "output": "o"})
    project.run(env={"OMP_NUM_THREADS": "5"})  # fails, since it makes no output
    *lines, umask, place = (project.root / project.status()["a"]["log"]).read_text().splitlines()
    found = dict(line.split("=", 1) for line in lines)
    assert int(found.pop("MASTER_PORT")) > 1023
    assert found == {
        "CUDA_VISIBLE_DEVICES": "0",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "5",
        "PARALLEL_TRAIN_GPUS": "0",
        "PARALLEL_TRAIN_ATTEMPT": "1",
        "PARALLEL_TRAIN_SEED": "7",
        "PARALLEL_TRAIN_PARAMS": '{"seed": 7}',
        "PARALLEL_TRAIN_OUTPUT_DIR": str(project.root / "o"),
    }
    assert place == str(project.root)
    assert int(umask, 8) == _umask()


def test_a_task_is_told_when_it_can_go_on_from_what_an_attempt_before_left(project: Project):
    script = 'mkdir -p o; echo "<$PARALLEL_TRAIN_RESUME>" >> o/seen; [ "$PARALLEL_TRAIN_RESUME" ]'
    project.tasks({"name": "a", "command": shell(script), "retries": 1, "output": "o"})
    assert project.run(env={"PARALLEL_TRAIN_RESUME": "1"}).code == 0  # of a task that is itself a run
    assert (project.root / "o/seen").read_text() == "<>\n<1>\n"
    project.run("-B")
    assert (project.root / "o/seen").read_text() == "<>\n<1>\n"  # the first one's is put aside


def _umask() -> int:
    found = os.umask(0o022)
    os.umask(found)
    return found


# ---- options for places ----


def test_output_base_log_dir_and_data_root(project: Project):
    script = "mkdir -p {output}; echo {data_root} > {output}/root"
    project.tasks({"name": "a", "command": shell(script), "output": "{output_base}/a"})
    found = project.run("--output-base", "results", "--log-dir", "somewhere/logs", "--data-root", "/data/sets")
    assert found.code == 0, found.text
    assert (project.root / "results/a/root").read_text() == "/data/sets\n"
    assert [path.suffix for path in sorted((project.root / "somewhere/logs").iterdir())] == [".err", ".log"]
    assert not (project.root / "logs").exists()


def test_another_folder_and_another_file(project: Project):
    project.tasks(project.recording("a"), file="sweeps/mine.yaml")
    found = project.run("-C", str(project.root), "-f", "sweeps/mine.yaml", cwd="/", env={"PYTHONPATH": str(HERE)})
    assert found.code == 0, found.text
    assert project.order() == ["a"]


def test_what_a_run_from_outside_prints_can_be_pasted_there(project: Project):
    """Its commands carry the folder, and its paths begin with it."""
    project.tasks(project.recording("good"), {"name": "bad", "command": shell("echo oh no; exit 3")})
    outside = {"cwd": project.root.parent, "env": {"PYTHONPATH": str(HERE)}}
    found = project.run("-C", project.root.name, **outside)
    assert found.code == 1
    logs = re.findall(r"Log file: (\S+)", found.out)
    assert len(logs) == 2
    assert all((project.root.parent / log).is_file() for log in logs)
    steps = re.findall(r"^  (parallel-train .*?)  ", found.out.partition("Next:")[2], re.MULTILINE)
    assert len(steps) == 3
    codes = [project.run(*shlex.split(step)[1:], gpus=None, **outside) for step in steps]
    assert [done.code for done in codes] == [0, 0, 1]
    assert "oh no" in codes[1].out
    assert "Runs again: bad" in codes[2].out
    assert found.out.count("parallel-train ") == found.out.count(f"-C {project.root.name}") == 4


def test_a_value_of_the_command_line_goes_over_the_files(project: Project):
    project.tasks(
        {
            "name": "a",
            "command": shell("echo {lr} {trainer} > {output}"),
            "params": {"lr": 1, "trainer": "ce"},
            "output": "o",
        }
    )
    assert project.run("lr=0.5", "--trainer", "gce").code == 0
    assert (project.root / "o").read_text() == "0.5 gce\n"


def test_with_a_value_only_what_is_asked_for_is_the_files_task_from_now_on(project: Project):
    """The rest of the file was never asked for with that value, and stays as it was."""
    kind = {"command": shell("echo {lr} > {output}"), "params": {"lr": 1}}
    project.tasks(
        {"name": "train", **kind, "output": "train-{lr}"},
        {"name": "test", "command": shell("echo {lr} > {output}"), "params": {"lr": 1}, "output": "test-{lr}"},
        {"name": "collate", "command": shell("cat train-* > {output}"), "needs": "train", "output": "all"},
    )
    assert project.run().code == 0
    assert project.run("train", "lr=2").code == 0
    assert project.endings() == {"train": "succeeded", "test": "succeeded", "collate": "succeeded"}
    assert project.run("test", "lr=2").code == 0
    assert len(project.status()) == 3
    assert len(json.loads(project.ask("status", "--json").out)["tasks"]) == 5
    assert project.run().out.count("Skipped") == 3


def test_custom_tasks(project: Project):
    project.tasks(project.recording("mine"), file="tasks/custom.yaml")
    assert project.run("--custom-tasks").code == 0
    assert project.order() == ["mine"]


def test_a_file_that_was_edited_is_followed(project: Project):
    """What it names no longer is not run, and stays in `status --all`."""
    project.tasks(project.recording("a"), project.recording("b", more={"code": 1}))
    assert project.run("a").code == 0
    project.tasks(project.recording("a"), project.recording("c"))
    found = project.run()
    assert found.code == 0
    assert "adds 1, withdraws 1" in found.out
    assert project.order() == ["a", "c"]
    assert set(project.status()) == {"a", "c"}
    assert set(project.status(everything=True)) == {"a", "b", "c"}


# ---- the task lists that people have ----

TRAIN = """
import os, sys
argv = sys.argv[1:]
options = dict(zip(argv[::2], argv[1::2]))
folder = options["--output-dir"]
os.makedirs(folder + "/prompt_learner", exist_ok=True)
with open(folder + "/prompt_learner/model.pth.tar-200", "w") as model:
    model.write("weights")
with open(folder + "/log.txt", "a") as log:
    log.write("epoch 1\\nFinish training\\n* accuracy: 87.5%\\n")
print("trained", options["--seed"], options["DATASET.NOISE_RATE"], "on GPU", os.environ["CUDA_VISIBLE_DEVICES"])
"""


def nlprompt(project: Project) -> str:
    """A checkout as its users have it, as far as its task file names it."""
    project.write("train.py", TRAIN)
    project.write("configs/datasets/caltech101.yaml", "")
    project.write("configs/trainers/NLPrompt/rn50.yaml", "")
    return str(HERE / "tasks/nlprompt_caltech101.yaml")


FAST = f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n'


def test_the_bundled_task_list_for_nlprompt(project: Project):
    file = nlprompt(project)
    fast = project.write("python3", FAST)
    fast.chmod(0o755)
    by_hand = "output/caltech101/NLPrompt/rn50_16shots/noise_sym_0.5/seed1/log.txt"
    project.write(by_hand, "Finish training\n")
    found = project.run(file, "--python", str(fast), "--data-root", "/data")
    assert found.code == 0, found.text
    assert len(list((project.root / "logs").glob("gpu?_caltech101_*.log"))) == 11
    (log,) = (project.root / "logs").glob("gpu?_caltech101_sym_0.125_seed1_*.log")
    assert log.read_text().startswith("trained 1 0.125 on GPU ")
    folder = project.root / "output/caltech101/NLPrompt/rn50_16shots"
    assert len(list(folder.glob("noise_*/seed1/prompt_learner/model.pth.tar-200"))) == 11
    assert (folder / "noise_asym_0.50/seed1/log.txt").exists()
    assert not (folder / "noise_sym_0.50").exists()  # the run made by hand counts
    endings = project.endings()
    assert len(endings) == 12
    assert endings["caltech101_sym_0.5_seed1"] == "skipped"

    again = project.run(file, "--python", str(fast), "--data-root", "/data")
    assert again.code == 0
    assert "12 tasks: 0 to do" in again.out
    assert len(list((project.root / "logs").glob("*.log"))) == 11


def test_a_task_list_in_python(project: Project):
    nlprompt(project)
    project.write(
        "tasks/mine.py",
        "from parallel_train import TaskConfig\n\n\n"
        "def get_default_tasks():\n"
        '    same = {"dataset": "caltech101", "noise_rate": 0.5, "noise_type": "sym", "num_classes": 100}\n'
        "    return [TaskConfig(**same, seed=seed) for seed in (1, 2)]\n",
    )
    found = project.run(
        "tasks/mine.py", "--python", sys.executable, "--data-root", "/data", env={"PYTHONPATH": str(HERE)}
    )
    assert found.code == 0, found.text
    assert sorted(task["params"]["seed"] for task in project.status().values()) == [1, 2]
    assert len(list(project.root.glob("output/caltech101/**/log.txt"))) == 2
