"""Does a cluster that belongs to a plain user do the same, without any right that only root has?"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, missing

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(os.geteuid() != 0, reason="the other tests are a plain user's")]

USER = "nobody"
TASKS = """
tasks:
  - {command: [sh, -c, 'id -un > {output}'], name: "t{n}", matrix: {n: [1, 2, 3]}, output: "output/{n}"}
"""


def as_user(cluster: Cluster, *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PARALLEL_TRAIN", "PYTEST"))}
    environ = {**kept, **cluster.variables, "HOME": str(cwd), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    words = [*cluster.as_user, *command]
    return subprocess.run(words, cwd=cwd, env=environ, capture_output=True, text=True, timeout=30, check=False)


def python_of(cluster: Cluster) -> str:
    """One that the cluster's user can run, with this package; the tests' own may lie in root's home."""
    for python in (sys.executable, "/usr/bin/python3"):
        # In two steps: the first one after a change of user may still run what only root can reach.
        tried = as_user(cluster, "sh", "-c", f"{python} -c 'import parallel_train.commands.app'", cwd=cluster.folder)
        if tried.returncode == 0:
            return python
    pytest.skip(f"{USER} can run no Python with this package and what it needs")


@pytest.fixture
def theirs():
    """A cluster of `USER`'s, in a folder that is theirs too."""
    if why := missing():
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="parallel-train-slurm-", dir="/tmp"))
    shutil.chown(folder, USER)
    cluster = Cluster(folder, USER)
    try:
        python = python_of(cluster)
        cluster.start()
        yield cluster, python
    finally:
        cluster.stop()
        shutil.rmtree(folder)


def test_a_plain_user_on_a_cluster_of_their_own(theirs):
    cluster, python = theirs
    project = cluster.folder / "project"
    (project / "tasks").mkdir(parents=True)
    (project / "tasks" / "default.yaml").write_text(TASKS)
    for path in (project, project / "tasks"):
        shutil.chown(path, USER)
    ran = as_user(cluster, python, "-m", "parallel_train", "--on", "slurm", "--workers", "2", cwd=project)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert [(project / "output" / str(n)).read_text() for n in (1, 2, 3)] == [f"{USER}\n"] * 3
    assert {path.owner() for path in (project / "logs").iterdir()} == {USER}
