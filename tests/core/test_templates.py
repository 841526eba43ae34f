"""Do templates become the tasks that they mean, and is each fault said where it stands, once?"""

from __future__ import annotations

import pytest

from parallel_train.core.expand import drafts
from parallel_train.core.space import from_tree
from parallel_train.core.task import DoneWhen, Metric, late, show, task_id
from parallel_train.core.tasklist import finish
from parallel_train.core.template import Findings, Matrix, Search, Setting, Template


def template(command="run", **keys):
    return Template(command, **keys)


def laid(*templates, **setting):
    """(tasks, what was found)."""
    found = Findings()
    setting = Setting("/project", **setting)
    every = [draft for number, one in enumerate(templates) for draft in drafts(one, number, setting, found)]
    return finish(every, "/project", found, complete=not found.wrong), found


def tasks(*templates, **setting):
    made, found = laid(*templates, **setting)
    assert not found.wrong
    return made


def commands(*templates, **setting):
    return [" ".join(task.command) for task in tasks(*templates, **setting)]


def names(*templates):
    return [task.name for task in tasks(*templates)]


# ---- what tasks are made ----


def test_a_task_holds_what_its_template_says():
    (task,) = tasks(
        template(
            ("{python}", "train.py", "{args}", "--out", "{output}"),
            name="t{lr}",
            stage="fit",
            params={"lr": 0.1, "fast": True},
            output="{output_base}/{lr}",
            done_when=DoneWhen(("{output}/log-{lr}*",), "lr {lr}"),
            metrics=(Metric("acc"), Metric("loss", "min", regex="{lr}: (.*)"), Metric("f1", file="{output}/f1.json")),
            inputs=("in-{lr}.csv",),
            env={"LR": "{lr}", "OUT": "{output}"},
            gpus=2,
            retries=3,
        ),
        output_base="out",
        source="tasks/a.yaml",
    )
    assert task.command == (late("python"), "train.py", "--lr", "0.1", "--fast", "--out", "out/0.1")
    assert (task.name, task.stage, task.output, task.inputs) == ("t0.1", "fit", "out/0.1", ("in-0.1.csv",))
    assert task.done_when == DoneWhen(("out/0.1/log-0.1*",), "lr 0.1")
    assert [(m.file, m.regex) for m in task.metrics] == [
        ("out/0.1/metrics.json", None),
        (None, "0\\.1: (.*)"),
        ("out/0.1/f1.json", None),
    ]
    assert task.env == {"LR": "0.1", "OUT": "out/0.1"}
    assert (task.gpus, task.retries, task.source, task.id) == (2, 3, "tasks/a.yaml", task_id(task))


def test_a_command_in_its_own_folder_finds_its_output_from_there():
    found = tasks(
        template("x {output}", output="out/a", cwd="src"),
        template("x {output}", output="/abs/b", cwd="src"),
        template("x {output}", output="out/c", cwd="/elsewhere"),
        template("x {output}", output="out/d", cwd="~"),
    )
    assert [task.command[1] for task in found] == ["../out/a", "/abs/b", "/project/out/c", "/project/out/d"]
    assert [task.output for task in found] == ["out/a", "/abs/b", "out/c", "out/d"]
    assert show(found[3].cwd) == "~"


def test_a_shell_is_given_quoted_values_and_keeps_its_own():
    made = template("x {v} ${HOME} {args} > {output}", shell=True, params={"v": "a; rm b"}, output="out/c d")
    assert commands(made) == ["x 'a; rm b' ${HOME} --v 'a; rm b' > 'out/c d'"]
    first, second = template(name="a", output="a b"), template("cat {needs}", shell=True, needs=("a",))
    assert tasks(first, second)[1].command == ("cat 'a b'",)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("a 'b c' \"d e\"", ("a", "b c", "d e")),
        ("a \\\n  b", ("a", "b")),
        ("a \\~ '~' ~ ~/x x~", ("a", "~", "~", "~~", "~~/x", "x~")),
        ("a '{\"k\": {v}}'", ("a", '{"k": 1}')),
    ],
)
def test_a_text_is_split_into_words_as_a_shell_would(command, words):
    (task,) = tasks(template(command, params={"v": 1}))
    assert tuple(word.replace(late("home"), "~~") for word in task.command) == words


def test_a_word_of_a_list_may_begin_with_the_home_folder_only_as_text():
    assert tasks(template(("~/x", "~")))[0].command == ("~/x", "~")


def test_needs_are_names_stages_and_globs_and_never_the_task_itself():
    a, b, c, d = tasks(
        template("a", name="a", stage="s"),
        template("b", name="b", stage="s"),
        template("c", name="c", stage="s", needs=("s",)),
        template("d", name="d", needs=("[!c]", "a", "[!c]")),
    )
    assert (a.needs, b.needs) == ((), ())
    assert c.needs == (a.id, b.id)
    assert d.needs == (a.id, b.id)
    assert tasks(template("a", name="b"), template("b", name="a", needs=("?",)))[1].needs


def test_a_name_with_brackets_is_a_name_before_it_is_a_glob():
    one, two, three = tasks(template("x", name="t[1]"), template("y", name="t1"), template("z", needs=("t[1]",)))
    assert three.needs == (one.id,)
    assert two.needs == ()


def test_the_id_of_a_task_without_an_output_hangs_on_its_needs():
    first = tasks(template("a", name="a"), template("c", needs=("a",)))[1]
    second = tasks(template("b", name="a"), template("c", needs=("a",)))[1]
    third = tasks(template("b", name="a"), template("c", needs=("a",), output="out"))[1]
    fourth = tasks(template("a", name="a"), template("c", needs=("a",), output="out"))[1]
    assert first.id != second.id
    assert third.id == fourth.id


# ---- names ----


@pytest.mark.parametrize(
    ("templates", "expected"),
    [
        ([template("src/train.py")], ["train"]),
        ([template("sh ./go.sh")], ["go"]),
        ([template("python -m pkg.mod x")], ["pkg.mod"]),
        ([template("/usr/bin/make -m")], ["make"]),
        ([template(("sh -c 'x'",))], ["sh"]),
        ([template("", shell=True)], ["task"]),
        ([template("x", stage="fit")], ["fit"]),
        # what varies tells them apart, and what is the same for all says nothing
        ([template("x", matrix=Matrix({"m": ["big", "small"]}), params={"n": 1})], ["x-big", "x-small"]),
        ([template("x", seeds=[1, 2])], ["x-seed1", "x-seed2"]),
        ([template("x", params={"a": 1}), template("x", params={"b": True})], ["x-a1", "x-btrue"]),
        ([template("x", matrix=Matrix({"m": ["a/b", "c d"]}))], ["x-a_b", "x-c_d"]),
        # nothing does: numbers
        ([template("x 1"), template("x 2")], ["x-1", "x-2"]),
        ([template("y", name="x"), template("x 1")], ["x", "x-1"]),
        ([template("x 1"), template("x 2"), template("y", name="x-1")], ["x-2", "x-3", "x-1"]),
    ],
)
def test_a_task_is_called_after_its_script_and_what_varies(templates, expected):
    assert names(*templates) == expected


# ---- what is wrong ----

CIRCLE = [template("a", name="a", needs=("b",)), template("b", name="b", needs=("a",))]
FAULTS = {
    "unclosed quote": ([template("a 'b")], ("command",), "never closed"),
    "unknown": ([template("x {lr}")], ("command",), "unknown placeholder {lr}"),
    "unknown in a list": ([template(("x", "{lr}"))], ("command", 1), "unknown placeholder {lr}"),
    "unknown in env": ([template(env={"A": "{x}"})], ("env", "A"), "unknown placeholder {x}"),
    "no output to name": ([template("x {output}")], ("command",), "the task has no output"),
    "output in a name": ([template(name="{output}", output="o")], ("name",), "{output} can't stand here"),
    "no needs to name": ([template("x {needs}")], ("command",), "the task needs nothing"),
    "needs within a word": (
        [template("a", name="a"), template("x --in={needs}", needs=("a",))],
        ("command",),
        "{needs} can't stand here",
    ),
    "args in a name": ([template(name="{args}")], ("name",), "{args} can't stand here"),
    "late in a name": ([template(name="{python}")], ("name",), "{python} can't stand here"),
    "a format": ([template(name="{a:.2f}", params={"a": 1})], ("name",), "'{a:.2f}' is no placeholder"),
    "never closed": ([template(output="{a", params={"a": 1})], ("output",), "'{a' is no placeholder"),
    "reserved": ([template(params={"output": 1})], ("params", "output"), "a name of ours"),
    "no name": ([template(matrix=Matrix({"a b": [1]}))], ("matrix", "a b"), "can't be the name of a param"),
    "only in include": (
        [template(matrix=Matrix({"a": [1]}, include=[{"9": 1}]))],
        ("matrix", "include", 0, "9"),
        "can't be the name",
    ),
    "no values": ([template(matrix=Matrix({"a": []}))], ("matrix", "a"), "'a' has no values"),
    "zip without values": ([template(zipped={"a": []})], ("zip", "a"), "'a' has no values"),
    "excludes a stranger": (
        [template(matrix=Matrix({"rate": [1]}, exclude=[{"rat": 1}]))],
        ("matrix", "exclude", 0, "rat"),
        "not in the matrix",
    ),
    "in both": (
        [template(matrix=Matrix({"a": [1]}), zipped={"a": [1]})],
        ("zip", "a"),
        "'a' is in matrix and in zip",
    ),
    "two seeds": ([template(seeds=[1], zipped={"seed": [1]})], ("seeds",), "given by seeds and by"),
    "zip of two lengths": (
        [template(zipped={"a": [1], "b": [1, 2]})],
        ("zip",),
        "differ in length: a has 1, b has 2",
    ),
    "nothing left": (
        [template(matrix=Matrix({"a": [1]}, exclude=[{"a": 1}]))],
        ("matrix",),
        "exclude leaves no combination",
    ),
    "a hole in the matrix": (
        [template("x {a}", matrix=Matrix({"a": [1], "b": [1]}, include=[{"b": 2}]))],
        ("command",),
        "a combination has no value for {a}",
    ),
    "climbs out": (
        [template(params={"v": "../x"}, output="out/{v}")],
        ("output",),
        "a value makes the output climb out",
    ),
    "holds an input": ([template(output="data", inputs=("data/x.csv",))], ("output",), "would hold data/x.csv"),
    "empty name": ([template(name="{v}", params={"v": ""})], ("name",), "a name is empty"),
    "control": ([template(name="a\nb")], ("name",), "holds a control character: 'a\\nb'"),
    "long": ([template(name="é" * 101)], ("name",), "longer than 200 bytes"),
    "twice": ([template("a", name="a"), template("b", name="a")], ("name",), "two tasks are named 'a'"),
    "one output": (
        [template("a", output="out/x"), template("b", output="out//x/")],
        ("output",),
        "'a' and 'b' have the same output, out/x",
    ),
    "one in the other": (
        [template("a", output="out/x"), template("b", output="out")],
        ("output",),
        "one output inside the other: out/x, out",
    ),
    "matches nothing": ([template("a", name="pre"), template("b", needs=("pr",))], ("needs", 0), "no other task"),
    "only itself": ([template("a", name="pre", needs=("p*",))], ("needs", 0), "'p*' matches no other task"),
    "itself": ([template("a", name="a", needs=("a",))], ("needs",), "in a circle: a -> a"),
    "in a circle": (CIRCLE, ("needs",), "in a circle: a -> b -> a"),
    "twins": ([template("a"), template("a")], ("command",), "'a-1' and 'a-2' are the same command"),
    "a need without an output": (
        [template("a", name="a"), template("x {needs}", needs=("a",))],
        ("command",),
        "'a' has none",
    ),
}


@pytest.mark.parametrize("case", FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_said_where_it_stands(case):
    templates, path, words = case
    _, found = laid(*templates)
    (wrong,) = found.wrong.values()
    assert (wrong.path, wrong.more) == (path, 0)
    assert words in wrong.message
    assert wrong.template < len(templates)


@pytest.mark.parametrize("name", sorted(FAULTS.keys() - {"twins", "a need without an output"}))
def test_a_file_with_a_fault_makes_no_tasks(name):
    made, _ = laid(template("fine", name="fine", output="fine"), *FAULTS[name][0])
    assert made == ()


@pytest.mark.parametrize(
    ("made", "hint"),
    [
        (template("x {lrr}", params={"lr": 1}), "did you mean 'lr'?"),
        (template("x {zzzz}"), "{{zzzz}} means the text {zzzz}"),
        (template("x {output}"), "add 'output:'"),
        (template(needs=("tran",), name="train"), "did you mean 'train'?"),
    ],
)
def test_a_fault_names_the_fix(made, hint):
    (wrong,) = laid(made)[1].wrong.values()
    assert wrong.hint == hint


def test_of_many_tasks_with_the_same_fault_the_first_says_it_and_the_others_are_counted():
    _, found = laid(template(matrix=Matrix({"v": [f"/{n}" for n in range(5)]}), output="{v}"))
    (wrong,) = found.wrong.values()
    assert (wrong.message, wrong.more) == ("a value makes the output absolute: '/0'", 4)


def test_where_many_needs_are_wrong_nobody_looks_for_near_names():
    every = [template(f"x {n}", name=f"t{n}", needs=(f"t{n}x",)) for n in range(60)]
    hints = [wrong.hint for wrong in laid(*every)[1].wrong.values()]
    assert hints == [f"did you mean 't{n}'?" if n < 50 else "" for n in range(60)]


# ---- what is worth a note ----


@pytest.mark.parametrize(
    ("made", "note"),
    [
        (template("a && b"), "'&&' is passed on as an argument: no shell runs 'a && b'"),
        (template("awk '{a:1}'", params={"a": 1}), "'{a:1}' is passed on as it is: a placeholder is {a}"),
        (
            template(matrix=Matrix({"a": [1]}, exclude=[{"a": True}])),
            "entry 1 of a matrix's exclude fits no combination",
        ),
    ],
)
def test_what_looks_wrong_and_is_not_is_noted(made, note):
    tasks_, found = laid(made)
    assert len(tasks_) == 1
    assert list(found.notes) == [note]


@pytest.mark.parametrize(
    "made",
    [
        template("a && b", shell=True),
        template("awk '{a:1}'"),  # no param is called so
        template("x", inputs=("{a:1}",), params={"a": 1}),
        template(matrix=Matrix({"a": [1, 2]}, exclude=[{"a": 1}])),
    ],
)
def test_what_is_right_is_not(made):
    assert list(laid(made)[1].notes) == []


# ---- searches ----

TREE = {
    "key": "data",
    "values": ["mnist", "cifar"],
    "default": {"key": "lr", "values": [0.1, 0.01]},
    "cifar": {"key": "flip", "values": [True, False], "default": {"key": "lr", "values": [0.1]}},
}


def searched(command="run {args}", tree=TREE, samples=None, seed=0, **keys):
    return template(command, search=Search(from_tree(tree), samples, seed), **keys)


def test_a_search_takes_each_point_and_a_point_what_it_has():
    made, found = laid(searched(seeds=[1, 2]))
    assert [" ".join(task.command[1:]) for task in made][::2] == [
        "--data mnist --lr 0.1 --seed 1",
        "--data mnist --lr 0.01 --seed 1",
        "--data cifar --flip --lr 0.1 --seed 1",
        "--data cifar --lr 0.1 --seed 1",
    ]
    assert made[4].name == "run-cifar-fliptrue-lr0.1-seed1"
    assert found.searches == ["4 points"]
    assert [note.split(":")[1] for note in found.notes] == [" default", " cifar.default"]


def test_a_sample_is_drawn_and_grows_without_moving():
    tree = {"key": "x", "values": range(1000)}
    few, many = (commands(searched(tree=tree, samples=n, seed=3, matrix=Matrix({"m": [1, 2]}))) for n in (4, 9))
    assert [line.split()[-1] for line in few[:4]] == [line.split()[-1] for line in few[4:]]
    assert few == [*many[:4], *many[9:13]]
    assert few != commands(searched(tree=tree, samples=4, seed=4, matrix=Matrix({"m": [1, 2]})))
    _, found = laid(searched(tree=tree, samples=4, seed=3))
    assert found.searches == ["4 of 1,000 points, drawn with seed 3"]
    made, found = laid(searched(samples=50))
    assert len(made) == 4
    assert found.searches == ["4 of 4 points, drawn with seed 0; 50 were asked for, and there are no more"]


def named(overrides=None, **keys):
    """Command -> name."""
    made = tasks(searched(output="o/{point}", **keys), overrides=overrides or {})
    return {" ".join(task.command[1:]): task.name for task in made}


def test_a_point_has_one_name_however_it_was_drawn():
    every = named()
    assert list(every.values()) == [
        "run-mnist-lr0.1",
        "run-mnist-lr0.01",
        "run-cifar-fliptrue-lr0.1",
        "run-cifar-flipfalse-lr0.1",
    ]
    for seed in range(5):
        for samples in (1, 2, 3):
            assert named(samples=samples, seed=seed).items() <= every.items()
    for name, value in [("lr", 0.1), ("data", "cifar"), ("flip", True)]:
        assert named({name: value}).items() <= every.items()


def test_a_name_holds_what_was_drawn_and_no_value_that_stands_in_for_it():
    keys = {"params": {"flip": "no", "m": 1}, "matrix": Matrix({"n": [1, 2]})}
    assert [task.name for task in tasks(searched("run {flip}", output="o/{point}/{n}", **keys))][:3] == [
        "run-n1-mnist-lr0.1",
        "run-n1-mnist-lr0.01",
        "run-n1-cifar-fliptrue-lr0.1",
    ]
    alone = {"key": "x", "values": ["a"], "default": {"key": "y", "values": [1, 2]}}
    assert [task.name for task in tasks(searched(tree=alone))] == ["run-y1", "run-y2"]


def test_a_name_that_would_be_too_long_ends_with_the_points_hash():
    tree = None
    for number in range(9):
        tree = {"key": f"{'k' * 20}{number}", "values": [1, 2], "default": tree}
    made = tasks(searched(tree=tree, output="{point}"))
    assert len({task.name for task in made}) == len(made) == 2**9
    assert all(task.name.endswith(f"-{task.output}") and len(task.name) == 180 for task in made)


def test_a_point_is_known_by_what_it_holds():
    made = tasks(searched("run {point}", output="o/{point}", params={"epochs": 1}))
    edited = {**TREE, "values": ["new", "mnist", "cifar"], "cifar": None}
    again = tasks(searched("run {point}", tree=edited, output="o/{point}"))
    assert len({task.output for task in made}) == 4
    assert {task.output for task in made} & {task.output for task in again} == {task.output for task in made[:2]}


def test_a_point_may_lack_what_a_text_uses():
    _, found = laid(searched("run {data} {lr} {flip}", name="n{flip}"))
    ((_, path, _),) = found.wrong
    assert path == ("name",)
    assert commands(searched("run {data} {lr} {flip}", params={"flip": "no"})) == [
        "run mnist 0.1 no",
        "run mnist 0.01 no",
        "run cifar 0.1 true",
        "run cifar 0.1 false",
    ]
    assert commands(searched("run {flip} {lr}"), overrides={"data": "cifar", "lr": 7}) == ["run true 7", "run false 7"]


def test_names_of_a_search_that_are_taken():
    for keys, path in [
        ({"matrix": Matrix({"lr": [1]})}, ("matrix", "lr")),
        ({"zipped": {"lr": [1]}}, ("zip", "lr")),
    ]:
        _, found = laid(searched(**keys))
        assert [place for _, place, _ in found.wrong] == [path]
    _, found = laid(searched(tree={"key": "seed", "values": [1]}, seeds=[1]))
    assert [place for _, place, _ in found.wrong] == [("seeds",)]
    _, found = laid(searched(tree={"key": "point", "values": [1]}))
    assert [place for _, place, _ in found.wrong] == [("search", "space")]
    assert commands(template("run {point}", params={"point": 1})) == ["run 1"]
