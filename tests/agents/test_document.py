"""Does the script of the document run, several launches at once, with one combination for all ranks of a launch?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.torch
def test_two_launches_of_the_documents_script_at_once(root, tmp_path, shown):
    """One of them with a process group of torch.distributed, the other one without."""
    log = tmp_path / "log"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "tests.agents.document", "--path", str(root), "--written", str(log)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parents[1])}
    launches = [
        subprocess.Popen([*command, *more], env=environment, stderr=subprocess.PIPE, text=True)
        for more in ([], ["--no-group"])
    ]
    for launch in launches:
        said = launch.communicate(timeout=300)[1]
        assert launch.returncode == 0, said
        assert "Traceback" not in said
    given = defaultdict(list)
    for line in map(json.loads, log.read_text().splitlines()):
        given[line.pop("parent"), line.pop("rank")].append(line)
    assert len(given) == 4
    each = [given[key] for key in sorted(given)]
    assert (each[0], each[2]) == (each[1], each[3])  # the ranks of a launch
    assert len({one["index"] for launch in each for one in launch}) == 4
    ranked = shown("results")["tasks"]
    assert [task["ending"] for task in shown("status")["tasks"]].count("succeeded") == 4
    assert ranked[0]["metrics"]["metric"] < 0
    assert ranked[0]["params"]["batch_size"] in {64, 128, 256, 512}
    assert len(list((root / "checkpoints").glob("*.pt"))) == 4
