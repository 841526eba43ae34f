"""Is what the README says true: its words, its exit codes, its commands and its task files?"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import get_args

import pytest

from parallel_train.commands.app import COMMANDS
from parallel_train.core.state import Ended, Ending, State
from parallel_train.errors import NothingSelectedError, UsageError
from tests.support.call import Caller
from tests.support.slurm import stand_in
from tests.support.sweep import Project
from tests.support.sweep import project as make

HERE = Path(__file__).parents[1]
README = (HERE / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def table(title: str) -> dict[str, str]:
    """The first two cells of each row below a heading."""
    rows = re.findall(r"^\| *(.+?) *\| *(.+?) *\|$", section(title), re.MULTILINE)
    return {cell: meaning for cell, meaning in rows if not set(cell) <= {"-", "|"}}


def commands() -> list[str]:
    """Every command of ours in the README's shell blocks, without its comment; those that install are apart."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [line.split("  #")[0].strip() for line in lines if line.startswith("parallel-train")]


# ---- words ----


def test_the_words_are_those_of_the_code():
    words = table("Words")
    states = [name.strip() for name in str(State).split("|")]
    assert ", ".join(state.lower() for state in states) in words
    assert ", ".join(get_args(Ending)) in words
    assert "stale" in words
    assert hasattr(Ended, "stale")


def test_the_exit_codes_are_those_of_the_code():
    codes = set(table("Exit codes")) - {"code"}
    assert codes == {"0", "1", str(UsageError.exit_code), str(NothingSelectedError.exit_code), "130, 143"}


# ---- commands ----


def test_the_two_long_commands_are_there():
    """One tries it, one tests it; the second is the line that the checks run."""
    install = "python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e '.[torch,test]' && "
    long = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("python3 -m venv")]
    assert long == [install + ".venv/bin/parallel-train", install + ".venv/bin/python -m pytest -q"]
    pattern = re.search(r"grep -m1 -E '(.+?)' README.md", (HERE / ".ci/run").read_text())
    assert pattern is not None
    assert next(line for line in README.splitlines() if re.search(pattern[1], line)) == long[1]


TRAIN = """
import json, os, sys
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
os.makedirs(options["--out"])
with open(options["--out"] + "/metrics.json", "w") as file:
    json.dump({"accuracy": 1 - float(options["--lr"])}, file)
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory):
    """A project as somebody has it who follows the README, with a train.py that takes no time."""
    with make(tmp_path_factory.mktemp("readme")) as project:
        shutil.copytree(HERE / "tasks", project.root / "tasks")
        mine, _, search = blocks("yaml")
        project.write("tasks/mine.yaml", mine)
        project.write("tasks/tree.yaml", search)
        project.write("train.py", TRAIN)
        python = project.write("python3", f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
        python.chmod(0o755)
        yield project


NO_RUN = {function.__name__ for group, commands in COMMANDS.items() if group != "Run" for function in commands}


def on_slots(command: str, project: Project) -> list[str]:
    """The command with devices that are there, and an interpreter that starts fast."""
    _, *words = shlex.split(command)
    if words and words[0] in NO_RUN:
        return words
    if "--on" in words:  # tests/slurm runs it on a cluster
        return [*words, "-n"]
    if "--gpus" in words:
        at = words.index("--gpus")
        del words[at : at + 2]
    # These need a checkout of their own, or torch (see e2e/test_run.py and e2e/test_pipeline.py).
    dry = ["-n"] if "nlprompt" in command or "pipeline" in command else []
    return [*words, *dry, "--gpus", "cpu:2", "--python", str(project.root / "python3")]


def test_the_commands_work_in_the_order_in_which_they_stand(
    written: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    call = Caller(written.root, monkeypatch, capsys)
    stand_in(written.root / ".parallel-train", written.root / "slurm", monkeypatch)
    assert len(commands()) >= 9
    for command in commands():
        found = call(*on_slots(command, written))
        wanted = 3 if "--failed" in command or "--running" in command else 0  # nothing failed, or runs
        assert found.code == wanted, f"{command}: {found.out}{found.err}"
        assert "Traceback" not in found.out + found.err
    assert len(list(written.root.glob("output/mine/lr*/seed*/metrics.json"))) == 6


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Gives the script that the README's first command for Slurm prints, and what it is called by there."""
    project = tmp_path / "my-project"
    (project / "tasks").mkdir(parents=True)
    (project / "tasks/mine.yaml").write_text(blocks("yaml")[0])
    (project / "train.py").write_text(TRAIN)
    call = Caller(project, monkeypatch, capsys)
    stand_in(project / ".parallel-train", tmp_path / "slurm", monkeypatch)
    (command,) = (line for line in commands() if "--on slurm" in line and line.endswith(" -n"))

    def script(*more: str) -> str:
        found = call(*shlex.split(command)[1:], *more)
        assert found.code == 0, found.err
        return found.out[found.out.index("#!/bin/bash") :].replace(str(project), "/home/anna/my-project")

    return script


def test_the_script_for_slurm_is_the_one_that_is_sent(scripted):
    text = re.sub(r"(?<=exec )\S+", "/home/anna/parallel-train/.venv/bin/python3", scripted())
    (shown,) = blocks("bash")
    mark = re.compile(r"parallel-train-(new|[0-9a-f]{12})-1$", re.MULTILINE)
    assert mark.sub("", text).strip() == mark.sub("", shown).strip()
    assert len(mark.findall(shown)) == 1


def test_what_a_site_always_wants_goes_into_the_script(scripted):
    Path("configs").mkdir()
    Path("configs/slurm.yaml").write_text(blocks("yaml")[1])
    text = scripted()
    for option in ("--account=my_lab", "--partition=gpu", "--time=4:00:00", "--mem=64G"):
        assert f"\n#SBATCH {option}\n" in text
    for line in ("module load cuda/12.4", "export NCCL_DEBUG=WARN", "source ~/venv/bin/activate"):
        assert f"\n{line}\n" in text


def test_the_search_is_a_task_file(written: Project):
    found = written.run("tasks/tree.yaml", "--python", str(written.root / "python3"))
    assert found.code == 0, found.text
    assert "search: 10 of 21 points, drawn with seed 0" in found.text
    assert len(list(written.root.glob("output/search/*/metrics.json"))) == 10


def test_the_options_are_those_of_the_command(written: Project):
    known = written.ask("run", "--help").out
    options = re.findall(r"`(-[^` ]+)", "\n".join(table("Options")))
    assert len(options) > 15
    for option in options:
        assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", known), option


def test_the_keys_are_those_of_a_task_file(written: Project):
    keys = re.findall(r"`(\w+)", "\n".join(table("The task file")))
    assert {"command", "matrix", "needs", "retries", "priority"} <= set(keys)
    every = "".join(f"    {key}: [[]]\n" for key in dict.fromkeys([*keys, "nosuchkey"]))
    written.write("tasks/wrong.yaml", f"tasks:\n  -\n{every}")
    said = written.run("tasks/wrong.yaml", "-n").err
    assert re.findall(r"unknown key '(\w+)'", said) == ["nosuchkey"]


def test_the_python_block_is_a_task_file(written: Project):
    (python,) = blocks("python")
    written.write("tasks/custom.py", python)
    found = written.run("--custom-tasks", "-n", "--python", sys.executable, env={"PYTHONPATH": str(HERE)})
    assert found.code == 0, found.text
    assert len([line for line in found.out.splitlines() if "\trun\t" in line]) == 6


@pytest.mark.parametrize("name", ["default", "losses", "search"])
def test_the_bundled_task_lists_are_fit_to_run(project_copy: Project, name: str):
    found = project_copy.run(f"tasks/{name}.yaml", "-n", "--python", sys.executable)
    assert found.code == 0, found.text
    assert "missing" not in found.err
    assert found.out.count("\trun\t") >= 9


@pytest.fixture
def project_copy(tmp_path: Path):
    with make(tmp_path) as project:
        for folder in ("tasks", "configs"):
            shutil.copytree(HERE / folder, project.root / folder)
        yield project
