"""Can the checker fail? A history without fault passes, and each fault made by hand in it is named."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from parallel_train.store import records
from tests.faults.checker import CAP, Expected, History, faults, history, survivors
from tests.support.sweep import MARK, Effect
from tests.support.wait import wait_until


@dataclass
class Case:
    """Two attempts of `a`, whose first shim was shot, and one of `b`, which needs it and exits with 3, of one shim."""

    told: History = field(default_factory=History)
    effects: list[Effect] = field(default_factory=list)
    expected: Expected = field(default_factory=lambda: Expected({"a": 0, "b": 3}, {(11, 1)}, {11}))

    def faults(self) -> list[str]:
        return faults(self.told, self.effects, self.expected)


def good() -> Case:
    case = Case()
    case.told.names = {"A": "a", "B": "b"}
    case.told.needs = {"B": ["A"]}
    for task, attempt, pid, outcome in (("A", 1, 11, {"lost": "killed"}), ("A", 2, 13, {"exited": 0})):
        add(case, task, attempt, (pid, outcome))
    add(case, "B", 1, (13, {"exited": 3}))
    case.told.claims["B", 1]["at"] = "2026-01-01T00:00:03Z"
    case.effects = [
        Effect("a", 1, 21, 11, "0", [], 1.0),
        Effect("a", 2, 22, 13, "0", [], 2.0, 3.0, 0),
        Effect("b", 1, 23, 13, "0", [], 3.0, 4.0, 3),
    ]
    return case


def add(case: Case, task: str, attempt: int, shim: tuple[int, dict]) -> None:
    pid, outcome = shim
    started = "" if "not_started" in outcome else "2026"
    owner, at = {"pid": pid, "start": 1}, f"2026-01-01T00:00:0{attempt}Z"
    case.told.claims[task, attempt] = {"task": task, "attempt": attempt, "owner": owner, "at": at}
    case.told.ends[task, attempt] = {"task": task, "attempt": attempt, "outcome": outcome, "started": started}


def ran_too(case: Case, **more: object) -> None:
    case.effects.append(replace(Effect("b", 1, 99, 13, "1", [], 8.0, 9.0, 3), **more))


def changed(case: Case, number: int, **more: object) -> None:
    case.effects[number] = replace(case.effects[number], **more)


def expect(case: Case, **more: object) -> None:
    case.expected = replace(case.expected, **more)


def lost_again(case: Case) -> None:
    """More lost attempts than a task may have, all of shims that were shot."""
    for number in range(1, CAP + 2):
        add(case, "B", number, (30 + number, {"lost": "killed"}))
    expect(case, shot={(11, 1), *((30 + number, 1) for number in range(1, CAP + 2))})


def lost_before_it_was_shot(case: Case) -> None:
    """The shim that is shot in its last attempt did not end the one before."""
    case.told.ends["A", 2]["outcome"] = {"lost": "killed"}
    expect(case, shot={(11, 1), (13, 1)})


def two_lost_with_one_shim(case: Case) -> None:
    for key in (("A", 2), ("B", 1)):
        case.told.ends[key]["outcome"] = {"lost": "killed"}
    expect(case, shot={(11, 1), (13, 1)})


FAULTS: dict[str, Callable[[Case], object]] = {
    "damaged": lambda case: case.told.unreadable.append("ends/x"),
    "are no chain": lambda case: add(case, "B", 3, (30, {"not_started": "paused"})),
    "was never asked for": lambda case: add(case, "C", 1, (30, {"not_started": "paused"})),
    "b.1 has no end": lambda case: case.told.ends.pop(("B", 1)),
    "b.1 has an end and no claim": lambda case: case.told.claims.pop(("B", 1)),
    "another's record": lambda case: case.told.ends["B", 1].update(attempt=2),
    f"b: {CAP + 1} attempts were lost": lost_again,
    "b is lost: 0 tasks": lambda case: case.told.names.pop("B"),
    "b is lost: its ends are [{'not_started'": lambda case: case.told.ends["B", 1].update(
        outcome={"not_started": "its worker left"}
    ),
    "b ended 2 times": lambda case: add(case, "B", 2, (30, {"exited": 3})),
    "b: exit codes [4]": lambda case: case.told.ends["B", 1].update(outcome={"exited": 4}),
    "a.1 is {'lost': 'killed'}, and nobody shot": lambda case: expect(case, shot=()),
    "a.2 is {'lost': 'killed'}, and nobody shot": lost_before_it_was_shot,
    "['a.2', 'b.1'] are all lost with one shim": two_lost_with_one_shim,
    "b.1 is {'exited': 3}, and ran again": lambda case: add(case, "B", 2, (30, {"exited": 3})),
    "nobody killed": lambda case: case.told.temporary.append("claims/.tmp-12-ab"),
    "ran and nobody claimed it": lambda case: ran_too(case, attempt=2),
    "ran under 77": lambda case: changed(case, 2, shim=77),
    "b.1 was cut short": lambda case: changed(case, 2, ended=None, code=None),
    "was told to exit with 5": lambda case: changed(case, 2, code=5),
    "b.1 began 2 times": ran_too,
    "its task did not say so": lambda case: case.effects.pop(),
    "b.1 and a.2 on slot 0": lambda case: changed(case, 2, began=1.5),
    "a.2 shared ['0']": lambda case: changed(case, 1, shared=["0"]),
    "attempts 1 and 1 ran at once": lambda case: ran_too(case, began=3.5),
    "began before its need a was done": lambda case: changed(case, 2, began=2.5, slots="1"),
}


def test_a_history_without_fault():
    assert good().faults() == []


@pytest.mark.parametrize("said", FAULTS)
def test_a_fault_made_by_hand_is_named(said: str):
    case = copy.deepcopy(good())
    FAULTS[said](case)
    assert any(said in fault for fault in case.faults()), case.faults()


def test_records_are_read_as_they_were_written(tmp_path: Path):
    for kind, name, line in (
        ("tasks", "000001.jsonl", {"id": "A", "name": "a", "needs": ["B"]}),
        ("claims", "A.1", {"task": "A", "attempt": 1}),
        ("ends", "A.1", {"task": "A", "attempt": 1, "outcome": {"exited": 0}}),
    ):
        (tmp_path / kind).mkdir()
        lines = [{"source": "x"}, line] if kind == "tasks" else [line]
        assert records.publish(str(tmp_path / kind / name), lines)
    (tmp_path / "claims" / ".tmp-5-x").write_text("")
    told = history(tmp_path)
    assert (told.names, told.needs) == ({"A": "a"}, {"A": ["B"]})
    assert told.ends["A", 1]["outcome"] == {"exited": 0}
    assert (told.unreadable, told.temporary) == ([], [str(tmp_path / "claims" / ".tmp-5-x")])


@pytest.mark.parametrize("place", [0, 10, -2, -1])
def test_a_flipped_bit_is_seen(tmp_path: Path, place: int):
    (tmp_path / "ends").mkdir()
    path = tmp_path / "ends" / "A.1"
    records.publish(str(path), [{"task": "A", "attempt": 1}])
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert history(tmp_path).unreadable == [str(path)]


@pytest.mark.parametrize("tie", ["environment", "folder", "command"])
def test_whoever_belongs_to_a_project_is_found(tmp_path: Path, tie: str):
    tied = {"env": {MARK: str(tmp_path)}} if tie == "environment" else {}
    tied |= {"cwd": tmp_path} if tie == "folder" else {}
    command = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"]
    process = subprocess.Popen([*command, f"{tmp_path}/x"] if tie == "command" else command, **tied)
    try:
        wait_until(lambda: survivors(tmp_path), "it is found")
        assert f"process {process.pid} lives" in survivors(tmp_path)[0]
    finally:
        process.kill()
        process.wait()
    assert survivors(tmp_path) == []
