"""Does `results` print what came out, best first, for people, for spreadsheets and for scripts?"""

import csv
import io
import json
import math

import pytest

from parallel_train.commands.results import results
from parallel_train.core.facts import Exited
from parallel_train.core.task import Metric
from parallel_train.errors import NothingSelectedError, UsageError
from tests.commands.history import History, task

LOSS = (Metric("loss", "min", file="{output}/metrics.json"),)


@pytest.fixture
def history(tmp_path):
    return History(tmp_path)


@pytest.fixture
def sweep(history):
    """Four tasks: the third is best, the second failed, the fourth has NaN."""
    tasks = history.submit(
        *(task(f"t{n}", params={"lr": lr, "net": "mlp"}) for n, lr in enumerate((0.1, 0.2, 0.3, 0.4)))
    )
    history.measured(tasks[0], accuracy=0.5)
    history.ran(tasks[1], outcome=Exited(1))
    history.measured(tasks[2], accuracy=0.9)
    history.measured(tasks[3], accuracy=math.nan)
    return tasks


def shown(history, code=0, **options):
    out = io.StringIO()
    options = {"file": None, "best": False, "as_csv": False, "as_json": False, **options}
    assert results(history.path, out=out, **options) == code
    return out.getvalue()


def strict(text):
    def refuse(constant):
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


# ---- for people ----


def test_the_table_has_the_best_first_and_says_who_is_missing(history, sweep):
    lines = shown(history).splitlines()
    cells = [line.split("\t") for line in lines[:4]]
    assert cells[0][:4] == ["best", "#", "lr", "accuracy"]
    assert [row[:4] for row in cells[1:]] == [
        ["*", "3", "0.3", "0.9"],
        ["", "1", "0.1", "0.5"],
        ["", "4", "0.4", "nan"],
    ]
    assert lines[4:] == ["no result (failed): t1"]


def test_the_best_alone(history, sweep):
    lines = shown(history, best=True).splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("*\t3\t")
    assert lines[2] == "output: output/t2"


def test_a_terminal_gets_a_drawn_table(history, sweep):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    out = Terminal()
    assert results(history.path, file=None, best=False, as_csv=False, as_json=False, out=out) == 0
    assert "\t" not in out.getvalue()
    assert "0.9" in out.getvalue()


def test_many_that_are_missing_take_one_line(history):
    tasks = history.submit(*(task(f"t{n}") for n in range(10)))
    history.measured(tasks[0], accuracy=1)
    assert shown(history).splitlines()[-1] == "no result (ready): t1, t2, t3, 6 more"


def test_many_reasons_are_cut_short(history):
    for one in history.submit(*(task(f"t{n}") for n in range(20))):
        history.measured(one, other=1)
    lines = shown(history, 3, best=True).splitlines()
    assert len(lines) == 8 + 1
    assert lines[-1] == "no result: 12 more tasks"


def test_a_finished_task_without_its_number_stands_last_and_says_why(history):
    a, b = history.submit(task("a"), task("b"))
    history.measured(a, loss=1)
    history.measured(b, accuracy=1)
    lines = shown(history).splitlines()
    assert lines[2].split("\t")[1:4] == ["1", "a", ""]
    assert lines[3:] == ["without a number: a (output/a/metrics.json has no key 'accuracy')"]


def test_no_task_is_listed_twice(history):
    """Each row without a number may have a reason of its own: one of them stands for all."""
    *blank, _ = history.submit(task("a"), task("b"), task("c"), task("open"))
    for one in blank:
        history.measured(one, loss=1)
    *table, why, open_ = shown(history, 3).splitlines()
    assert [line.split("\t")[1] for line in table[1:]] == ["a", "b", "c"]
    assert why == "without a number: a (output/a/metrics.json has no key 'accuracy'), and 2 more"
    assert open_ == "no result (ready): open"


def test_each_metric_has_its_table(history):
    a, b = history.submit(task("a"), task("b", metrics=LOSS))
    history.measured(a, accuracy=1)
    history.measured(b, loss=2)
    text = shown(history)
    assert text.startswith("accuracy (max)\n")
    assert "\n\nloss (min)\n" in text


def test_steps_without_a_metric_stand_below_what_is_ranked_and_are_no_matter_of_the_best(history):
    before, a = history.submit(task("prepare", metrics=()), task("a"))
    history.ran(before)
    history.measured(a, accuracy=1)
    ranked, rest = shown(history).split("\n\n")
    assert ranked.startswith("accuracy (max)\n")
    assert "prepare" in rest
    assert "prepare" not in shown(history, best=True)


# ---- which tasks ----


def test_a_file_chooses_its_tasks(history):
    (a,) = history.submit(task("a"), source="tasks/a.yaml")
    (b,) = history.submit(task("b"), source="tasks/b.yaml")
    history.measured(a, accuracy=1)
    history.measured(b, accuracy=2)
    found = strict(shown(history, file="./tasks/a.yaml", as_json=True))
    assert [one["name"] for one in found["tasks"]] == ["a"]
    with pytest.raises(NothingSelectedError, match=r"did you mean 'tasks/a.yaml'"):
        shown(history, file="tasks/aa.yaml")


def test_no_queue_is_said(tmp_path):
    with pytest.raises(UsageError, match="no queue in"):
        results(tmp_path, file=None, best=False, as_csv=False, as_json=False, out=io.StringIO())


@pytest.mark.parametrize("options", [{}, {"best": True}, {"as_csv": True}, {"as_json": True}])
def test_nothing_with_a_result_is_exit_code_3(history, options):
    shown(history, 3, **options)
    a, _ = history.submit(task("a"), task("b"))
    history.measured(a, other=1)
    assert shown(history, 3, **options)


def test_nan_is_a_result_but_no_best(history):
    (a,) = history.submit(task("a"))
    history.measured(a, accuracy=math.nan)
    shown(history)
    assert "no result" not in shown(history)
    shown(history, 3, best=True)


# ---- for programs ----


def test_csv(history):
    params = [{"lr": 0.1, "note": 'a "b", c'}, {"lr": 1e-5, "deep": True}, {"lr": None, "deep": [1, 2]}]
    tasks = history.submit(*(task(f"t{n}", params=p) for n, p in enumerate(params)))
    history.measured(tasks[0], accuracy=0.5, seconds=1)
    history.measured(tasks[1], accuracy=0.1 + 0.2, seconds=90.5)
    history.write("output/t2/metrics.json", "{}")
    text = shown(history, as_csv=True)
    assert "\r" not in text
    assert list(csv.reader(io.StringIO(text))) == [
        ["number", "name", "lr", "note", "deep", "accuracy", "seconds", "attempts", "output", "log"],
        ["1", "t0", "0.1", 'a "b", c', "", "0.5", "1", "1", "output/t0", "logs/gpu0_t0_1.log"],
        [
            "2",
            "t1",
            "1e-05",
            "",
            "true",
            "0.30000000000000004",
            "90.5",
            "1",
            "output/t1",
            "logs/gpu0_t1_1.log",
        ],
        ["3", "t2", "", "", "[1, 2]", "", "", "0", "output/t2", ""],
    ]


def test_csv_of_the_best_is_one_row(history, sweep):
    rows = list(csv.reader(io.StringIO(shown(history, as_csv=True, best=True))))
    assert [row[1] for row in rows] == ["name", "t2"]


def test_json_has_the_ranked_tasks_first_and_then_the_others(history, sweep):
    found = strict(shown(history, as_json=True))["tasks"]
    assert [(one["name"], one["metrics"]["accuracy"]) for one in found] == [
        ("t2", 0.9),
        ("t0", 0.5),
        ("t3", None),
        ("t1", None),
    ]
    assert {"id", "params", "state", "ending", "attempts", "exit_code", "gpu", "output", "log"} < set(found[0])
    assert (found[3]["ending"], found[3]["exit_code"]) == ("failed", 1)


def test_json_of_the_best_is_one_task(history, sweep):
    found = strict(shown(history, as_json=True, best=True))["tasks"]
    assert [one["name"] for one in found] == ["t2"]
