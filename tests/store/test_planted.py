"""Is what somebody put in the place of a file of ours left alone, and whatever it leads to?"""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from parallel_train.core.facts import Owner
from parallel_train.procs import locks, logs
from parallel_train.procs.beat import Beat
from parallel_train.report.outlet import Outlet
from parallel_train.store import queue, records
from parallel_train.store.inputs import Fingerprints
from parallel_train.store.journal import Journal
from parallel_train.store.queue import DiskQueue
from tests.support.machine import machine

NAME = f"test-of-planted-{os.getpid()}"
PLANTS: dict[str, Callable[[Path, Path], object]] = {
    "a link": lambda place, victim: place.symlink_to(victim),
    "a link to nowhere": lambda place, victim: place.symlink_to(victim.with_name("nowhere")),
    "a second name": lambda place, victim: place.hardlink_to(victim),
    "a pipe": lambda place, _: os.mkfifo(place),
}


def publish(folder: Path) -> None:
    assert not records.publish(str(folder / "ends/a.1"), [{}])


def beat(folder: Path) -> None:
    DiskQueue(folder, Owner("one", "h", "m", "b", "ns", 100, 1), lambda _: True).beat()


def beat_of_an_attempt(folder: Path) -> None:
    settings = {"task": "a", "attempt": 1, "queue": str(folder), "heard": 0, "asked_round": 1}
    Beat({**settings, "lease": 300, "beat": 10, "shared": False}, 0.0)._send()


def journal(folder: Path) -> None:
    Journal(folder / "journal/one.jsonl").write("said")


def lines(folder: Path) -> None:
    Outlet(None, folder / "journal/one.log").say("said")


def complaints(folder: Path) -> None:
    with machine(folder.parent) as made:
        made.start(made.task("true"))
        assert made.refused().why == "trouble"


def remember(folder: Path) -> None:
    (folder.parent / "input").write_text("data")
    found = Fingerprints(folder.parent, folder)
    found.of("input")
    found.remember()
    assert not list(folder.glob(".tmp-*"))


def make(folder: Path) -> None:
    queue.create(folder)


def set_aside(folder: Path) -> None:
    (folder / "ends/b.1").write_text("damage")
    one = DiskQueue(folder, Owner("one", "h", "m", "b", "ns", 100, 1), lambda _: True)
    one.join()
    one.changes(0.0)


def log(folder: Path) -> None:
    order = {"project": str(folder.parent), "queue": str(folder), "log": "logs/x"}
    path, out, _, err = logs.open_new(order)
    assert path == "logs/x_2.log"
    os.close(out)
    os.close(err)


def lock(_: Path) -> None:
    locks.take(NAME)


# Where it is put, below the project, and who would write there.
WRITERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a record": (".parallel-train/ends/a.1", publish),
    "a worker's beat": (".parallel-train/beats/one", beat),
    "an attempt's beat": (".parallel-train/beats/a.1", beat_of_an_attempt),
    "the journal": (".parallel-train/journal/one.jsonl", journal),
    "the lines": (".parallel-train/journal/one.log", lines),
    "the launcher's complaints": (".parallel-train/journal/tester.err", complaints),
    "the memory of inputs": (".parallel-train/inputs.json", remember),
    "what the queue says of itself": (".parallel-train/README.md", make),
    "the queue's mark": (".parallel-train/id", make),
    "the copy of a damaged record": (".parallel-train/aside/damaged/ends.b.1", set_aside),
    "a log": ("logs/x.log", log),
    "its other log": ("logs/x.err", log),
    "a lock": (f"{locks.place()}/{NAME}", lock),
}


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """To open a pipe would wait for ever for somebody who reads."""
    signal.alarm(60)
    yield
    signal.alarm(0)
    (Path(locks.folder()) / NAME).unlink(missing_ok=True)


@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.parametrize("writer", WRITERS)
def test_nothing_is_written_through_what_was_planted(tmp_path: Path, writer: str, plant: str):
    victim, folder = tmp_path / "victim", tmp_path / queue.NAME
    victim.write_text("precious")
    victim.chmod(0o640)
    queue.create(folder)
    where, write = WRITERS[writer]
    place = tmp_path / where
    place.parent.mkdir(exist_ok=True)
    place.unlink(missing_ok=True)
    PLANTS[plant](place, victim)
    before = victim.stat()
    with suppress(OSError):
        write(folder)
    after = victim.stat()
    assert (victim.read_text(), stat.S_IMODE(after.st_mode)) == ("precious", 0o640)
    assert after.st_mtime_ns == before.st_mtime_ns
    assert not (tmp_path / "nowhere").exists()
    if writer != "the memory of inputs":  # a new file takes its name
        assert place.is_symlink() or place.is_fifo() or place.samefile(victim)


def test_a_temporary_name_that_is_taken_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "victim").write_text("precious")
    monkeypatch.setattr(os, "urandom", bytes)
    (tmp_path / f".tmp-{os.getpid()}-{'00' * 6}").symlink_to("victim")
    with pytest.raises(FileExistsError):
        records.publish(str(tmp_path / "r"), [{}])
    assert (tmp_path / "victim").read_text() == "precious"
    assert not (tmp_path / "r").exists()


def test_a_log_that_was_replaced_is_not_taken_back(tmp_path: Path):
    path = tmp_path / "x.log"
    with path.open("x") as ours:
        path.unlink()
        path.write_text("another's")
        logs.take_back({"project": str(tmp_path)}, "x.log", ours.fileno())
        assert path.read_text() == "another's"
