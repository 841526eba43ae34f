"""What is asked of a cluster, what nobody would see to is refused, and -n prints what would be submitted?"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from parallel_train.commands import afar, onslurm
from parallel_train.commands.options import RunOptions
from parallel_train.core.roster import Roster, Terms
from parallel_train.core.situation import Wishes
from parallel_train.core.slots import Pool
from parallel_train.errors import UsageError
from tests.support.builders import found, situation, task
from tests.support.sweep import project as make

SLURM = RunOptions(on="slurm", dry_run=True, workers=3, gpus_per_worker=2)
A, B = task("a", number=1), task("b", number=2, needs="a")


def terms(tmp_path, *tasks, **options: object) -> Terms:
    typed = replace(SLURM, **options)
    return afar.roster(typed, onslurm.granted(typed, tmp_path, 0o022), tasks).terms


def test_workers_with_gpus_or_with_cpu_slots(tmp_path):
    found = terms(tmp_path, A)
    assert (found.workers, found.gpus, found.slots, found.cpu_slots, found.is_each) == (3, 2, 2, 2, False)
    found = terms(tmp_path, A, gpus="cpu:6", gpus_per_worker=None)
    assert (found.workers, found.gpus, found.slots) == (3, 0, 6)


def test_one_task_for_each_element_has_the_width_of_the_widest_and_no_limit_but_a_typed_one(tmp_path):
    wide = task("wide", gpus=8)
    found = terms(tmp_path, A, wide, one_task_per_element=True, gpus_per_worker=None, workers=None)
    assert (found.workers, found.gpus, found.slots, found.is_each) == (0, 8, 8, True)
    assert terms(tmp_path, A, one_task_per_element=True, gpus_per_worker=None).workers == 3


@pytest.mark.parametrize(
    ("width", "options", "said"),
    [
        (3, {}, "a wants 3 GPUs; a worker has 2: say --gpus-per-worker 3"),
        (3, {"gpus": "cpu:2", "gpus_per_worker": None}, "a wants 3 GPUs; a worker has 2 CPU slots in their place"),
        (0, {"cpu_slots": 0}, "a wants no GPU and so a CPU slot; --cpu-slots gives none"),
        (1, {"one_task_per_element": True}, "--one-task-per-element asks for the GPUs of each task"),
    ],
)
def test_what_fits_into_no_worker_is_refused(tmp_path, width, options, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        terms(tmp_path, task("a", gpus=width), **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"canary": True}, "--canary needs a run that stays"),
        ({"fail_fast": True}, "--fail-fast needs a run that stays"),
        ({"max_failures": 2}, "--max-failures needs a run that stays"),
        ({"one_task_per_element": True}, "1 task waits for others, and with --one-task-per-element"),
    ],
)
def test_what_somebody_must_stay_for_does_not_go_with_detach(options, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        afar.refuse_detached(replace(SLURM, **options), situation(A, B))


def test_all_else_does():
    afar.refuse_detached(SLURM, situation(A, B))
    afar.refuse_detached(replace(SLURM, one_task_per_element=True), situation(A))


def test_the_scripts_are_those_of_a_run_that_may_begin(tmp_path):
    s = situation(A, slots=Pool(), events=[found(A)], wishes=Wishes(asked=(("a", 2),)))
    s.roster = Roster(Terms(workers=3, gpus=2, slots=2))
    [script] = afar.scripts(s, onslurm.granted(SLURM, tmp_path, 0o022))
    assert "#SBATCH --array=0-0\n#SBATCH --gres=gpu:2\n" in script


def test_a_dry_run_prints_the_plan_and_the_scripts_and_leaves_nothing(tmp_path):
    with make(tmp_path) as project:
        project.tasks(*({"name": f"t{n}", "command": ["true", f"{n}"]} for n in range(5)))
        before = sorted(project.root.rglob("*"))
        ran = project.run("-n", "--on", "slurm", "--workers", "2", "--gpus-per-worker", "2", gpus=None)
        assert sorted(project.root.rglob("*")) == before
    assert ran.code == 0
    assert "5\trun\tt4\tfirst run\n#!/bin/bash\n#SBATCH --job-name=parallel-train-" in ran.out
    assert "#SBATCH --array=0-1\n#SBATCH --gres=gpu:2\n" in ran.out
    assert " -m parallel_train worker --array=1 " in ran.out.splitlines()[-1]
