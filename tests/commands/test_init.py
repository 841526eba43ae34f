"""Does `init` write a file that says exactly what was typed, and never over another?"""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from parallel_train.commands.init import init
from parallel_train.core.task import Task, fill
from parallel_train.store.taskfile import LoadSettings, load
from tests.support.call import Caller, call

__all__ = ["call"]

FILE = "tasks/default.yaml"


def tasks_of(folder: Path) -> tuple[Task, ...]:
    return load(Path(FILE), LoadSettings(folder)).tasks


def wrote(folder: Path, *words: str) -> Task:
    """The one task of the file that `init -- words` writes."""
    (folder / FILE).unlink(missing_ok=True)
    init(words, file=None, project=folder, out=io.StringIO())
    (task,) = tasks_of(folder)
    return task


def argv(task: Task, python: str = "python") -> list[str]:
    return [fill(word, {"python": python}) for word in task.command]


# ---- every command comes back ----

NAMES = ["lr", "seed", "output-dir", "out", "save_dir", "include", "output", "a.b", "python", "args", "x", "seed.seed"]
VALUES = st.one_of(
    st.sampled_from(["0.1", "1e-3", "0123", "0.50", "no", "yes", "null", "~", "", "-1", "-x", "--", "- a", "a: b"]),
    st.sampled_from(
        ["{lr}", "{{lr}}", "{output}", "{args}", "{", "~/x", "$HOME", "a\\\nb", "a b", "'", '"', "#", "&&"]
    ),
    st.sampled_from(["runs/a", "./runs/a/", "runs//a", "a/../b", "../up", "/abs/x", ".", "runs/{lr}", "ü/ß", "a,b]"]),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
    st.integers(-(10**12), 10**12).map(str),
    st.floats().map(str),
)
ARGUMENTS = st.one_of(
    st.tuples(st.sampled_from(NAMES).map("--{}".format), VALUES).map(list),
    st.tuples(st.sampled_from(NAMES).map("--{}".format), VALUES).map("=".join).map(lambda word: [word]),
    st.tuples(st.sampled_from([*NAMES, "+t.x", "model/lr"]), VALUES).map("=".join).map(lambda word: [word]),
    st.tuples(st.sampled_from(["DATASET.NOISE_RATE", "SOLVER.SEED", "X.OUTPUT_DIR"]), VALUES).map(list),
    st.sampled_from([["--fp16"], ["-b", "32"], ["--layers", "64", "128"], ["-v"]]),
    VALUES.map(lambda value: [value]),
)
PROGRAMS = st.sampled_from(
    [
        *(["python", "train.py"], ["python3", "-u", "-m", "pkg.train"], ["./train.sh"], ["echo"], ["my prog"]),
        *(["torchrun", "--nproc_per_node", "2", "train.py"], ["python", "-c", "print(1)"], ["{python}", "~/x.py"]),
    ]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("init")


@settings(max_examples=400, deadline=None)
@given(program=PROGRAMS, arguments=st.lists(ARGUMENTS, max_size=6))
@example(program=["python", "train.py"], arguments=[["--out", "x"], ["--out", "y"], ["--seed", "1"], ["--seed", "2"]])
@example(program=["python", "train.py"], arguments=[["--seed", "x"], ["--seed", "1"], ["--größe", "1"], ["--A.1=2"]])
@example(program=["python", "train.py"], arguments=[["--a", "\u2028\x85\ufeff\U0001f600\uffff\x7f"], ["a" * 300]])
def test_the_first_point_is_what_was_typed(folder: Path, program: list[str], arguments: list[list[str]]):
    words = [*program, *(word for argument in arguments for word in argument)]
    assert argv(wrote(folder, *words), words[0]) == words


def test_an_output_within_the_project_may_be_absolute(folder: Path):
    task = wrote(folder, "python", "train.py", "--out", f"{folder}/runs/a/")
    assert task.output == "runs/a"
    assert argv(task)[-1] == f"{folder}/runs/a/"


# ---- what is made of it ----


def text(folder: Path, *words: str) -> str:
    wrote(folder, *words)
    return (folder / FILE).read_text()


def test_arguments_become_a_matrix(folder: Path):
    words = "python train.py --lr 0.1 --width=64 model.depth=3 DATASET.NOISE_RATE 0.50 --fp16 --seed 3 --out runs/a"
    written = text(folder, *words.split())
    task = wrote(folder, *words.split())
    assert dict(task.params) == {"lr": 0.1, "width": 64, "depth": 3, "noise_rate": "0.50", "seed": 3}
    assert task.output == "runs/a"
    assert "seeds: [3]" in written
    assert "lr: [0.1]" in written
    assert "--fp16" in " ".join(written.split("matrix")[0].split())
    assert "{python} train.py" in written


def test_more_values_make_more_runs(folder: Path):
    written = text(folder, *["python", "train.py", "--lr", "0.1", "--seed", "1", "--out", "runs/a"])
    written = written.replace("[0.1]", "[0.1, 0.2]").replace("output: runs/a", 'output: "runs/a/lr{lr}"')
    (folder / FILE).write_text(written)
    assert [argv(task)[-1] for task in tasks_of(folder)] == ["runs/a/lr0.1", "runs/a/lr0.2"]


def test_a_word_that_means_something_else_in_yaml_is_quoted(folder: Path):
    """To our reader, and to the others that a person may use."""
    written = text(folder, "python", "train.py", "--flag", "yes", "--none", "null", "--rate", "1e-3", "--batch", "7")
    assert all(part in written for part in ('flag: ["yes"]', 'none: ["null"]', 'rate: ["1e-3"]', "batch: [7]"))


def test_a_negative_number_is_a_value_and_an_option_is_none(folder: Path):
    task = wrote(folder, "python", "train.py", "--shift", "-0.5", "--fp16", "--lr", "1")
    assert dict(task.params) == {"shift": -0.5, "lr": 1}


@pytest.mark.parametrize("words", [(), ("python", "train.py"), ("python", "train.py", "--out", "o", "--lr", "1")])
def test_every_line_that_is_offered_holds(folder: Path, words: tuple[str, ...]):
    """What stands behind a mark works once the mark is taken away."""
    (folder / FILE).unlink(missing_ok=True)
    init(words, file=None, project=folder, out=io.StringIO())
    whole = (folder / FILE).read_text()
    offered = re.sub(r"^    # (?=\w+:)", "    ", whole, flags=re.MULTILINE)
    assert offered.count("\n    retries: 1") == 1
    (folder / FILE).write_text(offered)
    (task, *_) = tasks_of(folder)
    assert (task.retries, task.timeout, len(task.metrics)) == (1, 12 * 3600, 1)


# ---- the command ----


def test_an_example_that_runs_as_it_is(call: Caller):
    call.write("train.py", "import os, sys\nos.makedirs(sys.argv[-1] + '/x')\n")
    made = call("init")
    assert (made.code, made.err) == (0, "")
    assert made.out.startswith(f"wrote {FILE}\n")
    assert "parallel-train -n" in made.out
    ran = call("--gpus", "cpu:2")
    assert ran.code == 0, ran.out
    assert len(list(call.root.glob("output/lr*/seed*/x"))) == 6


def test_a_second_init_overwrites_nothing(call: Caller):
    call.write(FILE, "mine")
    found = call("init", "--", "python", "train.py")
    assert (found.code, found.out) == (2, "")
    assert f"{FILE} is there already: edit it, or write another one: parallel-train init -f" in found.err
    assert (call.root / FILE).read_text() == "mine"
    other = call("init", "-f", "tasks/other.yaml", "--", "python3", "train.py", "--lr", "0.1")
    assert other.code == 0
    assert "parallel-train tasks/other.yaml -n" in other.out
    planned = call("tasks/other.yaml", "-n", "--json", "--gpus", "cpu:1", "--python", "/usr/bin/py")
    assert '"/usr/bin/py",\n        "train.py",\n        "--lr",\n        "0.1"' in planned.out


def test_a_link_to_nowhere_is_not_followed(call: Caller):
    (call.root / "tasks").mkdir()
    (call.root / FILE).symlink_to(call.root / "elsewhere")
    assert call("init").code == 2
    assert not (call.root / "elsewhere").exists()


def test_what_it_means_that_no_argument_names_the_output(call: Caller):
    assert "no argument names its output" in call("init", "--", "python", "train.py").out
    said = call("init", "-f", "b.yaml", "--", "python", "train.py", "--out", "../up").out
    assert "its output can't be promised ('../up' lies outside of the project" in said
    assert "note" not in call("init", "-f", "c.yaml", "--", "python", "train.py", "--out", "up").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-f", "x.py"], "a task file's name ends in .yaml"),
        (["-f", "a/b/c.yaml"], "can't write a/b/c.yaml: File exists"),
        (["-C", "nowhere"], "no such folder"),
        (["--", "echo", "\udc80"], "not UTF-8 text"),
    ],
)
def test_what_cannot_be_written_is_said(call: Caller, words: list[str], said: str):
    call.write("a/b", "a file")
    found = call("init", *words)
    assert (found.code, found.out) == (2, "")
    assert said in found.err
    assert "Traceback" not in found.err
    assert sorted(path.name for path in call.root.iterdir()) == ["a"]


def test_the_file_is_found_by_its_readers(call: Caller):
    """Where nothing was written yet, a run names `init`."""
    assert "parallel-train init" in call("--gpus", "cpu:1").err
