"""What must be true once all is over in the project of crash_scenario: by the records, and by what the tasks wrote."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.faults.checker import Expected, History, faults, history, survivors
from tests.faults.crash_scenario import AGAIN, GOOD, SLOW, TOO_SLOW, outcomes
from tests.faults.tracer import Trace
from tests.support.sweep import QUEUE, Effect, Project, overlaps

LOCKS = f"/tmp/parallel-train-{os.getuid()}"  # where the product has them
_QUIET = 5.0  # seconds after which nothing of the tasks may live


@dataclass
class Life:
    """What was done to a project, and what came of it."""

    project: Project
    traces: list[Trace] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)  # of the commands, in their order
    cancelled: float = 0.0  # when a cancel of the good task was confirmed; 0 where nobody cancelled
    is_unclaimed: bool = False  # nobody had claimed it when the cancel was confirmed
    shot: set[tuple[int, int]] = field(default_factory=set)  # (pid, start time) of the shims that were killed
    cut_short: set[str] = field(default_factory=set)  # attempts of which a process was killed, and their shim lives
    killed: set[int] = field(default_factory=set)  # pids
    left: set[int] = field(default_factory=set)  # pids of those that could not take a file away
    faults: list[str] = field(default_factory=list)

    @property
    def hits(self) -> list[str]:
        return [str(trace.hit) for trace in self.traces if trace.hit is not None]


def judge(life: Life) -> list[str]:
    project = life.project
    until = time.monotonic() + _QUIET
    while survivors(project.root) and time.monotonic() < until:
        time.sleep(0.01)
    told = history(project.root / QUEUE)
    effects = project.effects()
    expected = Expected({}, life.shot, life.killed | life.left, retries=1, cut_short=life.cut_short)
    of_good = [effect for effect in effects if effect.name == GOOD]
    found = [
        *survivors(project.root),
        *faults(told, (), expected),
        *(faults(_only(told, GOOD), of_good, replace(expected, codes={GOOD: 0})) if not life.cancelled else ()),
        *overlaps(effects),
        *_endings(told, life),
        *_starts(told, life, effects),
        *_held_locks(project),
        *_sayings(life),
    ]
    return [fault for fault in dict.fromkeys(found) if not _is_meant(fault, life)]


def _is_meant(fault: str, life: Life) -> bool:
    """What is shot just before it becomes the command looks like a command that was shot; a cancel sends INT."""
    if life.cancelled and fault.startswith(f"{GOOD}.") and " is {'signalled': 2}, and nobody" in fault:
        return True
    return bool(life.cut_short) and fault.endswith(" is {'signalled': 9}, and ran again")


def _only(told: History, name: str) -> History:
    tasks = {task for task, its in told.names.items() if its == name}
    return History(
        names=dict.fromkeys(tasks, name),
        claims={key: claim for key, claim in told.claims.items() if key[0] in tasks},
        ends={key: end for key, end in told.ends.items() if key[0] in tasks},
    )


def _endings(told: History, life: Life) -> Iterator[str]:
    """Two succeed once, one is out of time as often as it may be."""
    if set(told.names.values()) != {GOOD, AGAIN, SLOW}:
        yield f"some task is lost: {sorted(told.names.values())}"
    for name in (AGAIN,) if life.cancelled else (AGAIN, GOOD):
        found = outcomes(told, name)
        if found[-1:] != [{"exited": 0}] or found.count({"exited": 0}) != 1:
            yield f"{name} ends with {found}"
    slow = outcomes(told, SLOW)
    ids = {task for task, name in told.names.items() if name == SLOW}
    rounds = 1 + sum(path.name.rpartition(".")[0] in ids for path in life.project.queue("rounds"))
    failures = slow.count({"timed_out": True}) + slow.count({"signalled": 9})  # where its process was shot
    if slow[-1:] != [{"timed_out": True}] or failures != TOO_SLOW * rounds:
        yield f"{SLOW} ends with {slow} in {rounds} rounds"


def _starts(told: History, life: Life, effects: Sequence[Effect]) -> Iterator[str]:
    """Only what was shot runs again, and nothing that was cancelled starts."""
    for name, most in ((GOOD, 1), (AGAIN, 2)):
        times = sum(effect.name == name for effect in effects)
        shots = len(life.shot) + len(life.cut_short)
        if times > most + shots:
            yield f"{name} ran {times} times, with {shots} shots: {outcomes(told, name)}"
    for (task, number), end in told.ends.items() if life.is_unclaimed else ():
        if told.names.get(task) == GOOD and end.get("started"):
            yield f"{GOOD}.{number} was started, and its cancel had been confirmed"
    for effect in effects if life.cancelled else ():
        if effect.name == GOOD and effect.began > life.cancelled:
            yield f"{GOOD}.{effect.attempt} began after its cancel was confirmed"


def slots_of(project: Project) -> str:
    """How the names of the slots of its queue begin."""
    return f"fake-{hashlib.sha256(os.fsencode(project.root / QUEUE)).hexdigest()[:12]}"


def _held_locks(project: Project) -> Iterator[str]:
    """Every slot of this queue is free."""
    for path in Path(LOCKS).glob(f"{slots_of(project)}-*"):
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                yield f"the slot {path.name} is held"


def _sayings(life: Life) -> Iterator[str]:
    """No command dies of an error that it did not expect; the last one says that not all succeeded."""
    texts = {"said": life.project.said}
    texts |= {path.name: path.read_text() for path in life.project.queue("journal") if path.suffix == ".err"}
    for name, text in texts.items():
        _, found, rest = f"\n{text}".partition("\nTraceback")
        if found:
            yield f"a traceback in {name}:{rest}"
    *first, last = life.codes
    if last != 1:
        yield f"the last command exits with {last}"
    for code, trace in zip(first, life.traces, strict=False):
        is_shot = trace.pid in life.killed
        if code not in ({-signal.SIGKILL, 1, 2} if is_shot else {1, 2}):
            yield f"a command that met {trace.hit} exits with {code}"
