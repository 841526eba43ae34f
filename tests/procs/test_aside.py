"""Is an old output moved once, whole, and never lost, wherever the mover dies?"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from parallel_train.procs.aside import beside, put_aside
from parallel_train.store import records


@pytest.fixture
def place(tmp_path):
    """A queue, and an output with something in it."""
    (tmp_path / "queue" / "aside").mkdir(parents=True)
    (tmp_path / "queue" / "id").write_text("abc")
    output = tmp_path / "out" / "run"
    output.mkdir(parents=True)
    (output / "model.bin").write_text("old")
    return tmp_path


def put(place, attempt=2, name="task.2"):
    return put_aside(str(place / "queue"), name, attempt, str(place / "out" / "run"))


def aside(place):
    base = place / "queue" / "aside"
    return {str(p.relative_to(base)): p.read_text() for p in base.rglob("*") if p.is_file()}


def test_an_output_is_moved_out_of_the_way(place):
    assert put(place) == str(place / "queue" / "aside" / "task.2")
    assert aside(place) == {"task.2/run/model.bin": "old"}
    assert not (place / "out" / "run").exists()


def test_nothing_is_moved_by_whoever_may_not_do_so_any_more(place):
    """Its disk hung for so long that what stands there by now may be another attempt's."""

    def check():
        raise OSError("taken")

    with pytest.raises(OSError, match="taken"):
        put_aside(str(place / "queue"), "task.2", 2, str(place / "out" / "run"), check=check)
    assert (place / "out" / "run" / "model.bin").read_text() == "old"
    put(place, 3)
    assert aside(place) == {"task.2/run/model.bin": "old"}


def test_a_single_file_and_a_link_are_outputs_too(tmp_path):
    (tmp_path / "queue").mkdir()
    (tmp_path / "queue" / "id").write_text("abc")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run").write_text("old")
    put(tmp_path)
    assert aside(tmp_path) == {"task.2/run": "old"}
    (tmp_path / "out" / "run").symlink_to("nowhere")
    put(tmp_path, 3, "task.3")
    assert str((tmp_path / "queue" / "aside" / "task.3" / "run").readlink()) == "nowhere"


def test_what_is_made_in_the_round_is_not_moved_by_its_later_attempts(place):
    put(place, 2)
    (place / "out" / "run").mkdir()
    (place / "out" / "run" / "checkpoint").write_text("new")
    put(place, 3)
    assert (place / "out" / "run" / "checkpoint").read_text() == "new"
    assert aside(place) == {"task.2/run/model.bin": "old"}


def test_nothing_to_move_counts_as_done(place):
    (place / "out" / "run" / "model.bin").unlink()
    (place / "out" / "run").rmdir()
    assert Path(put(place, 2)).is_dir()
    (place / "out" / "run").write_text("made by the lost attempt 2")
    put(place, 3)
    assert (place / "out" / "run").read_text() == "made by the lost attempt 2"


def test_each_round_has_its_own_folder(place):
    put(place)
    (place / "out" / "run").write_text("second")
    put(place, 5, "task.3")
    assert aside(place) == {"task.2/run/model.bin": "old", "task.3/run": "second"}
    (place / "out" / "run").write_text("of another task")
    put(place, 1, "task.22")
    assert aside(place)["task.22/run"] == "of another task"


class Died(BaseException):
    """The process is gone at this instant."""


def crash_points(place):
    """How many calls that change the disk one move makes."""
    return len(calls_of(place, None))


def calls_of(place, dies_after):
    made = []
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((os, "mkdir"), (os, "rename"), (os, "rmdir"), (records, "sync_folder")):
            patch.setattr(module, name, watched(getattr(module, name), made, dies_after))
        with suppress(Died):
            put(place)
    return made


def watched(call, made, dies_after):
    def run(*args, **more):
        call(*args, **more)
        made.append(call.__name__)
        if len(made) == dies_after:
            raise Died

    return run


@pytest.mark.parametrize("point", [1, 2, 3, 4, 5])
def test_wherever_it_dies_the_next_attempt_finishes_it(place, point):
    made = calls_of(place, point)
    assert len(made) <= point
    base = place / "queue" / "aside"
    whole = {p.name for p in base.iterdir() if not p.name.endswith(".part")}
    assert whole <= {"task.2"}
    if whole:  # the name appears only when it is true
        assert aside(place) == {"task.2/run/model.bin": "old"}
    put(place, attempt=3)
    assert aside(place) == {"task.2/run/model.bin": "old"}
    assert [p.name for p in base.iterdir()] == ["task.2"]
    assert not (place / "out" / "run").exists()


def test_the_crash_points_are_all_there_are(place):
    assert crash_points(place) == 5


def test_two_deaths_in_a_row_lose_nothing(place):
    for first in range(1, 6):
        for second in range(1, 6):
            box = place / f"{first}{second}"
            (box / "queue" / "aside").mkdir(parents=True)
            (box / "queue" / "id").write_text("abc")
            (box / "out" / "run").mkdir(parents=True)
            (box / "out" / "run" / "model.bin").write_text("old")
            calls_of(box, first)
            calls_of(box, second)
            put(box, attempt=4)
            assert aside(box) == {"task.2/run/model.bin": "old"}


def test_an_output_on_another_disk_stays_on_its_disk(place):
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == place.stat().st_dev or not os.access(shm, os.W_OK):
        pytest.skip("there is no second file system to write to")
    box = shm / f"parallel-train-test-{os.getpid()}-{os.urandom(4).hex()}"
    (box / "run").mkdir(parents=True)
    try:
        (box / "run" / "model.bin").write_text("old")
        where = put_aside(str(place / "queue"), "task.2", 2, str(box / "run"))
        assert where == str(box / ".parallel-train-aside-abc" / "task.2")
        assert (Path(where) / "run" / "model.bin").read_text() == "old"
        assert not (box / "run").exists()
    finally:
        for path in sorted(box.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        box.rmdir()


@pytest.mark.parametrize("content", [b"", b"\xb5", b"../../x", b"abc\0"])
def test_a_damaged_id_names_no_folder(tmp_path, content):
    (tmp_path / "id").write_bytes(content)
    with pytest.raises(OSError, match="damaged"):
        beside(str(tmp_path))
