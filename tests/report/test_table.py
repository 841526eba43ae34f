"""Do tables fit, fold and stay plain text where nobody looks?"""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from parallel_train.report.drawn import rich_table
from parallel_train.report.table import (
    PlanRow,
    ResultRow,
    StatusRow,
    plain,
    plan_sheet,
    results_sheet,
    status_sheet,
)


def drawn(sheet, width):
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    console.print(rich_table(sheet, width))
    return console.file.getvalue().splitlines()


def sweep(params, rows=4):
    return results_sheet(
        [
            ResultRow(
                number=n + 1,
                name=f"run{n}",
                state="succeeded",
                params={**{f"param{p}": n / 10 for p in range(params)}, "same": "x"},
                metrics={"acc": 0.9 - n / 7},
                seconds=5025.0,
                attempts=1,
                log=f"logs/gpu0_run{n}_20231228_143022.log",
                is_best=n == 0,
            )
            for n in range(rows)
        ],
        [f"param{p}" for p in range(params)],
    )


STATUS = [
    StatusRow(1, "caltech101_sym_0.125_seed1", "succeeded", ("0",), 5025.0, 1, "done", "logs/gpu0_x.log"),
    StatusRow(2, "a", "running", ("1", "2"), 10.0, 2, "runs now: attempt 2 on GPU 1-2 of host", "logs/y.log"),
    StatusRow(3, "[red]b[/red]\x1b[2J\n", "waiting", reason="waits for a"),
]


@pytest.mark.parametrize("width", [60, 100, 200])
@pytest.mark.parametrize("sheet", [status_sheet(STATUS), sweep(2), sweep(30)], ids=["status", "two", "thirty"])
def test_it_fits(sheet, width):
    lines = drawn(sheet, width)
    assert max(len(line.rstrip()) for line in lines) <= width
    assert "…" not in "".join(lines)


def test_status_on_a_wide_terminal():
    head, first, second, third = (line.split() for line in drawn(status_sheet(STATUS), 200))
    assert head == ["#", "task", "state", "slot", "time", "tries", "why", "log"]
    assert first[:6] == ["1", "caltech101_sym_0.125_seed1", "succeeded", "GPU", "0", "01:23:45"]
    assert second[3:5] == ["GPU", "1-2"]
    assert third[:3] == ["3", "[red]b[/red]", "waiting"]


def test_a_narrow_terminal_keeps_what_matters():
    text = "\n".join(drawn(status_sheet(STATUS), 60))
    assert "log" not in text
    assert "waits for a" in text


def test_only_params_that_vary_get_a_column():
    head, *rows = (line.split("\t") for line in plain(sweep(2)).splitlines())
    assert head == ["best", "#", "param0", "param1", "acc", "state", "time", "tries", "log"]
    assert rows[0][:5] == ["*", "1", "0.0", "0.0", "0.9"]
    assert rows[1][:5] == ["", "2", "0.1", "0.1", "0.757143"]


def test_where_no_param_varies_the_name_stands():
    head, row = plain(sweep(0, rows=1)).splitlines()
    assert head.split("\t")[2] == "task"
    assert row.split("\t")[2] == "run0"


def test_a_wide_sweep_folds_its_params():
    text = "\n".join(drawn(sweep(30), 100))
    assert "params" in text
    assert "param0=0.1" in text
    assert "param29=0.1" in text


def test_missing_and_odd_values():
    rows = [
        ResultRow(1, "a", "succeeded", {"x": [1, 2], "y": "a\tb"}, {"acc": float("nan")}),
        ResultRow(2, "b", "failed", {"x": None, "y": True}, {"acc": None}),
    ]
    assert plain(results_sheet(rows, ["x", "y"])).splitlines() == [
        "#\tx\ty\tacc\tstate",
        "1\t[1, 2]\ta b\tnan\tsucceeded",
        "2\t\ttrue\t\tfailed",
    ]


def test_a_plan():
    sheet = plan_sheet([PlanRow(1, "a", "run", "first run"), PlanRow(2, "b", "wait", "waits for a")])
    assert plain(sheet) == "#\tdecision\ttask\twhy\n1\trun\ta\tfirst run\n2\twait\tb\twaits for a"
    assert drawn(sheet, 60)[1].split() == ["1", "run", "a", "first", "run"]


def test_no_rows():
    assert plain(status_sheet([])).startswith("#\ttask")
    assert len(drawn(status_sheet([]), 60)) == 1
