"""Does each command have a page that fits, with examples that are true? Does the shell complete what it can?"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest
import typer

from parallel_train.commands import app
from parallel_train.commands.page import with_command
from tests.commands.history import History, task
from tests.support.call import Caller, call

__all__ = ["call"]

PROGRAM = typer.main.get_command(app.app)
NAMES = list(PROGRAM.commands)
OWN = {"--help", "-h", "--version", "--install-completion", "--show-completion"}


def page(call: Caller, *words: str) -> str:
    found = call(*words, "--help", COLUMNS="80")
    assert (found.code, found.err) == (0, "")
    return found.out


@pytest.mark.parametrize("name", [None, *NAMES])
def test_a_page_fits_and_ends_with_examples(call: Caller, name: str | None):
    text = page(call, *([name] if name else []))
    assert max(len(line) for line in text.splitlines()) <= 80
    sections = re.findall(r"^(\w.*):$", text, re.MULTILINE)
    assert sections[0] == "Options"
    assert sections[-1] == "Examples"
    assert "x>=" not in text
    assert "<list" not in text
    first, paragraph = text.split("\n\n")[1:3]
    assert first.strip().endswith(".")
    assert "\n" not in first.strip()
    assert not paragraph.startswith("Options"), "a paragraph says what the sentence leaves out"


@pytest.mark.parametrize("name", [None, *NAMES])
def test_examples_hold_options_that_there_are(call: Caller, name: str | None):
    """And each line begins with a command that can be pasted."""
    examples = page(call, *([name] if name else [])).split("Examples:\n")[1].splitlines()
    assert examples
    for line in examples:
        command = re.split(r"\s{2,}", line.strip())[0]
        assert re.match(r"parallel-train\b|export PARALLEL_TRAIN_|echo '", command), command
        if not command.startswith("parallel-train"):
            continue
        words = shlex.split(command.split(" > ")[0].split(" && ")[0].split(" || ")[0])[1:]
        chosen, *rest = with_command(words, PROGRAM.commands, OWN) if words else ["run"]
        ctx = PROGRAM.commands[chosen].make_context(chosen, rest, parent=None)
        assert ctx.info_name == chosen


def test_the_program_lists_every_command_in_its_group(call: Caller):
    text = page(call)
    for group, functions in app.COMMANDS.items():
        listed = text.split(f"\n{group}:\n")[1].split("\n\n")[0]
        assert re.findall(r"^  (\S+)", listed, re.MULTILINE) == [function.__name__ for function in functions]
    assert "..." not in text.split("Run:")[1].split("Examples:")[0], "a sentence is cut short"


def test_the_first_word_after_options_is_the_command():
    for typed, meant in {
        "": "run",
        "status": "status",
        "--gpus 0,1": "run --gpus 0,1",
        "--gpus 0 status --all": "status --gpus 0 --all",
        "tasks/x.yaml -n": "run tasks/x.yaml -n",
        "--help": "--help",
        "--version": "--version",
        "--help status": "status --help",
        "-n --help": "run -n --help",
        "-C x logs 3": "logs -C x 3",
        "-- status": "run -- status",
    }.items():
        assert with_command(typed.split(), PROGRAM.commands, OWN) == meant.split()


# ---- completion ----


def completed(call: Caller, line: str) -> list[str]:
    words = shlex.split(line) + ([""] if line.endswith(" ") else [])
    found = call(_PARALLEL_TRAIN_COMPLETE="complete_bash", COMP_WORDS="\n".join(words), COMP_CWORD=str(len(words) - 1))
    assert found.code == 0
    return found.out.split()


@pytest.fixture
def history(call: Caller) -> History:
    made = History(call.root)
    made.submit(task("train-a"), task("train b"), task("eval", stage="evaluation"))
    call.write("tasks/mine.yaml", "")
    call.write("tasks/notes.txt", "")
    return made


def test_commands_options_files_and_tasks_are_completed(call: Caller, history: History):
    assert completed(call, "parallel-train stat") == ["status"]
    assert completed(call, "parallel-train tr") == ["train-a"]  # what a shell would split is left out
    assert completed(call, "parallel-train run ta") == ["tasks/mine.yaml"]
    assert completed(call, "parallel-train tasks/mine.yaml e") == ["evaluation", "eval"]
    assert completed(call, "parallel-train status ev") == ["evaluation", "eval"]
    assert completed(call, "parallel-train --at-o") == ["--at-once"]
    assert completed(call, "parallel-train logs --fol") == ["--follow"]
    assert completed(call, f"parallel-train -C {call.root} status tr") == ["train-a"]
    everything = completed(call, "parallel-train ")
    assert {*NAMES, "tasks/mine.yaml", "train-a"} <= set(everything)


def test_completion_says_nothing_where_something_is_wrong(call: Caller, history: History):
    next((history.queue / "tasks").iterdir()).write_text("damaged")
    call.write("configs/parallel-train.yaml", "nonsense: 1\n")
    assert completed(call, "parallel-train status tr") == []
    assert completed(call, "parallel-train -C nowhere status tr") == []


def test_the_script_for_a_shell(call: Caller):
    shown = call("--show-completion", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="")
    assert shown.code in {0, 1}  # 1 where the shell is none that it knows
    assert "Traceback" not in shown.err


# ---- cost ----


def test_help_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['parallel-train', 'run', '--help']\n"
        "from parallel_train.commands import app\n"
        "try: app.main()\n"
        "except SystemExit: print(*sorted(sys.modules))"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PARALLEL_TRAIN_")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean, cwd="/")
    loaded = set(done.stdout.splitlines()[-1].split())
    assert (
        loaded & {"rich", "pydantic", "yaml", "psutil", "pynvml", "torch", "parallel_train.commands.settings"} == set()
    )


@pytest.mark.parametrize(
    "words", [["status"], ["results", "--csv"], ["logs", "-C", ".", "train_0"], ["cancel", "train_0"]]
)
def test_what_reads_no_task_file_does_not_load_what_checks_one(history: History, words: list[str]):
    code = (
        f"import sys; sys.argv = ['parallel-train', *{words}]\n"
        "from parallel_train.commands import app\n"
        "try: app.main()\n"
        "except SystemExit: print('pydantic' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=history.path)
    assert done.stderr.splitlines()[-1] == "False"
