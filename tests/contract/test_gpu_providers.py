"""Do the providers that ask NVML and nvidia-smi and the one that reads a file tell the same of the same cards?"""

import json
import os
import pwd
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

import parallel_train.procs.gpus
from parallel_train.core.machine import Driver
from parallel_train.procs.driver import DriverProvider, SmiProvider
from parallel_train.procs.gpus import (
    Card,
    FileProvider,
    GpuProcess,
    NoDriverError,
    NvmlProvider,
    Provider,
    ProviderError,
)

US = pwd.getpwuid(os.getuid()).pw_name
OUR_COMMAND = Path("/proc/self/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode()
NOBODY = 2**22 + 1  # above the largest pid there can be

# A driver as small as it can be, with the functions of nvidia-ml-py. Its cards are those of a file beside it.
STUB = """
import json, os, threading
from types import SimpleNamespace

HERE = os.path.dirname(os.path.abspath(__file__))
NVML_ERROR_NOT_SUPPORTED, NVML_ERROR_NO_PERMISSION, NVML_ERROR_NOT_FOUND = 3, 4, 6
NVML_ERROR_DRIVER_NOT_LOADED, NVML_ERROR_LIBRARY_NOT_FOUND, NVML_ERROR_FUNCTION_NOT_FOUND = 9, 12, 13
NVML_ERROR_GPU_IS_LOST, NVML_ERROR_GPU_NOT_FOUND = 15, 28
NVML_TEMPERATURE_GPU = 0


class NVMLError(Exception):
    def __init__(self, value):
        super().__init__(f"code {value}")
        self.value = value


def world():
    with open(os.path.join(HERE, "world.json")) as file:
        return json.load(file)


def refuse(card, step):
    if step in card.get("refuses", {}):
        raise NVMLError(card["refuses"][step])


def nvmlInit():
    print("a warning of the library")
    if world().get("hang"):
        threading.Event().wait()
    if world().get("fails"):
        raise NVMLError(world()["fails"])


def nvmlSystemGetDriverVersion():
    return "550.54.14"


def nvmlSystemGetCudaDriverVersion_v2():
    return 12040


def nvmlDeviceGetCount():
    return len(world()["gpus"])


def nvmlDeviceGetHandleByIndex(place):
    card = world()["gpus"][place]
    refuse(card, "handle")
    return card


def nvmlDeviceGetUUID(card):
    return card if isinstance(card, str) else card["uuid"]


def nvmlDeviceGetName(card):
    return card["name"]


def nvmlDeviceGetMemoryInfo(card):
    refuse(card, "memory")
    return SimpleNamespace(total=card["memory_total_mib"] << 20, used=card["memory_used_mib"] << 20)


def nvmlDeviceGetUtilizationRates(card):
    if "utilization_percent" not in card:
        raise NVMLError(NVML_ERROR_NOT_SUPPORTED)
    return SimpleNamespace(gpu=card["utilization_percent"])


def nvmlDeviceGetTemperature(card, sensor):
    if "temperature_c" not in card:
        raise NVMLError(999)
    return card["temperature_c"]


def nvmlDeviceGetComputeRunningProcesses_v3(card):
    refuse(card, "processes_v3")
    return [SimpleNamespace(pid=p["pid"], usedGpuMemory=p["memory_mib"] << 20) for p in card["processes"]]


def nvmlDeviceGetComputeRunningProcesses_v2(card):
    return [SimpleNamespace(pid=p["pid"], usedGpuMemory=None) for p in card["processes"]]


def nvmlDeviceGetMigMode(card):
    if "mig" not in card:
        raise NVMLError(NVML_ERROR_NOT_SUPPORTED)
    return [1, 1]


def nvmlDeviceGetMaxMigDeviceCount(card):
    return 7


def nvmlDeviceGetMigDeviceHandleByIndex(card, place):
    if place >= len(card["mig"]):
        raise NVMLError(NVML_ERROR_NOT_FOUND)
    return card["mig"][place]
"""


def card(index=0, **facts):
    plain = {"memory_total_mib": 81920, "memory_used_mib": 400, "processes": [], "name": "Some Card"}
    return {"index": index, "uuid": f"GPU-{index}", **plain, **facts}


class FileWorld:
    def __init__(self, folder: Path) -> None:
        self.file = folder / "gpus.json"

    def provider(self, limit: float = 30) -> Provider:
        return FileProvider(str(self.file), limit)

    def has(self, *cards: dict) -> None:
        self.file.write_text(json.dumps({"gpus": cards}))

    def loses(self, index: int) -> None:
        self._states(index, "gone")

    def spoils(self, index: int) -> None:
        self._states(index, "sick")

    def hangs(self) -> None:
        self.has(card(state="hang"))

    def breaks(self) -> None:
        self.file.write_text('{"gpus": [')

    def _states(self, index: int, state: str) -> None:
        cards = json.loads(self.file.read_text())["gpus"]
        self.has(*({**each, "state": state} if each["index"] == index else each for each in cards))


class NvmlWorld:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "pynvml.py").write_text(STUB)

    def provider(self, limit: float = 30) -> Provider:
        return NvmlProvider(str(self.folder), limit)

    def is_(self, **facts) -> None:
        (self.folder / "world.json").write_text(json.dumps(facts))

    def has(self, *cards: dict) -> None:
        self.is_(gpus=cards)

    def loses(self, index: int) -> None:
        self._refuses(index, {"handle": 15})

    def spoils(self, index: int) -> None:
        self._refuses(index, {"memory": 999})

    def hangs(self) -> None:
        self.is_(hang=True)

    def breaks(self) -> None:
        self.is_(fails=18)

    def _refuses(self, index: int, refusals: dict) -> None:
        cards = json.loads((self.folder / "world.json").read_text())["gpus"]
        self.has(*({**each, "refuses": refusals} if each["index"] == index else each for each in cards))


class SmiWorld:
    """An nvidia-smi that is a shell script: it prints the file for what it is asked, as the real one would."""

    def __init__(self, folder: Path) -> None:
        self.program = folder / "nvidia-smi"
        self.folder = folder
        self.cards: dict[int, dict] = {}
        self.lost: tuple[str, ...] = ()

    def provider(self, limit: float = 30) -> SmiProvider:
        return SmiProvider(str(self.program), limit)

    def says(self, *, gpus: str = "", apps: str = "", listed: str = "", code: int = 0) -> None:
        """What it prints when asked for cards, for processes, for a list; and how it exits when asked for cards."""
        for name, text in (("gpus", gpus), ("apps", apps), ("listed", listed)):
            (self.folder / name).write_text(text)
        folder = shlex.quote(str(self.folder))
        self._is(
            f"cd {folder}\ncase $1 in\n--query-gpu=*) cat gpus; exit {code};;\n"
            "--query-compute-apps=*) cat apps;;\n-L) cat listed;;\nesac\n"
        )

    def has(self, *cards: dict) -> None:
        self.cards = {each["index"]: each for each in cards}
        self._write()

    def loses(self, index: int) -> None:
        del self.cards[index]
        self._write("Unable to determine the device handle for GPU 0000:0B:00.0: GPU is lost.  Reboot the system\n")

    def spoils(self, index: int) -> None:
        broken = ("memory_total_mib", "memory_used_mib", "utilization_percent", "temperature_c")
        self.cards[index].update(dict.fromkeys(broken, "[Unknown Error]"))
        self._write()

    def hangs(self) -> None:
        self._is("exec sleep 1000\n")

    def breaks(self) -> None:
        self.says(gpus="Failed to initialize NVML: Driver/library version mismatch\n", code=18)

    def _write(self, complaints: str = "") -> None:
        cards = self.cards.values()
        apps = "".join(
            f"{each['uuid']}, {one['pid']}, {one['memory_mib']}\n" for each in cards for one in each["processes"]
        )
        rows = complaints + "".join(map(self._row, cards)) or "No devices were found\n"
        self.says(gpus=rows, apps=apps, listed="".join(map(self._listing, cards)))

    def _row(self, card: dict) -> str:
        facts = [card[key] for key in ("index", "uuid", "name", "memory_total_mib", "memory_used_mib")]
        facts += [card.get("utilization_percent", "[N/A]"), card.get("temperature_c", "[Not Supported]")]
        return ", ".join(map(str, [*facts, "550.54.14"])) + "\n"

    def _listing(self, card: dict) -> str:
        lines = [f"GPU {card['index']}: {card['name']} (UUID: {card['uuid']})"]
        lines += [f"  MIG 1g.5gb      Device  {nr}: (UUID: {part})" for nr, part in enumerate(card.get("mig", ()))]
        return "\n".join(lines) + "\n"

    def _is(self, script: str) -> None:
        self.program.write_text(f"#!/bin/sh\n{script}")
        self.program.chmod(0o755)


@pytest.fixture(params=[FileWorld, NvmlWorld, SmiWorld])
def world(request, tmp_path):
    return request.param(tmp_path)


@pytest.fixture(params=[NvmlWorld, SmiWorld])
def driver(request, tmp_path):
    """A world in which a driver is asked."""
    return request.param(tmp_path)


@pytest.fixture
def nvml(tmp_path):
    return NvmlWorld(tmp_path)


@pytest.fixture
def smi(tmp_path):
    return SmiWorld(tmp_path)


class TestAll:
    def test_tell_every_fact_of_a_card(self, world):
        computing = [
            {"pid": os.getpid(), "user": US, "memory_mib": 300, "command": OUR_COMMAND},
            {"pid": NOBODY, "user": "?", "memory_mib": 100},
        ]
        used = {"utilization_percent": 97, "temperature_c": 71}
        world.has(card(0, processes=computing, **used), card(1, memory_used_mib=0))
        processes = (GpuProcess(os.getpid(), US, 300, OUR_COMMAND), GpuProcess(NOBODY, "?", 100))
        assert world.provider().cards() == (
            Card(0, "GPU-0", "Some Card", 81920, 400, processes, **used),
            Card(1, "GPU-1", "Some Card", 81920, 0),
        )

    def test_ask_anew_each_time(self, world):
        world.has(card(memory_used_mib=7))
        provider = world.provider()
        assert provider.cards()[0].memory_used_mib == 7
        world.has(card(memory_used_mib=8))
        assert provider.cards()[0].memory_used_mib == 8

    def test_no_cards_are_no_error(self, world):
        world.has()
        assert world.provider().cards() == ()

    def test_a_lost_card_keeps_its_place(self, world):
        world.has(card(0), card(1), card(2))
        world.loses(1)
        assert [(each.index, each.state) for each in world.provider().cards()] == [
            (0, "ok"),
            (1, "gone"),
            (2, "ok"),
        ]

    def test_a_sick_card_is_told_with_its_uuid(self, world):
        world.has(card(0), card(1))
        world.spoils(0)
        first, second = world.provider().cards()
        assert (first.state, first.uuid, second.state) == ("sick", "GPU-0", "ok")

    def test_a_query_that_hangs_ends_at_the_limit(self, world):
        world.hangs()
        with pytest.raises(ProviderError, match=r"did not answer within 0\.5 s"):
            world.provider(limit=0.5).cards()

    def test_an_answer_that_is_none_is_an_error(self, world):
        world.breaks()
        with pytest.raises(ProviderError):
            world.provider().cards()


class TestDriver:
    """What only those can be asked that ask a driver."""

    def test_tells_its_version(self, driver):
        driver.has(card())
        assert driver.provider().ask().version == "550.54.14"

    def test_mig_instances_are_told_with_their_card(self, driver):
        driver.has(card(0, mig=["MIG-a", "MIG-b"]), card(1))
        assert [each.mig for each in driver.provider().cards()] == [("MIG-a", "MIG-b"), ()]

    def test_a_hung_query_leaves_no_process(self, driver, tmp_path):
        driver.hangs()
        before = psutil.Process().children(recursive=True)
        with pytest.raises(ProviderError, match="did not answer"):
            driver.provider(limit=0.5).cards()
        assert psutil.Process().children(recursive=True) == before
        assert not [one for one in psutil.process_iter(["cmdline"]) if str(tmp_path) in str(one.info["cmdline"])]


class TestNvml:
    @pytest.mark.parametrize("code", [9, 12, 28])
    def test_without_a_driver_there_are_no_cards(self, nvml, code):
        nvml.is_(fails=code)
        with pytest.raises(NoDriverError, match=f"code {code}"):
            nvml.provider().cards()

    def test_a_hung_query_ends_by_itself_5_s_after_the_limit(self, nvml, tmp_path):
        nvml.hangs()
        script = Path(parallel_train.procs.gpus.__file__).with_name("nvml.py")
        asked = [sys.executable, "-I", str(script), str(tmp_path), "-4"]
        assert subprocess.run(asked, check=False, timeout=60).returncode == -signal.SIGALRM

    def test_a_card_that_our_cgroup_hides_is_not_counted(self, nvml):
        nvml.has(card(0, refuses={"handle": 4}), card(1))
        assert [(each.index, each.uuid) for each in nvml.provider().cards()] == [(0, "GPU-1")]

    def test_a_card_without_memory_of_its_own_is_ok(self, nvml):
        nvml.has(card(refuses={"memory": 3}))
        assert nvml.provider().cards() == (Card(0, "GPU-0", "Some Card", 0, 0),)

    def test_an_old_driver_tells_its_processes_in_the_old_way(self, nvml):
        nvml.has(card(refuses={"processes_v3": 13}, processes=[{"pid": NOBODY, "memory_mib": 1}]))
        assert nvml.provider().cards()[0].processes == (GpuProcess(NOBODY, "?", 0),)

    def test_the_newest_cuda_that_the_driver_knows(self, nvml):
        nvml.has(card())
        assert nvml.provider().ask() == Driver(nvml.provider().cards(), "550.54.14", "12.4")

    def test_a_child_that_crashes_is_an_error_with_its_last_line(self, tmp_path):
        (tmp_path / "pynvml.py").write_text("raise OSError('libnvidia-ml.so.1: invalid ELF header')")
        with pytest.raises(ProviderError, match="invalid ELF header"):
            NvmlProvider(str(tmp_path)).cards()

    def test_the_installed_binding_offers_what_we_call(self):
        pynvml = pytest.importorskip("pynvml")
        wanted = [line.split("(")[0][4:] for line in STUB.splitlines() if line.startswith("def nvml")]
        assert [name for name in wanted if not hasattr(pynvml, name)] == []


class TestSmi:
    @pytest.mark.parametrize("code", [9, 12])
    def test_without_a_driver_there_are_no_cards(self, smi, code):
        smi.says(gpus="NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", code=code)
        with pytest.raises(NoDriverError, match="couldn't communicate"):
            smi.provider().cards()

    def test_it_is_found_on_path(self, smi, tmp_path, monkeypatch):
        smi.has(card(0), card(1))
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        assert [each.uuid for each in SmiProvider().cards()] == ["GPU-0", "GPU-1"]

    def test_a_card_that_is_kept_from_us_is_not_counted(self, smi):
        smi.has(card(1, mig=["MIG-a"]))
        (found,) = smi.provider().cards()
        assert (found.index, found.uuid, found.mig) == (0, "GPU-1", ("MIG-a",))

    def test_without_one_on_path_there_is_nothing_to_ask(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(NoDriverError, match="not on PATH"):
            SmiProvider().cards()

    def test_a_card_that_tells_little_is_ok(self, smi):
        smi.says(gpus="0, [N/A], ERR!, [Not Supported], [N/A], [Insufficient Permissions], N/A, [N/A]\n")
        assert smi.provider().cards() == (Card(0, "", "", 0, 0),)

    def test_a_card_that_lost_its_bus_says_so_in_its_row(self, smi):
        smi.says(gpus="0, GPU-0, Some Card, [GPU is lost], [GPU is lost], [GPU is lost], [GPU is lost], 550\n")
        assert smi.provider().cards()[0].state == "gone"

    def test_a_card_that_wants_a_reset_is_sick(self, smi):
        smi.says(gpus="0, GPU-0, Some Card, [GPU requires reset], 0, 0, 40, 550\n", code=15)
        assert smi.provider().cards()[0].state == "sick"

    def test_warnings_between_the_rows_are_no_rows(self, smi):
        smi.says(gpus="0, GPU-0, A, 10, 1, 5, 40, 550\nWARNING: infoROM is corrupted at gpu 0000:1A:00.0\n\n", code=14)
        assert [each.name for each in smi.provider().cards()] == ["A"]

    def test_processes_may_be_missing_or_hide_their_memory(self, smi):
        smi.has(card(0), card(1))
        told = f"GPU-1, {NOBODY}, [N/A]\nGPU-1, [Insufficient Permissions], 5\nGPU-9, 4, 5\n\n"
        (smi.folder / "apps").write_text(told)
        first, second = smi.provider().cards()
        assert (first.processes, second.processes) == ((), (GpuProcess(NOBODY, "?", 0),))

    def test_a_processes_query_that_fails_leaves_the_cards(self, smi):
        smi.has(card(0))
        (smi.folder / "apps").write_text("No running processes found\n")
        assert smi.provider().cards()[0].processes == ()

    @pytest.mark.parametrize(
        "told", ["", "<html>busy</html>\n", "\x00\xff,,,\n", 'Field "uuid" is not a valid field\n']
    )
    def test_garbage_is_an_error(self, smi, told):
        smi.says(gpus=told, code=2)
        with pytest.raises(ProviderError, match="nvidia-smi answers with an error: "):
            smi.provider().cards()

    def test_one_that_can_not_be_executed_is_an_error(self, smi):
        smi.program.write_text("no program")
        with pytest.raises(ProviderError, match=r"asking nvidia-smi failed: .*Permission denied"):
            smi.provider().cards()


class TestFallback:
    """NVML first, nvidia-smi where that is no help."""

    @pytest.fixture
    def both(self, tmp_path):
        for name in ("nvml", "smi"):
            (tmp_path / name).mkdir()
        nvml, smi = NvmlWorld(tmp_path / "nvml"), SmiWorld(tmp_path / "smi")
        return nvml, smi, DriverProvider(nvml.provider(0.5), smi.provider())

    def test_nvml_is_believed(self, both):
        nvml, smi, provider = both
        nvml.has(card(0))
        smi.has(card(0), card(1))
        assert len(provider.cards()) == 1

    @pytest.mark.parametrize("trouble", [{"fails": 12}, {"fails": 18}, {"hang": True}])
    def test_nvidia_smi_is_asked_where_nvml_is_no_help(self, both, trouble):
        nvml, smi, provider = both
        nvml.is_(**trouble)
        smi.has(card(0), card(1))
        assert [each.uuid for each in provider.cards()] == ["GPU-0", "GPU-1"]

    def test_neither_knows_of_a_driver(self, both):
        nvml, smi, provider = both
        nvml.is_(fails=12)
        smi.says(gpus="NVIDIA-SMI has failed\n", code=9)
        with pytest.raises(NoDriverError, match="code 12"):
            provider.cards()

    def test_a_driver_that_answers_neither_is_no_absent_driver(self, both):
        nvml, smi, provider = both
        nvml.is_(hang=True)
        smi.breaks()
        with pytest.raises(ProviderError, match=r"did not answer within 0\.5 s; nvidia-smi answers with .*mismatch"):
            provider.cards()
        nvml.is_(fails=12)
        with pytest.raises(ProviderError, match="mismatch"):
            provider.cards()


@dataclass(frozen=True)
class Bad:
    text: str
    said: str


class TestFile:
    @pytest.mark.parametrize(
        "bad",
        [
            Bad('{"gpus": [\n  {"index": x}\n]}', r":2:13: "),
            Bad("[]", "must be"),
            Bad('{"gpus": [1]}', "must be"),
            Bad('{"gpus": [{"index": "a"}]}', r'gpus\[0\]\.index must be a whole number from 0, not "a"'),
            Bad('{"gpus": [{"index": true}]}', "index must be a whole number"),
            Bad('{"gpus": [{"memory_used_mib": -1}]}', "memory_used_mib must be"),
            Bad('{"gpus": [{"uuid": "../x"}]}', "uuid must be"),
            Bad('{"gpus": [{"state": "bad"}]}', "state must be one of ok, gone, sick, hang"),
            Bad('{"gpus": [{"memroy": 1}]}', "has no key 'memroy'"),
            Bad('{"gpus": [{"temperature_c": "hot"}]}', "temperature_c must be a whole number"),
            Bad('{"gpus": [{"processes": [{}]}]}', r'processes\[0\] must be an object with a "pid"'),
            Bad('{"gpus": [{"index": 0}, {"index": 0}]}', "two gpus have index 0"),
            Bad('{"gpus": [{"uuid": "a"}, {"uuid": "a"}]}', "two gpus have uuid a"),
        ],
    )
    def test_what_is_wrong_is_said_with_its_place(self, tmp_path, bad):
        (tmp_path / "gpus.json").write_text(bad.text)
        with pytest.raises(ProviderError, match=r"gpus\.json.*" + bad.said):
            FileProvider(str(tmp_path / "gpus.json")).cards()

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(ProviderError, match=r"none\.json: No such file"):
            FileProvider(str(tmp_path / "none.json")).cards()

    def test_bytes_that_are_no_text(self, tmp_path):
        (tmp_path / "gpus.json").write_bytes(b"\xff\xfe")
        with pytest.raises(ProviderError, match="not UTF-8"):
            FileProvider(str(tmp_path / "gpus.json")).cards()

    def test_everything_but_the_list_may_be_left_out(self, tmp_path):
        (tmp_path / "gpus.json").write_text('{"gpus": [{}, {"processes": [{"pid": 5, "memory_mib": 9}]}]}')
        first, second = FileProvider(str(tmp_path / "gpus.json")).cards()
        assert first == Card(0, "", "fake GPU", 0, 0)
        assert (second.index, second.memory_used_mib, second.processes) == (1, 9, (GpuProcess(5, "?", 9),))

    def test_cards_come_in_the_order_of_their_index(self, tmp_path):
        (tmp_path / "gpus.json").write_text('{"gpus": [{"index": 2}, {"index": 0}]}')
        assert [each.index for each in FileProvider(str(tmp_path / "gpus.json")).cards()] == [0, 2]
