"""Do Slurm and its stand-in keep the same promises?"""

from __future__ import annotations

import pytest

from parallel_train.core.cluster import CANCEL, KILL, STOP
from parallel_train.core.facts import Array
from parallel_train.ports import Cluster
from tests.support.fakes import FakeCluster
from tests.support.wait import wait_until


@pytest.fixture(params=["fake", pytest.param("slurm", marks=pytest.mark.slurm)])
def cluster(request, tmp_path, monkeypatch):
    if request.param == "fake":
        yield FakeCluster()
        return
    from tests.slurm.elements import elements  # noqa: PLC0415  without Slurm this one is skipped

    found = elements(request.getfixturevalue("slurm"), tmp_path / "project", monkeypatch)
    yield found.client
    found.cluster.cancel_all()


def phases(cluster: Cluster) -> dict[tuple[int, int], str]:
    return {(e.array, e.index): e.phase for e in cluster.elements()}


def jobs(cluster: Cluster) -> list[str]:
    return [e.job for e in cluster.elements()]


def all_run(cluster: Cluster, number: int) -> bool:
    return list(phases(cluster).values()) == ["running"] * number


def all_are_over(cluster: Cluster) -> bool:
    return set(phases(cluster).values()) <= {"over"}


def test_what_was_asked_for_is_listed_by_array_and_index(cluster):
    assert cluster.elements() == ()
    cluster.submit(Array(1, 2, ("a",)), 0.0)
    cluster.submit(Array(2, 1, ("a", "b"), gpus=2), 0.0)
    assert set(phases(cluster)) == {(1, 0), (1, 1), (2, 0)}
    assert len(set(jobs(cluster))) == 3
    wait_until(lambda: all_run(cluster, 3), "all run")


def test_what_waits_is_cancelled_and_never_runs(cluster):
    cluster.submit(Array(1, 2, ("a",)), 3600.0)
    assert list(phases(cluster).values()) == ["waiting"] * 2
    cluster.dismiss(jobs(cluster), CANCEL)
    assert all_are_over(cluster)


def test_what_runs_is_not_cancelled(cluster):
    cluster.submit(Array(1, 1, ("a",)), 0.0)
    wait_until(lambda: all_run(cluster, 1), "it runs")
    cluster.dismiss(jobs(cluster), CANCEL)
    assert all_run(cluster, 1)


@pytest.mark.parametrize("level", [STOP, KILL])
def test_what_runs_is_ended_and_what_is_over_is_passed_over(cluster, level):
    cluster.submit(Array(1, 2, ("a",)), 0.0)
    wait_until(lambda: all_run(cluster, 2), "both run")
    both = jobs(cluster)
    cluster.dismiss(both[:1], level)
    wait_until(lambda: sorted(phases(cluster).values()) == ["over", "running"], "one is over")
    cluster.dismiss(both, level)
    wait_until(lambda: all_are_over(cluster), "both are over")
    cluster.dismiss(both, level)
