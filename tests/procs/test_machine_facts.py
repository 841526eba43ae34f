"""Are the disk, the limits, the cgroups and the interpreter of a machine seen as they are?"""

from __future__ import annotations

import os
import resource
import sys
import time
import uuid
from pathlib import Path

import pytest

from parallel_train.core.machine import Interpreter
from parallel_train.errors import UsageError
from parallel_train.procs import cgroups, interpreter, locks
from parallel_train.procs.driver import has_nvidia_card
from parallel_train.procs.limits import limits
from parallel_train.procs.mounts import Mount, disk_of, mount_of, parse

MOUNTS = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
40 27 0:40 / /data rw,relatime shared:5 master:1 - nfs4 server:/data rw,vers=4.2
41 40 0:41 / /data/my\040disk rw - xfs /dev/sdb rw
42 27 0:42 / /home rw - autofs auto rw
43 42 0:43 / /home rw - nfs server:/home rw
nonsense
"""


def write(root, name, text):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


class TestMounts:
    @pytest.mark.parametrize(
        ("path", "mount"),
        [
            ("/", Mount("/", "ext4")),
            ("/tmp", Mount("/", "ext4")),
            ("/data", Mount("/data", "nfs4")),
            ("/data/x/y", Mount("/data", "nfs4")),
            ("/database", Mount("/", "ext4")),
            ("/data/my disk/x", Mount("/data/my disk", "xfs")),
            ("/home/ann", Mount("/home", "nfs")),  # what was mounted there later
        ],
    )
    def test_a_path_lies_on_the_nearest_mount(self, path, mount):
        assert mount_of(path, parse(MOUNTS)) == mount

    def test_without_any_the_kind_is_unknown(self):
        assert mount_of("/tmp", []).kind == "unknown"

    def test_this_folder(self, tmp_path):
        found = disk_of(str(tmp_path))
        assert (found.folder, found.is_writable) == (str(tmp_path), True)
        assert os.path.ismount(found.mount)
        assert found.free_mib > 0

    def test_a_link_leads_to_the_disk_that_it_points_to(self, tmp_path):
        (tmp_path / "link").symlink_to("/proc")
        assert disk_of(str(tmp_path / "link")).kind == "proc"

    def test_a_missing_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            disk_of(str(tmp_path / "none"))


class TestLimits:
    @pytest.fixture
    def root(self, tmp_path):
        """Version 2 of the cgroups: a container within a slice."""
        write(tmp_path, "proc/self/cgroup", "0::/slice/box\n")
        return tmp_path

    def test_the_tightest_limit_counts(self, root):
        write(root, "sys/fs/cgroup/slice/memory.max", f"{4 << 30}\n")
        write(root, "sys/fs/cgroup/slice/box/memory.max", "max\n")
        write(root, "sys/fs/cgroup/slice/pids.max", "100\n")
        write(root, "sys/fs/cgroup/slice/pids.current", "40\n")
        write(root, "sys/fs/cgroup/slice/box/pids.max", "90\n")
        write(root, "sys/fs/cgroup/slice/box/pids.current", "10\n")
        found = limits(str(root))
        assert (found.memory_mib, found.processes) == (4096, 60)

    def test_version_1_of_the_cgroups(self, tmp_path):
        write(tmp_path, "proc/self/cgroup", "8:pids:/box\n4:memory:/box\n")
        write(tmp_path, "sys/fs/cgroup/memory/box/memory.limit_in_bytes", f"{2 << 30}\n")
        write(tmp_path, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
        write(tmp_path, "sys/fs/cgroup/pids/box/pids.max", "max\n")
        found = limits(str(tmp_path))
        assert found.memory_mib == 2048
        assert found.processes is None or found.processes > 60  # what RLIMIT_NPROC leaves

    def test_without_cgroups_the_memory_is_what_there_is(self, tmp_path):
        found = limits(str(tmp_path))
        assert found.memory_mib is None
        assert found.installed_mib > 0

    def test_open_files(self, tmp_path):
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert limits(str(tmp_path)).open_files == (None if soft == resource.RLIM_INFINITY else soft)

    def test_a_cgroup_folder_for_each_level(self, root):
        found = list(cgroups.folders("memory", str(root)))
        assert [os.path.relpath(folder, root) for folder in found if "unified" not in folder] == [
            "sys/fs/cgroup/slice/box",
            "sys/fs/cgroup/slice",
            "sys/fs/cgroup",
        ]


class TestInterpreter:
    @pytest.fixture
    def stub(self, tmp_path):
        def make(script: str) -> str:
            program = tmp_path / "python"
            program.write_text(f"#!/bin/sh\n{script}\n")
            program.chmod(0o755)
            return str(program)

        return make

    def test_one_without_torch(self, tmp_path, monkeypatch):
        (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        version = ".".join(map(str, sys.version_info[:3]))
        assert interpreter.ask(sys.executable) == Interpreter(version)

    def test_a_torch_that_warns_of_its_driver(self, tmp_path, monkeypatch):
        (tmp_path / "torch.py").write_text(
            "import os, types, warnings\n"
            "__version__ = '2.5'\n"
            "version = types.SimpleNamespace(cuda='12.4', hip=None)\n"
            "def is_available():\n"
            "    assert 'CUDA_VISIBLE_DEVICES' not in os.environ\n"
            "    warnings.warn('CUDA: the driver is too old')\n"
            "    return False\n"
            "cuda = types.SimpleNamespace(is_available=is_available)\n"
        )
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        found = interpreter.ask(sys.executable)
        assert (found.torch, found.cuda, found.sees_cards) == ("2.5", "12.4", False)
        assert found.said == "CUDA: the driver is too old"

    def test_a_torch_that_is_broken(self, tmp_path, monkeypatch):
        (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.12: cannot open shared object file')")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        found = interpreter.ask(sys.executable)
        assert (found.torch, found.said) == ("", "ImportError: libcudart.so.12: cannot open shared object file")

    def test_a_torch_that_hangs_is_left_at_the_limit(self, stub):
        begun = time.monotonic()
        with pytest.raises(UsageError, match=r"did not answer within 0\.3 s"):
            interpreter.ask(stub("sleep 1000"), limit=0.3)
        assert time.monotonic() - begun < 30

    def test_one_that_is_no_python(self, stub):
        with pytest.raises(UsageError, match="no Python here"):
            interpreter.ask(stub("echo no Python here >&2; exit 3"))
        with pytest.raises(UsageError, match="exit code 3"):
            interpreter.ask(stub("echo '[]'; exit 3"))

    def test_one_that_is_not_there_or_no_program(self, tmp_path):
        with pytest.raises(UsageError, match="no such program"):
            interpreter.ask(str(tmp_path / "none"))
        (tmp_path / "file").write_text("")
        with pytest.raises(UsageError, match="can't be executed"):
            interpreter.ask(str(tmp_path / "file"))

    def test_a_name_is_looked_for_on_path(self, stub, tmp_path, monkeypatch):
        stub('echo \'{"python": "3.9.9"}\'')
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        assert interpreter.ask("python") == Interpreter("3.9.9")


class TestCardWithoutDriver:
    @pytest.mark.parametrize(
        ("vendor", "kind", "is_one"),
        [("0x10de", "0x030200", True), ("0x10de", "0x040300", False), ("0x8086", "0x030000", False)],
    )
    def test_it_is_seen_on_the_bus(self, tmp_path, vendor, kind, is_one):
        write(tmp_path, "sys/bus/pci/devices/0000:01:00.0/vendor", f"{vendor}\n")
        write(tmp_path, "sys/bus/pci/devices/0000:01:00.0/class", f"{kind}\n")
        assert has_nvidia_card(str(tmp_path)) is is_one

    def test_a_machine_without_a_bus(self, tmp_path):
        assert not has_nvidia_card(str(tmp_path))


def test_who_is_written_into_the_locks():
    name = f"test-{uuid.uuid4().hex}"
    held = locks.take(name)
    try:
        locks.sign(held, {"queue": "/some", "task": "t", "attempt": 1})
        assert locks.holders()[name] == {"queue": "/some", "task": "t", "attempt": 1}
        locks.sign(held, {})
        assert name not in locks.holders()
    finally:
        (Path(locks.place()) / name).unlink()
        os.close(held)
