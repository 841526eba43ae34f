"""Do several hosts on one disk share a sweep, and take over from each other what is surely or long enough silent?"""

from __future__ import annotations

import pytest

from tests.support.host import Host, is_possible
from tests.support.sweep import Project, overlaps
from tests.support.wait import wait_until

pytestmark = pytest.mark.skipif(not is_possible(), reason="no namespaces to make hosts of")
LEASE = ("--lease", "2")


def hosts(project: Project) -> tuple[Host, Host]:
    return Host(project, "alpha"), Host(project, "beta")


def test_two_hosts_share_a_sweep_and_each_uses_its_own_cards(project: Project):
    project.tasks(*(project.recording(f"t{n}", more={"seconds": 0.3}) for n in range(8)))
    runs = [host.start(*LEASE, gpus="fake:1") for host in hosts(project)]
    assert [run.wait(60) for run in runs] == [0, 0], project.said
    assert sorted(project.order()) == [f"t{n}" for n in range(8)]
    assert set(project.endings().values()) == {"succeeded"}
    hosts_used = {claim.read_text().split('"host":"')[1].split('"')[0] for claim in project.queue("claims")}
    assert hosts_used == {"alpha", "beta"}


def test_what_a_dead_host_ran_is_run_again_after_a_lease_of_silence(project: Project):
    project.tasks(project.recording("a", more={"until": "go"}), project.recording("b", more={"until": "go"}))
    alpha, beta = hosts(project)
    alpha.start(*LEASE, gpus="fake:2")
    first = project.until_started("a", "b")
    other = beta.start(*LEASE, gpus="fake:2")
    wait_until(lambda: "Running for worker" in project.said, "the other host saw them")
    alpha.lose_power()
    project.until_started("a", "b", times=2)
    project.write("go", "")
    assert other.wait(60) == 0, project.said
    assert "Lost contact: a" in project.said
    assert "lost: no sign of life from its host" in project.said
    assert {name: task["attempts"] for name, task in project.status().items()} == {"a": 2, "b": 2}
    assert {effect.pid for effect in project.effects() if effect.ended is None} == {effect.pid for effect in first}


def test_a_host_that_comes_back_gives_up_what_was_taken_over_and_goes_on_with_the_rest(project: Project):
    project.tasks(project.recording("a", more={"until": "go"}))
    alpha, beta = hosts(project)
    late = alpha.start(*LEASE, gpus="fake:1")
    project.until_started("a")
    other = beta.start(*LEASE, gpus="fake:1")
    wait_until(lambda: "Running for worker" in project.said, "the other host saw it")
    alpha.suspend()
    project.until_started("a", times=2)
    alpha.resume()
    wait_until(lambda: not alpha.tasks(), "the late task is gone")
    project.write("go", "")
    assert (other.wait(60), late.wait(60)) == (0, 0), project.said
    assert project.result("a") == "made by attempt 2\n"
    assert [effect.attempt for effect in project.effects("a") if effect.ended is not None] == [2]


def test_a_short_silence_costs_nothing(project: Project):
    project.tasks(project.recording("a", more={"until": "go"}))
    alpha, beta = hosts(project)
    alpha.start("--lease", "8", gpus="fake:1")
    project.until_started("a")
    other = beta.start("--lease", "8", gpus="fake:1")
    wait_until(lambda: "Running for worker" in project.said, "the other host saw it")
    alpha.suspend()
    wait_until(lambda: "Lost contact: a" in project.said, "its silence is seen")
    alpha.resume()
    wait_until(lambda: "Heard again: a" in project.said, "it is heard again")
    project.write("go", "")
    assert other.wait(60) == 0, project.said
    assert project.status()["a"]["attempts"] == 1
    assert overlaps(project.effects()) == []
