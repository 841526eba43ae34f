"""Do the commands that look and ask say what a real Slurm says, and leave nobody waiting there for nothing?"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.slurm.cluster import GPUS
from tests.slurm.test_runs import Run, run
from tests.support.wait import wait_until

__all__ = ["run"]
pytestmark = pytest.mark.slurm


def ask(run: Run, *words: str, **variables: str) -> str:
    found = run.project.run(*words, gpus=None, env={**run.cluster.variables, **variables})
    assert found.code == 0, found.text
    return found.out


def test_who_runs_and_who_waits_is_said_and_a_cancel_leaves_nobody_though_no_run_is_there(run: Run):
    project = run.project
    project.tasks(*(project.recording(name, more={"until": "go"}, gpus=GPUS) for name in "abc"))
    assert run.run("--workers", "3", "--gpus-per-worker", str(GPUS), "--detach").code == 0
    wait_until(lambda: len(project.effects()) == 2, "two run, each on a whole node")
    said = ask(run, "status")
    assert "\nSlurm: 2 workers run, 1 waits\n" in said
    assert "waits in Slurm's queue: no machine has what it asks for free (Resources)\n" in said
    elements = json.loads(ask(run, "explain", "c", "--json"))["tasks"][0]["cluster"]["elements"]
    assert sorted(element["phase"] for element in elements) == ["running", "running", "waiting"]

    conf = Path(run.cluster.variables["SLURM_CONF"]).read_text()
    nobody = project.write("nobody.conf", re.sub(r"(?<=SlurmctldPort=)\d+", "1", conf))
    said = ask(run, "status", SLURM_CONF=str(nobody))
    assert "\n3 tasks: 2 running, 1 ready\nSlurm can't be asked now (squeue" in said
    assert said.count("Worked on by") == 2

    assert "Cancelled in Slurm, since nothing is left for it: 1 worker that waited (" in ask(run, "cancel", "*")
    wait_until(lambda: not run.jobs(), "nobody is left")
