"""What must hold whatever the disk does, judged from what is true on the server and when commands really ran."""

from __future__ import annotations

import json
import posixpath
from collections import Counter
from typing import Any

from tests.faults.shared.actors import World
from tests.faults.shared.disk import Node, Server

DECIDING = 60.0  # seconds from what a cache shows of a silence to the end that says so, on a disk that hangs
MOMENT = 1.0  # seconds: a host that stood still goes on as a whole, its shims and tasks at the same time
QUEUE = "/project/.parallel-train"


class Judge:
    def __init__(self, world: World, server: Server, lease: float, *, is_strict: bool) -> None:
        self.world, self.server, self.lease, self.is_strict = world, server, lease, is_strict
        self.faults: list[str] = []
        self.counts: Counter[str] = Counter()
        self.running: dict[str, list[Any]] = {}
        self.winners: dict[str, str] = {}  # who was told that a name is his
        self.unsure: set[tuple[str, str]] = set()  # who was told an error, and can't know: it asks again
        self.shown: dict[
            str, float
        ] = {}  # when an owner last showed that it lives: its claim or its beat on the server
        self.came_back: dict[str, float] = {}  # when one beat again that had been silent for long
        server.on_link = self.linked
        server.on_write = self.written

    def fault(self, what: str) -> None:
        self.faults.append(f"at {self.world.now:.1f} s: {what}")

    # ---- the records ----

    def told(self, path: str, is_won: bool, data: bytes) -> None:
        name = self.world.current.name if self.world.current is not None else "nobody"
        is_mine = name.startswith("shim") and self.server.read(path) == data
        if is_mine and not is_won and (path, name) not in self.unsure:
            self.fault(f"{path} is the record of {name}, who was told that it is not")
        if is_won and "/workers/" not in path:  # those come and go
            if path in self.winners:
                self.fault(f"{path} was won by {self.winners[path]} and by {name}")
            self.winners[path] = name

    def left_unsure(self, path: str) -> None:
        if self.world.current is not None:
            self.unsure.add((path, self.world.current.name))

    def half_read(self, path: str) -> None:
        self.fault(f"{path} was read half")

    def asked(self, path: str, is_there: bool, was_there: bool) -> None:
        """Whether a name is there, of which it is known whether it was before the question."""
        if was_there and not is_there:
            self.fault(f"{path} was there and taken for absent")

    def linked(self, path: str) -> None:
        kind, name = path.split("/")[-2:]
        self.counts[kind] += 1
        if kind == "claims":
            self.shown[name] = self.world.now
            task, attempt = name.rsplit(".", 1)
            if attempt != "1" and self.server.find(f"{QUEUE}/ends/{task}.{int(attempt) - 1}") is None:
                self.fault(f"{name} was claimed before the attempt before it had ended")
        if kind == "ends" and self.end(name).get("outcome") == {"lost": "expired"}:
            self.counts["takeovers"] += 1
            silence = self.world.now - self.shown.get(name, 0.0)
            if silence < self.lease and self.world.now - self.came_back.get(name, -DECIDING) >= DECIDING:
                self.fault(f"{name} was taken over after {silence:.0f} s of silence")

    def written(self, node: Node) -> None:
        beats = self.server.find(f"{QUEUE}/beats")
        for name, found in ((beats.entries if beats else None) or {}).items():
            if found is node:
                if self.world.now - self.shown.get(name, self.world.now) > self.lease - DECIDING:
                    self.came_back[name] = self.world.now
                self.shown[name] = self.world.now

    def was_hidden(self, attempt: str) -> bool:
        """Whether it runs since an output was not seen, its own or a need's. A disk that asks nothing anew can hide one
        for a minute, however it is looked for.
        """
        claim = self.record(f"claims/{attempt}")
        why = self.record(f"rounds/{claim['task']}.{claim['round']}").get("why") if claim else ""
        if self.is_strict or why != "a need changed":
            return not self.is_strict and why == "output gone"
        return any(self.was_hidden(f"{need}.{deciding}") for need, deciding in claim["needs"].items())

    def end(self, name: str) -> dict[str, Any]:
        return self.record(f"ends/{name}")

    def record(self, name: str) -> dict[str, Any]:
        data = self.server.read(f"{QUEUE}/{name}")
        found: dict[str, Any] = json.loads(data.splitlines()[0]) if data else {}
        return found

    def ends(self, task: str) -> list[dict[str, Any]]:
        names = [name for name in self.server.names(f"{QUEUE}/ends") if name.startswith(f"{task}.")]
        return [self.end(name) for name in sorted(names, key=lambda name: int(name.rsplit(".", 1)[-1]))]

    # ---- the commands ----

    def starts(self, run: Any) -> None:
        self.counts["runs"] += 1
        name = f"{run.task}.{run.attempt}"
        claim = self.server.find(f"{QUEUE}/claims/{name}")
        if claim is None:
            self.fault(f"{name} was started without its claim")
        if any(map(is_good, self.ends(run.task))):
            self.counts["reruns_of_hidden" if self.was_hidden(name) else "needless_runs"] += 1

    def rests(self, shim: Any, name: str, end: dict[str, Any], left: list[str]) -> None:
        """A shim may have another attempt."""
        if left:
            self.fault(f"{shim.name} may have another attempt, and has {left}")
        if end.get("stopped") or self.end(name) != end:
            self.fault(f"{shim.name} may have another attempt, and its end is {end}")

    def runs(self, run: Any) -> None:
        """It starts, or goes on."""
        beside = self.running.setdefault(run.task, [])
        if run not in beside:
            beside.append(run)
        self.look(run.task, run.attempt)

    def look(self, task: str, attempt: int) -> None:
        writing = self.writing(task)
        if len(writing) > 1:
            told = " and ".join(f"attempt {run.attempt} on {run.host.name}" for run in writing)
            self.fault(f"{task}: {told} ran at once (since attempt {attempt})")

    def writing(self, task: str) -> list[Any]:
        now = self.world.now
        return [
            run
            for run in self.running.get(task, [])
            if not run.is_over and not run.is_halted and run.host.paused_until <= now
        ]

    def went_on(self, host: Any) -> None:
        """A host that stood still: whatever ran there runs, until its shims have looked."""
        tasks = [
            task for task, runs in self.running.items() if any(run.host is host and not run.is_over for run in runs)
        ]
        for task in tasks:
            self.counts["met_again"] += len(self.writing(task)) > 1
            self.world.at(self.world.now + MOMENT, lambda task=task: self.look(task, 0))  # type: ignore[misc]

    def is_over(self, run: Any) -> None:
        if run in self.running.get(run.task, []):
            self.running[run.task].remove(run)

    # ---- at the end ----

    def sum(self, tasks: list[str]) -> None:
        for task in tasks:
            ends = self.ends(task)
            good = [end for end in ends if is_good(end)]
            unseen = sum(end.get("outcome") == {"exited": 0} for end in ends) - len(good)
            self.counts["outputs_unseen"] += unseen
            if unseen and not self.counts["cut"]:
                self.fault(f"{task}: its output was there and not seen")
            claims = [name for name in self.server.names(f"{QUEUE}/claims") if name.startswith(f"{task}.")]
            if not good:
                self.fault(f"{task} was lost: {[end.get('outcome') for end in ends]}")
            if len(ends) != len(claims):
                self.fault(f"{task}: {len(claims)} claims and {len(ends)} ends")
            if self.running.get(task):
                self.fault(f"{task} runs still")
            self.counts["lost_attempts"] += sum("lost" in end.get("outcome", {}) for end in ends)
            self.counts["successes"] += len(good)
        left = [name for kind in ("claims", "ends", "rounds") for name in self.server.names(f"{QUEUE}/{kind}")]
        self.counts["left_behind"] += sum(posixpath.basename(name).startswith(".tmp") for name in left)


def is_good(end: dict[str, Any]) -> bool:
    return end.get("outcome") == {"exited": 0} and not end.get("stopped") and end.get("output") == "there"
