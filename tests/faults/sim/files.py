"""Steps on records and outputs."""

from __future__ import annotations

from typing import Any

from parallel_train.core.facts import Owner
from parallel_train.core.task import Task
from tests.faults.sim.actor import Actor
from tests.faults.sim.disk import Key, Submission
from tests.faults.sim.machine import Machine
from tests.faults.sim.telling import said


class Files(Machine):
    # ---- records ----

    def do_top(self, actor: Actor, *_: Any) -> None:
        pass

    def do_sleep(self, actor: Actor, _: float) -> None:
        pass

    def do_looked_for(self, actor: Actor, *_: Any) -> None:
        pass

    def do_names(self, actor: Actor, kind: str) -> dict[str, Any]:
        if kind == "workers":
            return {n: (owner, self.is_alive(owner, actor.host)) for n, owner in self.disk.workers.items()}
        if kind == "beats":
            self.heard_at[actor.pid] = self.now
            return self.disk.counters()
        if kind == "ends":  # every look begins with them
            is_alone = all(a is actor or a.kind in {"launcher", "command", "beat"} for a in self.actors.values())
            self.read_at[actor.pid] = self.links if is_alone else -1
        return self.disk.names(kind)

    def do_exists(self, actor: Actor, kind: str, key: Key) -> bool:
        return key in getattr(self.disk, kind)

    def do_link(self, actor: Actor, kind: str, key: Key, record: Any) -> bool:
        if kind == "claims" and key not in self.disk.claims:
            self.judge.claim(self.disk, record)
        if kind == "ends" and key not in self.disk.ends:
            self.judge.end(self, actor, record)
        self.links += 1
        if kind == "claims" and key not in self.disk.claims:
            self.disk.beat_at[f"{key[0]}.{key[1]}"] = self.now
        return self.disk.link(kind, key, record)

    def do_read(self, actor: Actor, kind: str, key: Key) -> Any:
        return getattr(self.disk, kind)[key]

    def do_join(self, actor: Actor, owner: Owner) -> None:
        if actor.pid not in self.runners:
            self.sweep_left(actor)
        self.disk.workers[owner.worker] = owner

    def do_withdraw(self, actor: Actor, worker: str) -> None:
        self.disk.workers.pop(worker, None)
        self.disk.beats.pop(worker, None)

    def do_works(self, actor: Actor, worker: str) -> bool:
        return worker in self.disk.workers

    def do_requests(self, actor: Actor, after: int) -> list[Any]:
        return [r for (_, n), r in sorted(self.disk.requests.items()) if n > after]

    def do_last_request(self, actor: Actor) -> int:
        return len(self.disk.requests)

    def do_submissions(self, actor: Actor) -> list[Submission]:
        return [s for _, s in sorted(self.disk.tasks.items())]

    def do_output(self, actor: Actor, task: Task) -> str:
        return self.disk.output(task)

    def do_output_at(self, actor: Actor, output: str | None) -> str:
        if output is None:
            return "none"
        return "there" if self.disk.outputs.get(output.rpartition("/")[2]) else "missing"

    def do_output_of(self, actor: Actor, _: str, task: Task) -> str:
        return self.disk.output(task)

    # ---- beats ----

    def do_listdir(self, actor: Actor, kind: str) -> list[str]:
        """What a shim finds of itself in `ends`, or is new to it in `requests`."""
        order = self.orders[actor.pid]
        if kind == "ends":
            return [said(order.key)] if order.key in self.disk.ends else []
        if kind == "workers":
            return []  # who shares a disk knows it from the beginning
        return [str(number) for number in range(order.launch.heard + 1, len(self.disk.requests) + 1)]

    def do_beat(self, actor: Actor, counter: int, worker: str = "") -> None:
        name = worker or said(self.orders[actor.pid].key)
        if not worker:
            self.judge.sent[self.orders[actor.pid].key] = actor.planned
        self.disk.beats[name] = f"{counter:015d}"
        self.disk.beat_at[name] = self.now

    def do_no_beat(self, actor: Actor) -> None:
        self.disk.beats.pop(said(self.orders[actor.pid].key), None)

    # ---- old outputs ----

    def do_is_aside(self, actor: Actor, key: Key) -> bool:
        return key in self.disk.aside

    def do_parts(self, actor: Actor, key: Key) -> list[tuple[str, int, int]]:
        return sorted(part for part in self.disk.parts if part[:2] == key)

    def do_is_filled(self, actor: Actor, part: tuple[str, int, int]) -> bool:
        return bool(self.disk.parts.get(part))

    def do_make_part(self, actor: Actor, part: tuple[str, int, int]) -> None:
        self.disk.parts[part] = ()

    def do_remove_part(self, actor: Actor, part: tuple[str, int, int]) -> None:
        self.judge.must(not self.disk.parts.pop(part), "a filled part was removed")

    def do_move_output(self, actor: Actor, part: tuple[str, int, int]) -> None:
        self._must_be_there(part)
        is_woken = actor.host.was_asleep > actor.planned
        self.judge.move(self, part, is_late=actor.was_held or is_woken)
        self.disk.parts[part] = self.disk.outputs.pop(part[0], ())

    def do_finish_part(self, actor: Actor, part: tuple[str, int, int]) -> None:
        self._must_be_there(part)
        self.judge.must(not self.disk.aside.get(part[:2]), "an old output was put aside twice")
        self.disk.aside[part[:2]] = self.disk.parts.pop(part)

    def _must_be_there(self, part: tuple[str, int, int]) -> None:
        """A later attempt has finished or removed it where this one's machine was suspended, or its disk hung."""
        if part not in self.disk.parts:
            raise FileNotFoundError(2, "No such file or directory")

    # ---- a person ----

    def do_confirmed(self, actor: Actor, tasks: dict[str, int]) -> None:
        self.judge.confirm(self, tasks)

    def do_left(self, actor: Actor, code: int, loop: Any) -> None:
        self.judge.left(self, actor, code, loop)
