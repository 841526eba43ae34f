"""Does Slurm take our scripts as they are meant, and say what we take it to say?"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from parallel_train.cluster import slurm as client
from parallel_train.cluster.site import Site
from parallel_train.core.cluster import CANCEL, DRAIN
from parallel_train.core.facts import Array
from parallel_train.errors import ClusterError
from tests.slurm.elements import elements
from tests.support.wait import wait_until

pytestmark = pytest.mark.slurm

NASTY = "a b 'c' \"d\" $(touch pwned) `id` #e %f -h ä日"


@pytest.fixture
def make(slurm, tmp_path, monkeypatch):
    yield lambda name="project", **more: elements(slurm, tmp_path / name / "p", monkeypatch, **more)
    slurm.cancel_all()


def test_a_worker_sees_what_it_was_given_and_nothing_is_obeyed_on_the_way(make):
    site = Site(env={"GIVEN": NASTY}, sbatch=(f'--comment="{NASTY}"'.replace('"d"', "d").replace("`", ""),), time="60")
    there = make(NASTY, site=site, worker=(f"--data-root={NASTY}",), umask=0o027)
    there.client.submit(Array(7, 1, ("a",), gpus=2), 0.0)
    saw = there.saw(0)
    options = ["--array=7", f"--directory={there.project}", f"--data-root={NASTY}"]
    assert saw["argv"] == ["-m", "parallel_train", "worker", *options]
    assert saw["environ"]["GIVEN"] == NASTY
    assert (saw["cwd"], saw["umask"]) == ("/", 0o027)
    assert len(saw["environ"]["CUDA_VISIBLE_DEVICES"].split(",")) == 2
    [job] = there.jobs()
    [log] = (there.project / "logs").iterdir()
    assert log.name == f"slurm-{job}.log"
    assert log.stat().st_mode & 0o777 == 0o666 & ~current_umask()
    assert not (there.project / "pwned").exists()


def current_umask() -> int:
    before = os.umask(0)
    os.umask(before)
    return before


@pytest.mark.parametrize(
    "value",
    [NASTY.replace("'", ""), "it's", '"', "\\", '\\"', "#", " two  spaces ", "-lead", "$HOME", "ä日🐍", ";|&<>*?~!"],
)
def test_an_option_reaches_sbatch_as_it_is(make, value):
    there = make(site=Site(sbatch=("--hold", "--comment=" + client_quoted(value))))
    there.client.submit(Array(1, 1, ("a",)), 0.0)
    assert (
        there.cluster.ask("squeue", "--noheader", f"--name={client.names_of(there.client.queue)}-1", "--format=%k")
        == f"{value}\n"
    )


def client_quoted(value: str) -> str:
    return "'" + value.replace("'", "'\"'\"'") + "'"


def test_a_drain_is_one_signal_to_each_worker_also_while_others_wait(make):
    there = make()
    there.client.submit(Array(1, 3, ("a",), gpus=4), 0.0)
    for index in (0, 1):
        there.saw(index)

    def why():  # Slurm has no reason yet in the first moment
        return next(element.why for element in there.client.elements() if element.index == 2)

    assert wait_until(why, "why the third waits") == "no machine has what it asks for free (Resources)"
    there.client.dismiss(there.jobs(), DRAIN)
    wait_until(lambda: there.signals(0) and there.signals(1), "both were told")
    assert (there.signals(0), there.signals(1), there.signals(2)) == (["SIGINT"], ["SIGINT"], [])
    assert "waiting" not in there.phases()


def test_what_slurm_refuses_is_said_in_its_words(make):
    there = make(site=Site(partition="nowhere"))
    with pytest.raises(ClusterError, match=r"^sbatch: .*[Ii]nvalid partition"):
        there.client.submit(Array(1, 1, ("a",)), 0.0)
    with pytest.raises(ClusterError, match=r"^sbatch: .*time"):
        make("two", site=Site(time="soon")).client.submit(Array(1, 1, ("a",)), 0.0)
    assert there.client.elements() == ()


def test_the_longest_array_is_taken_and_a_longer_one_is_not(make):
    there = make()
    most = client.most_elements()
    assert most == 8
    there.client.submit(Array(1, most, ("a",)), 3600.0)
    assert len(there.jobs()) == most
    with pytest.raises(ClusterError, match="array"):
        there.client.submit(Array(2, most + 1, ("a",)), 3600.0)


def test_only_the_elements_of_the_own_queue_are_listed(make):
    one, two = make("one"), make("two")
    one.client.submit(Array(1, 2, ("a",)), 3600.0)
    two.client.submit(Array(1, 1, ("a",)), 3600.0)
    assert (len(one.jobs()), len(two.jobs())) == (2, 1)
    assert set(one.jobs()).isdisjoint(two.jobs())


def test_an_element_that_asks_for_another_turn_gets_it_after_a_few_seconds(make, tmp_path):
    there = make()
    there.client.submit(Array(1, 1, ("a",)), 0.0)
    first = there.saw(0)
    assert 3500 < client.time_left(first["environ"]["SLURM_JOB_ID"]) <= 3600
    (there.project / "seen" / "0.json").unlink()
    client.requeue(first["environ"]["SLURM_JOB_ID"])
    assert there.saw(0)["environ"]["SLURM_RESTART_COUNT"] == "1"
    assert there.signals(0) == ["SIGTERM"]


def test_who_asked_for_another_turn_waits_while_slurm_cleans_up_behind_the_last(make):
    there = make()
    there.client.submit(Array(1, 1, ("a",)), 0.0)
    job = there.saw(0)["environ"]["SLURM_JOB_ID"]
    used = ("squeue", "--noheader", f"--jobs={job}", "--format=%M")
    wait_until(lambda: there.cluster.ask(*used) > "0:00\n", "a second of it")  # less looks like none
    there.cluster.dirty.touch()
    try:
        client.requeue(job)
        wait_until(
            lambda: there.cluster.ask("squeue", "--noheader", "--format=%T") == "COMPLETING\n", "it is cleaned up"
        )
        assert there.phases() == ["waiting"]
        there.client.dismiss(there.jobs(), CANCEL)
        assert there.phases() == ["over"]
    finally:
        there.cluster.dirty.unlink()


def test_a_dead_controller_is_trouble_that_passes_while_workers_work_on(make):
    there = make()
    there.client.submit(Array(1, 1, ("a",)), 0.0)
    there.saw(0)
    there.cluster.stop_controller()
    try:
        with pytest.raises(OSError, match="squeue"):
            replace(there.client, limit=1.0).elements()
    finally:
        there.cluster.start_controller()
    wait_until(lambda: there.cluster.ask("squeue", "--noheader"), "the controller is back")
    assert there.phases() == ["running"]
    assert there.signals(0) == []
