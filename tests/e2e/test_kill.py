"""Fifty kills of the scheduler at random moments: is any task lost, run twice, or on a slot that another one holds?

Judged by what the tasks wrote themselves, and by the exit codes that were recorded for them.
"""

from __future__ import annotations

import os
import random
import subprocess
import time

import pytest

from tests.support.sweep import Project, overlaps

SEED = "KILL_TEST_SEED"
TASKS = 200
KILLS = 50
SLOTS = 4


def test_nothing_is_lost_and_nothing_runs_twice(project: Project):
    seed = int(os.environ.get(SEED) or random.randrange(10**6))
    chance = random.Random(seed)
    # So few fail that no slot looks sick, whose tasks would run again elsewhere.
    codes = {f"t{number}": chance.randrange(1, 6) if number % 12 == 0 else 0 for number in range(TASKS)}
    project.tasks(
        *(
            project.recording(name, output=False, more={"seconds": chance.uniform(0.02, 0.2), "code": code})
            for name, code in codes.items()
        )
    )
    try:
        for kill in range(KILLS):
            run_until_killed(project, chance, left=KILLS - kill)
        assert len(project.effects()) < TASKS, "the last run has nothing left to do"
        last = project.run(gpus=f"fake:{SLOTS}")
        judge(project, codes)
        assert last.code == 1, last.text  # some tasks failed
    except AssertionError as error:
        replay = f"{SEED}={seed} python -m pytest -n 0 {__file__}"
        pytest.fail(f"{error}\nreplay: {replay}")


def run_until_killed(project: Project, chance: random.Random, left: int) -> None:
    """Kill after a random delay, or as soon as so many tasks were started that others are left for later kills."""
    before = count(project)
    enough = max(1, (TASKS - 2 * SLOTS - before) // left)
    by_time = chance.random() < 0.6
    until = time.monotonic() + (chance.uniform(0.02, 0.5) if by_time else 30)
    scheduler = project.start(gpus=f"fake:{SLOTS}")
    while time.monotonic() < until and count(project) < before + enough:
        assert scheduler.poll() is None, f"it left by itself:\n{project.said}"
        time.sleep(0.002)
    scheduler.kill()
    scheduler.wait()


def count(project: Project) -> int:
    return sum(1 for path in (project.root / "effects").iterdir() if not path.name.startswith("."))


def judge(project: Project, codes: dict[str, int]) -> None:
    effects = project.effects()
    assert sorted(project.order()) == sorted(codes), "some task was lost, or ran twice"
    assert overlaps(effects) == []
    assert {effect.name: effect.code for effect in effects} == codes, "some task was cut short"
    status = project.status()
    assert {name: task["exit_code"] for name, task in status.items()} == codes
    assert {name: task["attempts"] for name, task in status.items()} == dict.fromkeys(codes, 1)
    assert {n: task["ending"] for n, task in status.items()} == {
        name: "failed" if code else "succeeded" for name, code in codes.items()
    }
    project.until_quiet()


def test_the_judge_can_find_fault(project: Project):
    """Two tasks that share a slot, and one that runs twice, are seen."""
    for name, attempt in (("a", 1), ("b", 1), ("a", 2)):
        environment = {**project.environment, "PARALLEL_TRAIN_ATTEMPT": str(attempt), "CUDA_VISIBLE_DEVICES": "0"}
        command = project.recorder(name, until="go")
        project.started.append(subprocess.Popen(command, cwd=project.root, env=environment, text=True))
        project.until_started(name, times=attempt)
    project.write("go", "")
    project.until_quiet()
    found = overlaps(project.effects())
    assert "b.1 shared ['0']" in found
    assert "a.1 and b.1 on slot 0" in found
    assert project.order() == ["a", "b", "a"]
