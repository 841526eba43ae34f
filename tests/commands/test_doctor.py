"""Does `doctor` look at everything that a run depends on, and exit by what it found?"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from parallel_train.commands.doctor import doctor, shared
from parallel_train.errors import UsageError
from tests.support.call import Caller, call

__all__ = ["call"]

TOPICS = [
    *("python", "torch", "driver", "gpus", "disk", "files", "processes", "memory", "cores", "kernel", "locks"),
    "strays",
    "logout",
]
CARDLESS = pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="here NVML answers")


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def program(folder: Path, name: str, script: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def python(tmp_path):
    """An interpreter that answers at once."""
    return program(tmp_path, "python", """echo '{"python": "3.12.1", "torch": "2.5", "cuda": "12.4"}'""")


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def examined(project, python, gpus="cpu:1"):
    """The exit code, and the checks by what they are about."""
    out = io.StringIO()
    code = doctor(project, gpus=gpus, python=python, as_json=True, out=out)
    told = json.loads(out.getvalue())
    assert told["ok"] is (code == 0)
    return code, {check["about"]: check for check in told["checks"]}


def health(checks, about):
    return checks[about]["health"]


@CARDLESS
def test_everything_is_looked_at_and_nothing_is_made(project, python):
    out = io.StringIO()
    assert doctor(project, gpus="cpu:1", python=python, as_json=False, out=out) == 0
    lines = out.getvalue().splitlines()
    told = [line.split()[1] for line in lines if line.startswith(("ok ", "note "))]
    assert [about for about in told if about != "slurm"] == TOPICS
    assert lines[-1] == "Nothing stands against a run"
    assert list(project.iterdir()) == []


def test_an_interpreter_that_is_none(project):
    code, checks = examined(project, "/nowhere/python")
    assert (code, health(checks, "python")) == (1, "wrong")
    assert "torch" not in checks


def test_the_active_environment_is_what_tasks_get(project, tmp_path, monkeypatch):
    (tmp_path / "env" / "bin").mkdir(parents=True)
    path = program(tmp_path / "env" / "bin", "python", """echo '{"python": "3.9.9"}'""")
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "env"))
    _, checks = examined(project, None)
    assert checks["python"]["text"] == f"3.9.9 at {path} (the active environment)"
    assert health(checks, "torch") == "note"


def test_gpus_that_do_not_exist(project, python):
    code, checks = examined(project, python, gpus="bogus")
    assert (code, health(checks, "gpus")) == (1, "wrong")


def test_a_folder_that_can_not_be_written(project, python):
    code, checks = examined(Path("/proc"), python)
    assert (code, health(checks, "disk")) == (1, "wrong")


def test_a_queue_on_another_disk_is_told_too(project, python):
    (project / ".parallel-train").symlink_to("/dev/shm")
    out = io.StringIO()
    doctor(project, gpus="cpu:1", python=python, as_json=False, out=out)
    assert f"the queue {project / '.parallel-train'} (tmpfs)" in out.getvalue()


def test_a_thread_cap_of_the_users_own(project, python, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "123")
    assert "OMP_NUM_THREADS=123" in examined(project, python)[1]["cores"]["text"]


@pytest.mark.parametrize(
    ("pong", "health_", "said"),
    [
        ("echo 'Slurmctld(primary) at head is UP'", "ok", "slurm-wlm 22.05.8, and its controller answers"),
        ("echo 'Slurmctld(primary) at head is DOWN'; exit 1", "note", "its controller does not answer: Slurmctld(pri"),
        ("echo 'scontrol: error: no munge' >&2; exit 1", "note", "its controller does not answer: scontrol: error: no"),
    ],
)
def test_slurm_is_told_where_it_is(project, python, tmp_path, monkeypatch, pong: str, health_: str, said: str):  # noqa: PLR0917
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    program(tmp_path, "sbatch", "echo slurm-wlm 22.05.8")
    program(tmp_path, "scontrol", pong)
    code, checks = examined(project, python)
    assert (code, health(checks, "slurm")) == (0, health_)
    assert said in checks["slurm"]["text"]


@CARDLESS
class TestDriver:
    ROW = "0, GPU-abc, A Card, 9000, 5, 1, 30, 550.54.14"

    @pytest.fixture
    def smi(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        return lambda script: program(tmp_path, "nvidia-smi", script)

    def test_nvidia_smi_stands_in(self, project, python, smi):
        smi(f"case $1 in --query-gpu=*) echo '{self.ROW}';; esac")
        code, checks = examined(project, python, gpus="auto")
        assert (health(checks, "driver"), checks["gpus"]["text"]) == ("note", "--gpus auto takes GPU 0")
        assert (code, health(checks, "torch")) == (1, "wrong")  # which was asked before, and sees no card

    def test_a_card_that_is_taken(self, project, python, smi):
        smi(f"case $1 in --query-gpu=*) echo '{self.ROW}';; --query-compute*) echo 'GPU-abc, 1, 400';; esac")
        _, checks = examined(project, python, gpus="auto")
        assert (health(checks, "gpus"), checks["gpus"]["fix"]) == ("wrong", "see who uses them: parallel-train gpus")

    def test_one_that_does_not_answer(self, project, python, smi):
        smi("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18")
        code, checks = examined(project, python, gpus="auto")
        assert (code, health(checks, "driver")) == (1, "wrong")
        assert "gpus" not in checks


class TestShared:
    def test_a_disk_that_is_fit(self, tmp_path):
        out = io.StringIO()
        assert shared(tmp_path, as_json=False, out=out) == 0
        assert out.getvalue().splitlines()[-1] == "Fit to be shared by several workers of this host"
        assert list(tmp_path.iterdir()) == []

    def test_one_that_is_not(self):
        out = io.StringIO()
        assert shared(Path("/proc"), as_json=True, out=out) == 1
        assert not json.loads(out.getvalue())["ok"]

    def test_a_folder_that_is_not_there(self):
        with pytest.raises(UsageError, match="--shared /nowhere: No such file"):
            shared(Path("/nowhere"), as_json=False, out=io.StringIO())

    def test_a_file_or_nothing_is_no_folder(self, call: Caller):
        call.write("a.txt", "")
        said = call("doctor", "--shared", "a.txt")
        assert (said.code, said.err) == (2, f"parallel-train: --shared {call.root / 'a.txt'}: Not a directory\n")
        assert call("doctor", "--shared", "").code == 2  # "$DISK", which is not set
