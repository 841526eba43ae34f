"""Which devices does a worker use for which `--gpus`, and what is the user told?"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from parallel_train.core.slots import Device
from parallel_train.errors import UsageError
from parallel_train.procs.cores import thread_cap, usable_cores
from parallel_train.procs.gpus import (
    Card,
    GpuProcess,
    Host,
    NoDriverError,
    ProviderError,
    choose,
    cpu_slots,
)

FALLBACK = min(4, usable_cores())
ALICE = GpuProcess(4242, "alice", 400)
BOB = GpuProcess(7, "bob", 1)


def card(index, *processes, **facts):
    return Card(
        index, **{"uuid": f"GPU-{index}aa", "name": "Card", **facts}, memory_total_mib=9, memory_used_mib=0,
        processes=processes,
    )  # fmt: skip


class Cards:
    def __init__(self, *cards, error=None):
        self._cards = cards
        self._error = error

    def cards(self):
        if self._error:
            raise self._error
        return self._cards


def host(*cards, visible=None, error=None, ours=()):
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    return Host("/some/queue", lambda pid: pid in ours, environ, Cards(*cards, error=error), limit=0.01)


def labels(choice):
    return [device.label for device in choice.devices]


def refusal(spec, a_host):
    with pytest.raises(UsageError) as caught:
        choose(spec, a_host)
    assert caught.value.exit_code == 2
    return str(caught.value)


class TestAuto:
    def test_takes_every_free_card_by_index(self):
        choice = choose("auto", host(card(0), card(1)))
        assert choice.devices == (
            Device("gpu", "0", "0", "gpu-GPU-0aa", uuid="GPU-0aa", name="Card"),
            Device("gpu", "1", "1", "gpu-GPU-1aa", uuid="GPU-1aa", name="Card"),
        )
        assert choice.notes == ()
        assert choice.provider is not None

    def test_leaves_out_a_card_on_which_somebody_computes(self):
        choice = choose("auto", host(card(0), card(1, ALICE, BOB)))
        assert labels(choice) == ["0"]
        assert choice.notes == (
            "left out GPU 1: alice computes on it (pid 4242, 400 MiB), bob computes on it (pid 7, 1 MiB)",
        )

    def test_a_hundred_leftovers_are_told_in_a_line(self):
        crowd = [GpuProcess(pid, "eve", 1) for pid in range(100)]
        (note,) = choose("auto", host(card(0), card(1, *crowd))).notes
        assert note.endswith("eve computes on it (pid 2, 1 MiB) and 97 more")

    def test_our_own_attempts_are_not_somebody_else(self):
        assert labels(choose("auto", host(card(0, ALICE), ours={4242}))) == ["0"]
        assert labels(choose("auto", host(card(0, ALICE, BOB), card(1), ours={4242}))) == ["1"]

    def test_all_taken_says_by_whom(self):
        said = refusal("auto", host(card(0, ALICE), card(1, BOB), card(2, state="gone")))
        assert "GPU 0: alice computes on it (pid 4242, 400 MiB)" in said
        assert "GPU 1: bob computes on it (pid 7, 1 MiB)" in said
        assert "GPU 2: it is gone" in said
        assert "--gpus 0" in said

    def test_sick_and_lost_cards_are_left_out(self):
        choice = choose("auto", host(card(0, state="sick"), card(1), card(2, state="gone", uuid="")))
        assert labels(choice) == ["1"]
        assert [note.split(" (")[0] for note in choice.notes] == [
            "left out GPU 0: it is sick",
            "left out GPU 2: it is gone",
        ]

    def test_only_sick_cards_are_no_reason_for_cpu_slots(self):
        said = refusal("auto", host(card(0, state="sick")))
        assert "no GPU is free" in said
        assert "to share one" not in said

    @pytest.mark.parametrize("nothing", [host(), host(error=NoDriverError("no library"))])
    def test_without_cards_takes_cpu_slots_and_says_so(self, nothing):
        choice = choose("auto", nothing)
        assert [device.kind for device in choice.devices] == ["cpu"] * FALLBACK
        assert choice.provider is None
        (note,) = choice.notes
        assert note.startswith(f"no GPU here: {FALLBACK} CPU slot")
        assert note.endswith(f"(cpu:{FALLBACK})")

    def test_a_driver_that_does_not_answer_is_an_error(self):
        assert "hangs" in refusal("auto", host(error=ProviderError("the driver hangs")))


class TestInherited:
    """CUDA_VISIBLE_DEVICES as we were started with it."""

    @pytest.mark.parametrize(
        ("visible", "expected"),
        [
            ("1", ["1"]),
            ("2,0", ["2", "0"]),
            (" 0 , 2 ", ["0", "2"]),
            ("GPU-1aa", ["1"]),
            ("GPU-1", ["1"]),
            ("0,0", ["0"]),
            ("1,-1,0", ["1"]),
            ("1,9,0", ["1"]),
        ],
    )
    def test_restricts(self, visible, expected):
        choice = choose("auto", host(card(0), card(1), card(2), visible=visible))
        assert [device.visible for device in choice.devices] == expected
        assert len(choice.notes) == 1
        assert f"CUDA_VISIBLE_DEVICES is {visible}" in choice.notes[0]

    @pytest.mark.parametrize("visible", ["", " ", "-1", "NoDevFiles"])
    def test_hides_every_card(self, visible):
        choice = choose("auto", host(card(0), visible=visible))
        assert {device.kind for device in choice.devices} == {"cpu"}
        assert "CUDA_VISIBLE_DEVICES" in choice.notes[0]
        assert f"cpu:{FALLBACK}" in choice.notes[0]

    @pytest.mark.parametrize("visible", ["7", "GPU-x", "nonsense", ",0"])
    def test_naming_nothing_is_an_error(self, visible):
        said = refusal("auto", host(card(0), visible=visible))
        assert f"CUDA_VISIBLE_DEVICES={visible}" in said
        assert "GPU 0 (Card, GPU-0aa)" in said

    def test_a_mig_instance_that_was_handed_to_us(self):
        choice = choose("auto", host(card(0, ALICE, mig=("MIG-a", "MIG-b")), visible="MIG-b"))
        assert choice.devices == (
            Device("gpu", "0", "MIG-b", "gpu-MIG-b", uuid="MIG-b", name="Card"),
        )  # fmt: skip

    def test_does_not_bind_who_names_a_card(self):
        assert labels(choose("0", host(card(0), card(1), visible="1"))) == ["0"]

    def test_is_the_process_s_own_environment_unless_told(self, monkeypatch):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
        own = Host("/some/queue", lambda _: False, provider=Cards(card(0), card(1)))
        assert labels(choose("auto", own)) == ["1"]


class TestExplicit:
    @pytest.mark.parametrize(
        ("spec", "visible"),
        [
            ("0", ["0"]),
            ("2,0", ["2", "0"]),
            ("0-3", ["0", "1", "2", "3"]),
            ("0,2-3", ["0", "2", "3"]),
            (" 0 , 1 ", ["0", "1"]),
            ("01", ["1"]),
            ("GPU-1aa", ["GPU-1aa"]),
            ("GPU-1", ["GPU-1aa"]),
            ("3,GPU-0", ["3", "GPU-0aa"]),
        ],
    )
    def test_ids(self, spec, visible):
        choice = choose(spec, host(*(card(index) for index in range(4))))
        assert [device.visible for device in choice.devices] == visible
        assert [device.lock for device in choice.devices] == [f"gpu-GPU-{device.label}aa" for device in choice.devices]
        assert choice.notes == ()

    @pytest.mark.parametrize(
        ("spec", "said"),
        [
            ("", "empty"),
            ("  ", "empty"),
            ("0,", "'' is no GPU"),
            ("0,,1", "'' is no GPU"),
            ("0..3", "'0..3' is no GPU"),
            ("-1", "'-1' is no GPU"),
            ("0 1", "'0 1' is no GPU"),
            ("0 - 1", "is no GPU"),
            ("3-1", "backwards"),
            ("all", "'all' is no GPU (it can be auto, "),
            ("auto,0", "'auto' is no GPU"),
            ("auto:2", "is no GPU"),
            ("fake", "is no GPU"),
            ("fake:", "is no GPU"),
            ("gpu-1aa", "is no GPU"),
            ("\u0661", "is no GPU"),
            ("0,0", "GPU 0 is named twice"),
            ("0-1,1", "GPU 1 is named twice"),
            ("1,GPU-1", "GPU 1 (GPU-1) is named twice"),
            ("9", "no GPU 9 here: GPU 0 (Card, GPU-0aa); GPU 1 (Card, GPU-1aa)"),
            ("0-9999", "no GPU 2 here"),
            ("GPU-x", "no GPU GPU-x here"),
            ("GPU-", "GPU GPU- is ambiguous: GPU-0aa, GPU-1aa"),
            ("cpu:0", "number from 1"),
            ("cpu:", "number from 1"),
            ("cpu:x", "number from 1"),
            ("cpu:10000", "number from 1"),
            ("fake:0", "number from 1"),
            ("fake:-2", "number from 1"),
        ],
    )
    def test_what_is_wrong_is_said(self, spec, said):
        assert said in refusal(spec, host(card(0), card(1)))

    def test_a_taken_card_is_used_and_said(self):
        choice = choose("0", host(card(0, ALICE)))
        assert labels(choice) == ["0"]
        assert choice.notes == (
            "GPU 0: alice computes on it (pid 4242, 400 MiB); used all the same, since you named it",
        )

    def test_our_own_attempt_is_not_worth_a_note(self):
        assert choose("0", host(card(0, ALICE), ours={4242})).notes == ()

    @pytest.mark.parametrize("state", ["gone", "sick"])
    def test_a_card_that_can_t_compute_is_refused(self, state):
        assert f"GPU 1: it is {state}" in refusal("0-1", host(card(0), card(1, state=state)))

    @pytest.mark.parametrize("nothing", [host(), host(error=NoDriverError("no library"))])
    def test_without_cards_other_ways_are_named(self, nothing):
        said = refusal("0", nothing)
        assert "no GPU was found" in said
        assert "fake:2" in said
        assert "cpu:2" in said

    def test_a_uuid_that_begins_another_is_still_exact(self):
        both = host(card(0, uuid="GPU-a"), card(1, uuid="GPU-ab"))
        assert labels(choose("GPU-a", both)) == ["0"]


class TestMig:
    SPLIT = card(1, mig=("MIG-GPU-1aa/1/0", "MIG-b"))

    def test_instances_are_shown_by_their_card_and_locked_apart(self):
        choice = choose("MIG-GPU-1aa/1/0,MIG-b", host(card(0), self.SPLIT))
        assert [(device.label, device.visible, device.lock) for device in choice.devices] == [
            ("1", "MIG-GPU-1aa/1/0", "gpu-MIG-GPU-1aa-1-0"),
            ("1", "MIG-b", "gpu-MIG-b"),
        ]

    @pytest.mark.parametrize("spec", ["1,MIG-b", "MIG-b,1", "MIG-b,MIG-b"])
    def test_a_card_and_a_part_of_it_are_one_card_named_twice(self, spec):
        assert "named twice" in refusal(spec, host(card(0), self.SPLIT))

    @pytest.mark.parametrize("spec", ["auto", "1"])
    def test_a_whole_card_says_how_to_use_its_parts(self, spec):
        assert choose(spec, host(self.SPLIT)).notes == (
            "GPU 1 is split by MIG: a task sees its first part only (for all: --gpus MIG-GPU-1aa/1/0,MIG-b)",
        )

    def test_what_exists_names_the_parts(self):
        assert "GPU 1 (Card, GPU-1aa), MIG-GPU-1aa/1/0, MIG-b" in refusal("MIG-x", host(self.SPLIT))


class TestWithoutCards:
    def test_cpu_slots(self):
        choice = choose("cpu:2", host(error=ProviderError("must not be asked")))
        assert [(device.kind, device.label, device.visible) for device in choice.devices] == [
            ("cpu", "0", ""),
            ("cpu", "1", ""),
        ]
        assert choice.provider is None

    def test_fake_cards(self):
        choice = choose("fake:2", host(error=ProviderError("must not be asked")))
        assert [(device.kind, device.visible) for device in choice.devices] == [("gpu", "0"), ("gpu", "1")]
        assert choice.provider is None

    @pytest.mark.parametrize("kind", ["cpu", "fake"])
    def test_locks_are_the_queue_s_own(self, kind, tmp_path):
        def locks(queue):
            return [each.lock for each in choose(f"{kind}:2", Host(str(queue), lambda _: False)).devices]

        (tmp_path / "one").mkdir()
        (tmp_path / "link").symlink_to("one")
        assert locks(tmp_path / "one") == locks(tmp_path / "link")
        assert not set(locks(tmp_path / "one")) & set(locks(tmp_path / "two"))
        assert all(lock.startswith(f"{kind}-") and "/" not in lock for lock in locks(tmp_path / "one"))

    def test_slots_for_tasks_without_a_gpu_can_follow_those_that_stand_in_for_one(self):
        stand_ins = choose("cpu:2", host()).devices
        more = cpu_slots(2, host(), first=len(stand_ins))
        assert [device.label for device in more] == ["2", "3"]
        assert not {device.lock for device in stand_ins} & {device.lock for device in more}

    def test_no_slots_for_tasks_without_a_gpu(self):
        assert cpu_slots(0, host()) == ()
        with pytest.raises(UsageError, match="0 or more"):
            cpu_slots(-1, host())


class TestFile:
    def file(self, tmp_path, *cards):
        file = tmp_path / "gpus.json"
        file.write_text(json.dumps({"gpus": cards}))
        return file

    def test_behaves_like_auto(self, tmp_path):
        process = {"pid": 4242, "user": "alice", "memory_mib": 400}
        file = self.file(tmp_path, {"uuid": "GPU-x"}, {"processes": [process]}, {"index": 5}, {"state": "sick"})
        choice = choose(f"fake:{file}", host(error=ProviderError("must not be asked"), visible=""))
        assert [(each.kind, each.label, each.visible, each.uuid) for each in choice.devices] == [
            ("gpu", "0", "0", "GPU-x"),
            ("gpu", "5", "5", ""),
        ]
        assert "left out GPU 1: alice computes on it (pid 4242, 400 MiB)" in choice.notes
        assert choice.provider.cards()[0].uuid == "GPU-x"

    def test_all_taken(self, tmp_path):
        file = self.file(tmp_path, {"processes": [{"pid": 4242, "user": "alice"}]})
        assert "alice computes on it" in refusal(f"fake:{file}", host())
        assert labels(choose(f"fake:{file}", host(ours={4242}))) == ["0"]

    def test_locks_follow_the_file_and_the_uuid(self, tmp_path):
        file = self.file(tmp_path, {"index": 0, "uuid": "GPU-x"}, {"index": 1})
        first, second = (device.lock for device in choose(f"fake:{file}", host()).devices)
        assert (first[:5], first[-6:], second[-2:]) == ("fake-", "-GPU-x", "-1")
        (tmp_path / "link.json").symlink_to(file)
        assert choose(f"fake:{tmp_path / 'link.json'}", host()).devices[0].lock == first
        self.file(tmp_path, {"index": 3, "uuid": "GPU-x"})
        assert choose(f"fake:{file}", host()).devices[0].lock == first

    def test_no_cards_in_it(self, tmp_path):
        choice = choose(f"fake:{self.file(tmp_path)}", host())
        assert {device.kind for device in choice.devices} == {"cpu"}

    def test_what_is_wrong_with_it(self, tmp_path):
        assert "none.json: No such file" in refusal(f"fake:{tmp_path}/none.json", host())
        (tmp_path / "gpus.json").write_text("{")
        assert "gpus.json:1:2: " in refusal(f"fake:{tmp_path}/gpus.json", host())
        assert "did not answer" in refusal(f"fake:{self.file(tmp_path, {'state': 'hang'})}", host())


class TestCores:
    AFFINITY = len(os.sched_getaffinity(0))

    @pytest.mark.parametrize(
        ("files", "cores"),
        [
            ({}, AFFINITY),
            ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, AFFINITY),
            ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1),
            ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "20000 100000\n"}, 1),
            ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "150000 100000\n"}, 1),
            ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "99900000 100000\n"}, AFFINITY),
            (
                {
                    "proc/self/cgroup": "4:memory:/x\n3:cpu,cpuacct:/docker/a\n0::/\n",
                    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "100000\n",
                    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
                },
                1,
            ),
            (
                {
                    "proc/self/cgroup": "1:cpu:/\n",
                    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
                },
                AFFINITY,
            ),
        ],
    )
    def test_usable_cores(self, tmp_path: Path, files, cores):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        assert usable_cores(str(tmp_path)) == cores

    @pytest.mark.parametrize(
        ("granted", "cores"),
        [({"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "1"}, 1), ({"SLURM_CPUS_ON_NODE": "1"}, None)],
    )
    def test_inside_an_allocation_no_more_than_it_has_here(self, monkeypatch, granted, cores):
        everywhere = usable_cores()
        for name, value in granted.items():
            monkeypatch.setenv(name, value)
        assert usable_cores() == (cores or everywhere)

    def test_thread_cap(self):
        assert thread_cap(1) == usable_cores()
        assert thread_cap(10_000) == 1


def test_importing_it_is_cheap():
    script = "import sys, parallel_train.procs.gpus; print({'pynvml', 'psutil', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
