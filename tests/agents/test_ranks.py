"""Do all ranks of a launch learn the same from rank 0, each call anew, whatever other launches left behind?"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys

from tests.support.wait import wait_until

PROGRAM = """
import json, sys
from pathlib import Path
from parallel_train.agents.ranks import own_rank, share
heard = []
for call in range(10):
    rank = own_rank()
    heard.append(share(rank, {"call": call, "of": sys.argv[2]} if rank == 0 else None, Path(sys.argv[1])))
assert "torch" not in sys.modules
print(json.dumps(heard))
"""


def launch(folder, name, ranks=3):
    """Start the ranks of one launch, as torchrun would."""
    variables = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
    return [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder), name],
            env={**os.environ, **variables, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]


def heard(processes):
    return [json.loads(process.communicate(timeout=60)[0]) for process in processes]


def test_every_rank_hears_every_call(tmp_path):
    folder = tmp_path / "sync"
    assert heard(launch(folder, "one")) == [[{"call": call, "of": "one"} for call in range(10)]] * 3
    assert list(folder.iterdir()) == []
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_nothing_of_a_launch_that_died_is_believed(tmp_path):
    folder = tmp_path / "sync"
    dead = launch(folder, "dead")
    dead[2].kill()  # the others wait for it
    (left,) = wait_until(lambda: sorted(folder.glob("*.asks"))[:1] if folder.is_dir() else (), "a question")
    for process in dead:
        process.kill()
        process.communicate()
    left.write_text(json.dumps({"nonce": "old"}))
    left.with_suffix(".told").write_text(json.dumps({"nonce": "old", "state": {"of": "dead"}}))
    assert heard(launch(folder, "new")) == [[{"call": call, "of": "new"} for call in range(10)]] * 3


def test_alone_there_is_nobody_to_ask(tmp_path):
    (alone,) = heard(launch(tmp_path / "sync", "alone", ranks=1))
    assert alone[9] == {"call": 9, "of": "alone"}
    assert not (tmp_path / "sync").exists()
