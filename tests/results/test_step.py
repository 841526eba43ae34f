"""Does the collating step pick the best, list who is missing, and link to the best model without harm to any file?"""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest

from parallel_train.results.__main__ import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def finished(name: str, **metrics: object) -> str:
    """An output with these metrics and a model."""
    path = Path("output") / name
    path.mkdir(parents=True)
    (path / "metrics.json").write_text(json.dumps(metrics))
    (path / "model.pt").write_text(name)
    return str(path)


def collate(*outputs: str, metric: str = "accuracy", model: str | None = "model.pt", mode: str = "max") -> int:
    of_model = [] if model is None else ["--model", model]
    return main(["--metric", metric, "--mode", mode, *of_model, "--out", "output/best", *outputs])


def table() -> list[list[str]]:
    with Path("output/best/results.csv").open() as file:
        return list(csv.reader(file))


def test_the_best_stands_first_and_is_linked(folder: Path, capsys: pytest.CaptureFixture[str]):
    outputs = [finished(f"lr{n}", accuracy=value) for n, value in enumerate((0.5, 0.9, 0.7, 0.9))]
    assert collate(*outputs) == 0
    assert table() == [
        ["output", "accuracy", "no result"],
        ["output/lr1", "0.9", ""],
        ["output/lr3", "0.9", ""],
        ["output/lr2", "0.7", ""],
        ["output/lr0", "0.5", ""],
    ]
    link = Path("output/best/model.pt")
    assert (str(link.readlink()), link.read_text()) == ("../lr1/model.pt", "lr1")
    assert capsys.readouterr().out.splitlines() == [
        "  accuracy  output",
        "       0.9  output/lr1",
        "       0.9  output/lr3",
        "       0.7  output/lr2",
        "       0.5  output/lr0",
        "output/best/model.pt -> output/lr1/model.pt",
    ]
    assert sorted(path.name for path in Path("output/best").iterdir()) == ["model.pt", "results.csv"]


def test_the_lowest_wins_in_mode_min_and_a_name_may_lead_into_objects(folder: Path):
    outputs = [finished(f"lr{n}", val={"loss": value}) for n, value in enumerate((0.5, 0.1, 0.7))]
    assert collate(*outputs, metric="val.loss", mode="min", model=None) == 0
    assert str(Path("output/best/best").readlink()) == "../lr1"


@pytest.mark.parametrize("mode", ["max", "min"])
def test_nan_never_wins_and_what_is_missing_is_listed(folder: Path, mode: str, capsys: pytest.CaptureFixture[str]):
    outputs = [
        finished("nan", accuracy=math.nan),
        "output/absent",
        finished("other", loss=1),
        finished("text", accuracy="high"),
        finished("good", accuracy=0.2),
    ]
    Path("output/broken").mkdir()
    Path("output/broken/metrics.json").write_text('{"accuracy": 0.')
    assert collate(*outputs, "output/broken", mode=mode) == 0
    assert [row[:2] for row in table()[1:]] == [
        ["output/good", "0.2"],
        ["output/nan", "nan"],
        ["output/absent", ""],
        ["output/other", ""],
        ["output/text", ""],
        ["output/broken", ""],
    ]
    assert all(row[2] for row in table()[3:])
    assert str(Path("output/best/model.pt").readlink()) == "../good/model.pt"
    said = capsys.readouterr().out
    assert "no result: output/absent (output/absent/metrics.json: No such file or directory)" in said
    assert "no result: output/other (output/other/metrics.json has no key 'accuracy')" in said


def test_without_any_number_there_is_no_best_and_nothing_is_written(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert collate(finished("nan", accuracy=math.nan), "output/absent") == 1
    assert not Path("output/best").exists()
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "error: no output has a number 'accuracy'"
    assert said[1].startswith("no result: output/absent (")


def test_a_link_follows_the_best(folder: Path):
    one, two = finished("one", accuracy=1), finished("two", accuracy=2)
    assert collate(one) == 0
    assert collate(one, two) == 0
    assert Path("output/best/model.pt").read_text() == "two"


def test_a_link_to_nowhere_is_replaced(folder: Path):
    Path("output/best").mkdir(parents=True)
    Path("output/best/model.pt").symlink_to("gone")
    assert collate(finished("one", accuracy=1)) == 0
    assert Path("output/best/model.pt").read_text() == "one"


def test_a_file_in_the_place_of_the_link_is_left_as_it_is(folder: Path, capsys: pytest.CaptureFixture[str]):
    Path("output/best").mkdir(parents=True)
    Path("output/best/model.pt").write_text("mine")
    assert collate(finished("one", accuracy=1)) == 1
    assert Path("output/best/model.pt").read_text() == "mine"
    assert "output/best/model.pt is there and no link" in capsys.readouterr().err
    assert not Path("output/best/results.csv").exists()


def test_a_link_holds_where_folders_are_links_themselves(folder: Path):
    (folder / "disk").mkdir()
    (folder / "project").mkdir()
    Path("output").symlink_to("disk/")
    assert collate(finished("one", accuracy=1)) == 0
    (folder / "output").rename(folder / "renamed")
    assert Path("disk/best/model.pt").read_text() == "one"


def test_the_best_without_its_model_is_an_error(folder: Path, capsys: pytest.CaptureFixture[str]):
    output = finished("one", accuracy=1)
    assert collate(output, model="last.pt") == 1
    assert capsys.readouterr().err == "error: the best output, output/one, has no last.pt\n"


def test_an_output_may_be_the_file_itself(folder: Path):
    Path("a.json").write_text('{"accuracy": 1}')
    Path("b.json").write_text('{"accuracy": 2}')
    assert collate("a.json", "b.json", model=None) == 0
    assert str(Path("output/best/best").readlink()) == "../../b.json"


def test_a_folder_that_can_not_be_made_is_one_sentence(folder: Path, capsys: pytest.CaptureFixture[str]):
    output = finished("one", accuracy=1)
    Path("output/best").write_text("a file")
    assert collate(output) == 1
    assert capsys.readouterr().err.count("\n") == 1
