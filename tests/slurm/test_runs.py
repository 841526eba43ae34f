"""Does a run on a real Slurm cluster end as it would here, whatever Slurm does to its workers?

Judged by what the tasks wrote of themselves, and by our records: not by what Slurm says.
"""

from __future__ import annotations

import json

import pytest

from tests.support.sweep import Project, overlaps, shell
from tests.support.sweep import project as make
from tests.support.wait import wait_until

pytestmark = pytest.mark.slurm


class Run:
    """A project whose runs go to the cluster."""

    def __init__(self, project: Project, cluster) -> None:
        self.project, self.cluster = project, cluster

    def start(self, *options: str):
        return self.project.start(*self._words(options), gpus=None, env=self.cluster.variables)

    def run(self, *options: str):
        return self.project.run(*self._words(options), gpus=None, env=self.cluster.variables)

    def _words(self, options):
        return ("--on", "slurm", "--check-interval", "0", *options)

    def jobs(self, states: str = "PENDING,RUNNING") -> list[str]:
        return self.cluster.ask("squeue", "--noheader", "--array", f"--states={states}", "--format=%i").split()

    def ends(self, name: str) -> list[dict]:
        """How the attempts of a task ended."""
        task = self.project.status()[name]["id"]
        paths = [path for path in self.project.queue("ends") if path.name.startswith(f"{task}.")]
        return [json.loads(path.read_text().splitlines()[0]) for path in sorted(paths)]

    @property
    def workers_say(self) -> str:
        return "".join(path.read_text() for path in sorted((self.project.root / "logs").glob("slurm-*.log")))


@pytest.fixture
def run(slurm, tmp_path):
    with make(tmp_path) as project:
        yield Run(project, slurm)
        slurm.cancel_all()


def test_a_sweep_with_a_retry_a_timeout_and_needs_on_two_nodes_with_four_gpus_each(run):
    project = run.project
    sweep = [f"s{number}" for number in range(12)]
    project.tasks(
        *(project.recording(name, more={"until": "go"}) for name in sweep),
        project.recording("after", needs=["s0", "again"]),
        {"name": "again", "command": shell("test $PARALLEL_TRAIN_ATTEMPT = 2"), "retries": 1},
        {"name": "slow", "command": ["sleep", "600"], "timeout": 0.2},
        {"name": "never", "command": ["true"], "needs": ["slow"]},
    )
    whole = run.start("--workers", "2", "--gpus-per-worker", "4")
    wait_until(lambda: len(project.effects()) == 8, "all eight cards are in use")
    workers = set(run.jobs())
    project.write("go", "")
    assert whole.wait(60) == 1
    assert project.endings() == {
        **dict.fromkeys([*sweep, "after", "again"], "succeeded"),
        "slow": "failed",
        "never": "aborted",
    }
    assert {effect.slots for effect in project.effects()} == {f"pt{node}:{gpu}" for node in (1, 2) for gpu in range(4)}
    assert overlaps(project.effects()) == []
    assert sorted(project.order()) == sorted([*sweep, "after"])
    assert [end["outcome"] for end in run.ends("again")] == [{"exited": 1}, {"exited": 0}]
    assert [end["outcome"] for end in run.ends("slow")] == [{"timed_out": True}]
    wait_until(lambda: workers <= set(run.jobs("COMPLETED")), "Slurm has seen no worker fail")


def test_what_is_cancelled_ends_and_gives_its_allocation_back(run):
    project = run.project
    project.tasks(project.recording("a", more={"until": "go"}), project.recording("b", more={"until": "go"}))
    whole = run.start("--workers", "1")
    project.until_started("a")
    assert project.ask("cancel", "a", "b").code == 0
    assert whole.wait(60) == 1
    assert set(project.endings().values()) == {"cancelled"}
    wait_until(lambda: not run.jobs(), "no element is left")


def test_a_worker_that_somebody_cancels_in_slurm_costs_nothing_and_another_one_comes(run):
    project = run.project
    project.tasks(project.recording("a", more={"until": "go"}))
    whole = run.start("--workers", "1")
    project.until_started("a")
    run.cluster.ask("scancel", *run.jobs("RUNNING"))
    project.until_started("a", times=2)
    project.write("go", "")
    assert whole.wait(60) == 0
    assert [end["stopped"] != "" for end in run.ends("a")] == [True, False]


def test_the_tasks_of_a_node_that_dies_run_elsewhere(run):
    project = run.project
    project.tasks(*(project.recording(name, more={"until": "go"}, gpus=3) for name in "ab"))
    whole = run.start("--workers", "2", "--gpus-per-worker", "3")  # of which a node has room for one
    before = {effect.name: effect.slots.partition(":")[0] for effect in project.until_started("a", "b")}
    assert set(before.values()) == {"pt1", "pt2"}
    lost = next(name for name, node in before.items() if node == "pt2")
    run.cluster.kill_node("pt2")
    try:
        project.write("go", "")
        again = project.until_started(lost, times=2)[0]
        assert whole.wait(60) == 0
    finally:
        run.cluster.start_node("pt2")
    assert again.slots == "pt1:0,pt1:1,pt1:2"
    assert [end["outcome"] for end in run.ends(lost)] == [{"lost": "killed"}, {"exited": 0}]
    wait_until(run.cluster.is_up, "the node is back", 60)


def test_one_task_per_element_in_as_many_arrays_as_it_takes(run):
    project = run.project
    names = [f"t{number}" for number in range(10)]  # an array holds eight
    project.tasks(*(project.recording(name) for name in names))
    assert run.run("--one-task-per-element").code == 0
    assert sorted(project.order()) == sorted(names)
    assert sorted(json.loads(path.read_text().splitlines()[0])["size"] for path in project.queue("arrays")) == [2, 8]


def test_a_worker_whose_time_is_up_comes_again_for_what_is_left(run):
    project = run.project
    project.tasks(*(project.recording(name, more={"until": "go"}) for name in "ab"))
    whole = run.start("--workers", "1", "--time", "10")
    project.until_started("a")
    run.cluster.ask("scancel", "--batch", "--signal=USR1", *run.jobs("RUNNING"))  # as at its time limit
    wait_until(lambda: "nothing more is started" in run.workers_say, "the worker has heard")
    project.write("go", "")
    assert whole.wait(60) == 0
    assert project.order() == ["a", "b"]
    assert len(project.queue("arrays")) == 1  # it was the same element again


def test_a_dead_controller_stops_nothing_that_runs(run):
    project = run.project
    project.tasks(*(project.recording(name, more={"until": "go"}) for name in "ab"))
    whole = run.start("--workers", "1")
    project.until_started("a")
    run.cluster.stop_controller()
    try:
        project.write("go", "")
        assert whole.wait(60) == 0
    finally:
        run.cluster.start_controller()
    assert project.endings() == dict.fromkeys("ab", "succeeded")
    wait_until(run.cluster.is_up, "the controller is back", 60)
