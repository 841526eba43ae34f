"""Does what we say of the cards hold on a machine that has one?

Run with: pytest -m gpu -n 0
"""

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest

from parallel_train.errors import UsageError
from parallel_train.procs.gpus import Host, NvmlProvider, choose

pytestmark = pytest.mark.gpu

PATIENCE = 120  # seconds; the first CUDA context of a machine can take a while
MIB = 256
HOLD = f"""
import torch, sys
held = torch.zeros({MIB} << 20, dtype=torch.uint8, device="cuda")
torch.cuda.synchronize()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def child(first):
    """A process that holds memory on the first card."""
    if find_spec("torch") is None:
        pytest.skip("no torch")
    environ = {**os.environ, "CUDA_VISIBLE_DEVICES": str(first.index), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, env=environ, stdin=-1, stdout=-1, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def host(ours):
    return Host("/nowhere", ours, {})


def now(first):
    return NvmlProvider().cards()[first.index]


def wait_until(is_so, first):
    """Ask again until it is so; true if it became so in time."""
    deadline = time.monotonic() + PATIENCE
    while not is_so(now(first)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def show_pid(first, pid):
    """Wait until the driver names `pid` on the card; in a container with pids of its own it never does."""
    if not wait_until(lambda card: pid in {process.pid for process in card.processes}, first):
        pytest.skip("the driver does not show this container's pids")


def test_the_card_is_known(first):
    assert first.uuid.startswith("GPU-")
    assert first.name
    assert first.state == "ok"
    assert 0 <= first.memory_used_mib < first.memory_total_mib


def test_auto_sees_it(first):
    choice = choose("auto", host(lambda _: True))
    device = choice.devices[0]
    assert (device.kind, device.label, device.visible) == ("gpu", str(first.index), str(first.index))
    assert (device.uuid, device.lock) == (first.uuid, f"gpu-{first.uuid}")


@pytest.mark.parametrize("named", ["index", "uuid", "beginning"])
def test_it_can_be_named(first, named):
    spec = {"index": str(first.index), "uuid": first.uuid, "beginning": first.uuid[:12]}[named]
    (device,) = choose(spec, host(lambda _: False)).devices
    assert device.uuid == first.uuid
    assert device.visible == (spec if named == "index" else first.uuid)


def test_an_unknown_one_is_refused_with_what_exists(first):
    with pytest.raises(UsageError, match=first.uuid):
        choose("99", host(lambda _: False))


def test_memory_that_a_killed_process_held_comes_back(first, child):
    held = now(first).memory_used_mib
    assert held >= MIB
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert wait_until(lambda card: card.memory_used_mib <= held - MIB, first)


def test_auto_leaves_out_the_card_of_somebody_else_and_says_whose(first, child):
    show_pid(first, child.pid)
    try:
        said = " ".join(choose("auto", host(lambda _: False)).notes)
    except UsageError as error:  # the only card
        said = str(error)
    assert f"(pid {child.pid}, " in said
    assert "? computes" not in said


def test_auto_takes_the_card_of_our_own_attempt(first, child):
    show_pid(first, child.pid)
    others = {process.pid for process in now(first).processes} - {child.pid}
    choice = choose("auto", host(lambda pid: pid == child.pid or pid in others))
    assert first.uuid in {device.uuid for device in choice.devices}


def test_a_taken_card_can_be_named_with_a_note(first, child):
    show_pid(first, child.pid)
    choice = choose(str(first.index), host(lambda _: False))
    assert f"pid {child.pid}, " in choice.notes[0]


def test_the_index_means_the_same_card_to_cuda(first):
    if find_spec("torch") is None:
        pytest.skip("no torch")
    (device,) = choose(str(first.index), host(lambda _: False)).devices
    environ = {**os.environ, "CUDA_VISIBLE_DEVICES": device.visible, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    script = "import torch; print(torch.cuda.get_device_properties(0).uuid)"
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True)
    assert f"GPU-{done.stdout.strip()}" == device.uuid
