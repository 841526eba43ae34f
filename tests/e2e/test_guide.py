"""Does every example of the NLPrompt parallel training guide have its counterpart here?

The README's table is read, and what stands in its second column is run as it stands there, in a checkout as the guide's
users have it: their train.py, and cards that only nvidia-smi knows of. A test names the guide's lines that it is for.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.support.call import Called, Caller
from tests.support.sweep import PROGRAMS, Project, Result
from tests.support.wait import wait_until

HERE = Path(__file__).parents[2]
SCRIPT = "python parallel_train.py"
SAME = "the same"
BASE = "output/caltech101/NLPrompt/rn50_16shots"
RATES = ("0.125", "0.25", "0.375", "0.5", "0.625", "0.75")
NOISES = [f"{kind}_{rate}" for kind in ("sym", "asym") for rate in RATES]
FOLDERS = {noise: f"{BASE}/noise_{noise}{'0' if noise.endswith('_0.5') else ''}/seed1" for noise in NOISES}
THREE_DATASETS = {  # the output by the number of classes
    classes: f"output/{name}/NLPrompt/rn50_16shots/noise_sym_0.50/seed1"
    for classes, name in (("100", "caltech101"), ("37", "oxford_pets"), ("102", "oxford_flowers"))
}
TAILS = ("tail -f logs/gpu0_caltech101_*.log", "tail -f logs/gpu0_*.log")
TESTED: list[str] = []
Typed: TypeAlias = "Callable[[Checkout, str], Called]"

SMI = """#!/bin/sh
for card in $(seq 0 $(($(cat cards) - 1))); do
  case "$*" in
  --query-gpu*) echo "$card, GPU-MARK-$card, NVIDIA A40, 46068, 4, 0, 31, 550.54" ;;
  -L) echo "GPU $card: NVIDIA A40 (UUID: GPU-MARK-$card)" ;;
  esac
done
"""

# What the guide's users have edited: a scheduler of their own, with a class of its own.
OLD_SCRIPT = """
from typing import List


class TaskConfig:
    def __init__(self, dataset: str, shots: int, noise_rate: float, noise_type: str, num_classes: int,
                 seed: int = 1, cfg: str = "rn50", trainer: str = "NLPrompt"):
        vars(self).update({name: value for name, value in locals().items() if name != "self"})


def get_default_tasks(trainer: str = "NLPrompt") -> List[TaskConfig]:
    return [TaskConfig("caltech101", 16, 0.5, kind, 100, trainer=trainer) for kind in ("sym", "asym")]


if __name__ == "__main__":
    print("the old scheduler")
"""


# ---- the table ----


def _table() -> dict[str, str]:
    """Ours by theirs. "the same" is their own line, under our name."""
    title = "\n## Coming from the NLPrompt parallel training guide\n"
    section = (HERE / "README.md").read_text().partition(title)[2].partition("\n## ")[0]
    found = {}
    for theirs, ours in re.findall(r"^\| (.+?) \| (.+?) \|.*\|$", section, re.MULTILINE):
        for line in re.findall(r"`(.+?)`", theirs):
            found[line] = line.replace(SCRIPT, "parallel-train") if ours.startswith(SAME) else ours.strip("`")
    return found


TABLE = _table()


def rows(*theirs: str) -> Callable[..., Any]:
    """The test runs once for each line of ours that stands beside these lines of the guide."""
    TESTED.extend(theirs)
    return pytest.mark.parametrize("ours", list(dict.fromkeys(TABLE.get(line, "not in the README") for line in theirs)))


# ---- a checkout ----


class Checkout(Project):
    def lay_out(self) -> None:
        for name in ("datasets/caltech101", "datasets/oxford_pets", "datasets/oxford_flowers"):
            self.write(f"configs/{name}.yaml", "")
        for name in ("rn50", "vit_b16"):
            self.write(f"configs/trainers/NLPrompt/{name}.yaml", "")
        self.write("tasks/default.yaml", (HERE / "tasks/nlprompt_caltech101.yaml").read_text())
        shutil.copy(PROGRAMS / "nlprompt.py", self.root / "train.py")
        self.write("cards", "4")
        mark = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:8]  # the locks of cards are the machine's
        self._program("nvidia-smi", SMI.replace("MARK", mark))
        self._program("parallel-train", f"#!{sys.executable}\nfrom parallel_train.commands.app import main\nmain()\n")
        self._program("python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        self._program("fast", f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
        self.write("bin/libnvidia-ml.so.1", "no library: a driver of this machine is not asked")

    def _program(self, name: str, text: str) -> None:
        self.write(f"bin/{name}", text).chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        folder = self.root / "bin"
        paths = {"PATH": f"{folder}:{os.environ['PATH']}", "LD_LIBRARY_PATH": str(folder), "HOME": "/home/user"}
        ours = {"PARALLEL_TRAIN_PYTHON": str(folder / "fast"), "PYTHON": str(folder / "fast"), "VIRTUAL_ENV": ""}
        return {**super().environment, **paths, **ours, "CONDA_PREFIX": ""}

    def shell(self, line: str) -> Result:
        """A line as its reader types it, to its end."""
        found = subprocess.run(["bash", "-c", line], **self._settings({}), capture_output=True, timeout=60, check=False)
        return Result(found.returncode, found.stdout, found.stderr)

    def begin(self, line: str, to: str = "said", **more: str) -> subprocess.Popen[str]:
        """A line that goes on; what it says goes to the file `to`."""
        with (self.root / to).open("a") as said:
            settings = self._settings({"env": more})
            process = subprocess.Popen(["bash", "-c", f"exec {line}"], stdout=said, stderr=said, **settings)
        self.started.append(process)
        return process

    def finished(self, *but: str) -> None:
        """All of the guide's tasks were done before us, but these."""
        for noise in set(NOISES) - set(but):
            self.write(f"{FOLDERS[noise]}/log.txt", "Finish training\n")
            self.write(f"{FOLDERS[noise]}/prompt_learner/checkpoint", "the last epoch's")

    def hold(self, *noises: str) -> None:
        for noise in noises:
            self.write(f"hold-{noise}", "")

    def release(self, *noises: str) -> None:
        for noise in noises:
            (self.root / f"hold-{noise}").unlink()

    def calls(self) -> list[dict[str, Any]]:
        """How train.py was called, in order."""
        path = self.root / "ran"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def noises(self) -> list[str]:
        return [call["noise"] for call in self.calls()]

    def gpus(self) -> dict[str, str]:
        return {call["noise"]: call["gpu"] for call in self.calls()}

    def until_begun(self, *noises: str) -> None:
        wait_until(lambda: set(noises) <= set(self.noises()), f"{noises} have begun; {self.said}")

    def until_said(self, text: str, file: str = "said") -> None:
        path = self.root / file
        wait_until(lambda: re.search(text, path.read_text(), re.MULTILINE), f"{text} is said; {path.read_text()}")


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    made = Checkout(tmp_path)
    made.lay_out()
    yield made
    _clean(made)


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[Checkout, str], Called]:
    """Does what a shell does with a line of ours, within this process."""

    def run(there: Checkout, line: str) -> Called:
        caller = Caller(there.root, monkeypatch, capsys)
        for name in os.environ.keys() - there.environment.keys():
            monkeypatch.delenv(name)
        for name, value in there.environment.items():
            monkeypatch.setenv(name, value)
        program, *words = [str(Path(word).expanduser()) if word.startswith("~") else word for word in shlex.split(line)]
        assert program == "parallel-train", line
        return caller(*words)

    return run


def _clean(made: Checkout) -> None:
    made.clean_up()
    mark = hashlib.sha256(os.fsencode(made.root)).hexdigest()[:8]
    for path in Path(f"/tmp/parallel-train-{os.getuid()}").glob(f"*GPU-{mark}-*"):
        path.unlink(missing_ok=True)


def _like(line: str) -> str:
    """A pattern for lines that differ from this one in their times only."""
    return re.sub(r"\d\d:\d\d:\d\d", r"\\d\\d:\\d\\d:\\d\\d", re.sub(r"\d{8}_\d{6}", r"\\d{8}_\\d{6}", re.escape(line)))


def _options(call: dict[str, Any]) -> dict[str, str]:
    return dict(zip(call["argv"][::2], call["argv"][1::2], strict=True))


# ---- the guide's run: 12 tasks on 4 GPUs ----


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """After the whole of it. The first eight tasks waited, and were watched meanwhile."""
    made = Checkout(tmp_path_factory.mktemp("guide"))
    made.lay_out()
    made.hold(*NOISES[:8])
    scheduler = made.begin(TABLE.get(SCRIPT, ""), PARALLEL_TRAIN_CHECK_INTERVAL="0.1")
    made.until_begun(*NOISES[:4])
    tails = {_file(line): made.begin(TABLE.get(line, ""), _file(line)) for line in TAILS}
    for file in tails:
        made.until_said(r"^epoch \[1/200\] sym_0\.125$", file)
    made.release(*NOISES[:4])
    made.until_begun(*NOISES[4:8])
    made.until_said(r"4 tasks.* \(4/12 done, ETA")
    made.release(*NOISES[4:7])
    made.until_said("11/12 done")  # while the eighth runs on: nobody waits for the last of a batch
    made.release(NOISES[7])
    assert scheduler.wait(60) == 0, made.said
    for file, tail in tails.items():
        made.until_said(r"^\* accuracy: 87\.5%$", file)
        tail.terminate()
    yield made
    _clean(made)


def _file(line: str) -> str:
    return line.replace("/", "_")


@rows(SCRIPT)
def test_each_task_is_the_guides_on_one_gpu(ran: Checkout, ours: str):
    assert sorted(ran.noises()) == sorted(NOISES)
    for call in ran.calls():
        kind, rate = call["noise"].split("_")
        words = f"""--root /home/user/datasets/nlprompt/caltech-101 --seed 1 --trainer NLPrompt
            --dataset-config-file configs/datasets/caltech101.yaml
            --config-file configs/trainers/NLPrompt/rn50.yaml --output-dir {FOLDERS[call["noise"]]}
            DATASET.NUM_SHOTS 16 DATASET.NOISE_RATE {rate} DATASET.NOISE_TYPE {kind} DATASET.num_class 100"""
        assert call["argv"] == words.split()
        assert call["gpu"] in {"0", "1", "2", "3"}
    assert "12 tasks: 12 to do on GPU 0-3" in ran.said
    assert "12 succeeded" in ran.said


@rows("Batch 2: Runs tasks 5-8 on GPUs 0-3 (after batch 1 completes)")
def test_the_order_is_the_guides_and_there_are_no_batches(ran: Checkout, ours: str):
    assert [ran.gpus()[noise] for noise in NOISES[:4]] == ["0", "1", "2", "3"]
    assert {ran.gpus()[noise] for noise in NOISES[4:8]} == {"0", "1", "2", "3"}
    last = ran.gpus()[NOISES[7]]
    assert last not in {ran.gpus()[noise] for noise in NOISES[8:]}
    assert ours == TABLE[SCRIPT]


@rows(
    "[GPU 0] Launching task: TaskConfig(caltech101, shots=16, noise=sym_0.125)",
    "[GPU 0] Output dir: output/caltech101/NLPrompt/rn50_16shots/noise_sym_0.125/seed1",
    "[GPU 0] Log file: logs/gpu0_caltech101_20231228_143022.log",
    "[00:05:30] Still running: 4 tasks on GPUs [0, 1, 2, 3]",
    "✓ [GPU 2] Task completed: TaskConfig(caltech101, shots=16, noise=sym_0.375)",
    "Time: 01:23:45",
)
def test_the_lines_of_a_run(ran: Checkout, ours: str):
    assert re.search(rf"^ *{_like(ours)}$", ran.said, re.MULTILINE), ran.said


@rows("CUDA_VISIBLE_DEVICES=0")
def test_a_task_sees_its_gpu_only(ran: Checkout, ours: str):
    name, gpu = ours.split("=")
    logs = ran.root.glob(f"logs/gpu{gpu}_*.log")
    assert {path.name.split("_")[2:4] == noise.split("_") for path in logs for noise in [_noise(path)]} == {True}
    assert {ran.gpus()[_noise(path)] for path in ran.root.glob(f"logs/gpu{gpu}_*.log")} == {gpu}
    assert name == "CUDA_VISIBLE_DEVICES"


def _noise(log: Path) -> str:
    """sym_0.125 of gpu0_caltech101_sym_0.125_seed1_20231228_143022.log."""
    return "_".join(log.name.split("_")[2:4])


@rows("ls -lh logs/")
def test_each_task_has_its_two_logs(ran: Checkout, ours: str):
    listed = [line.split()[-1] for line in ran.shell(ours).out.splitlines()[1:]]
    names = rf"gpu[0-3]_caltech101_({'|'.join(NOISES)})_seed1_\d{{8}}_\d{{6}}\.(log|err)"
    found = [re.fullmatch(names, name) for name in listed]
    assert sorted(match.groups() for match in found if match) == sorted((n, e) for n in NOISES for e in ("err", "log"))
    assert len(listed) == 24


@rows("ls -R output/")
def test_the_outputs_are_the_guides_tree(ran: Checkout, ours: str):
    folders = [line.rstrip(":") for line in ran.shell(ours).out.splitlines() if line.endswith(":")]
    ends = {folder for folder in folders if folder.rpartition("/")[2] == "seed1"}
    assert ends == set(FOLDERS.values())
    above = {str(path) for folder in ends for path in Path(folder).parents} - {"."}
    inside = {f"{folder}/prompt_learner" for folder in ends}
    assert {folder.rstrip("/") for folder in folders} == ends | above | inside
    for folder in ends:
        assert sorted(path.name for path in (ran.root / folder).iterdir()) == ["log.txt", "prompt_learner"]


@rows("cat logs/gpu0_caltech101_*.err")
def test_errors_have_files_of_their_own(ran: Checkout, ours: str):
    on_first = [noise for noise, gpu in ran.gpus().items() if gpu == "0"]
    assert sorted(ran.shell(ours).out.splitlines()) == sorted(f"a warning about {noise}" for noise in on_first)


@rows(*TAILS)
def test_logs_can_be_followed_while_they_are_written(ran: Checkout, ours: str):
    """A task's output is not buffered: `ran` waited for the first line while the task was half done."""
    assert "epoch [1/200] sym_0.125\n* accuracy: 87.5%\n" in (ran.root / _file(ours)).read_text()


@rows(f"{SCRIPT} --skip-existing")
def test_what_is_done_is_skipped(ran: Checkout, typed: Typed, ours: str):
    found = typed(ran, ours)
    assert found.code == 0, found.err
    assert found.out.count("Skipped: ") == 12
    assert len(ran.calls()) == 12


# ---- its options ----


@rows(
    f"{SCRIPT} --data-root ~/datasets/nlprompt/caltech-101 --gpus 0,1,2,3",
    f"{SCRIPT} --gpus 0,1,2,3",
    f"{SCRIPT} --gpus 2,3",
    f"{SCRIPT} --gpus 4,5,6,7",
    f"{SCRIPT} --gpus 0,2",
)
def test_other_gpus(checkout: Checkout, typed: Typed, ours: str):
    gpus = ours.rpartition(" ")[2].split(",")
    checkout.write("cards", "8")
    checkout.write("together", str(len(gpus)))
    opened = NOISES[: len(gpus)]
    checkout.finished(*opened)
    found = typed(checkout, ours)
    assert found.code == 0, found.out + found.err
    assert [checkout.gpus()[noise] for noise in opened] == gpus
    assert {_options(call)["--root"] for call in checkout.calls()} == {"/home/user/datasets/nlprompt/caltech-101"}
    for noise, gpu in zip(opened, gpus, strict=True):
        assert len(list(checkout.root.glob(f"logs/gpu{gpu}_caltech101_{noise}_seed1_*.log"))) == 1


def test_a_gpu_that_is_not_there_is_said_before_anything_starts(checkout: Checkout, typed: Typed):
    found = typed(checkout, TABLE[f"{SCRIPT} --gpus 4,5,6,7"])
    assert found.code == 2
    assert "there is no GPU 4 here: GPU 0 (NVIDIA A40" in found.err
    assert checkout.calls() == []


@rows(f"{SCRIPT} --data-root /data/datasets/my-datasets")
def test_another_data_root(checkout: Checkout, typed: Typed, ours: str):
    checkout.finished("sym_0.5")
    assert typed(checkout, ours).code == 0
    (call,) = checkout.calls()
    assert _options(call)["--root"] == "/data/datasets/my-datasets"


@rows(f"{SCRIPT} --log-dir my_experiment_logs")
def test_another_folder_for_logs(checkout: Checkout, typed: Typed, ours: str):
    checkout.finished("sym_0.5")
    assert typed(checkout, ours).code == 0
    assert len(list(checkout.root.glob("my_experiment_logs/gpu0_caltech101_sym_0.5_seed1_*.log"))) == 1
    assert not (checkout.root / "logs").exists()


@rows(f"{SCRIPT} --check-interval 30")
def test_the_interval_delays_nothing(checkout: Checkout, typed: Typed, ours: str):
    """Three tasks on one card, each started as soon as the one before has ended."""
    checkout.write("cards", "1")
    checkout.finished(*NOISES[:3])
    began = time.monotonic()
    found = typed(checkout, ours)
    assert time.monotonic() - began < 30
    assert found.code == 0, found.err
    assert checkout.noises() == NOISES[:3]
    assert "Still running" not in found.out


@rows(f"{SCRIPT} --no-skip-existing")
def test_a_forced_rerun_trains_afresh(checkout: Checkout, typed: Typed, ours: str):
    checkout.finished()
    found = typed(checkout, ours)
    assert found.code == 0, found.err
    assert sorted(checkout.noises()) == sorted(NOISES)
    assert [call["resumed"] for call in checkout.calls()] == [False] * 12
    assert checkout.aside() == ["Finish training\n"] * 12 + ["the last epoch's"] * 12


def test_one_task_failing_does_not_stop_the_others(checkout: Checkout, typed: Typed):
    checkout.finished(*NOISES[:3])
    checkout.write(f"fail-{NOISES[1]}", "")
    found = typed(checkout, TABLE[SCRIPT])
    assert found.code == 1
    assert re.search(r"^✗ \[GPU 1\] Task failed: caltech101_sym_0\.25_seed1 \(exit code 3\)$", found.out, re.MULTILINE)
    assert "| a warning about sym_0.25" in found.out
    assert sorted(checkout.noises()) == sorted(NOISES[:3])
    assert "a warning about sym_0.25" in typed(checkout, "parallel-train logs --failed").out
    (checkout.root / f"fail-{NOISES[1]}").unlink()
    assert typed(checkout, TABLE[SCRIPT]).code == 0
    assert sorted(checkout.noises()) == sorted([*NOISES[:3], NOISES[1]])


# ---- its lists of tasks ----


def _guides(name: str) -> str:
    return (HERE / f"tests/store/guide/{name}.py").read_text()


@rows(f"{SCRIPT} --custom-tasks")
def test_the_guides_function_is_the_list(checkout: Checkout, typed: Typed, ours: str):
    """Three datasets; with an old parallel_train.py beside it, which is not taken for ours."""
    checkout.write("parallel_train.py", OLD_SCRIPT)
    checkout.write("tasks/custom.py", f"from parallel_train import TaskConfig\n{_guides('datasets')}")
    found = typed(checkout, ours)
    assert found.code == 0, found.err
    outputs = {call["argv"][-1]: _options(call)["--output-dir"] for call in checkout.calls()}
    assert outputs == THREE_DATASETS


@rows("seed=seed", 'cfg="vit_b16"')
def test_several_seeds_and_another_architecture(checkout: Checkout, typed: Typed, ours: str):
    name, outputs = {
        True: ("seeds", {f"{FOLDERS[f'sym_{r}'][:-1]}{seed}" for r in RATES[:4] for seed in (1, 2, 3)}),
        False: ("architecture", {"output/caltech101/NLPrompt/vit_b16_16shots/noise_asym_1/seed1"}),
    }[ours.startswith("seed")]
    assert re.sub(r"\s", "", ours) in re.sub(r"\s", "", _guides(name))
    checkout.write("tasks/custom.py", _guides(name))
    found = typed(checkout, f"{TABLE[f'{SCRIPT} --custom-tasks']} -n --json")
    assert {task["output"] for task in json.loads(found.out)["tasks"]} == outputs


@rows("get_default_tasks()")
def test_the_edited_script_itself_is_a_list(checkout: Checkout, typed: Typed, ours: str):
    """What the bundled list has done counts for it: they are the same tasks."""
    checkout.write("parallel_train.py", OLD_SCRIPT)
    checkout.finished("sym_0.5", "asym_0.5")
    assert typed(checkout, "parallel-train '*_asym_0.5_*'").code == 0
    found = typed(checkout, ours)
    assert found.code == 0, found.err
    assert checkout.noises() == ["asym_0.5", "sym_0.5"]
    assert "the old scheduler" not in found.out + found.err
    assert len(list(checkout.root.glob(f"{BASE}/noise_*_0.50/seed1/prompt_learner/model.pth.tar-200"))) == 2


@rows(
    "./scripts/nlprompt/main.sh caltech101 16 0.5 sym 100",
    "./scripts/nlprompt/main.sh caltech101 16 0.25 sym 100",
)
def test_one_run_alone(checkout: Checkout, typed: Typed, ours: str):
    found = typed(checkout, ours)
    assert found.code == 0, found.err
    assert checkout.noises() == re.findall(r"sym_0\.\d+", ours)


# ---- the bash script ----


@pytest.fixture
def script(checkout: Checkout) -> Path:
    return Path(shutil.copy(HERE / "parallel_train.sh", checkout.root))


@rows("chmod +x parallel_train.sh", "./parallel_train.sh")
def test_the_bash_script_runs_what_is_not_done(checkout: Checkout, script: Path, ours: str):
    checkout.finished("sym_0.5")
    found = checkout.shell(ours)
    assert found.code == 0, found.text
    assert found.out.count("Skipped: ") == 11
    assert checkout.noises() == ["sym_0.5"]


@rows('TASKS=("caltech101 16 0.5 sym 100" "oxford_pets 16 0.5 sym 37" "oxford_flowers 16 0.5 sym 102")')
def test_the_bash_script_has_the_guides_list(checkout: Checkout, script: Path, ours: str):
    edited, count = re.subn(r"^TASKS=\(.*?^\)", ours, script.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert count == 1
    script.write_text(edited)
    found = checkout.shell(TABLE["./parallel_train.sh"])
    assert found.code == 0, found.text
    outputs = {call["argv"][-1]: _options(call)["--output-dir"] for call in checkout.calls()}
    assert outputs == THREE_DATASETS


@rows("GPU_IDS=(0 1 2 3)")
def test_the_bash_script_has_the_guides_gpus(script: Path, ours: str):
    assert re.search(rf"^{re.escape(ours)}", script.read_text(), re.MULTILINE)


# ---- looking ----


@rows("watch -n 1 nvidia-smi", "nvtop")
def test_the_gpus_can_be_watched(checkout: Checkout, ours: str):
    looking = checkout.begin(ours)
    checkout.until_said("3\tNVIDIA A40\t0%")
    looking.send_signal(signal.SIGINT)
    looking.wait(20)
    assert "Traceback" not in checkout.said


@rows(
    "nvidia-smi",
    "nvidia-smi -i 0,1,2,3",
    "nvidia-smi -L",
    'python -c "import torch; print(torch.cuda.device_count())"',
)
def test_the_gpus_are_listed(checkout: Checkout, typed: Typed, ours: str):
    found = typed(checkout, ours)
    assert found.code == 0, found.err
    assert [line.split("\t")[:2] for line in found.out.splitlines()[1:5]] == [[n, "NVIDIA A40"] for n in "0123"]
    assert "would take GPU 0-3" in found.out


@rows('python -c "import torch; print(torch.cuda.is_available())"')
def test_what_is_missing_is_named(checkout: Checkout, typed: Typed, ours: str):
    """The interpreter that tasks get here has no torch."""
    found = typed(checkout, ours)
    assert found.code == 0, found.out
    assert re.search(r"^note +torch +", found.out, re.MULTILINE)
    assert re.search(r"^ok +gpus +--gpus auto takes GPU 0-3$", found.out, re.MULTILINE)


@rows("chmod +x parallel_train.py parallel_train.sh")
def test_it_is_a_module_too(ran: Checkout, checkout: Checkout, ours: str):
    found = ran.shell(ours)
    assert found.code == 0, found.err
    assert found.out.count("Skipped: ") == 12
    checkout.write("parallel_train.py", OLD_SCRIPT)
    assert checkout.shell(ours).out == "the old scheduler\n"  # why the table warns of it


@rows("python train.py --help")
def test_the_users_script_stays_as_it_is(ran: Checkout, ours: str):
    assert ran.shell(ours).out.startswith("usage: train.py")
    assert (ran.root / "train.py").read_bytes() == (PROGRAMS / "nlprompt.py").read_bytes()


# ---- the README ----


def test_every_line_of_the_table_is_run():
    assert sorted(TABLE) == sorted(TESTED)
