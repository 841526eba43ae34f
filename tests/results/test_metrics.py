"""Is a task's number read from where its author says, and can no file, however odd, do harm?"""

import json
import math
import os
import tracemalloc

import pytest

from parallel_train.core.task import Metric
from parallel_train.results import metrics
from parallel_train.results.metrics import read


def from_json(folder, content, name="accuracy"):
    content = content if isinstance(content, bytes) else json.dumps(content).encode()
    (folder / "metrics.json").write_bytes(content)
    return read(Metric(name, file="metrics.json"), folder, ())


def from_log(folder, content, regex, err=b""):
    (folder / "run.log").write_bytes(content)
    (folder / "run.err").write_bytes(err)
    return read(Metric("acc", regex=regex), folder, ("run.log", "run.err"))


# ---- JSON ----


@pytest.mark.parametrize(
    ("document", "name", "value"),
    [
        ({"accuracy": 0.875}, "accuracy", 0.875),
        ({"accuracy": 3}, "accuracy", 3.0),
        ({"test": {"top": {"one": 71.5}}}, "test.top.one", 71.5),
        ({"test.accuracy": 1.0, "test": {"accuracy": 2.0}}, "test.accuracy", 1.0),
        ({"loss": math.inf}, "loss", math.inf),
    ],
)
def test_a_number_is_found_by_its_key(tmp_path, document, name, value):
    assert from_json(tmp_path, document, name).value == value


def test_nan_is_a_number_that_was_read(tmp_path):
    assert math.isnan(from_json(tmp_path, {"accuracy": math.nan}).value)


@pytest.mark.parametrize("value", [True, None, "0.9", [0.9], {"mean": 0.9}, 10**400])
def test_what_is_no_number_is_none(tmp_path, value):
    found = from_json(tmp_path, {"accuracy": value})
    assert found.value is None
    assert "is no number" in found.why


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no valid JSON"),
        (b'{"accuracy": 0.8', "no valid JSON"),
        (b"\xff\xfe\x00{", "no valid JSON"),
        (b'{"accuracy": ' + b"9" * 5000 + b"}", "no valid JSON"),
        (b"[" * 200_000 + b"]" * 200_000, "no valid JSON"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "no valid JSON"),
        (b"[1, 2]", "has no key 'accuracy'"),
        (b"3", "has no key 'accuracy'"),
        (b'{"acc": 1}', "has no key 'accuracy'"),
    ],
)
def test_a_damaged_file_is_a_reason_and_no_crash(tmp_path, content, why):
    found = from_json(tmp_path, content)
    assert found.value is None
    assert why in found.why


def test_a_dotted_name_stops_at_what_is_no_object(tmp_path):
    assert "has no key" in from_json(tmp_path, {"test": 3}, "test.accuracy").why


def test_a_file_that_is_not_there_is_named(tmp_path):
    found = read(Metric("accuracy", file="output/metrics.json"), tmp_path, ())
    assert found.value is None
    assert "output/metrics.json: No such file" in found.why


def test_a_folder_or_a_pipe_in_its_place_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in (".", "pipe"):
        assert "not a regular file" in read(Metric("accuracy", file=name), tmp_path, ()).why


def test_a_huge_file_is_not_read(tmp_path, monkeypatch):
    with (tmp_path / "metrics.json").open("wb") as file:
        file.truncate(metrics.JSON_LIMIT + 1)
    found = read(Metric("accuracy", file="metrics.json"), tmp_path, ())
    assert "larger than 64 MiB" in found.why


def test_an_absolute_path_is_taken_as_it_is(tmp_path):
    file = tmp_path / "elsewhere.json"
    file.write_text('{"accuracy": 5}')
    assert read(Metric("accuracy", file=str(file)), tmp_path / "project", ()).value == 5


# ---- logs ----


@pytest.mark.parametrize(
    ("log", "value"),
    [
        (b"epoch 1 acc 0.5\nepoch 2 acc 0.75\n", 0.75),
        (b"acc 10\racc 20\racc 30\rdone\n", 30),
        (b"acc 0.5\r\nacc 0.25\r\n", 0.25),
        (b"\xff\xfe\x80 acc 3\n\x00\xc3", 3),
        (b"acc 1e-3", 0.001),
    ],
)
def test_the_last_match_counts(tmp_path, log, value):
    assert from_log(tmp_path, log, r"acc (\S+)").value == value


def test_a_carriage_return_begins_a_line(tmp_path):
    assert from_log(tmp_path, b" 50%\racc 7\r 99%", r"^acc (\d+)$").value == 7


def test_nan_in_a_log_is_nan(tmp_path):
    assert math.isnan(from_log(tmp_path, b"acc 1\nacc nan\n", r"acc (\S+)").value)


def test_the_err_file_counts_where_the_log_says_nothing(tmp_path):
    assert from_log(tmp_path, b"hello\n", r"acc (\S+)", err=b"acc 4\n").value == 4
    assert from_log(tmp_path, b"acc 5\n", r"acc (\S+)", err=b"acc 4\n").value == 5


@pytest.mark.parametrize(
    ("regex", "why"),
    [
        (r"acc (\S+)", "'n/a' in the log is no number"),
        (r"acc(\d+)?", "'' in the log is no number"),
        (r"loss (\S+)", "matches nothing"),
        (r"acc (", "can't be read"),
        (r"acc", "has no group"),
    ],
)
def test_no_number_has_a_reason(tmp_path, regex, why):
    found = from_log(tmp_path, b"acc n/a\n", regex)
    assert found.value is None
    assert why in found.why


def test_a_task_that_left_no_log_has_none(tmp_path):
    assert read(Metric("acc", regex="(.)"), tmp_path, ()).why == "there is no log"
    assert "No such file" in read(Metric("acc", regex="(.)"), tmp_path, ("gone.log",)).why


def test_a_metric_that_says_no_place_has_none(tmp_path):
    assert "neither a file nor a regex" in read(Metric("acc"), tmp_path, ()).why


@pytest.mark.parametrize("ending", [b"\n", b"\r", b" "])
def test_a_match_on_any_seam_between_blocks_is_found_whole(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(metrics, "_BLOCK", 64)
    monkeypatch.setattr(metrics, "_OVERLAP", 24)
    for after in range(200):
        log = b"acc 111" + ending + b"acc 12345" + ending + (b"x" * 9 + ending) * 20 + b"y" * after
        assert from_log(tmp_path, log, r"acc (\d+)").value == 12345


def test_the_end_of_a_large_log_is_enough_and_its_beginning_is_reached(tmp_path):
    log = tmp_path / "run.log"
    with log.open("wb") as file:
        file.write(b"first 1\n")
        file.truncate(40 * 2**20)
        file.seek(0, 2)
        file.write(b"\nlast 2\n")
    tracemalloc.start()
    try:
        assert read(Metric("last", regex=r"last (\d)"), tmp_path, ("run.log",)).value == 2
        assert read(Metric("first", regex=r"first (\d)"), tmp_path, ("run.log",)).value == 1
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()
