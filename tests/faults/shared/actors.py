"""Virtual time, and actors that take turns in it: ordinary code in threads, of which one runs at a time.

Whatever an actor asks of the simulated machine takes a moment, in which others may come first. Time moves on only when
all wait, so that minutes pass in milliseconds and a busy machine changes nothing.
"""

from __future__ import annotations

import heapq
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

MOST_STEPS = 60_000  # of a story: what takes longer goes round in circles


class KilledError(BaseException):
    """Ends the thread of an actor that was killed: nothing it does from then on has any effect."""


@dataclass
class Host:
    name: str
    number: int
    boot: int = 1
    offset: float = 0.0  # its monotonic clock is ahead by this
    skew: float = 0.0  # and its wall clock by this
    paused_until: float = 0.0  # all of it stands still
    cut_until: float = 0.0  # it can't reach the disk
    is_soft: bool = False  # what can't reach the disk is an error after a while, and waits for ever else
    locks: dict[str, Actor] = field(default_factory=dict)


@dataclass(eq=False)
class Actor:
    pid: int
    host: Host
    name: str
    body: Callable[[], None]
    on_end: list[Callable[[], None]] = field(default_factory=list)
    gate: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    pending: set[int] = field(default_factory=set)  # signals
    ticket: int = 0  # of the turn that it waits for
    is_killed: bool = False
    is_over: bool = False


class World:
    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.now = 0.0
        self.hosts: list[Host] = []
        self.actors: dict[int, Actor] = {}
        self.current: Actor | None = None
        self.broken: BaseException | None = None
        self.steps = 0
        self._turns: list[tuple[float, int, Actor | Callable[[], None]]] = []
        self._tickets = 0
        self._back = threading.Semaphore(0)

    # ---- for the story ----

    def spawn(self, host: Host, name: str, body: Callable[[], None]) -> Actor:
        actor = Actor(1000 + len(self.actors), host, name, body)
        self.actors[actor.pid] = actor
        self._turn(actor, self.now)
        threading.Thread(target=self._live, args=(actor,), daemon=True).start()
        return actor

    def at(self, when: float, what: Callable[[], None]) -> None:
        self._tickets += 1
        heapq.heappush(self._turns, (max(when, self.now), self._tickets, what))

    def kill(self, actor: Actor) -> None:
        if not actor.is_over and not actor.is_killed:
            actor.is_killed = True
            self._turn(actor, self.now)

    def wake(self, actor: Actor) -> None:
        if not actor.is_over and actor is not self.current:
            self._turn(actor, self.now)

    def run(self, until: float, is_over: Callable[[], bool] = lambda: False) -> None:
        while self._turns and self.broken is None and not is_over():
            when, ticket, turn = heapq.heappop(self._turns)
            if when > until:
                heapq.heappush(self._turns, (when, ticket, turn))
                self.now = until
                return
            self.now = max(self.now, when)
            if not isinstance(turn, Actor):
                turn()
            elif not turn.is_over and turn.ticket == ticket:
                self._take_turn(turn)
        if self.broken is not None:
            raise self.broken

    def end(self) -> None:
        """Let all threads end."""
        for actor in list(self.actors.values()):
            actor.on_end.clear()
            if not actor.is_over:
                actor.is_killed = True
                self._resume(actor)

    # ---- for actors ----

    def sleep(self, seconds: float) -> None:
        """Let time pass for the current actor; less where somebody wakes it."""
        actor = self.current
        assert actor is not None
        if actor.is_killed:
            raise KilledError
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise AssertionError(f"at {self.now:.1f} s it goes round in circles: {actor.name}")
        until = self.now + seconds
        if self._turns and self._turns[0][0] <= until:
            self._turn(actor, until)
            self._back.release()
            actor.gate.acquire()
            if actor.is_killed:
                raise KilledError
        else:
            self.now = until

    # ---- turns ----

    def _turn(self, actor: Actor, when: float) -> None:
        self._tickets += 1
        actor.ticket = self._tickets
        heapq.heappush(self._turns, (when, self._tickets, actor))

    def _take_turn(self, actor: Actor) -> None:
        if actor.host.paused_until > self.now and not actor.is_killed:
            self._turn(actor, actor.host.paused_until)
            return
        self._resume(actor)

    def _resume(self, actor: Actor) -> None:
        before, self.current = self.current, actor
        actor.gate.release()
        self._back.acquire()
        self.current = before

    def _live(self, actor: Actor) -> None:
        actor.gate.acquire()
        try:
            if not actor.is_killed:
                actor.body()
        except KilledError:
            pass
        except BaseException as error:  # noqa: BLE001  whatever breaks it is a finding
            self.broken = self.broken or error
        actor.is_over = True
        for told in actor.on_end:
            told()
        self._back.release()
