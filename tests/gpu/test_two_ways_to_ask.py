"""Do NVML and nvidia-smi tell the same of a real card, and does `gpus` name the task that computes on it?

Run with: pytest -m gpu -n 0
"""

import io
import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from parallel_train.commands.gpus import gpus
from parallel_train.core.machine import Driver
from parallel_train.procs import locks
from parallel_train.procs.driver import DriverProvider, NvmlProvider, SmiProvider
from parallel_train.procs.gpus import Host, NoDriverError, choose
from tests.support.wait import wait_until

pytestmark = pytest.mark.gpu

HOLD = """
import sys, torch
held = torch.zeros(256 << 20, dtype=torch.uint8, device="cuda")
torch.cuda.synchronize()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def nvml() -> Driver:
    try:
        found = NvmlProvider().ask()
    except NoDriverError as error:
        pytest.skip(f"no card: {error}")
    return found if found.cards else pytest.skip("no card")


@pytest.fixture
def smi(nvml) -> Driver:
    return SmiProvider().ask() if shutil.which("nvidia-smi") else pytest.skip("no nvidia-smi")


class Nothing:
    """An NVML that can't be loaded."""

    def ask(self) -> Driver:
        raise NoDriverError("no library")


def test_both_tell_the_same_cards(nvml, smi):
    def lasting(driver):
        return [
            (card.index, card.uuid, card.name, card.memory_total_mib, card.state, card.mig) for card in driver.cards
        ]

    assert lasting(smi) == lasting(nvml)
    assert smi.version == nvml.version


def test_both_tell_use_and_temperature(nvml, smi):
    for card in (*nvml.cards, *smi.cards):
        if not card.mig:  # a card that is split does not tell
            assert 0 <= card.utilization_percent <= 100
        assert card.temperature_c is None or 0 < card.temperature_c < 120


def test_the_newest_cuda_that_the_driver_knows(nvml):
    major, minor = map(int, nvml.cuda.split("."))
    assert major >= 10
    assert minor >= 0


@pytest.mark.parametrize("asked", ["auto", "0"])
def test_the_fallback_serves_a_choice(nvml, smi, asked):
    host = Host("/nowhere", lambda _: True, {}, DriverProvider(Nothing()))
    assert choose(asked, host).devices == choose(asked, Host("/nowhere", lambda _: True, {})).devices


def shown(folder: Path, asked: str) -> dict:
    out = io.StringIO()
    gpus(folder, asked, again=False, as_json=True, out=out)
    return json.loads(out.getvalue())


def test_gpus_names_our_attempt_on_its_card(nvml, tmp_path, monkeypatch):
    if find_spec("torch") is None:
        pytest.skip("no torch")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    index = str(nvml.cards[0].index)
    cookie = f"0f0f.3.{os.getpid()}.1.boot"
    environ = {**os.environ, "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": index}
    environ["PARALLEL_TRAIN_COOKIE"] = cookie
    (device,) = choose(index, Host("/nowhere", lambda _: True, {})).devices
    held = locks.take(device.lock)
    if held is None:
        pytest.skip("somebody uses the card's slot")
    locks.sign(held, {"queue": str(tmp_path / ".parallel-train"), "task": "0f0f", "attempt": 3, "cookie": cookie})

    def found() -> list[dict]:
        return [one for one in shown(tmp_path, index)["gpus"][0]["processes"] if one["pid"] == process.pid]

    with subprocess.Popen([sys.executable, "-c", HOLD], env=environ, stdin=-1, stdout=-1, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            if process.pid not in {one.pid for one in NvmlProvider().cards()[0].processes}:
                pytest.skip("the driver does not show this container's pids")
            (one,) = wait_until(found, "our process on the card")
            card = shown(tmp_path, index)["gpus"][0]
        finally:
            process.kill()
            locks.sign(held, {})
            os.close(held)
    assert (one["attempt"]["id"], one["attempt"]["attempt"], one["attempt"]["queue"]) == ("0f0f", 3, str(tmp_path))
    assert (card["taken"], card["held_by"]["id"]) == (True, "0f0f")
    assert one["memory_mib"] >= 256
