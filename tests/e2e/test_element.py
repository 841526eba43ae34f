"""What does a worker do inside an allocation? Slurm's commands are played by scripts; everything else is real."""

from __future__ import annotations

import hashlib
import json
import os
import signal

import pytest

from parallel_train.core.facts import Array
from parallel_train.store import arrays
from tests.support.sweep import QUEUE, Project
from tests.support.wait import wait_until

SQUEUE = '#!/bin/sh\necho "$@" >> {root}/asked\ncat {root}/left\n'
SCONTROL = (
    "#!/bin/sh\necho \"$@\" >> {root}/told\n[ ! -e {root}/refuses ] || {{ echo 'Invalid job id' >&2; exit 1; }}\n"
)


class Allocation:
    """Elements 57_0, 57_1 … of an array of `project`."""

    def __init__(self, project: Project) -> None:
        self.project = project
        for name, text in (("squeue", SQUEUE), ("scontrol", SCONTROL)):
            project.write(f"bin/{name}", text.format(root=project.root)).chmod(0o755)
        self.left("20:00")

    def left(self, time: str) -> None:
        self.project.write("left", time)

    def enlist(self, *templates: object, each: bool = False, by: str = "") -> None:
        self.project.tasks(*templates)
        assert self.project.ask("add", "tasks/default.yaml").code == 0
        names = tuple(task["id"] for task in self.project.status().values())
        arrays.record(self.project.root / QUEUE, Array(0, len(names) if each else 4, names, is_each=each, by=by))

    def environment(self, element: int = 0, cards: str = "2,3", **more: str) -> dict[str, str]:
        mark = hashlib.sha256(os.fsencode(os.path.realpath(self.project.root / QUEUE))).hexdigest()[:12]
        return {
            "PATH": f"{self.project.root}/bin:{os.environ['PATH']}",
            "SLURM_CLUSTER_NAME": f"test-{mark}",  # by which the test's locks are found and removed
            "SLURM_JOB_ID": str(57 + element),
            "SLURM_ARRAY_JOB_ID": "57",
            "SLURM_ARRAY_TASK_ID": str(element),
            "CUDA_VISIBLE_DEVICES": cards,
            **more,
        }

    def start(self, element: int = 0, **more: str):
        return self.project.start("worker", "--array", "1", gpus=None, env=self.environment(element, **more))

    def run(self, element: int = 0, **more: str):
        return self.project.run("worker", "--array", "1", gpus=None, env=self.environment(element, **more))

    @property
    def told(self) -> list[str]:
        path = self.project.root / "told"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def allocation(project: Project) -> Allocation:
    return Allocation(project)


def slots_of(project: Project) -> set[str]:
    claims = [json.loads(path.read_text().splitlines()[0]) for path in project.queue("claims")]
    return {slot for claim in claims for slot in claim["slots"]}


def test_its_slots_are_the_cards_that_were_granted(project: Project, allocation: Allocation):
    allocation.enlist(*(project.recording(name) for name in "abc"))
    assert allocation.run().code == 0
    assert {effect.slots for effect in project.effects()} == {"2", "3"}
    assert project.endings() == dict.fromkeys("abc", "succeeded")
    assert {slot.partition("-57-")[2] for slot in slots_of(project)} == {"2", "3"}
    assert allocation.told == []
    assert "--jobs=57_0" in (project.root / "asked").read_text()


def test_when_the_end_is_near_what_runs_goes_on_and_the_rest_waits_for_another_turn(
    project: Project, allocation: Allocation
):
    allocation.enlist(*(project.recording(name, more={"until": "go"}) for name in "abc"))
    worker = allocation.start()
    project.until_started("a", "b")
    allocation.left("2:00")
    worker.send_signal(signal.SIGUSR1)
    wait_until(
        lambda: "The allocation ends in 2m: nothing more is started; 2 tasks run on" in project.said, "it said so"
    )
    project.write("go", "")
    assert worker.wait(60) == 0
    assert sorted(project.order()) == ["a", "b"]
    assert allocation.told == ["requeue 57_0", "update JobId=57_0 StartTime=now+5"]
    assert allocation.run(SLURM_RESTART_COUNT="1").code == 0
    assert project.order()[2:] == ["c"]


def test_where_another_turn_is_refused_it_says_so_and_leaves_with_1(project: Project, allocation: Allocation):
    allocation.enlist(*(project.recording(name, more={"until": "go"}) for name in "abc"))
    worker = allocation.start()
    project.until_started("a", "b")
    project.write("refuses", "")
    worker.send_signal(signal.SIGUSR1)
    project.write("go", "")
    assert worker.wait(60) == 1
    assert "57_0 gets no other turn: scontrol: Invalid job id" in project.said


def test_where_there_is_no_time_for_anything_another_turn_would_not_help(project: Project, allocation: Allocation):
    allocation.enlist(project.recording("a"))
    allocation.left("0:30")
    done = allocation.run()
    assert (done.code, project.order(), allocation.told) == (1, [], [])
    assert "There was not time to start anything: --time must be longer" in done.text


def test_term_stops_what_runs_which_costs_nothing_and_asks_for_no_other_turn(project: Project, allocation: Allocation):
    allocation.enlist(project.recording("a", more={"until": "go"}))
    worker = allocation.start()
    project.until_started("a")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0  # as it was told: nothing is wrong with the job
    assert project.status()["a"]["state"] == "ready"
    assert allocation.told == []


def test_a_task_that_failed_makes_no_failed_job(project: Project, allocation: Allocation):
    allocation.enlist({"name": "bad", "command": "exit 3", "shell": True})
    assert allocation.run().code == 0
    assert project.endings() == {"bad": "failed"}


def test_it_leaves_its_cards_when_all_that_is_left_runs_elsewhere(project: Project, allocation: Allocation):
    allocation.enlist(project.recording("a", more={"until": "go"}), project.recording("b"))
    first = allocation.start(0)
    project.until_started("a", "b")
    project.write("bin/squeue", "#!/bin/sh\nexit 1\n")  # a cluster that does not answer sets no limit
    second = allocation.run(1, cards="0,1")
    assert second.code == 0
    assert "Not ended: 1 task. What is left runs elsewhere" in second.text
    assert first.poll() is None
    project.write("go", "")
    assert first.wait(60) == 0
    assert sorted(project.order()) == ["a", "b"]


def test_each_element_runs_its_own_task_and_twice_at_once_it_runs_it_once(project: Project, allocation: Allocation):
    after = project.recording("c", needs=["b"])
    allocation.enlist(project.recording("a"), project.recording("b", more={"until": "go"}), after, each=True)
    copies = [allocation.start(1, cards=card) for card in "01"]
    project.until_started("b")
    wait_until(lambda: any(copy.poll() == 0 for copy in copies), "the other copy has left")
    project.write("go", "")
    assert [copy.wait(60) for copy in copies] == [0, 0]
    assert project.order() == ["b"]
    assert allocation.run(2).code == 0
    assert project.order() == ["b", "c"]


def test_a_run_in_an_allocation_of_a_person_s_own_takes_the_granted_cards_too(project: Project, allocation: Allocation):
    project.tasks(*(project.recording(name) for name in "ab"))
    environment = allocation.environment()
    del environment["SLURM_ARRAY_JOB_ID"], environment["SLURM_ARRAY_TASK_ID"]
    assert project.run(gpus=None, env=environment).code == 0
    assert {effect.slots for effect in project.effects()} == {"2", "3"}


def test_near_the_end_a_run_of_a_person_s_own_leaves_with_1_and_is_not_repeated(
    project: Project, allocation: Allocation
):
    project.tasks(*(project.recording(name, more={"until": "go"}) for name in "abc"))
    run = project.start(gpus=None, env=allocation.environment())
    project.until_started("a", "b")
    run.send_signal(signal.SIGUSR1)
    wait_until(lambda: "nothing more is started" in project.said, "it has heard")
    project.write("go", "")
    assert run.wait(60) == 1
    assert allocation.told == []
