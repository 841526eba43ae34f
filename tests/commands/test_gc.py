"""Is what only takes room listed, all of it and nothing else, and removed only when told to?"""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from parallel_train.commands import gc
from parallel_train.core.facts import Claim, Exited, Lost, NotStarted, Outcome, Owner
from parallel_train.core.task import Task
from parallel_train.procs import aside
from parallel_train.project.reading import this_owner
from tests.commands.history import History, task
from tests.support.call import Caller, call

__all__ = ["call"]

FAILED = Exited(1)
DEAD = replace(this_owner("worker"), start=1)
NOWHERE = Owner("w", "elsewhere", "another machine", "boot", "ns", 1, 1)


class Past(History):
    """Attempts whose process is gone, where nothing else is said."""

    def ran(self, of: Task, attempt: int = 1, outcome: Outcome | None = None, **more: object) -> Claim:
        return super().ran(of, attempt, outcome, **{"owner": DEAD, **more})


@pytest.fixture
def history(tmp_path: Path) -> History:
    return Past(tmp_path)


def listed(history: History, *, yes: bool = False) -> list[dict]:
    out = io.StringIO()
    assert gc.gc(history.path, yes=yes, as_json=True, out=out) == 0
    return json.loads(out.getvalue())["entries"]


def shown(history: History, *, yes: bool = False) -> str:
    out = io.StringIO()
    gc.gc(history.path, yes=yes, as_json=False, out=out)
    return out.getvalue()


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def put_aside(history: History, of: Task, round_: int, size: int = 9000) -> str:
    """What a shim does with the old output when round `round_` begins."""
    history.write(f"{of.output}/model.bin", bytes(size))
    return aside.put_aside(str(history.queue), f"{of.id}.{round_}", round_, str(history.path / str(of.output)))


def again(history: History, of: Task, log: bytes = b"log") -> str:
    """`of` ran, and ran once more with its output put aside: where that is."""
    history.submit(of)
    history.ran(of, 1, log=log)
    history.open_round(of, 2)
    moved = put_aside(history, of, 2)
    history.ran(of, 2, round=2)
    history.write(f"{of.output}/model.bin", b"new")
    return moved


# ---- what is listed ----


def test_an_old_output_with_its_task_its_reason_and_its_way_back(history: History):
    one = task("a b")
    moved = again(history, one)
    output, logs_ = listed(history)
    assert output["kind"] == "output"
    assert (output["task"], output["name"]) == (one.id, "a b")
    assert output["why"] == "put aside for round 2: failed before"
    assert [history.path / path for path in output["paths"]] == [Path(moved)]
    assert output["size"] >= 9000
    assert logs_["kind"] == "logs"
    text = shown(history)
    assert output["back"] in text
    assert "gc --yes" in text


def test_the_way_back_works_and_overwrites_nothing(history: History):
    one = task("a b")
    again(history, one)
    back = shlex.split(listed(history)[0]["back"])
    folder = history.path / str(one.output)
    subprocess.run(back, cwd=history.path, check=False, capture_output=True)
    assert (folder / "model.bin").read_bytes() == b"new"
    folder.rename(history.path / "elsewhere")
    subprocess.run(back, cwd=history.path, check=True)
    assert (folder / "model.bin").read_bytes() == bytes(9000)


def test_the_way_back_works_from_another_folder(call: Caller):
    history = Past(call.root / "in here")
    one = task("a b")
    again(history, one)
    (back,) = (line for line in call("gc", "-C", "in here").out.splitlines() if line.startswith("  mv "))
    (history.path / str(one.output)).rename(call.root / "elsewhere")
    subprocess.run(shlex.split(back), cwd=call.root, check=True)
    assert (history.path / str(one.output) / "model.bin").read_bytes() == bytes(9000)


def test_an_old_output_that_had_to_stay_on_its_disk(history: History, tmp_path_factory: pytest.TempPathFactory):
    """It stands beside the output, in a folder that bears the queue's name."""
    disk = tmp_path_factory.mktemp("disk")
    one = task("a", output=str(disk / "a"))
    history.submit(one)
    history.ran(one, 1)
    history.open_round(one, 2)
    history.ran(one, 2, round=2)
    mark = (history.queue / "id").read_text()
    for name in (f".parallel-train-aside-{mark}", ".parallel-train-aside-another"):
        (disk / name / f"{one.id}.2" / "a").mkdir(parents=True)
    (found,) = [each for each in listed(history, yes=True) if each["kind"] == "output"]
    assert found["paths"] == [str(disk / f".parallel-train-aside-{mark}" / f"{one.id}.2")]
    assert tree(disk / f".parallel-train-aside-{mark}") == set()
    assert tree(disk / ".parallel-train-aside-another") != set()


def test_logs_of_attempts_that_do_not_count(history: History):
    """Of a retried failure and of an earlier round; not of what decides or runs."""
    one = task("one")
    history.submit(one)
    history.ran(one, 1, FAILED, log=bytes(9000))
    history.ran(one, 2, FAILED)
    history.open_round(one, 2)
    history.ran(one, 3, FAILED, round=2)
    history.start(one, 4, round=2)  # it runs: the third decides again should the fourth not start
    found = listed(history)
    assert [each["paths"][0] for each in found] == ["logs/gpu0_one_1.log", "logs/gpu0_one_2.log"]
    assert found[0]["paths"] == ["logs/gpu0_one_1.log", "logs/gpu0_one_1.err"]
    assert found[0]["why"] == "attempt 1: exit code 1"


def test_an_attempt_that_was_not_started_leaves_the_one_before_to_decide(history: History):
    one = task("one")
    history.submit(one)
    history.ran(one, 1)
    history.ran(one, 2, NotStarted("a need runs again"))
    assert listed(history) == []


def test_the_largest_come_first(history: History):
    for number, size in enumerate((5000, 90000, 20000)):
        again(history, task(f"t{number}"), log=bytes(size))
    sizes = [each["size"] for each in listed(history)]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) == 6


def test_what_a_killed_writer_left(history: History):
    dead = subprocess.Popen(["true"])
    dead.wait()
    long_ago = time.time() - 7200
    for name, age in ((f".tmp-{dead.pid}-abcdef", long_ago), (f".tmp-{dead.pid}-123456", time.time())):
        os.utime(history.write(f".parallel-train/ends/{name}", b"{"), (age, age))
    os.utime(history.write(f".parallel-train/ends/.tmp-{os.getpid()}-abcdef", b"{"), (long_ago, long_ago))
    (found,) = listed(history, yes=True)
    assert found["paths"] == [f".parallel-train/ends/.tmp-{dead.pid}-abcdef"]
    assert len(list((history.queue / "ends").iterdir())) == 2


def test_nothing_to_remove(history: History):
    history.submit(task("a"))
    assert shown(history) == "nothing here only takes room\n"
    assert listed(history, yes=True) == []


# ---- what is left alone ----


def test_the_only_good_output_is_left_though_it_was_put_aside(history: History):
    """It ran again, and failed: what was put aside may be all that there is."""
    one = task("a")
    history.submit(one)
    history.ran(one, 1)
    history.open_round(one, 2)
    put_aside(history, one, 2)
    history.ran(one, 2, Exited(1), round=2)
    assert "output" not in [each["kind"] for each in listed(history)]
    history.ran(one, 3, round=2)
    assert "output" in [each["kind"] for each in listed(history)]


def test_an_old_output_is_left_while_an_attempt_may_ask_for_it(history: History):
    """The folder of a round says that the output was put aside: the next attempt must not do so again."""
    one = task("a")
    history.submit(one)
    history.ran(one, 1)
    history.open_round(one, 2)
    moved = put_aside(history, one, 2)
    assert listed(history) == []
    history.start(one, 2, round=2)
    assert listed(history) == []
    history.end(one, 2, Lost("killed"))
    assert [each["kind"] for each in listed(history, yes=True)] == ["logs"]
    assert Path(moved).is_dir()


def test_what_may_still_write_is_left(history: History):
    """Somebody said that it was lost; whether its process lives can't be seen from here."""
    one = task("one")
    history.submit(one)
    history.ran(one, 1, Lost("killed"), owner=NOWHERE)
    history.ran(one, 2, FAILED, owner=NOWHERE)
    history.ran(one, 3, owner=NOWHERE)
    assert [each["paths"][0] for each in listed(history)] == ["logs/gpu0_one_2.log"]


def test_symbolic_links_are_not_followed(history: History, tmp_path_factory: pytest.TempPathFactory):
    precious = tmp_path_factory.mktemp("precious")
    (precious / "data").write_text("mine")
    one, two, three = task("one"), task("two"), task("three")
    moved = again(history, one)
    (Path(moved) / "link").symlink_to(precious)
    again(history, two)
    (history.path / "logs/gpu0_two_1.log").unlink()
    (history.path / "logs/gpu0_two_1.log").symlink_to(precious / "data")
    Path(again(history, three)).rename(precious / "three")
    (history.queue / "aside" / f"{three.id}.2").symlink_to(precious / "three")
    listed(history, yes=True)
    assert tree(precious) == {"data", "three", "three/three", "three/three/model.bin"}
    assert not Path(moved).exists()
    assert (history.path / "logs/gpu0_two_1.log").is_symlink()


def test_a_log_folder_behind_a_link_is_left(history: History, tmp_path_factory: pytest.TempPathFactory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (history.path / "logs").symlink_to(elsewhere)
    again(history, task("one"))
    assert [each["kind"] for each in listed(history, yes=True)] == ["output"]
    assert len(tree(elsewhere)) == 4


def test_what_is_not_ours_is_left(history: History):
    one = task("one")
    history.submit(one)
    for name in ("notes", f"{one.id}", "0123456789abcdef.2", f"{one.id}.x"):
        history.write(f".parallel-train/aside/{name}/file", b"mine")
    history.write(".parallel-train/tasks/.tmp-notes", b"mine")
    assert listed(history) == []


# ---- removing ----


def test_without_yes_nothing_changes(history: History):
    again(history, task("one"))
    before = tree(history.path)
    shown(history)
    listed(history)
    assert tree(history.path) == before


def test_with_yes_what_was_listed_goes_and_nothing_else(history: History):
    one = task("one")
    again(history, one)
    paths = [path for each in listed(history) for path in each["paths"]]
    gone = {path for path in tree(history.path) if any(path == p or path.startswith(f"{p}/") for p in paths)}
    before = tree(history.path)
    text = shown(history, yes=True)
    assert tree(history.path) == before - gone
    assert len(gone) == 5
    assert "removed" in text
    assert "1 old output, the logs of 1 attempt" in text
    assert shown(history) == "nothing here only takes room\n"


@pytest.mark.parametrize("command", [("status",), ("logs", "one"), ("explain", "one"), ("results",)])
def test_looking_at_a_task_whose_old_logs_are_gone(call: Caller, command: tuple[str, ...]):
    history = Past(call.root)
    one = task("one")
    again(history, one)
    history.write(f"{one.output}/metrics.json", '{"accuracy": 1}')
    listed(history, yes=True)
    found = call(*command)
    assert found.code == 0, found.err
    assert "one" in found.out + found.err


def test_what_cannot_be_removed_is_said(tmp_path: Path):
    assert gc._remove(gc.Leftover("logs", (tmp_path,), 0, 0)) == f"{tmp_path}: Is a directory"
    assert gc._remove(gc.Leftover("logs", (tmp_path / "gone",), 0, 0)) == ""
