"""Does each finding say what stands against a run, what is only worth knowing, and what to do?"""

from __future__ import annotations

import pytest

from parallel_train.core.machine import Card, Disk, Driver, Interpreter, Limits
from parallel_train.report import doctor as say

CARD = Card(0, "GPU-0", "Some Card", 81920, 0)
DRIVER = Driver((CARD,), "550.54.14", "12.4")
GIB = 1024


def disk(kind="ext4", free_mib=50 * GIB, free_files=1_000_000, is_writable=True):
    return Disk("/p", "/", kind, free_mib, free_files, is_writable)


def limits(open_files=1024, processes=None, memory_mib=None, installed_mib=64 * GIB):
    return Limits(open_files, processes, memory_mib, installed_mib)


class TestTorch:
    @pytest.mark.parametrize(
        ("found", "driver", "health", "said"),
        [
            (Interpreter("3.12", "2.5", "12.4", sees_cards=True), DRIVER, "ok", "2.5, built for CUDA 12.4"),
            (Interpreter("3.12", "2.5", "12.8", sees_cards=True), DRIVER, "ok", "built for CUDA 12.8"),
            (Interpreter("3.12", "2.5"), None, "ok", "built for CPU only"),
            (Interpreter("3.12", "2.5"), Driver(()), "ok", "built for CPU only"),
            (Interpreter("3.12", "2.5", hip="6.2"), None, "ok", "built for ROCm 6.2"),
            (Interpreter("3.12"), DRIVER, "note", "not installed"),
            (Interpreter("3.12", said="ImportError: libcudart"), DRIVER, "wrong", "can't be imported: ImportError"),
            (Interpreter("3.12", "2.5"), DRIVER, "wrong", "uses no GPU"),
            (Interpreter("3.12", "2.5", "13.0"), DRIVER, "wrong", "the driver knows CUDA up to 12.4"),
            (Interpreter("3.12", "2.5", "12.4", said="CUDA: why"), DRIVER, "wrong", "sees no GPU (CUDA: why)"),
            (Interpreter("3.12", "2.5", "13.0"), Driver((CARD,), "550"), "wrong", "sees no GPU"),
        ],
    )
    def test_torch(self, found, driver, health, said):
        finding = say.torch("/env/python", found, driver)
        assert (finding.health, said in finding.text) == (health, True), finding
        assert bool(finding.fix) is (health != "ok")

    def test_the_build_that_fits_the_driver_is_named(self):
        assert "a build for CUDA 12" in say.torch("py", Interpreter("3", "2.5", "13.0"), DRIVER).fix


class TestDriver:
    def test_nvml_answers(self):
        found = say.driver(DRIVER)
        assert (found.health, found.text) == ("ok", "NVIDIA 550.54.14, CUDA up to 12.4, 1 GPU")

    def test_only_nvidia_smi_answers(self):
        found = say.driver(Driver((CARD,), "550"), "NVML not found")
        assert (found.health, "by nvidia-smi alone: NVML not found" in found.text) == ("note", True)

    @pytest.mark.parametrize(("has_hardware", "health"), [(False, "ok"), (True, "note")])
    def test_none_is_worth_a_note_where_there_is_a_card(self, has_hardware, health):
        assert say.no_driver("not found", has_hardware=has_hardware).health == health

    def test_one_that_does_not_answer_stands_against_a_run(self):
        assert say.mute_driver("did not answer").health == "wrong"


class TestGpus:
    def test_what_is_taken_and_what_is_not(self):
        assert say.gpus("auto", ("0", "1"), ()).text == "--gpus auto takes GPU 0-1"
        found = say.gpus("auto", ("0",), ("left out GPU 1: it is gone",))
        assert (found.health, found.text) == ("note", "--gpus auto takes GPU 0; left out GPU 1: it is gone")

    def test_cpu_slots_are_said_once(self):
        assert say.gpus("auto", ("cpu0",), ("no GPU here: 1 CPU slot (cpu:1)",)).text.startswith("no GPU here")
        assert say.gpus("cpu:1", ("cpu0",), ()).text == "--gpus cpu:1 takes CPU 0"

    def test_a_run_that_would_not_start(self):
        assert say.no_gpus("auto", "no GPU is free", are_taken=True).fix.endswith("parallel-train gpus")
        assert say.no_gpus("9", "there is no GPU 9").text == "--gpus 9: there is no GPU 9"
        assert say.no_gpus("x", "--gpus x: 'x' is no GPU").text.count("--gpus x") == 1


class TestDisk:
    @pytest.mark.parametrize(
        ("kind", "health", "said"),
        [
            ("ext4", "ok", "50.0 GiB free"),
            ("nfs4", "ok", "network disk"),
            ("lustre", "ok", "network disk"),
            ("tmpfs", "note", "in memory"),
            ("overlay", "note", "container"),
            ("fuse.sshfs", "note", "one host at a time"),
            ("9p", "note", "one host at a time"),
            ("cifs", "note", "one host at a time"),
            ("exfat", "wrong", "no hard links"),
        ],
    )
    def test_kinds(self, kind, health, said):
        found = say.disk("the project", disk(kind))
        assert (found.health, said in found.text) == (health, True), found
        assert bool(found.fix) is (health != "ok")

    @pytest.mark.parametrize(
        ("facts", "health"),
        [
            ({"free_mib": 99}, "wrong"),
            ({"free_mib": 1000}, "note"),
            ({"free_files": 999}, "wrong"),
            ({"free_files": 5000}, "note"),
            ({"free_files": None}, "ok"),
            ({"is_writable": False}, "wrong"),
            ({"kind": "exfat", "free_mib": 1000}, "wrong"),
        ],
    )
    def test_room(self, facts, health):
        assert say.disk("the project", disk(**facts)).health == health

    def test_a_folder_that_can_not_be_looked_at(self):
        assert say.disk("the queue", "Permission denied").health == "wrong"


class TestLimits:
    @pytest.mark.parametrize(
        ("open_files", "slots", "health"),
        [(None, 8, "ok"), (1024, 8, "ok"), (256, 8, "note"), (100, 8, "wrong"), (1024, 500, "wrong")],
    )
    def test_open_files(self, open_files, slots, health):
        assert say.files(limits(open_files), slots).health == health

    @pytest.mark.parametrize(("room", "health"), [(None, "ok"), (4000, "ok"), (200, "note"), (50, "wrong")])
    def test_processes(self, room, health):
        assert say.processes(limits(processes=room), 4).health == health

    def test_memory(self):
        assert say.memory(limits(), 2).text == "64.0 GiB, 32.0 GiB for each of 2 tasks at once"
        found = say.memory(limits(memory_mib=2 * GIB), 4)
        assert found.text == "2.0 GiB, as its cgroup allows, of 64.0 GiB, 512 MiB for each of 4 tasks at once"
        assert found.health == "note"

    def test_cores(self):
        assert say.cores(2, 2, 1, 2).text == "2 cores: 2 threads for one task at a time"
        assert say.cores(4, 64, 4, 1).text == (
            "4 cores of 64, by affinity or cgroup: 1 thread for each of 4 tasks at once"
        )
        assert say.own_caps({"OMP_NUM_THREADS": "8"}, 2).text == "tasks get your OMP_NUM_THREADS=8, not 2"


class TestSystem:
    def test_each_says_what_to_do(self):
        wrong = [
            say.kernel("Linux", "pidfd_open says no"),
            say.locks("/tmp/x", "not yours"),
            say.python("p", "o", "no"),
        ]
        assert [bool(one.fix) and one.health for one in wrong] == ["wrong"] * 3

    def test_strays(self):
        assert say.strays("").fix == ""
        found = say.strays("its control group is not delegated to it")
        assert found.health == "ok"
        assert found.text.endswith("is not delegated to it")
        assert "Delegate=yes" in found.fix

    def test_logout(self):
        assert say.logout("").health == "ok"
        found = say.logout("this system kills: `loginctl enable-linger`")
        assert (found.health, found.fix) == ("note", "`loginctl enable-linger`")


class TestSheet:
    FOUND = (say.Finding("ok", "disk", "fine"), say.Finding("wrong", "torch", "bad\x1b[31m\nnews", "do this"))

    def test_lines_are_aligned_and_harmless(self):
        assert say.plain(self.FOUND).splitlines() == [
            "ok     disk       fine",
            "wrong  torch      bad news",
            "                  -> do this",
        ]
        assert say.summary(self.FOUND[:1]) == "Nothing stands against a run"

    def test_the_json_keeps_its_shape(self):
        assert say.doctor_json(self.FOUND[:1]) == {
            "ok": True,
            "checks": [{"health": "ok", "about": "disk", "text": "fine", "fix": None}],
        }
        assert not say.doctor_json(self.FOUND)["ok"]
