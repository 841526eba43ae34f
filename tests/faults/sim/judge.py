"""What must never happen, as somebody sees it who sees the whole disk and every process at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from parallel_train.core.facts import Claim, End, Lost, TimedOut
from tests.faults.sim.disk import Disk, Key, Token, has_succeeded

if TYPE_CHECKING:
    from tests.faults.sim.actor import Actor
    from tests.faults.sim.shim import Order
    from tests.faults.sim.world import World

MOST_FREE = 5  # attempts that cost nothing, though nobody asked them to end
PAUSED = "it was paused before its claim"


class BrokenError(Exception):
    """Something happened that must never happen."""


@dataclass(slots=True)
class Judge:
    written: set[Token] = field(default_factory=set)  # all that commands ever wrote
    doubts: dict[Key, str] = field(default_factory=dict)  # claim -> why it must not start
    confirmed: dict[str, int] = field(default_factory=dict)  # task -> the round whose cancel was confirmed last
    moved: Counter[Key] = field(default_factory=Counter)

    def copy(self) -> Judge:
        return Judge(set(self.written), dict(self.doubts), dict(self.confirmed), self.moved.copy())

    @staticmethod
    def must(fact: Any, otherwise: str) -> None:
        if not fact:
            raise BrokenError(otherwise)

    def claim(self, disk: Disk, claim: Claim) -> None:
        """A claim is linked: from now on everybody can see it, and it can see what was there before."""
        key = (claim.task, claim.attempt)
        for number in range(1, claim.attempt):
            before = (claim.task, number)
            self.must(before in disk.claims, f"{key} was claimed without {before}")
            self.must(before in disk.ends, f"{key} was claimed before the end of {before}")
        self.must(key not in disk.ends, f"{key} was claimed after its end")
        if disk.is_cancelled(claim.task):
            self.doubts[key] = "it was cancelled before its claim"
        elif disk.is_paused(claim.task):
            self.doubts[key] = PAUSED
        elif disk.round_of(claim.task) != claim.round:
            self.doubts[key] = "there was a newer round before its claim"
        for need, attempt in claim.needs.items():
            if disk.deciding(need) != attempt:
                self.doubts[key] = f"{need}.{attempt} was not the deciding attempt when it was claimed"

    def end(self, disk: Disk, end: End) -> None:
        key = (end.task, end.attempt)
        self.must(key in disk.claims, f"{key} ended without a claim")
        if not has_succeeded(end):
            return
        round_ = disk.claims[key].round
        others = [c.attempt for c, e in disk.attempts(end.task) if c.round == round_ and has_succeeded(e)]
        self.must(not others, f"{key} is a second success of round {round_}, after attempts {others}")

    def start(self, world: World, order: Order) -> None:
        """A command is started."""
        task, disk, key = order.launch.task, world.disk, order.key
        self.must(key in disk.claims, f"{key} starts without a claim")
        claim = disk.claims[key]
        doubt = self.doubts.get(key)
        if doubt and not (doubt == PAUSED and not disk.is_paused(task.id)):
            raise BrokenError(f"{key} starts though {doubt}")
        for command in world.commands.values():
            other = command.order
            if not command.lives:
                continue
            self.must(other.launch.task.id != task.id, f"{key} starts while {other.key} runs")
            shared = set(other.launch.slots) & set(order.launch.slots)
            self.must(not shared, f"{key} starts on {shared} where something of {other.key} lives")
        self._no_reader(world, task.id, key, claim.round)
        stopped = self.confirmed.get(task.id)
        self.must(stopped is None or not disk.holds(task.id, stopped), f"{key} starts after its cancel was confirmed")
        self._attempts(disk, claim, order)
        oldest = disk.put_aside_for(task.id, claim.round)
        left = [token for token in disk.outputs.get(task.id, ()) if self._round(disk, token) < oldest]
        self.must(not left, f"{key} of round {claim.round} starts on the old output {left}")

    def occupy(self, world: World, slot: str) -> None:
        """Another queue's task begins on a card."""
        for command in world.commands.values():
            lives = command.lives and slot in command.order.launch.slots
            self.must(not lives, f"a stranger starts on {slot} where something of {command.order.key} lives")

    def _attempts(self, disk: Disk, claim: Claim, order: Order) -> None:
        tries = [(c, e) for c, e in disk.tries(claim.task) if c.round == claim.round and e is not None]
        ends = [e for _, e in tries]
        lost = sum(isinstance(e.outcome, Lost) and e.outcome.why != "rebooted" for e in ends)
        name = f"{claim.task}.{claim.attempt}"
        self.must(lost < MOST_FREE, f"{name} starts after {lost} lost ones")
        self.must(not any(map(has_succeeded, ends)), f"{name} starts after its round's success")
        failures = [c.attempt for c, e in tries if _has_failed(e)]
        if failures and failures[-1] in disk.excused(claim.task):  # it was spoilt by a sick slot
            self.must(len(disk.excused(claim.task)) < MOST_FREE, f"{name} starts after too many excuses")
            return
        retries = order.launch.task.retries
        self.must(len(failures) <= retries, f"{name} starts after {len(failures)} failures of {retries + 1}")

    def _no_reader(self, world: World, task: str, key: Key, number: int) -> None:
        """Nobody reads what this attempt is about to replace (a kept output may be written into while it is read)."""
        for command in world.commands.values():
            if command.lives and task in command.order.launch.task.needs:
                made_from = world.disk.claims[command.order.key].needs[task]
                since = self._round(world.disk, (task, made_from))
                replaced = world.disk.put_aside_for(task, number) > since
                self.must(not replaced, f"{key} starts while {command.order.key} reads what it replaces")

    @staticmethod
    def _round(disk: Disk, token: Token) -> int:
        """The round in which something was written; 0 for what was there before us."""
        return disk.claims[token].round if token[1] else 0

    def move(self, world: World, part: tuple[str, int, int]) -> None:
        task, number, _ = part
        tokens = world.disk.outputs.get(task, ())
        for token in tokens:
            self.must(
                self._round(world.disk, token) < number, f"what {token} made is put aside for its own round {number}"
            )
        if tokens:
            self.moved[task, number] += 1
            self.must(self.moved[task, number] == 1, f"the output of {task} is put aside twice for round {number}")
        for command in world.commands.values():
            reads = command.lives and task in command.order.launch.task.needs
            self.must(not reads or not tokens, f"the output of {task} is moved while {command.order.key} reads it")

    def confirm(self, world: World, tasks: Mapping[str, int]) -> None:
        """A person was told that nothing of these runs any more."""
        for name, number in tasks.items():
            self.confirmed[name] = number
            if not world.disk.holds(name, number):
                continue  # it had succeeded, or somebody asked for it again
            for command in world.commands.values():
                runs = command.lives and command.order.launch.task.id == name
                self.must(not runs, f"{command.order.key} runs though its cancel was confirmed")

    def left(self, world: World, actor: Actor, code: int, loop: Any) -> None:
        """A run ended with `code`. Its word is held against the disk where nobody can have changed it since."""
        s = loop.situation
        if s.stopping:
            self.must(code == s.exit_code, f"{actor.name} was told to leave with {s.exit_code} and left with {code}")
            return
        if (
            world.read_at[actor.pid] != world.links
            or s.wishes.ignore_failures
            or s.wishes.max_failures
            or s.wishes.everything
        ):
            return
        open_ = sorted(name for name in s.wishes.selection if not world.disk.is_satisfied(s.lines[name].task))
        self.must(code == int(bool(open_)), f"{actor.name} left with {code}; not satisfied are {open_}")

    def nothing_lost(self, disk: Disk) -> None:
        """All that was ever written is where it was made, or aside; nothing is there twice."""
        places = [*disk.outputs.values(), *disk.parts.values(), *disk.aside.values()]
        found = Counter(token for tokens in places for token in tokens)
        self.must(set(found) == self.written, f"outputs were lost or made up: {set(found) ^ self.written}")
        self.must(all(n == 1 for n in found.values()), f"an output is in two places: {found}")


def _has_failed(end: End) -> bool:
    match end.outcome:
        case Lost():
            return False
        case TimedOut():
            return True
        case _:
            return not end.stopped and not has_succeeded(end)
