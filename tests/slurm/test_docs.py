"""Do the README's commands for a Slurm cluster lead from a shared home to results?"""

from __future__ import annotations

import re
import shlex

import pytest

from tests.slurm.test_runs import Run, run
from tests.test_docs import TRAIN, blocks, section

__all__ = ["run"]
pytestmark = pytest.mark.slurm


def test_the_commands_lead_to_results(run: Run):
    block = re.search(r"^```sh\n(.*?)^```", section("On a Slurm cluster"), re.MULTILINE | re.DOTALL)
    assert block is not None
    _install, _cd, *commands = [line.split("  #")[0] for line in block[1].splitlines()]
    project = run.project
    project.write("tasks/mine.yaml", blocks("yaml")[0])
    project.write("train.py", TRAIN)
    words = [shlex.split(command)[1:] for command in commands]
    said = [project.run(*each, gpus=None, env=run.cluster.variables) for each in words]
    assert [(found.code, found.err) for found in said] == [(0, "")] * 3
    assert "#!/bin/bash" in said[0].out
    assert len([line for line in said[2].out.splitlines() if "\tsucceeded\t" in line]) == 6
    assert len(list(project.root.glob("logs/gpu*.log"))) == 6
