"""Who looks at a project from another folder: do the commands and paths that are printed work there?"""

from __future__ import annotations

import re
import shlex

import pytest

from parallel_train.core.facts import Exited
from tests.commands.history import History, task
from tests.support.call import Caller, call

__all__ = ["call"]

FOLDER = "my ini"
COMMAND = re.compile(r"parallel-train(?: [a-z/]+(?:\.yaml)?| -n)? -C 'my ini'")
FAILED = Exited(3)


@pytest.fixture
def history(call: Caller) -> History:
    """One of each kind, in a folder below."""
    made = History(call.root / FOLDER)
    done, failed, ready = task("done"), task("failed"), task("ready")
    done, failed, _, ready = made.submit(
        done, failed, task("aborted", needs=(failed.id,)), ready, source="tasks/a.yaml"
    )
    made.write("tasks/a.yaml", "tasks:\n  - {name: ready, command: 'true ready', output: output/ready}\n")
    made.ran(done)
    made.write(f"{done.output}/metrics.json", '{"accuracy": 0.5}')
    made.ran(failed, outcome=FAILED, log=b"oh no\n")
    return made


def commands(text: str) -> list[str]:
    """Every mention of a command, each checked for its folder."""
    mentions = [place.start() for place in re.finditer("parallel-train (?!: )", text)]
    found = [COMMAND.match(text, place) for place in mentions]
    assert all(found), text
    return [match[0] for match in found if match]


SAID = [
    (("status",), 1),
    (("explain", "failed"), 2),
    (("explain", "aborted"), 1),
    (("explain", "ready"), 1),
    (("explain", "done"), 1),
    (("cancel", "ready"), 1),
    (("retry", "failed"), 1),
    (("pause",), 1),
    (("pause", "ready"), 1),
    (("add", "--", "true"), 1),
    (("add",), 1),
    (("gc",), 0),
    (("attach",), 1),
    (("init",), 2),
    (("worker", "--gpus", "nonsense"), 0),
    (("run", "tasks/none.yaml"), 0),
    (("-n",), 1),
    (("config",), 0),
]


@pytest.mark.parametrize(
    ("words", "least"), SAID, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_every_command_that_is_printed_carries_the_folder(
    history: History, call: Caller, words: tuple[str, ...], least: int
):
    before, _, rest = " ".join(words).partition(" -- ")
    found = call(*before.split(), "-C", FOLDER, *(["--", rest] if rest else []))
    assert len(commands(found.out + found.err)) >= least, found


def test_a_paused_queue_says_how_it_goes_on(history: History, call: Caller):
    call("pause", "-C", FOLDER)
    for words in (["status", f"{FOLDER}/"], ["explain", FOLDER, "ready"], ["-C", FOLDER, "tasks/a.yaml", "-n"]):
        said = call(*words)
        assert re.search("parallel-train resume -C 'my ini/?'", said.out), said
    call("resume", "-C", FOLDER)
    call("pause", "-C", FOLDER, "ready")
    assert "parallel-train resume -C 'my ini' 4" in call("resume", "-C", FOLDER).out


def test_a_folder_is_not_taken_for_a_command(call: Caller):
    History(call.root / "ini")
    assert "did you mean" not in call("-C", "ini").err
    assert "did you mean the command 'status'?" in call("-C", "ini", "statu").err


def test_an_unknown_setting_is_shown_at_its_place(history: History, call: Caller):
    history.write("configs/parallel-train.yaml", "gpux: 1\n")
    found = call("worker", "-C", FOLDER)
    assert f"{FOLDER}/configs/parallel-train.yaml:1:1: unknown setting" in found.err
    history.write("configs/parallel-train.yaml", "zzzz: 1\n")
    assert commands(call("worker", "-C", FOLDER).err) == ["parallel-train config -C 'my ini'"]


def test_a_fault_of_a_task_file_is_shown_at_its_place(history: History, call: Caller):
    history.write("tasks/bad.yaml", "tasks:\n  - {comand: x}\n")
    assert (
        f"parallel-train: {FOLDER}/tasks/bad.yaml:2:6: unknown key 'comand'" in call("-C", FOLDER, "tasks/bad.yaml").err
    )


def test_paths_lead_there(history: History, call: Caller):
    """Those for people; what programs read stays relative to the project."""
    log = "logs/gpu0_failed_1.log"
    for words in (["status"], ["explain", "failed"], ["logs", "failed", "done"]):
        assert f"{FOLDER}/{log}" in call(*words, "-C", FOLDER).out
    assert f'"log": "{log}"' in call("status", "-C", FOLDER, "--json").out
    assert f"output: {FOLDER}/output/done" in call("results", "-C", FOLDER, "--best").out
    records = re.findall(
        r"^  (?:tasks|claims|ends) +(\S.*)$", call("explain", "-C", FOLDER, "failed").out, re.MULTILINE
    )
    assert len(records) == 3
    assert all((call.root / path).is_file() for path in records)


def test_what_is_pasted_works(history: History, call: Caller):
    """All that a look prints, typed as it stands."""
    said = call("explain", "-C", FOLDER, "failed").out
    lines = [shlex.split(line) for line in re.findall(r"^  (parallel-train logs [^#\n]*?)  ", said, re.MULTILINE)]
    assert lines == [["parallel-train", "logs", "-C", FOLDER, "2"]]
    assert "oh no" in call(*lines[0][1:]).out
