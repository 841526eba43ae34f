"""Does a script hold what was asked for, and can no value say more in it than itself?"""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallel_train.cluster.script import Plan, script
from parallel_train.cluster.site import Site
from parallel_train.core.facts import Array
from parallel_train.errors import UsageError

PLAN = Plan("/home/me/project", "/home/me/project/logs", "/venv/bin/python", (), Site(), name="parallel-train-1a2b3c4d")
ARRAY = Array(3, 8, ("a", "b"), gpus=4)

WHOLE = """\
#!/bin/bash -l
#SBATCH --job-name=parallel-train-1a2b3c4d-3
#SBATCH --array=0-7
#SBATCH --gres=gpu:4
#SBATCH --account=lab
#SBATCH --partition=gpu
#SBATCH --qos=long
#SBATCH --constraint=a100
#SBATCH --time=4:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=/home/me/project/logs/slurm-%A_%a.log
#SBATCH --chdir=/home/me/project
#SBATCH --mem 64G "--comment=two words"

module load cuda/12.4
export NCCL_DEBUG=WARN
export GREETING='good morning'
source ~/venv/bin/activate
umask 0027
trap '' USR1  # so that it ends no worker that is about to start and can't hear it yet
cd /  # so that no file of the project is taken for a module of Python's
exec /venv/bin/python -m parallel_train worker --array=3 --directory=/home/me/project --gpus=auto '--data-root=~/data'
"""


def test_a_whole_script():
    site = Site(
        account="lab",
        partition="gpu",
        qos="long",
        time="4:00:00",
        constraint="a100",
        modules=("cuda/12.4",),
        env={"NCCL_DEBUG": "WARN", "GREETING": "good morning"},
        lines=("source ~/venv/bin/activate",),
        sbatch=("--mem 64G '--comment=two words'",),
        drain=300,
    )
    plan = replace(PLAN, worker=("--gpus=auto", "--data-root=~/data"), site=site, umask=0o027)
    assert script(ARRAY, plan) == WHOLE


def options(array: Array, plan: Plan = PLAN) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in script(array, plan).splitlines() if line.startswith("#SBATCH ")]


def test_a_bound_on_the_elements_that_run_at_once_stands_with_the_array():
    assert "--array=0-9%3" in options(Array(1, 10, (), at_once=3))


def test_workers_without_a_gpu_ask_for_cpus():
    asked = options(Array(1, 2, (), gpus=0), replace(PLAN, cpus=6))
    assert "--cpus-per-task=6" in asked
    assert not any("gpu" in option for option in asked)


def with_sbatch(*given: str) -> Plan:
    return replace(PLAN, site=Site(sbatch=given))


@pytest.mark.parametrize("given", ["--gres=gpu:a100:2", "--gpus-per-node=2", "-G 2", "--gpus 2"])
def test_an_option_of_the_sites_own_for_gpus_stands_instead_of_ours(given):
    asked = options(ARRAY, with_sbatch(given))
    assert given in asked
    assert "--gres=gpu:4" not in asked


def test_the_number_of_gpus_is_filled_in_and_the_option_left_out_where_there_are_none():
    plan = with_sbatch("--gres=gpu:a100:{gpus}")
    assert "--gres=gpu:a100:4" in options(ARRAY, plan)
    assert not any("gpu" in option for option in options(Array(1, 1, (), gpus=0), plan))


def test_a_percent_sign_in_the_log_folder_is_no_pattern():
    assert "--output=/logs/100%%/slurm-%A_%a.log" in options(ARRAY, replace(PLAN, log_dir="/logs/100%"))


def test_a_backslash_in_the_log_folder_is_refused_for_slurm_drops_it():
    with pytest.raises(UsageError, match="--log-dir names another"):
        script(ARRAY, replace(PLAN, log_dir="/logs/a\\b"))


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b", "a\x1bb"])
@pytest.mark.parametrize("where", ["project", "log_dir", "python", "site", "env", "worker"])
def test_a_line_break_is_refused_wherever_it_stands(value, where):
    plan = {
        "site": replace(PLAN, site=Site(account=value)),
        "env": replace(PLAN, site=Site(env={"A": value})),
        "worker": replace(PLAN, worker=(value,)),
    }.get(where) or replace(PLAN, **{where: value})
    with pytest.raises(UsageError, match="line break"):
        script(ARRAY, plan)


NASTY = [
    "$(touch pwned)",
    "`touch pwned`",
    "'; touch pwned; '",
    '"',
    "\\",
    "a b",
    "-rf",
    "--",
    "#x",
    "ä日🐍",
    "*",
    "~",
    ";",
    "!!",
]
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=30)
VALUES = st.sampled_from(NASTY) | TEXT | st.lists(st.sampled_from(NASTY), max_size=4).map("".join)


SEER = """#!/bin/sh
printf '%s\\0' "$PWD" "$GIVEN" "$@"
"""


@settings(max_examples=60, deadline=None)
@given(project=VALUES, root=VALUES, value=VALUES)
def test_every_value_reaches_the_worker_as_it_is(tmp_path_factory, project, root, value):
    folder = tmp_path_factory.mktemp("run")
    seer = folder / "see r"
    seer.write_text(SEER)
    seer.chmod(0o700)
    worker = (f"--data-root={root}", value)
    plan = replace(PLAN, python=str(seer), project=project, worker=worker, site=Site(env={"GIVEN": value}))
    said = subprocess.run(["bash"], input=script(ARRAY, plan).encode(), capture_output=True, check=True, cwd=folder)
    argv = ["-m", "parallel_train", "worker", "--array=3", f"--directory={project}", *worker]
    assert said.stdout.decode().split("\0") == ["/", value, *argv, ""]
    assert said.stderr == b""
    assert [path.name for path in folder.iterdir()] == ["see r"]


@settings(max_examples=200, deadline=None)
@given(values=st.lists(VALUES, min_size=4, max_size=4))
def test_no_value_adds_a_line(values):
    account, partition, log_dir, comment = values
    site = Site(account=account or "a", partition=partition or "p", env={"A": comment})
    plain = Site(account="a", partition="p", env={"A": "c"})
    lines = script(ARRAY, replace(PLAN, log_dir=log_dir.replace("\\", ""), site=site)).split("\n")
    assert len(lines) == len(script(ARRAY, replace(PLAN, site=plain)).split("\n"))
