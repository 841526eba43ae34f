"""The independent checker: what a queue's records and the tasks' own words say happened, held against what may happen.

It reads the records byte by byte with its own few lines, never through the package, and never asks a scheduler. What
the tasks said is in their effect files (tests/support/programs/recorder.py). A fault is a sentence.
"""

from __future__ import annotations

import json
import os
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.support.sweep import MARK, QUEUE, Effect, overlaps

Data = dict[str, Any]
Key = tuple[str, int]  # task id, attempt
CAP = 5  # lost attempts of one task; the next that is lost ends it


@dataclass
class History:
    """Everything in a queue's records."""

    names: dict[str, str] = field(default_factory=dict)  # task id -> name
    needs: dict[str, list[str]] = field(default_factory=dict)  # task id -> ids
    claims: dict[Key, Data] = field(default_factory=dict)
    ends: dict[Key, Data] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    temporary: list[str] = field(default_factory=list)  # files that somebody who died was writing


@dataclass(frozen=True)
class Expected:
    """What should have happened, as the campaign that made it happen knows."""

    codes: Mapping[str, int]  # of each task by name: the exit code that it was told to have
    shot: Collection[tuple[int, int]] = ()  # (pid, start time) of the shims that were killed, or gave up
    killed: Collection[int] = ()  # pids of all that were killed, which may leave temporary files
    cap: int = CAP
    retries: int = 0
    cut_short: Collection[str] = ()  # attempts, as name.number, whose shim lives and whose own process was killed


def history(queue: Path) -> History:
    found = History()
    for path in sorted(queue.glob("tasks/*.jsonl")):
        for line in _lines(path, found)[1:]:
            found.names[line["id"]] = line["name"]
            found.needs[line["id"]] = line.get("needs", [])
    for kind, into in (("claims", found.claims), ("ends", found.ends)):
        for path in sorted(queue.glob(f"{kind}/*")):
            if path.name.startswith("."):
                continue
            task, _, number = path.name.rpartition(".")
            for line in _lines(path, found):
                into[task, int(number)] = line
    found.temporary = sorted(str(path) for path in queue.rglob(".tmp-*"))
    return found


def _lines(path: Path, found: History) -> list[Data]:
    data = path.read_bytes()
    body, _, seal = data[:-1].rpartition(b"\n")
    body += b"\n"
    try:
        sealed = json.loads(seal)
        whole = data.endswith(b"\n") and (sealed["bytes"], sealed["crc32"]) == (len(body), zlib.crc32(body))
        lines: list[Data] = [json.loads(line) for line in body.splitlines()]
    except (ValueError, KeyError, TypeError):
        whole, lines = False, []
    if not whole:
        found.unreadable.append(str(path))
    return lines if whole else []


def project_faults(root: Path, effects: Collection[Effect], expected: Expected) -> list[str]:
    """Everything that may not be, in a project in which all is over."""
    found = faults(history(root / QUEUE), effects, expected)
    return [*found, *survivors(root)]


def faults(told: History, effects: Collection[Effect], expected: Expected) -> list[str]:
    return [
        *(f"the record {path} is damaged" for path in told.unreadable),
        *_chain(told, expected),
        *_misplaced(told),
        *_endings(told, expected),
        *_reruns(told, expected),
        *_tolls(told, expected),
        *_words_of_tasks(told, effects, expected),
        *overlaps(effects),
        *_of_one_task(effects),
        *_needs(told, effects),
        *_leaks(told, expected),
    ]


# ---- the records alone ----


def _chain(told: History, expected: Expected) -> Iterator[str]:
    """Attempts are numbered from 1 without a gap; each claim has an end, and each end its claim."""
    numbers: dict[str, set[int]] = defaultdict(set)
    for task, number in {*told.claims, *told.ends}:
        numbers[task].add(number)
    for task, there in numbers.items():
        name = told.names.get(task)
        if name is None:
            yield f"{task} was never asked for"
        if there != set(range(1, len(there) + 1)):
            yield f"{name}: attempts {sorted(there)} are no chain"
        lost = sum("lost" in told.ends.get((task, number), {}).get("outcome", ()) for number in there)
        if lost > expected.cap:
            yield f"{name}: {lost} attempts were lost"
    yield from (f"{_name(told, key)} has no end" for key in told.claims.keys() - told.ends.keys())
    yield from (f"{_name(told, key)} has an end and no claim" for key in told.ends.keys() - told.claims.keys())


def _misplaced(told: History) -> Iterator[str]:
    for kind in (told.claims, told.ends):
        for key, data in kind.items():
            if (data.get("task"), data.get("attempt")) != key:
                yield f"{_name(told, key)}: another's record lies there"


def _endings(told: History, expected: Expected) -> Iterator[str]:
    """Each task was asked for and has exactly one end that counts, its last one, with its exit code."""
    ids: dict[str, list[str]] = defaultdict(list)
    for task, name in told.names.items():
        ids[name].append(task)
    for name, code in expected.codes.items():
        if len(ids[name]) != 1:
            yield f"{name} is lost: {len(ids[name])} tasks have this name"
            continue
        ends = [told.ends[key] for key in sorted(told.ends) if key[0] == ids[name][0]]
        counted = [end for end in ends if _code(end) is not None]
        tries = 1 if code == 0 else 1 + expected.retries
        if not counted or counted[-1] is not ends[-1]:
            yield f"{name} is lost: its ends are {[end['outcome'] for end in ends]}"
        elif len(counted) != tries:
            yield f"{name} ended {len(counted)} times"
        if any(_code(end) != code for end in counted):
            yield f"{name}: exit codes {[_code(end) for end in counted]} instead of {code}"


def _code(end: Data) -> int | None:
    """The exit code of an attempt that nobody stopped."""
    code = end["outcome"].get("exited")
    return None if code is None or end.get("stopped") or not end.get("started") else int(code)


def _reruns(told: History, expected: Expected) -> Iterator[str]:
    """An attempt is lost only where its shim was shot, and followed only where it was lost, never began, or failed."""
    last = _last_of_shot(told, expected)
    for key, end in told.ends.items():
        (kind,) = end["outcome"]
        is_cut_short = kind == "signalled" and _name(told, key) in expected.cut_short
        if kind in {"lost", "signalled"} and key not in last and not is_cut_short:
            yield f"{_name(told, key)} is {end['outcome']}, and nobody shot its shim"
        follower = (key[0], key[1] + 1)
        may_fail = expected.retries and _code(end)
        if follower in told.claims and kind not in {"lost", "not_started"} and not end.get("stopped") and not may_fail:
            yield f"{_name(told, key)} is {end['outcome']}, and ran again"


def _tolls(told: History, expected: Expected) -> Iterator[str]:
    """A shim dies once, and so with one attempt at most, however many it owned before."""
    by_shim: dict[tuple[int, int] | None, list[Key]] = defaultdict(list)
    for key, end in told.ends.items():
        if "lost" in end["outcome"]:
            by_shim[_owner(told, key)].append(key)
    for shim, lost in by_shim.items():
        if shim in expected.shot and len(lost) > 1:
            yield f"{[_name(told, key) for key in sorted(lost)]} are all lost with one shim"


def _last_of_shot(told: History, expected: Expected) -> set[Key]:
    """The newest attempts of the shims that were shot, which alone that may have harmed; claims tell whole seconds."""
    by_shim: dict[tuple[int, int] | None, list[Key]] = defaultdict(list)
    for key in told.claims:
        by_shim[_owner(told, key)].append(key)
    found = set()
    for keys in (by_shim[shim] for shim in expected.shot):
        newest = max((told.claims[key]["at"] for key in keys), default="")
        found |= {key for key in keys if told.claims[key]["at"] == newest}
    return found


def _owner(told: History, key: Key) -> tuple[int, int] | None:
    owner = told.claims.get(key, {}).get("owner")
    return (owner["pid"], owner["start"]) if owner else None


def _name(told: History, key: Key) -> str:
    return f"{told.names.get(key[0], key[0])}.{key[1]}"


def _leaks(told: History, expected: Expected) -> Iterator[str]:
    """Whoever was not killed takes its temporary file away."""
    for path in told.temporary:
        pid = Path(path).name.removeprefix(".tmp-").split("-", maxsplit=1)[0]
        if not pid.isdigit() or int(pid) not in expected.killed:
            yield f"{path} was left by a process that nobody killed"


# ---- the tasks' own words ----


def _words_of_tasks(told: History, effects: Collection[Effect], expected: Expected) -> Iterator[str]:
    """Every attempt that counts was seen by its task once, whole, under its shim and with that exit code."""
    ids = {name: task for task, name in told.names.items()}
    last = _last_of_shot(told, expected)
    by_key: dict[Key, list[Effect]] = defaultdict(list)
    for effect in effects:
        key = (ids.get(effect.name, ""), effect.attempt)
        by_key[key].append(effect)
        if key not in told.claims:
            yield f"{effect.name}.{effect.attempt} ran and nobody claimed it"
            continue
        shim = _owner(told, key) or (0, 0)
        if effect.shim != shim[0] and key not in last:  # else it may have been reparented first
            yield f"{effect.name}.{effect.attempt} ran under {effect.shim}, and {shim[0]} claimed it"
        if effect.ended is None and key not in last:
            yield f"{effect.name}.{effect.attempt} was cut short, and nobody shot its shim"
        if effect.ended is not None and effect.code != expected.codes.get(effect.name):
            yield f"{effect.name}.{effect.attempt} was told to exit with {effect.code}"
    yield from (f"{_name(told, key)} began {len(them)} times" for key, them in by_key.items() if len(them) > 1)
    yield from _unsaid(told, by_key, expected)


def _unsaid(told: History, by_key: Mapping[Key, list[Effect]], expected: Expected) -> Iterator[str]:
    for key, end in told.ends.items():
        if told.names.get(key[0]) not in expected.codes or _code(end) is None:
            continue
        if not any(effect.code == _code(end) and effect.ended for effect in by_key.get(key, ())):
            yield f"{_name(told, key)} ended with {_code(end)}, and its task did not say so"


def _of_one_task(effects: Iterable[Effect]) -> Iterator[str]:
    """No attempt begins while another of its task goes on."""
    by_name: dict[str, list[Effect]] = defaultdict(list)
    for effect in effects:
        by_name[effect.name].append(effect)
    for name, there in by_name.items():
        there.sort(key=lambda effect: effect.began)
        for one, other in pairwise(there):
            if one.ended is not None and other.began < one.ended:
                yield f"{name}: attempts {one.attempt} and {other.attempt} ran at once"


def _needs(told: History, effects: Iterable[Effect]) -> Iterator[str]:
    """A task begins after each of its needs has ended well."""
    done: dict[str, float] = {}
    for effect in effects:
        if effect.ended is not None and effect.code == 0:
            done[effect.name] = min(effect.ended, done.get(effect.name, effect.ended))
    ids = {name: task for task, name in told.names.items()}
    for effect in effects:
        for need in told.needs.get(ids.get(effect.name, ""), ()):
            name = told.names.get(need, need)
            if done.get(name, float("inf")) > effect.began:
                yield f"{effect.name}.{effect.attempt} began before its need {name} was done"


# ---- what still lives ----


def survivors(root: Path) -> list[str]:
    """Every process that belongs to the project by its environment, its command, or where it stands."""
    return [f"process {pid} lives: {_command(pid).strip()!r}" for pid in living(root)]


def living(root: Path) -> list[int]:
    own = {os.getpid(), os.getppid()}
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in pids if pid not in own and _belongs(pid, str(root))]


def _belongs(pid: int, root: str) -> bool:
    """Zombies do not count: they hold nothing, and their environment is gone."""
    try:
        if f"{MARK}={root}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            return True
        where = Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return False
    return f"{root}/" in f"{where}/" or f"{root}/" in _command(pid)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
