"""Is what we make the user's alone, or a group's where that was chosen, and what their tasks make as they want it?"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from parallel_train.commands.places import CONFIG_FILE
from parallel_train.procs import locks
from tests.support.call import Called, Caller, call
from tests.support.sweep import QUEUE, Project
from tests.support.wait import wait_until

__all__ = ["call"]

MAKES = "mkdir {output} && echo made > {output}/file"
GROUP = 54321  # one that nobody is in
STRANGER = 54321
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def ours(root: Path) -> Iterator[Path]:
    """All that we made, without what tasks made and we put aside."""
    yield root / QUEUE
    for path in (root / QUEUE).rglob("*"):
        if (
            path.relative_to(root / QUEUE).parts[0] != "aside"
            or len(path.relative_to(root / QUEUE / "aside").parts) <= 1
        ):
            yield path
    yield from (root / "logs").rglob("*")


def lock_files(root: Path) -> Iterator[Path]:
    for path in Path(locks.place()).iterdir():
        with suppress(FileNotFoundError):  # another test's, which took it away since
            if str(root / QUEUE).encode() in path.read_bytes():
                yield path


def use_everything(call: Caller, project: Project, *shared: str) -> None:
    """A run, old outputs put aside, a failure, requests, damage, and a detached worker."""
    call.write("data", "an input")
    tasks = [
        {"name": "a", "command": MAKES, "shell": True, "output": "made/a", "inputs": "data"},
        {"name": "b", "command": "false"},
        {"name": "c", "command": ["cp", "-r", f"{QUEUE}/workers", "."], "gpus": 0},
    ]
    call.write("tasks/default.yaml", json.dumps({"tasks": tasks}))
    assert call("--gpus", "fake:2", *shared).code == 1
    assert call("a", "-B", "--gpus", "fake:2", *shared).code == 0
    assert call("pause", *shared).code == call("resume", *shared).code == 0
    assert call("add", *shared, "--", "sleep", "600").code == 0
    with (call.root / QUEUE / "requests/1").open("a") as record:
        record.write("damage")
    detached = project.run("worker", "--detach", *shared, umask=call.umask)
    assert detached.code == 0, detached.text


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_what_we_make_is_private_and_what_tasks_make_has_the_users_umask(call: Caller, project: Project, umask: int):
    call.umask = umask
    use_everything(call, project)
    held = list(lock_files(call.root))  # by the one that runs
    assert held
    assert call("cancel", "*").code == 0
    project.until_quiet()
    kinds = {
        path.relative_to(call.root / QUEUE).parts[0]
        for path in ours(call.root)
        if path.is_relative_to(call.root / QUEUE) and path != call.root / QUEUE
    }
    assert kinds >= {
        "tasks",
        "rounds",
        "claims",
        "ends",
        "requests",
        "journal",
        "aside",
        "inputs.json",
        "README.md",
        "id",
    }
    assert list((call.root / QUEUE / "journal").glob("*.log"))
    wrong = {str(p): oct(mode(p)) for p in (*ours(call.root), *held) if mode(p) != (0o700 if p.is_dir() else 0o600)}
    assert wrong == {}
    assert {mode(path) for path in (call.root / "workers").iterdir()} <= {0o600 & ~umask}  # as cp made them of ours
    for made in (call.root / "made", call.root / "made/a"):
        assert mode(made) == 0o777 & ~umask
    assert mode(call.root / "made/a/file") == 0o666 & ~umask


@as_root
def test_a_group_shares_a_queue_that_was_opened_to_it(call: Caller, project: Project):
    os.chown(call.root, -1, GROUP)
    call.umask = 0o077
    use_everything(call, project, "--shared-group")
    assert call("cancel", "*", "--shared-group").code == 0
    project.until_quiet()
    wrong = {str(p): oct(mode(p)) for p in ours(call.root) if mode(p) != (0o2770 if p.is_dir() else 0o660)}
    wrong |= {str(p): str(p.lstat().st_gid) for p in ours(call.root) if p.lstat().st_gid != GROUP}
    assert wrong == {}


@as_root
def test_a_private_queue_is_opened_to_a_group(call: Caller, project: Project):
    use_everything(call, project)
    assert call("cancel", "*").code == 0
    project.until_quiet()
    os.chown(call.root, -1, GROUP)
    (call.root / QUEUE / "claims/link").symlink_to(call.root / "data")
    before = mode(call.root / "data")
    call.write(CONFIG_FILE, "shared_group: true\n")
    assert call("a", "--gpus", "fake:1").code == 0
    inside = [path for path in ours(call.root) if path.is_relative_to(call.root / QUEUE) and not path.is_symlink()]
    assert {(mode(p), p.lstat().st_gid) for p in inside if p.is_dir()} == {(0o2770, GROUP)}
    assert {(mode(p), p.lstat().st_gid) for p in inside if p.is_file()} == {(0o660, GROUP)}
    assert mode(call.root / "data") == before
    assert (mode(call.root / "logs"), (call.root / "logs").stat().st_gid) == (0o2770, GROUP)  # for others' tasks
    (aside,) = (call.root / QUEUE / "aside").glob("*.2")
    assert mode(aside / "a") == 0o755  # the user's own is as it was
    (call.root / QUEUE / "claims/link").unlink()
    assert "others" not in call("status").err


# ---- where others have a say ----


def open_to_all(folder: Path) -> None:
    folder.chmod(0o777)


def open_inside(folder: Path) -> None:
    (folder / "claims").chmod(0o770)


def give_away(folder: Path) -> None:
    os.chown(folder, STRANGER, STRANGER)


def give_away_inside(folder: Path) -> None:
    os.chown(folder / "requests", STRANGER, -1)


def lead_away(folder: Path) -> None:
    """Somebody's link stands there, to a folder of our own."""
    folder.rename(folder.parent / "elsewhere")
    folder.symlink_to("elsewhere")
    os.chown(folder, STRANGER, -1, follow_symlinks=False)


def lead_away_inside(folder: Path) -> None:
    lead_away(folder / "ends")


TROUBLES: dict[Callable[[Path], None], str] = {
    open_to_all: "others can write to {queue} (mode 0777), and so could run commands as you: chmod -R go-w {queue}",
    open_inside: "others can write to {queue}/claims (mode 0770)",
    give_away: "{queue} belongs to user 54321, who decides what is in it",
    give_away_inside: "{queue}/requests belongs to user 54321",
    lead_away: "the link {queue} belongs to user 54321",
    lead_away_inside: "the link {queue}/ends belongs to user 54321",
}


def _marks(spoil: Callable[[Path], None]) -> tuple[pytest.MarkDecorator, ...]:
    return () if spoil in {open_to_all, open_inside} else (as_root,)


WRITERS = (
    ("--gpus", "fake:1"),
    ("worker", "--gpus", "fake:1"),
    ("add", "--", "true"),
    ("add", "tasks/default.yaml"),
    ("retry", "a"),
    ("cancel", "a"),
    ("pause",),
    ("resume",),
    ("priority", "a", "1"),
    ("gc", "--yes"),
)


@pytest.fixture
def done(call: Caller) -> Path:
    call.write("tasks/default.yaml", "tasks: [{command: 'true', name: a}]\n")
    assert call("--gpus", "fake:1").code == 0
    return call.root / QUEUE


@pytest.mark.parametrize("spoil", [pytest.param(each, marks=_marks(each), id=each.__name__) for each in TROUBLES])
def test_a_queue_in_which_others_have_a_say_is_refused_unless_that_was_chosen(
    call: Caller, project: Project, done: Path, spoil: Callable[[Path], None]
):
    spoil(done)
    before = project.tree()
    says = TROUBLES[spoil].format(queue=done)
    for argv in WRITERS:
        found = call(*argv)
        assert (found.code, found.out) == (2, ""), (argv, found)
        assert says in found.err, argv
        assert "--shared-group" in found.err
        assert found.err.count("\n") == 1
    for argv in (("status",), ("-n", "--gpus", "fake:1"), ("results",), ("logs", "a"), ("explain", "a"), ("gc",)):
        found = call(*argv)
        assert says.partition(", and")[0] in found.err, argv
        assert found.code in {0, 3}
    assert project.tree() == before
    found = call("-B", "--gpus", "fake:1", PARALLEL_TRAIN_SHARED_GROUP="1")
    assert found.code == 0, found.err


def test_a_link_of_the_users_own_is_followed(call: Caller, done: Path):
    done.rename(call.root / "elsewhere")
    done.symlink_to("elsewhere")
    (call.root / "scratch").mkdir()
    (call.root / "logs").rename(call.root / "scratch/logs")
    (call.root / "logs").symlink_to("scratch/logs")
    found = call("-B", "--gpus", "fake:1")
    assert (found.code, found.err) == (0, "")
    assert len(list((call.root / "scratch/logs").glob("*.log"))) == 2


# ---- several people ----

PEOPLE = (54321, 54322)


@dataclass
class Person:
    """Somebody else than the one who tests, in a project that the people of a group can reach."""

    uid: int
    group: int
    root: Path
    python: str

    def __call__(self, *argv: str) -> Called:
        done = subprocess.run(
            [self.python, "-m", "parallel_train", *argv],
            cwd=self.root,
            env={**_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **_as(self.uid, self.group),
        )
        return Called(done.returncode, done.stdout, done.stderr)


_ENVIRONMENT = {"PATH": os.defpath, "HOME": "/nonexistent"}


def _as(uid: int, group: int) -> dict[str, Any]:
    return {"user": uid, "group": group, "extra_groups": [], "umask": 0o022}


@cache
def python_of_all() -> str:
    """An interpreter that others can run, with all that we need; empty where there is none."""
    path = os.pathsep.join(path for path in sys.path if path)
    for python in (sys.executable, "/usr/bin/python3"):
        command = [python, "-c", "import typer, yaml, pydantic_core, parallel_train.commands.app"]
        settings = {"env": {**_ENVIRONMENT, "PYTHONPATH": path}, "stderr": subprocess.DEVNULL, "cwd": "/"}
        with suppress(OSError):
            if subprocess.run(command, check=False, **settings, **_as(PEOPLE[0], GROUP)).returncode == 0:
                return python
    return ""


@pytest.fixture
def people() -> Iterator[tuple[Person, Person]]:
    if not python_of_all():
        pytest.skip("others can't run this Python")
    with TemporaryDirectory(prefix="parallel-train-test-") as folder:
        root = Path(folder)
        for path in (root, root / "configs", root / "tasks"):
            path.mkdir(exist_ok=True)
            os.chown(path, -1, GROUP)
            path.chmod(0o2770)
        one, other = (Person(uid, GROUP, root, python_of_all()) for uid in PEOPLE)
        yield one, other
        for uid in PEOPLE:
            shutil.rmtree(f"/tmp/parallel-train-{uid}", ignore_errors=True)


@as_root
def test_two_people_of_a_group_share_a_queue(people: tuple[Person, Person]):
    """What one has running the other sees, and cancels by a request: signals reach nobody else's processes."""
    one, other = people
    tasks = [
        {"name": "long", "command": "touch runs; exec sleep 600", "shell": True},
        {"name": "short", "command": "id -u > who", "shell": True},
    ]
    (one.root / "tasks/default.yaml").write_text(json.dumps({"tasks": tasks}))
    (one.root / CONFIG_FILE).write_text("shared_group: true\nlease: 2\n")
    began = one("long", "--detach", "--gpus", "cpu:1")
    assert began.code == 0, began
    wait_until((one.root / "runs").exists, "the long one runs")
    worked = other("short", "--gpus", "cpu:2")
    assert worked.code == 0, worked
    assert (one.root / "who").read_text() == f"{other.uid}\n"
    seen = other("status", "--json")
    assert [task["state"] for task in json.loads(seen.out)["tasks"]] == ["running", "ended"]
    assert seen.err == ""
    cancelled = other("cancel", "long")
    assert (cancelled.code, cancelled.err) == (0, ""), cancelled
    told = one("status", "--json")
    assert [task["ending"] for task in json.loads(told.out)["tasks"]] == ["cancelled", "succeeded"], told
    assert told.err == ""


@as_root
def test_without_that_a_colleagues_queue_is_refused(people: tuple[Person, Person]):
    one, other = people
    assert one("add", "--", "true").code == 0
    refused = other("add", "--", "true")
    assert refused.code == 2
    assert f"{one.root / QUEUE} belongs to" in refused.err
    assert "Traceback" not in other("status").err


@as_root
def test_a_queue_is_shared_with_a_group_of_ones_own(people: tuple[Person, Person]):
    """Nobody gives files to a group that they are not in."""
    one, _ = people
    one.group += 1
    for folder in (one.root, one.root / "configs"):
        folder.chmod(0o777)
    refused = one("add", "--shared-group", "--", "true")
    assert refused.code == 2
    assert f"the group of {one.root}, and you are not in it" in refused.err
