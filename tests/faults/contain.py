"""Twelve shapes of task whose processes try to outlive it, ended in five ways: does anything live after the end?

Where attempts can have control groups, every other run goes without them, as it is on most machines. The fifth way, its
launcher and its shim shot at once, needs them: nothing else leads to a process that has then left its session, its
parents, its environment and its files (nameless, ghost).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from parallel_train.procs import fence, process
from tests.faults.checker import history, survivors
from tests.faults.frame import Piece, Plan, Verdict
from tests.support.machine import signal_proven
from tests.support.sweep import QUEUE, Project, program
from tests.support.sweep import project as project_in
from tests.support.wait import wait_until

SHAPES = (
    *("workers", "session", "daemon", "deaf", "closed", "stopped"),
    *("nameless", "hydra", "moved", "reaper", "ghost", "storm"),
)
LAUNCHER = b"procs/launcher.py"
WAYS = ("exit", "crash", "timeout", "shot")
SHOT = {"shot", "both"}
AT_ONCE = 16
GRACE = 5.0  # seconds after the end in which everything must be gone
WANTED = {"crash": {"signalled": 9}, "timeout": {"timed_out": True}}


def run(plan: Plan) -> Verdict:
    return plan.in_pieces(one_crowd, smoke=1, full=10)


@dataclass
class Crowd:
    """The attempts of one run, as their own processes signed for them."""

    project: Project
    ways: dict[str, str]  # by task name
    shot: set[tuple[str, int]] = field(default_factory=set)
    ended: dict[tuple[str, int], float] = field(default_factory=dict)
    checked: set[tuple[str, int]] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)  # by task id
    launchers: int = 0  # shot
    faults: list[str] = field(default_factory=list)

    @property
    def effects(self) -> Path:
        return self.project.root / "effects"

    def look(self) -> None:
        self._shoot()
        self._see_ends()
        for key, when in self.ended.items():
            if key not in self.checked and time.monotonic() - when > GRACE:
                self.checked.add(key)
                self.faults += [f"{key[0]}.{key[1]}: process {pid} lives 5 s after the end" for pid in self.alive(key)]

    def alive(self, key: tuple[str, int]) -> list[int]:
        path = self.effects / f"{key[0]}.{key[1]}.pids"
        signed = _signed(path) if path.exists() else []
        return [pid for pid, start in signed if process.start_time(pid) == start]

    def end(self) -> None:
        """Nobody of them outlives the campaign, whatever it found."""
        for path in self.effects.glob("*.pids"):
            for pid, start in _signed(path):
                signal_proven(pid, start, signal.SIGKILL)

    def _shoot(self) -> None:
        """Kill the shims of the first attempts that wait for it, or their launcher and then the shim."""
        for path in self.effects.glob("*.1.ready"):
            key = (path.name.removesuffix(".1.ready"), 1)
            if key in self.shot or self.ways[key[0]] not in SHOT:
                continue
            self._learn_names()
            task = next(task for task, name in self.names.items() if name == key[0])
            claim = json.loads((self.project.root / QUEUE / "claims" / f"{task}.1").read_text().splitlines()[0])
            if self.ways[key[0]] == "both":
                self.launchers += shoot_the_launcher_of(claim["owner"]["pid"])
            if not signal_proven(claim["owner"]["pid"], claim["owner"]["start"], signal.SIGKILL):
                self.faults.append(f"{key[0]}: its shim died by itself")
            self.shot.add(key)

    def _see_ends(self) -> None:
        for path in (self.project.root / QUEUE / "ends").glob("[!.]*"):
            self._learn_names()
            task, _, number = path.name.rpartition(".")
            key = (self.names[task], int(number))
            if key in self.ended:
                continue
            self.ended[key] = time.monotonic()
            left = self.alive(key)
            if left:
                self.faults.append(f"{key[0]}.{key[1]} ended and processes {left} lived")

    def _learn_names(self) -> None:
        if not self.names:
            self.names = history(self.project.root / QUEUE).names


def _signed(path: Path) -> list[tuple[int, int]]:
    """(pid, start time) of the processes that signed there."""
    return [(int(pid), int(start)) for pid, start in map(str.split, path.read_text().splitlines())]


def shoot_the_launcher_of(shim: int) -> bool:
    """Whether it had one: another's shot may have made it an orphan."""
    parent = dict(process.parents()).get(shim, 0)
    start = process.start_time(parent)
    try:
        is_one = LAUNCHER in Path(f"/proc/{parent}/cmdline").read_bytes()
    except OSError:
        return False
    return is_one and signal_proven(parent, start, signal.SIGKILL)


def one_crowd(piece: Piece) -> None:
    each = 20 if piece.is_full else 2
    has_groups = bool(fence.place()) and piece.number % 2 == 0
    ways = {}
    for shape in SHAPES:
        for number in range(each):
            way = _full_way(number, has_groups) if piece.is_full else _quick_way(shape, number, has_groups)
            ways[f"{shape}-{way}-{number}"] = way
    with project_in(piece.folder) as project:
        crowd = Crowd(project, ways)
        crowd.effects.mkdir()
        tasks = [_task(name, way) for name, way in ways.items()]
        piece.chance.shuffle(tasks)
        project.tasks(*tasks)
        try:
            with contextlib.nullcontext() if has_groups else undivided() as enter:
                watch(crowd, project.start(gpus=f"fake:{AT_ONCE}", preexec_fn=enter))
        finally:
            crowd.end()
        piece.fault(*_wrong_ends(crowd), *survivors(piece.folder))
        piece.count(tasks=len(ways), attempts=len(crowd.ended), with_control_groups=has_groups * len(crowd.ended))
        processes = sum(len(_signed(path)) for path in crowd.effects.glob("*.pids"))
        piece.count(processes=processes, shims_shot=len(crowd.shot), launchers_shot=crowd.launchers)
        piece.fault(*_wrong_groups(crowd, has_groups))


@contextlib.contextmanager
def undivided() -> Iterator[Callable[[], object] | None]:
    """How to begin in a control group that is nobody's to divide; as it is where there can't be another kind."""
    if not fence.place():
        yield None
        return
    folder = Path(fence.place(), f"test-{os.getpid()}")
    folder.mkdir()
    try:
        yield lambda: (folder / "cgroup.procs").write_text("0")
    finally:
        fence.end(str(folder))


def _wrong_groups(crowd: Crowd, has_groups: bool) -> list[str]:
    groups = [claim["group"] for claim in history(crowd.project.root / QUEUE).claims.values()]
    left = [f"the control group {group} is left" for group in groups if group and Path(group).exists()]
    return left if all(bool(group) == has_groups for group in groups) else [*left, f"control groups: {groups}"]


def _full_way(number: int, has_groups: bool) -> str:
    ways = (*WAYS, "both") if has_groups else WAYS
    return ways[number % len(ways)]


def _quick_way(shape: str, number: int, has_groups: bool) -> str:
    """Who ignores INT and TERM takes its whole grace to be timed out."""
    last = "both" if has_groups and shape in {"nameless", "ghost"} else "shot"
    return ("exit", last)[number] if shape in {"deaf", "stopped", "storm"} else ("timeout", last)[number]


def _task(name: str, way: str) -> dict[str, object]:
    shape = name.split("-", maxsplit=1)[0]
    limit = {"timeout": 3} if way == "timeout" else {}
    return {"name": name, "command": program("misbehaves", "effects", name, shape, way), **limit}


def watch(crowd: Crowd, scheduler: subprocess.Popen[str]) -> None:
    """Until the run is over and each attempt was looked at 5 s after its end. Raises AssertionError for a fault."""

    def is_over() -> bool:
        crowd.look()
        is_seen = bool(crowd.ended) and crowd.checked >= set(crowd.ended)
        return bool(crowd.faults) or (scheduler.poll() is not None and is_seen)

    wait_until(is_over, "all attempts have ended and were looked at", seconds=600)
    assert not crowd.faults, "\n".join(crowd.faults)


def _wrong_ends(crowd: Crowd) -> list[str]:
    """Each task ended the way it was made to; one whose shim was shot was lost first, one off a sick slot ran again."""
    told = history(crowd.project.root / QUEUE)
    found = list(told.unreadable)
    excused = _excused(crowd.project.root / QUEUE)
    for task, name in told.names.items():
        ends = [told.ends[key]["outcome"] for key in sorted(told.ends) if key[0] == task]
        way = crowd.ways[name]
        once = WANTED.get(way, {"exited": 0})
        wanted = [{"lost": "killed"}] * (way in SHOT) + [once]
        again = ends[len(wanted) :]
        if ends[: len(wanted)] != wanted or again != [once] * len(again) or len(again) > excused[task]:
            found.append(f"{name}: its ends are {ends}")
    return found


def _excused(queue: Path) -> Counter[str]:
    """How often each task was told to run again since it failed with others on one slot: crashes look like that."""
    asked = [json.loads(path.read_text().splitlines()[0]) for path in (queue / "requests").glob("[!.]*")]
    return Counter(task for request in asked if request["kind"] == "excuse" for task in request["tasks"])
