"""Does a task file become the tasks that its author meant?"""

import json
import time
from pathlib import Path

import pytest

from parallel_train.core.task import DoneWhen, Metric, fill, late, show, task_id
from parallel_train.store.taskfile import LoadSettings, load
from tests.support import dahps

ROOT = Path(__file__).parents[2]


@pytest.fixture
def read(tmp_path):
    def read(text, **settings):
        (tmp_path / "tasks.yaml").write_text(text)
        return load(Path("tasks.yaml"), LoadSettings(tmp_path, **settings))

    return read


@pytest.mark.parametrize(
    ("name", "count"),
    [("default", 12), ("nlprompt_caltech101", 12), ("nlprompt", 84), ("losses", 36), ("pipeline", 6), ("search", 12)],
)
def test_the_bundled_files(name, count):
    file = load(Path(f"tasks/{name}.yaml"), LoadSettings(ROOT))
    assert file.path == f"tasks/{name}.yaml"
    assert len(file.tasks) == len({task.id for task in file.tasks}) == count
    assert all(task.id == task_id(task) and task.number == 0 for task in file.tasks)
    assert file.notes == tuple(f"search: {drawn}" for drawn in file.searches)
    assert len(file.searches) == (name == "search")


def test_the_bundled_search_names_what_each_point_has():
    for task in load(Path("tasks/search.yaml"), LoadSettings(ROOT)).tasks:
        q = f"-q{task.params['q']}" if task.params["trainer"] == "gce" else ""
        p = task.params
        assert task.name == f"search-{p['trainer']}{q}-lr{p['lr']}-hidden{p['hidden']}"


def test_every_key_arrives(read):
    text = """\
defaults: {retries: 1, params: {a: 1}, env: {X: 1}}
tasks:
  - {name: prep, command: make, output: data/x}
  - name: "t-{lr}"
    stage: train
    command: [train, "{lr}", "{args}"]
    matrix: {lr: [1e-3]}
    params: {flag: true}
    output: "{output_base}/{lr}"
    done_when: {file: "{output}/log*", contains: "lr {lr}"}
    metrics: [{name: acc, file: "{output}/m.json"}, {name: loss, mode: min, regex: "{lr} loss (.*)"}]
    inputs: ["data/{lr}.csv"]
    needs: [prep]
    gpus: 2
    env: {Y: "{lr}", WANDB_API_KEY: "secret:WANDB_API_KEY"}
    cwd: .
    timeout: 2h30m
    priority: -1
"""
    prep, task = read(text).tasks
    assert (task.name, task.stage, task.gpus, task.retries, task.priority) == ("t-0.001", "train", 2, 1, -1)
    assert task.command == ("train", "0.001", "--a", "1", "--flag", "--lr", "0.001")
    assert dict(task.params) == {"a": 1, "flag": True, "lr": 0.001}
    assert task.output == "output/0.001"
    assert task.done_when == DoneWhen(("output/0.001/log*",), "lr 0.001")
    assert task.metrics == (
        Metric("acc", "max", "output/0.001/m.json"),
        Metric("loss", "min", None, "0\\.001 loss (.*)"),
    )
    assert task.inputs == ("data/0.001.csv",)
    assert task.needs == (prep.id,)
    assert dict(task.env) == {"X": "1", "Y": "0.001", "WANDB_API_KEY": "secret:WANDB_API_KEY"}
    assert (task.timeout, task.source, task.shell, task.cwd) == (9000.0, "tasks.yaml", False, ".")


def test_needs_stand_for_the_outputs_of_what_a_task_needs(read):
    text = """\
tasks:
  - {name: b, stage: s, command: x, output: "out/b c"}
  - {name: a, stage: s, command: x, output: /abs/a}
  - {name: words, needs: [s], command: "collate {needs} {{needs}} --n 2"}
  - {name: listed, needs: [a, s], command: [collate, "{needs}"], cwd: src}
  - {name: shell, needs: [s], command: "collate {needs} ${needs} > log", shell: true}
"""
    *_, words, listed, shell = read(text).tasks
    assert words.command == ("collate", "out/b c", "/abs/a", "{needs}", "--n", "2")
    assert listed.command == ("collate", "/abs/a", "../out/b c")
    assert shell.command == ("collate 'out/b c' /abs/a ${needs} > log",)


def test_a_text_is_split_as_a_shell_would_without_a_shell(read):
    (task,) = read("""\
tasks:
  - command: |
      ~/bin/train 'a b' "{v}" ~ \\
        --root={data_root} '{"k": 1}' $HOME
    params: {v: "$(x) 'y' {z}"}
""").tasks
    home = late("home")
    root = f"--root={late('data_root')}"
    assert task.command == (
        f"{home}/bin/train",
        "a b",
        "$(x) 'y' {z}",
        home,
        root,
        "{k: 1}".replace("k", '"k"'),
        "$HOME",
    )
    assert show(task.command[0]) == "~/bin/train"
    assert fill(task.command[0], {"home": "/h"}) == "/h/bin/train"


def test_a_shell_gets_one_text_with_quoted_values(read):
    (task,) = read("""\
tasks:
  - {command: "a {v} > ${OUT} && b {args}", shell: true, params: {v: "x; rm y", n: 1}}
""").tasks
    assert task.command == ("a 'x; rm y' > ${OUT} && b --v 'x; rm y' --n 1",)


def test_automatic_names_tell_like_tasks_apart(read):
    file = read("""\
tasks:
  - {command: "{python} src/train.py {m}", matrix: {m: [small, big]}, seeds: 2, params: {epochs: 1}}
  - {command: "{python} src/train.py {m}", params: {m: small, epochs: 2}}
  - {command: python -m pkg.eval}
  - {stage: collate, command: [run, it]}
  - {stage: collate, command: [run, that]}
  - {command: /usr/bin/env}
""")
    assert [task.name for task in file.tasks] == [
        *("train-epochs1-small-seed1", "train-epochs1-small-seed2"),
        *("train-epochs1-big-seed1", "train-epochs1-big-seed2"),
        *("train-epochs2-small", "pkg.eval", "collate-1", "collate-2", "env"),
    ]


def test_needs_by_name_glob_stage_and_placeholder(read):
    file = read("""\
tasks:
  - {name: all, command: all, needs: [train]}
  - {name: "train-{d}", stage: train, command: "t {d}", matrix: {d: [p, q]}, needs: ["prep-{d}"]}
  - {name: "prep-{d}", command: "p {d}", matrix: {d: [p, q]}}
  - {name: some, command: some, needs: ["*-q", prep-q]}
""")
    names = {task.id: task.name for task in file.tasks}
    assert {task.name: [names[need] for need in task.needs] for task in file.tasks} == {
        "all": ["train-p", "train-q"],
        "train-p": ["prep-p"],
        "train-q": ["prep-q"],
        "prep-p": [],
        "prep-q": [],
        "some": ["train-q", "prep-q"],
    }


def test_a_stage_is_all_its_tasks_even_where_one_bears_its_name(read):
    file = read("tasks:\n- {stage: t, command: a}\n- {name: b, stage: t, command: b}\n- {command: c, needs: [t]}\n")
    assert file.tasks[2].needs == (file.tasks[0].id, file.tasks[1].id)


def test_a_value_is_no_pattern(read):
    (task,) = read("tasks:\n- {command: x, output: 'o/{v}', done_when: '{output}/*', params: {v: 'a[1]'}}\n").tasks
    assert task.done_when == DoneWhen(("o/a[[]1]/*",))


def test_a_command_in_another_folder_finds_its_output(read):
    (task,) = read("tasks:\n- {command: 'x {output}', cwd: src, output: o, env: {O: '{output}'}}\n").tasks
    assert (task.command, task.env["O"], task.output) == (("x", "../o"), "../o", "o")


def test_options_reach_every_task(read):
    text = """\
tasks:
  - {command: "x {trainer} {lr}", params: {trainer: ce, lr: 1}, output: "{output_base}/{trainer}"}
"""
    (task,) = read(text, output_base="/scratch/", trainer="gce", overrides={"lr": "1e-3"}).tasks
    assert (task.command, task.output) == (("x", "gce", "0.001"), "/scratch/gce")
    (task,) = read(text, trainer="gce", overrides={"trainer": "mae", "lr": ""}).tasks
    assert task.command == ("x", "mae", "")


def test_notes_say_what_looks_wrong(read):
    file = read("""\
tasks:
  - {command: "python train.py --trainer NLPrompt --seed {seed}", seeds: [0, 1]}
  - {command: "a | b", matrix: {x: [1, 2], exclude: [{x: 3}]}, output: "o/{x}"}
""")
    assert len(file.notes) == 3
    assert "'|' is passed on" in file.notes[0]
    assert "exclude" in file.notes[1]
    assert "unseeded" in file.notes[2]


def test_the_same_file_gives_the_same_tasks(read):
    text = "tasks:\n- {command: x, seeds: 3}\n- {command: y, needs: ['x-*']}\n"
    assert read(text) == read(text)


def test_ten_thousand_tasks_load_quickly(read):
    started = time.perf_counter()
    file = read("tasks:\n- {command: 'x {args}', matrix: {a: [1, 2]}, seeds: 5000, output: 'o/{a}/{seed}'}\n")
    assert len(file.tasks) == 10_000
    # About half a second on an idle machine; the bound is for a busy one.
    assert time.perf_counter() - started < 10


def test_a_search_over_many_points_starts_at_once(read):
    """The config of a published search, in YAML: 882,816 points, which are laid out nowhere."""
    space = json.dumps(dahps.config(comma=False, value=False), default=str)
    space = space.replace('"key": "activation", "values": []', '"key": "activation", "values": ["gelu"]')
    began = time.process_time()
    file = read(f"tasks: [{{command: 'train {{args}}', search: {{space: {space}, samples: 50, seed: 7}}}}]")
    assert time.process_time() - began < 5  # a tenth of that, on a machine that does nothing else
    assert file.notes == ("search: 50 of 882,816 points, drawn with seed 7",)
    assert len({task.id for task in file.tasks}) == 50


def test_a_search_space_in_a_file(read):
    text = """\
defaults: {search: {space: {lr: {from: 0.001, to: 0.1, count: 3, log: true}, size: [[8, 8], [16, 16]]}}}
tasks:
  - command: a {lr} {size}
  - command: b {args}
    search:
      space:
        common: {epochs: 3}
        root:
          key: width
          values: [64, "64", 1e3, true]
          64: {key: n, values: [1]}
          1e3: {key: n, values: [2]}
          true: &shared {key: n, values: [3]}
          default: *shared
"""
    file = read(text)
    assert [" ".join(task.command) for task in file.tasks] == [
        *(f"a {lr} [{size}, {size}]" for lr in (0.001, 0.01, 0.1) for size in (8, 16)),
        *("b --width 64 --n 3 --epochs 3", "b --width 64 --n 1 --epochs 3"),
        *("b --width 1000.0 --n 2 --epochs 3", "b --width --n 3 --epochs 3"),
    ]
    assert file.searches == ("6 points", "4 points")
