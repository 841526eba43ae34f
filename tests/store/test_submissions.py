"""Do tasks keep their numbers, and does the same file given again ask for nothing new?"""

from __future__ import annotations

import math
import multiprocessing
from dataclasses import replace

import pytest

from parallel_train.core.task import DoneWhen, Metric
from parallel_train.errors import UsageError
from parallel_train.store import records, submissions
from tests.support.builders import task

A, B, C = task("a"), task("b", needs="a"), task("c", params={"lr": 0.1}, metrics=(Metric("acc", "max", "m.json"),))


def submit(folder, *tasks, source="f"):
    return submissions.submit(folder, source, tasks, "2026-01-02T03:04:05Z")


def numbers(submission):
    return {t.id: t.number for t in submission.tasks}


def test_a_first_submission_numbers_its_tasks_from_one(tmp_path):
    made, before = submit(tmp_path, A, B)
    assert (numbers(made), before, made.number) == ({"a": 1, "b": 2}, None, 1)
    assert submissions.read_all(tmp_path) == [made]


def test_tasks_come_back_as_they_were(tmp_path):
    rich = task(
        "rich",
        shell=True,
        env={"A": "secret:B"},
        params={"x": [1, {"y": None}], "z": "ü"},
        output="out/x",
        inputs=("data.csv",),
        gpus=0,
        timeout=1.5,
        retries=2,
        priority=-1,
        done_when=DoneWhen(("log.txt",), "Finish"),
        metrics=(Metric("a.b", "min", regex="loss (.*)"), Metric("c")),
    )
    made, _ = submit(tmp_path, rich, C)
    assert submissions.read_all(tmp_path)[0] == made
    assert submissions.read_all(tmp_path)[0].tasks[0].command == rich.command


@pytest.mark.parametrize("value", [math.nan, math.inf, (1, 2), [1, 2], {"k": (1,)}, 1.0, True])
def test_the_same_tasks_write_nothing(tmp_path, value):
    tasks = (A, task("p", params={"x": value}))
    first, _ = submit(tmp_path, *tasks)
    again, before = submit(tmp_path, *tasks)
    assert (before, again.number, len(list(tmp_path.iterdir()))) == (None, 1, 1)
    assert numbers(again) == numbers(first)


def test_an_edited_file_supersedes_and_numbers_are_permanent(tmp_path):
    first, _ = submit(tmp_path, A, B)
    second, before = submit(tmp_path, C, B)
    assert (before, second.number) == (first, 2)
    assert numbers(second) == {"c": 3, "b": 2}
    third, _ = submit(tmp_path, A, B)  # withdrawn and named again
    assert numbers(third) == {"a": 1, "b": 2}
    assert submissions.newest(submissions.read_all(tmp_path)) == {"f": third}


def test_files_are_apart_but_number_together(tmp_path):
    submit(tmp_path, A)
    other, before = submit(tmp_path, B, source="g")
    assert (numbers(other), before) == ({"b": 2}, None)
    assert list(submissions.newest(submissions.read_all(tmp_path))) == ["f", "g"]


def test_a_task_that_two_files_name_has_one_number(tmp_path):
    submit(tmp_path, A, B)
    other, _ = submit(tmp_path, C, B, source="g")
    assert numbers(other) == {"c": 3, "b": 2}


def ask(folder, number, gate, results):
    gate.wait()
    made, _ = submit(folder, A, task(f"own{number}"), source=f"f{number % 2}")
    results.put((number, made.number, numbers(made)))


def test_many_at_once_lose_nothing_and_share_no_number(tmp_path):
    context = multiprocessing.get_context("fork")
    gate, results = context.Barrier(8), context.Queue()
    askers = [context.Process(target=ask, args=(tmp_path, n, gate, results)) for n in range(8)]
    for asker in askers:
        asker.start()
    told = [results.get(timeout=20) for _ in askers]
    for asker in askers:
        asker.join()
    assert sorted(number for _, number, _ in told) == list(range(1, 9))
    assert {each["a"] for _, _, each in told} == {1}
    assert sorted(each[f"own{n}"] for n, _, each in told) == list(range(2, 10))
    assert len(submissions.read_all(tmp_path)) == 8


def test_a_submission_of_a_newer_version_stops_with_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "VERSION", records.VERSION + 1)
    submit(tmp_path, A)
    monkeypatch.undo()
    with pytest.raises(UsageError, match=r"000001\.jsonl can't be read: .* newer"):
        submit(tmp_path, A)


@pytest.mark.parametrize("left", [-5, 60, 0])
def test_a_damaged_submission_keeps_its_number_and_what_it_superseded_stays_so(tmp_path, left):
    submit(tmp_path, A)
    submit(tmp_path, A, B)
    submit(tmp_path, C, source="g")
    second = tmp_path / "000002.jsonl"
    second.write_bytes(second.read_bytes()[:left])
    found = submissions.newest(submissions.read_all(tmp_path))
    assert found["g"].tasks
    is_known = left != 0
    assert found["f" if is_known else ""] == submissions.Submission(2, "f" if is_known else "", "", (), True)
    said = [f"the record {second} is damaged: run its task file again"]
    assert submissions.damage(tmp_path, ["000002.jsonl"]) == said
    made, before = submit(tmp_path, A, B)
    assert (made.number, before) == (4, None if is_known else before)
    assert submissions.damage(tmp_path, ["000002.jsonl"]) == ([] if is_known else said)


def test_half_written_and_foreign_files_are_passed_over(tmp_path):
    submit(tmp_path, A)
    (tmp_path / ".tmp-1-abcdef").write_text("half")
    (tmp_path / "README").write_text("x")
    assert len(submissions.read_all(tmp_path)) == 1
    assert submissions.read_all(tmp_path / "nowhere") == []


def test_a_file_that_is_given_again_after_another_source_changed_its_tasks_is_submitted_again(tmp_path):
    """The same output with a value of the command line, and then as the file has it."""
    submit(tmp_path, A)
    submit(tmp_path, replace(A, identity="another"), source="f lr=3")
    again, before = submit(tmp_path, A)
    assert (again.number, before is not None) == (3, True)
    assert submit(tmp_path, A)[0].number == 3


def test_a_number_that_was_shown_before_stays(tmp_path):
    submit(tmp_path, task("b", number=2), source="f lr=1")
    found, _ = submit(tmp_path, task("a"), task("b"), task("c"))
    assert numbers(found) == {"a": 3, "b": 2, "c": 4}
