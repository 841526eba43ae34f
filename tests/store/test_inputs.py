"""Does a task's identity follow the content of its inputs, and is big data read only once?"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from parallel_train.store.inputs import Fingerprints, identities
from tests.support.builders import task


@pytest.fixture
def project(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("1,2")
    (tmp_path / "data" / "sub").mkdir()
    (tmp_path / "data" / "sub" / "b.csv").write_text("3,4")
    return tmp_path


def of(project, path):
    return Fingerprints(project, project).of(path)


def test_a_fingerprint_is_of_the_content(project):
    first = of(project, "data/a.csv")
    assert of(project, "data/a.csv") == first
    assert of(project, str(project / "data" / "a.csv")) == first
    (project / "same").write_text("1,2")
    assert of(project, "same") == first
    (project / "data" / "a.csv").write_text("1,3")
    assert of(project, "data/a.csv") != first
    assert of(project, "nothing") == "missing"


def test_a_folder_is_all_that_is_below_it_by_name_and_content(project):
    seen = [of(project, "data")]
    (project / "data" / "sub" / "b.csv").write_text("3,5")
    seen.append(of(project, "data"))
    (project / "data" / "sub" / "b.csv").rename(project / "data" / "sub" / "c.csv")
    seen.append(of(project, "data"))
    (project / "data" / "new").write_text("")
    seen.append(of(project, "data"))
    (project / "data" / os.fsdecode(b"\xff")).write_text("a name that is no text")
    seen.append(of(project, "data"))
    assert len(set(seen)) == 5


class Counted(Fingerprints):
    """Counts the files that are read."""

    def __init__(self, *places: Path) -> None:
        super().__init__(*places)
        self.before = dict(self._known)

    @property
    def read(self) -> list[str]:
        return [path for path, known in self._known.items() if self.before.get(path) != known]


def test_what_was_read_is_remembered_until_the_file_changes(project):
    first = Counted(project, project)
    first.of("data")
    assert len(first.read) == 2
    first.remember()
    second = Counted(project, project)
    assert (second.of("data"), second.read) == (first.of("data"), [])
    before = first.of("data")
    (project / "data" / "a.csv").write_text("9,9,9")
    assert second.of("data") != before
    assert second.read == [str(project / "data" / "a.csv")]


def test_a_file_of_the_same_size_and_time_is_read_again_when_it_was_replaced(project):
    path = project / "data" / "a.csv"
    first = Counted(project, project)
    before, status = first.of("data/a.csv"), path.stat()
    first.remember()
    (project / "other").write_text("7,8")
    (project / "other").replace(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert Counted(project, project).of("data/a.csv") != before


@pytest.mark.parametrize("memory", ["", "{", "[]", "null", '{"x": 1}'])
def test_a_broken_memory_is_only_forgotten(project, memory):
    (project / "inputs.json").write_text(memory)
    assert of(project, "data/a.csv") == of(project, "data/a.csv")


def test_a_memory_that_can_not_be_kept_does_no_harm(project):
    made = Fingerprints(project, project / "nowhere")
    made.of("data")
    made.remember()
    assert not (project / "nowhere").exists()


# ---- identities ----


def test_identities_follow_inputs_and_go_down_the_needs(project):
    tasks = [task("c", needs="b"), task("b", needs="a"), task("a", inputs=("data/a.csv",)), task("apart")]
    before = identities(tasks, Fingerprints(project, project))
    assert before == identities(reversed(tasks), Fingerprints(project, project))
    (project / "data" / "a.csv").write_text("changed")
    after = identities(tasks, Fingerprints(project, project))
    assert {name for name in before if before[name] != after[name]} == {"a", "b", "c"}


@pytest.mark.parametrize("path", ["made", "made/model.bin", "./made/model.bin", "made/../made/x"])
def test_what_another_task_makes_is_that_tasks_to_answer_for(project, path):
    tasks = [task("maker", output="made"), task("user", needs="maker", inputs=(path,))]
    before = identities(tasks, Fingerprints(project, project))
    (project / "made").mkdir()
    (project / "made" / "model.bin").write_text("x")
    assert identities(tasks, Fingerprints(project, project)) == before


@pytest.mark.parametrize(
    ("field", "value", "matters"),
    [
        ("command", ("false",), True),
        ("shell", True, True),
        ("cwd", "sub", True),
        ("env", {"A": "1"}, True),
        ("params", {"lr": 1}, True),
        ("output", "out", True),
        ("retries", 3, False),
        ("timeout", 5.0, False),
        ("gpus", 2, False),
        ("priority", 7, False),
        ("name", "renamed", False),
    ],
)
def test_what_a_result_depends_on(project, field, value, matters):
    fingerprints = Fingerprints(project, project)
    plain = identities([task("t")], fingerprints)["t"]
    other = identities([task("t", id="t", **{field: value})], fingerprints) if field != "name" else None
    if other is None:
        other = identities([task("renamed", id="t")], fingerprints)
    assert (other["t"] != plain) == matters
