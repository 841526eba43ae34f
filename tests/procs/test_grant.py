"""Which slots does a worker have inside an allocation of Slurm, and what are their locks called?"""

from __future__ import annotations

import pytest

from parallel_train.core.machine import Card, GpuProcess
from parallel_train.errors import UsageError
from parallel_train.procs.gpus import Host, NoDriverError, NoneFreeError, ProviderError, choose, cpu_slots
from parallel_train.procs.grant import grant_of

JOB = {"SLURM_JOB_ID": "57", "SLURM_CLUSTER_NAME": "big iron", "SLURMD_NODENAME": "n1"}
ELEMENT = {**JOB, "SLURM_ARRAY_JOB_ID": "57", "SLURM_ARRAY_TASK_ID": "3"}
ALICE = GpuProcess(4242, "alice", 400)


class Cards:
    def __init__(self, *cards, error=None):
        self.known, self.error = cards, error

    def cards(self):
        if self.error:
            raise self.error
        return self.known


NO_DRIVER = Cards(error=NoDriverError("no library"))


def card(index, *processes, **facts):
    return Card(index, f"GPU-{index}aa", "Card", 9, 0, processes, **facts)


def host(visible=None, provider=NO_DRIVER, environ=JOB):
    seen = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    return Host("/some/queue", lambda _: False, {**environ, **seen}, provider)


def slots(choice):
    return {device.visible: device.lock for device in choice.devices}


def test_outside_there_is_no_grant():
    assert grant_of({}) is None
    assert grant_of({"SLURM_JOB_ID": "", "CUDA_VISIBLE_DEVICES": "0"}) is None


def test_an_element_goes_by_its_place_in_the_array():
    """Its own number may be the whole array's too, and `squeue -j` or `scontrol requeue` of it mean all elements."""
    assert (grant_of(ELEMENT).job, grant_of(ELEMENT).element) == ("57_3", 3)
    assert (grant_of(JOB).job, grant_of(JOB).element) == ("57", None)


@pytest.mark.parametrize(
    "provider", [NO_DRIVER, Cards(error=ProviderError("the driver hangs")), Cards()], ids=["none", "hangs", "empty"]
)
def test_the_slots_are_the_granted_cards_also_where_no_driver_answers(provider):
    choice = choose("auto", host("2,3", provider))
    assert slots(choice) == {"2": "slurm-big-iron-57-2", "3": "slurm-big-iron-57-3"}
    assert [device.label for device in choice.devices] == ["2", "3"]
    assert choice.notes == ()
    assert choice.provider is None


def test_a_granted_card_goes_by_its_uuid_where_that_is_known():
    """Two processes of one step may each have a card of their own that both call 0."""
    choice = choose("auto", host("0", Cards(card(0))))
    assert slots(choice) == {"0": "slurm-big-iron-57-GPU-0aa"}
    assert choice.devices[0].name == "Card"
    assert choice.provider is not None


def test_others_on_a_granted_card_do_not_matter():
    assert list(slots(choose("auto", host("0,1", Cards(card(0, ALICE), card(1)))))) == ["0", "1"]


def test_a_granted_card_that_is_broken_is_left_out():
    choice = choose("auto", host("0,1", Cards(card(0, state="sick"), card(1))))
    assert list(slots(choice)) == ["1"]
    assert choice.notes == ("left out GPU 0: it is sick (the driver answers with an error for it)",)
    with pytest.raises(NoneFreeError, match="GPU 0: it is gone"):
        choose("auto", host("0", Cards(card(0, state="gone"))))


def test_uuids_and_parts_of_cards_are_taken_as_they_stand():
    (whole, part) = choose("auto", host("GPU-0aa,MIG-GPU-1/2/0")).devices
    assert (whole.label, whole.visible, whole.lock) == ("0", "GPU-0aa", "slurm-big-iron-57-GPU-0aa")
    assert (part.label, part.visible, part.lock) == ("1", "MIG-GPU-1/2/0", "slurm-big-iron-57-MIG-GPU-1-2-0")


def test_what_names_no_card_ends_the_list():
    assert list(slots(choose("auto", host("1, 1,0,-1,2")))) == ["1", "0"]


def test_typed_ids_choose_among_the_granted_cards():
    assert list(slots(choose("3", host("2,3")))) == ["3"]
    assert list(slots(choose("GPU-1aa", host("0,1", Cards(card(0), card(1)))))) == ["1"]
    with pytest.raises(UsageError, match=r"there is no GPU 0 in job 57: Slurm granted 2,3"):
        choose("0,3", host("2,3"))


@pytest.mark.parametrize("visible", [None, "", "NoDevFiles"])
def test_without_a_granted_card_all_is_as_elsewhere(visible):
    choice = choose("auto", host(visible))
    assert {device.kind for device in choice.devices} == {"cpu"}
    assert list(slots(choose("0", host(visible, Cards(card(0)))))) == ["0"]
    assert choose("0", host(visible, Cards(card(0)))).devices[0].lock == "gpu-GPU-0aa"


def test_a_login_shell_that_holds_an_allocation_is_told_how_to_work_in_it():
    shell = {name: value for name, value in JOB.items() if name != "SLURMD_NODENAME"}
    *_, note = choose("auto", host(environ=shell)).notes
    assert note == "this is no machine of job 57: to work there, put srun before parallel-train"
    assert not any("srun" in note for note in choose("auto", host()).notes)


@pytest.mark.parametrize("spec", ["cpu:2", "fake:2"])
def test_slots_without_cards_are_each_allocation_s_own(spec):
    """Two elements of one queue may run on one machine."""
    ours, theirs = (
        choose(spec, host("0,1", environ={**JOB, "SLURM_JOB_ID": number})).devices for number in ("57", "58")
    )
    assert ours[0].lock.startswith(f"slurm-big-iron-57-{spec[:3]}")
    assert {d.lock for d in ours}.isdisjoint({d.lock for d in theirs})
    extra = cpu_slots(1, host())
    assert extra[0].lock.startswith("slurm-big-iron-57-cpu-")
