from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.slurm.cluster import Cluster

# The same examples each time: a test that fails now and then is a bug of its own.
settings.register_profile("same", derandomize=True, database=None)
settings.load_profile("same")

# Hundreds of processes are started: each would compile the package anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Unbuffered, Python forgets what could not be written; a user's tries once more as it ends, and fails.
os.environ.pop("PYTHONUNBUFFERED", None)

# The product refuses variables that look like its own and are not; so do the processes of its tests.
if os.environ.pop("PARALLEL_TRAIN_TEST_INSTALL", "") == "1":
    os.environ["TEST_INSTALL"] = "1"


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One Slurm cluster for all tests of this process."""
    from tests.slurm import cluster as clusters  # noqa: PLC0415  few tests need it

    if why := clusters.missing():
        pytest.skip(why)
    cluster = clusters.Cluster(tmp_path_factory.mktemp("slurm"), cleans_up=True)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(autouse=True)
def _the_users_umask() -> Iterator[None]:
    """A command that is called within this process leaves its own behind."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)
