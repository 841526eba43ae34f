"""What must never happen, as somebody sees it who sees the whole disk and every process at once."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from parallel_train.core.contact import interval
from parallel_train.core.facts import Claim, End, Lost, TimedOut
from tests.faults.sim.disk import Disk, Key, Token, has_succeeded

if TYPE_CHECKING:
    from tests.faults.sim.actor import Actor, Command, Pipe
    from tests.faults.sim.shim import Order
    from tests.faults.sim.world import World

STOPS = frozenset((signal.SIGTERM, signal.SIGQUIT))
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
    taken: dict[Key, float] = field(default_factory=dict)  # attempts that others ended for their silence, and when
    sent: dict[Key, float] = field(default_factory=dict)  # when the last beat that came through was sent

    def copy(self) -> Judge:
        return Judge(
            set(self.written),
            dict(self.doubts),
            dict(self.confirmed),
            self.moved.copy(),
            dict(self.taken),
            dict(self.sent),
        )

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

    def end(self, world: World, actor: Actor, end: End) -> None:
        disk, key = world.disk, (end.task, end.attempt)
        self.must(key in disk.claims, f"{key} ended without a claim")
        if end.outcome == Lost("expired"):
            self._taken(world, actor, disk.claims[key])
        if not has_succeeded(end):
            return
        round_ = disk.claims[key].round
        others = [c.attempt for c, e in disk.attempts(end.task) if c.round == round_ and has_succeeded(e)]
        self.must(not others, f"{key} is a second success of round {round_}, after attempts {others}")

    def _taken(self, world: World, actor: Actor, claim: Claim) -> None:
        """Somebody takes an attempt for dead because he heard nothing of it: so there was nothing to be heard."""
        key = (claim.task, claim.attempt)
        self.taken[key] = world.now
        self.must(claim.owner.machine != actor.host.name, f"{key} was taken over on its own host")
        last, heard = world.disk.beat_at[f"{claim.task}.{claim.attempt}"], world.heard_at.get(actor.pid)
        self.must(heard is not None, f"{key} was taken over by {actor.name}, who had not looked again")
        silence = heard - last
        is_late = silence < 0  # it was held up since: nobody can look and write at once, and the end is the fence
        self.must(
            silence > claim.lease or is_late, f"{key} was taken over after {silence:.1f} s of silence by {actor.name}"
        )

    def may_run_on(self, world: World, command: Command) -> bool:
        """Whether nobody could have halted it: its machine was suspended while it ran, or its shim was shot, and with
        it whoever could have swept what it left.
        """
        key = command.order.key
        if command.shim not in world.actors:
            return key in self.taken
        return key in self.taken and command.host.was_asleep > command.at and not self._has_had_time(world, command)

    def _has_had_time(self, world: World, command: Command) -> bool:
        """Whether its shim must know by now that it was ended by somebody else."""
        host, patience = command.host, 2 * interval(command.order.lease) + 2.0
        since = max(self.taken[command.order.key], host.was_asleep, host.was_cut)
        return world.now > since + patience

    def _is_just_taken(self, world: World, order: Order) -> bool:
        """It was let go on by a beat that found no end; whoever comes after it waits until its next one."""
        return order.key in self.taken and world.now < self.taken[order.key] + interval(order.lease)

    def halt(self, world: World, command: Command) -> None:
        """Its shim stops it: it can't have reached the disk for half a lease."""
        lease, host = command.order.lease, command.host
        last = max(self.sent.get(command.order.key, 0.0), command.at)
        is_cut = max(host.was_cut, host.was_asleep) > world.now - lease
        self.must(is_cut or world.now - last >= lease / 2, f"{command.order.key} was halted without need")

    def let_go_on(self, world: World, command: Command) -> None:
        self._alone(world, command.order, "goes on")

    def goes_on(self, world: World, order: Order) -> None:
        """Its shim has looked around."""
        for command in world.commands.values():
            if command.order is order and order.key in self.taken and command.runs:
                self.must(not self._has_had_time(world, command), f"{order.key} runs on though others ended it")

    def _alone(self, world: World, order: Order, what: str) -> None:
        for command in world.commands.values():
            other = command.order
            if other is order or other.launch.task.id != order.launch.task.id or not command.runs:
                continue
            if not (self.may_run_on(world, command) or self._is_just_taken(world, order)):
                raise BrokenError(f"{order.key} {what} while {other.key} runs")

    def start(self, world: World, order: Order, actor: Actor) -> None:
        """A command is started."""
        if actor.host.was_asleep > actor.planned and order.key in self.taken:
            return  # its machine was suspended just here: it will know with its next look
        task, disk, key = order.launch.task, world.disk, order.key
        self.must(key in disk.claims, f"{key} starts without a claim")
        claim = disk.claims[key]
        doubt = self.doubts.get(key)
        if doubt and not (doubt == PAUSED and not disk.is_paused(task.id)):
            raise BrokenError(f"{key} starts though {doubt}")
        self.must(key not in disk.ends, f"{key} starts after its end")
        self._alone(world, order, "starts")
        for command in world.commands.values():
            other = command.order
            if not command.lives:
                continue
            shared = set(other.launch.slots) & set(order.launch.slots)
            self.must(not shared, f"{key} starts on {shared} where something of {other.key} lives")
        self._no_reader(world, task.id, key, claim.round)
        stopped = self.confirmed.get(task.id)
        self.must(stopped is None or not disk.holds(task.id, stopped), f"{key} starts after its cancel was confirmed")
        self._attempts(disk, claim, order)
        oldest = disk.put_aside_for(task.id, claim.round)
        left = [token for token in disk.outputs.get(task.id, ()) if self._round(disk, token) < oldest]
        self.must(not left, f"{key} of round {claim.round} starts on the old output {left}")

    def rests(self, world: World, actor: Actor, end: End | None, line: Pipe | None) -> None:
        """A shim says that it may have another attempt: nothing of this one is left, and it went as attempts should."""
        pid, key = actor.pid, world.orders[actor.pid].key
        is_told = not STOPS.isdisjoint(world.signals.get(pid, ()))
        left = {
            "a lock": any(pid in holders for holders in world.locks.values()),
            "a slot that it signed": any(shim == pid for _, shim, _ in world.signed.values()),
            "a command": any(command.shim == pid for command in world.commands.values()),
            "a child that beats": world.beat_of(pid),
            "an end that is not its own": end is None or world.disk.ends.get(key) != end,
            "been stopped": end is not None and end.stopped,
            # One of its own scheduler may cross its word, which then gives it nothing more to do.
            "a stop that was meant for it": is_told and line is not None and not line.is_last,
        }
        for what, is_so in left.items():
            self.must(not is_so, f"the shim of {key} is free for another attempt, and has {what}")

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
            if command.lives and task in command.order.launch.task.needs and command.order.key not in self.taken:
                made_from = world.disk.claims[command.order.key].needs[task]
                since = self._round(world.disk, (task, made_from))
                replaced = world.disk.put_aside_for(task, number) > since
                self.must(
                    not replaced or self._is_withdrawn(world, command),
                    f"{key} starts while {command.order.key} reads what it replaces",
                )

    @staticmethod
    def _round(disk: Disk, token: Token) -> int:
        """The round in which something was written; 0 for what was there before us."""
        return disk.claims[token].round if token[1] else 0

    def move(self, world: World, part: tuple[str, int, int], *, is_late: bool) -> None:
        """`is_late`: a kernel held it back while the disk was out of reach, or its machine was suspended just then."""
        task, number, _ = part
        tokens = world.disk.outputs.get(task, ())
        for token in tokens:
            is_older = self._round(world.disk, token) < number
            self.must(is_older or is_late, f"what {token} made is put aside for its own round {number}")
        if tokens:
            self.moved[task, number] += 1
            self.must(self.moved[task, number] == 1, f"the output of {task} is put aside twice for round {number}")
        for command in world.commands.values():
            reads = command.lives and task in command.order.launch.task.needs and command.order.key not in self.taken
            is_known = is_late or self._is_withdrawn(world, command)
            self.must(
                not reads or not tokens or is_known, f"the output of {task} is moved while {command.order.key} reads it"
            )

    @staticmethod
    def _is_withdrawn(world: World, command: Command) -> bool:
        """Whether no task file names it any more: a run of the edited file knows nothing of it, and what it reads."""
        name = command.order.launch.task.id
        return not any(task.id == name for s in world.disk.newest().values() for task in s.tasks)

    def confirm(self, world: World, tasks: Mapping[str, int]) -> None:
        """A person was told that nothing of these runs any more."""
        for name, number in tasks.items():
            self.confirmed[name] = number
            if not world.disk.holds(name, number):
                continue  # it had succeeded, or somebody asked for it again
            for command in world.commands.values():
                runs = command.lives and command.order.launch.task.id == name
                is_known = command.order.key in self.taken and not self._has_had_time(world, command)
                self.must(
                    not runs or is_known or self.may_run_on(world, command) or not command.runs,
                    f"{command.order.key} runs though its cancel was confirmed",
                )

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
