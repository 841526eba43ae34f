"""Do the best results stand first, and is every task without one listed with its reason?"""

import math

import pytest

from parallel_train.core.facts import Exited
from parallel_train.core.task import Metric
from parallel_train.project.reading import known_tasks, look
from parallel_train.results.collate import collate
from tests.commands.history import ACCURACY, History, task

LOSS = (Metric("loss", "min", file="{output}/metrics.json"),)


@pytest.fixture
def history(tmp_path):
    return History(tmp_path)


def tables(history):
    return collate(look(history.path, known_tasks(history.queue)), history.path)


def only(history):
    (table,) = tables(history)
    return table


def names(table):
    return [row.name for row in table.rows]


def why(table):
    return {missing.name: missing.why for missing in table.missing}


def test_the_highest_is_best_and_the_earlier_of_equals(history):
    tasks = history.submit(*(task(name) for name in "abcd"))
    for one, accuracy in zip(tasks, (0.5, 0.9, 0.7, 0.9), strict=True):
        history.measured(one, accuracy=accuracy)
    table = only(history)
    assert names(table) == ["b", "d", "c", "a"]
    assert table.best is table.rows[0]
    assert not table.missing


def test_the_lowest_is_best_in_mode_min(history):
    tasks = history.submit(*(task(name, metrics=LOSS) for name in "abc"))
    for one, loss in zip(tasks, (0.5, 0.1, 0.1), strict=True):
        history.measured(one, loss=loss)
    assert names(only(history)) == ["b", "c", "a"]


@pytest.mark.parametrize("metrics", [ACCURACY, LOSS])
def test_nan_and_missing_stand_last_and_never_win(history, metrics):
    tasks = history.submit(*(task(name, metrics=metrics) for name in "abcd"))
    key = metrics[0].name
    for one, found in zip(tasks, ({}, {key: math.nan}, {key: 0.1}, {key: True}), strict=True):
        history.measured(one, **found)
    table = only(history)
    assert names(table) == ["c", "b", "a", "d"]
    assert table.best.name == "c"
    assert list(why(table)) == ["a", "d"]


def test_nan_alone_is_a_result_and_not_the_best(history):
    (a,) = history.submit(task("a"))
    history.measured(a, accuracy=math.nan)
    table = only(history)
    assert table.best is None
    assert table.has_results


def test_tasks_that_have_not_succeeded_are_listed_with_their_state(history):
    given = [task(name) for name in "abcde"]
    a, b, c, d, _, _ = history.submit(*given, task("f", needs=(given[1].id,)))
    history.measured(a, accuracy=1)
    history.ran(b, outcome=Exited(1))
    history.start(c)
    history.ran(d, identity="another")
    history.write("output/d/metrics.json", '{"accuracy": 9}')
    table = only(history)
    assert names(table) == ["a"]
    assert why(table) == {
        "b": "failed",
        "c": "running",
        "d": "stale: changed",
        "e": "ready",
        "f": "aborted",
    }


def test_an_output_that_was_not_ours_counts_too(history):
    history.submit(task("a"))
    history.write("output/a/metrics.json", '{"accuracy": 0.5}')
    (row,) = only(history).rows
    assert (row.ending, row.metrics, row.seconds, row.attempts, row.log) == (
        "skipped",
        {"accuracy": 0.5},
        None,
        0,
        "",
    )


def test_a_row_tells_the_deciding_attempt_and_this_rounds_attempts(history):
    (a,) = history.submit(task("a", params={"lr": 0.1}, retries=1))
    history.ran(a, 1, Exited(1))
    history.ran(a, 2, Exited(1))
    history.open_round(a)
    history.ran(a, 3, Exited(1), round=2)
    claim = history.ran(a, 4, round=2, log=b"acc 3\n")
    history.write("output/a/metrics.json", '{"accuracy": 0.5}')
    (row,) = only(history).rows
    assert (row.number, row.params, row.attempts, row.seconds) == (1, {"lr": 0.1}, 2, 60.0)
    assert (row.log, row.output, row.ending) == (claim.log, "output/a", "succeeded")


def test_a_regex_reads_the_log_of_the_deciding_attempt(history):
    metrics = (Metric("acc", regex=r"acc (\d+)"),)
    (a,) = history.submit(task("a", metrics=metrics, output=None, retries=1))
    history.ran(a, 1, Exited(1), log=b"acc 1\n")
    history.ran(a, 2, log=b"acc 2\n")
    assert only(history).best.metrics == {"acc": 2}


def test_only_params_that_vary_are_named_by_what_all_tasks_have(history):
    params = [
        {"lr": 0.1, "seed": 1, "net": "mlp", "layers": [1, 2]},
        {"lr": 0.1, "seed": 2, "net": "mlp", "layers": [1, 2]},
        {"lr": 0.1, "seed": 1, "net": "mlp", "layers": [1, 2], "extra": None},
    ]
    tasks = history.submit(*(task(str(n), params=p) for n, p in enumerate(params)))
    history.measured(tasks[0], accuracy=1)
    assert only(history).varying == ("seed", "extra")


def test_each_ranking_metric_has_its_table_in_order_of_appearance(history):
    both = (*LOSS, *ACCURACY)
    a, b, c, d = history.submit(task("a", metrics=both), task("b"), task("c", metrics=LOSS), task("d", metrics=()))
    history.measured(a, loss=0.5, accuracy=0.1)
    history.measured(b, accuracy=0.2)
    history.measured(c, loss=0.4)
    history.ran(d)
    history.write("output/d/x", "x")
    found = tables(history)
    assert [(t.metric, t.mode, names(t)) for t in found] == [
        ("loss", "min", ["c", "a"]),
        ("accuracy", "max", ["b"]),
        ("", "max", ["d"]),
    ]
    assert found[0].rows[1].metrics == {"loss": 0.5, "accuracy": 0.1}
    assert found[2].has_results
    assert found[2].best is None
