"""Do typed options win over the site's, and is what a cluster can't do refused?"""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from parallel_train.cluster import site
from parallel_train.commands import onslurm
from parallel_train.commands.options import RunOptions
from parallel_train.errors import ClusterError, TaskFileError, UsageError
from tests.support.call import Caller, call

__all__ = ["call"]

SLURM = RunOptions(on="slurm", dry_run=True)  # which asks for nothing


def granted(tmp_path, **options: object) -> onslurm.Granted:
    return onslurm.granted(replace(SLURM, **options), tmp_path, 0o027)


@pytest.fixture
def says(tmp_path):
    def write(text: str) -> None:
        (tmp_path / site.FILE).parent.mkdir()
        (tmp_path / site.FILE).write_text(text)

    return write


def test_without_a_word_four_workers_with_a_gpu_each(tmp_path):
    found = granted(tmp_path)
    assert (found.workers, found.gpus, found.plan.cpus) == (4, 1, 0)
    assert found.plan.project == str(tmp_path)
    assert found.plan.log_dir == str(tmp_path / "logs")
    assert found.plan.python == sys.executable
    assert found.plan.umask == 0o027
    assert found.cluster.plan == found.plan


def test_what_is_typed_wins_over_the_file(tmp_path, says):
    says("{account: a, partition: a, qos: a, time: 1:00, workers: 2, gpus_per_worker: 2, sbatch: [--mem=1G]}")
    found = granted(tmp_path, workers=8, partition="b", time="2:00", sbatch=("--mem=2G",))
    there = found.plan.site
    assert (found.workers, found.gpus) == (8, 2)
    assert (there.account, there.partition, there.qos, there.time) == ("a", "b", "a", "2:00")
    assert there.sbatch == ("--mem=1G", "--mem=2G")  # of which the last holds


def test_workers_without_a_gpu(tmp_path, says):
    says("gpus_per_worker: 2")
    found = granted(tmp_path, gpus="cpu:6")
    assert (found.gpus, found.plan.cpus) == (0, 6)
    assert "--gpus=cpu:6" in found.plan.worker


def test_a_worker_is_told_what_it_could_not_know(tmp_path):
    told = granted(tmp_path, data_root="-a b", lease=60.0, python="/p", shared_group=True, at_once=2).plan.worker
    assert {"--gpus=auto", "--data-root=-a b", "--lease=60", "--log-dir=logs", "--python=/p", "--at-once=2"} <= set(
        told
    )
    assert "--shared-group" in told


@pytest.mark.parametrize("gpus", ["0,1", "fake:4", "cpu:0"])
def test_gpus_are_slurms_to_choose(tmp_path, gpus):
    with pytest.raises(UsageError, match="Slurm chooses the GPUs; say --gpus-per-worker N"):
        granted(tmp_path, gpus=gpus)


def test_cpu_slots_and_gpus_of_a_worker_are_not_asked_for_together(tmp_path):
    with pytest.raises(UsageError, match="leave out --gpus-per-worker"):
        granted(tmp_path, gpus="cpu:2", gpus_per_worker=1)


@pytest.mark.parametrize("name", ["time", "partition", "account"])
def test_a_line_break_in_an_option_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match=f"^--{name}: a line break"):
        granted(tmp_path, **{name: "a\n#SBATCH --uid=0"})


def test_an_option_of_sbatch_is_checked(tmp_path):
    with pytest.raises(UsageError, match=r"^--sbatch --array=1-9: parallel-train itself sets --array"):
        granted(tmp_path, sbatch=("--array=1-9",))


def test_the_faults_of_the_file_are_said(tmp_path, says):
    says("workers: none")
    with pytest.raises(TaskFileError, match=r"configs/slurm\.yaml:1:10: workers must be a whole number from 1"):
        granted(tmp_path)


def test_a_run_is_refused_where_slurm_is_not_and_a_dry_one_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    granted(tmp_path)
    with pytest.raises(ClusterError, match="sbatch is not installed here"):
        granted(tmp_path, dry_run=False)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("workers", 4),
        ("gpus_per_worker", 1),
        ("one_task_per_element", True),
        ("time", "1:00"),
        ("partition", "gpu"),
        ("account", "lab"),
        ("sbatch", ("--mem=1G",)),
    ],
)
def test_an_option_of_a_cluster_is_refused_without_it(option, value):
    options = RunOptions(**{option: value})
    with pytest.raises(UsageError, match=f"^--{option.replace('_', '-')} belongs to --on slurm"):
        onslurm.check(options)
    onslurm.check(replace(options, on="slurm"))


def test_a_place_that_is_none(call: Caller):
    assert call("--on", "slurn").err.count("'slurn' is neither local nor slurm") == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ""),
        (
            {"workers": 2, "one_task_per_element": True, "time": "1:00"},
            "--workers 2 --one-task-per-element --time 1:00",
        ),
        ({"sbatch": ("--mem=1G", "--qos=low")}, "--sbatch --mem=1G --sbatch --qos=low"),
        ({"gpus": "cpu:6", "lease": 60.0, "shared_group": True}, "--gpus cpu:6 --lease 60 --shared-group"),
    ],
)
def test_what_was_typed_is_kept_for_the_next_time(options, words):
    assert onslurm.words(replace(SLURM, **options)) == ("--on", "slurm", *words.split())
    assert onslurm.words(replace(SLURM, **{**options, "on": "local"})) == ()
