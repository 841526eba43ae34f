"""Stand-ins for disk, machine, screen and clock, with the same manners as the real ones (see tests/contract)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from parallel_train.core.cluster import CANCEL, Element, Phase
from parallel_train.core.events import (
    Claimed,
    Ended,
    Enlisted,
    Event,
    Joined,
    Launch,
    Refused,
    Requested,
    RoundOpened,
    Vanished,
)
from parallel_train.core.facts import (
    Array,
    Claim,
    End,
    Exited,
    Lost,
    NotStarted,
    Outcome,
    Owner,
    Request,
    Round,
    Signalled,
)
from parallel_train.core.situation import Situation
from parallel_train.core.slots import Device

Key = tuple[str, int]


@dataclass
class FakeClock:
    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class FakeDisk:
    """The records, and who lives. Several queues and runners may share one."""

    rounds: dict[Key, Round] = field(default_factory=dict)
    claims: dict[Key, Claim] = field(default_factory=dict)
    ends: dict[Key, End] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    arrays: list[Array] = field(default_factory=list)
    workers: set[str] = field(default_factory=set)
    living: set[Key] = field(default_factory=set)  # attempts whose owner lives
    held: dict[str, Key] = field(default_factory=dict)  # slot -> the attempt that holds its lock
    watched: dict[Key, list[FakeRunner]] = field(default_factory=dict)  # who learns when an attempt is over


@dataclass
class FakeQueue:
    disk: FakeDisk = field(default_factory=FakeDisk)
    worker: str = "host.100.1"
    troubles: list[OSError] = field(default_factory=list)  # each is raised once, by whatever is asked next
    told: set[tuple[str, str, int]] = field(default_factory=set)
    heard: int = 0  # requests that were told
    arrays: int = 0  # the same
    joins: bool = True  # a worker takes up what is retried; somebody who looks does not

    def join(self) -> None:
        self.disk.workers.add(self.worker)

    def leave(self) -> None:
        self.disk.workers.discard(self.worker)

    def beat(self) -> None:
        pass

    def has_company(self) -> bool:
        return bool(self.disk.workers - {self.worker})

    def requests(self, now: float) -> list[Event]:
        fresh, self.heard = self.disk.requests[self.heard :], len(self.disk.requests)
        events: list[Event] = [Requested(request) for request in fresh]
        retried = frozenset(name for request in fresh if request.kind == "retry" for name in request.tasks)
        return [*events, *self.changes(now), Joined(retried)] if retried and self.joins else events

    def changes(self, now: float) -> list[Event]:
        self._trip()
        events = self.requests(now)
        events += [RoundOpened(r) for r in self._untold("rounds", self.disk.rounds)]
        for claim in self._untold("claims", self.disk.claims):
            is_over = (claim.task, claim.attempt) in self.disk.ends
            is_orphan = claim.owner.worker not in self.disk.workers - {self.worker}
            events.append(Claimed(claim, orphan=is_orphan and not is_over, is_here=not is_over))
        events += [Ended(end, now) for end in self._untold("ends", self.disk.ends)]
        fresh, self.arrays = self.disk.arrays[self.arrays :], len(self.disk.arrays)
        return events + [Enlisted(a, ours=a.by not in self.disk.workers - {self.worker}) for a in fresh]

    def enlist(self, wanted: Array) -> Array:
        self._trip()
        self.disk.arrays.append(replace(wanted, number=len(self.disk.arrays) + 1, by=self.worker))
        return self.disk.arrays[-1]

    def open_round(self, wanted: Round) -> RoundOpened:
        self._trip()
        there = self.disk.rounds.setdefault((wanted.task, wanted.number), wanted)
        return RoundOpened(there, ours=(there.identity, there.aside) == (wanted.identity, wanted.aside))

    def excuse(self, tasks: Mapping[str, int]) -> Requested:
        self._trip()
        self.disk.requests.append(Request(len(self.disk.requests) + 1, "excuse", tasks, by=self.worker))
        return Requested(self.disk.requests[-1])

    def end_as_lost(self, claim: Claim, outcome: Lost) -> Ended:
        self._trip()
        key = (claim.task, claim.attempt)
        return Ended(self.disk.ends.setdefault(key, End(*key, outcome)))

    def _untold(self, kind: str, records: dict[Key, object]) -> list:
        fresh = sorted(key for key in records if (kind, *key) not in self.told)
        self.told.update((kind, *key) for key in fresh)
        return [records[key] for key in fresh]

    def _trip(self) -> None:
        if self.troubles:
            raise self.troubles.pop(0)


@dataclass
class FakeRunner:
    """Attempts that end when the test says so, or when `idle`, asked in a wait without events, says so.

    A shim's checks are made as the real one makes them.
    """

    disk: FakeDisk = field(default_factory=FakeDisk)
    worker: str = "host.100.1"
    clock: FakeClock = field(default_factory=FakeClock)
    idle: Callable[[FakeRunner], None] = lambda _: None
    troubles: list[OSError] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    running: dict[Key, Launch] = field(default_factory=dict)
    stops: list[tuple[str, int, bool]] = field(default_factory=list)
    swept: list[Claim] = field(default_factory=list)
    started: list[Launch] = field(default_factory=list)
    waits: list[float | None] = field(default_factory=list)
    is_closed: bool = False

    # ---- the port ----

    def start(self, launch: Launch, devices: Sequence[Device]) -> None:
        if self.troubles:
            raise self.troubles.pop(0)
        self.started.append(launch)
        key = (launch.task.id, launch.attempt)
        held = [name for name in sorted(launch.slots) if name in self.disk.held]
        before = (launch.task.id, launch.attempt - 1)
        if held:
            self._refuse(key, "busy", tuple(held[:1]))
        elif key in self.disk.claims or (launch.attempt > 1 and before not in self.disk.ends):
            self._refuse(key, "behind")
        else:
            self._claim(launch, devices)

    def watch(self, claim: Claim) -> None:
        key = (claim.task, claim.attempt)
        if key in self.disk.ends:
            self.events.append(Ended(self.disk.ends[key], self.clock.now))
        elif key in self.disk.living:
            self.disk.watched.setdefault(key, []).append(self)
        else:
            self.events.append(Vanished(*key))

    def stop(self, task: str, attempt: int, *, kill: bool) -> None:
        self.stops.append((task, attempt, kill))

    def sweep(self, claim: Claim) -> None:
        self.swept.append(claim)

    def wait(self, seconds: float | None) -> list[Event]:
        self.waits.append(seconds)
        if not self.events:
            self.idle(self)
        events, self.events = self.events, []
        if not events:
            self.clock.now += 60.0 if seconds is None else seconds
        return events

    def close(self) -> None:
        self.is_closed = True

    # ---- what a test does ----

    def finish(self, task: str, attempt: int, outcome: Outcome | int = 0, **more: object) -> None:
        """End a running attempt, wherever it was started."""
        key = (task, attempt)
        made = Exited(outcome) if isinstance(outcome, int) else outcome
        launch = self.running.pop(key, None)
        output = "there" if launch is not None and launch.task.output else "none"
        end = replace(End(*key, made, output=output), **more)  # type: ignore[arg-type]
        self._tell(key, Ended(self.disk.ends.setdefault(key, end), self.clock.now))

    def vanish(self, task: str, attempt: int) -> None:
        """Kill the process that owns an attempt."""
        key = (task, attempt)
        self.running.pop(key, None)
        self._tell(key, Vanished(*key))

    def _tell(self, key: Key, event: Event) -> None:
        """The owner of an attempt is gone: its slot is free, and whoever listens or watches learns it."""
        for runner in (self, *self.disk.watched.pop(key, ())):
            runner.events.append(event)
        self.disk.living.discard(key)
        for name in [name for name, holder in self.disk.held.items() if holder == key]:
            del self.disk.held[name]

    # ---- as a shim ----

    def _refuse(self, key: Key, why: str, slots: tuple[str, ...] = ()) -> None:
        self.events.append(Refused(*key, why, self.clock.now, slots))  # type: ignore[arg-type]

    def _claim(self, launch: Launch, devices: Sequence[Device]) -> None:
        key = (launch.task.id, launch.attempt)
        claim = Claim(
            *key,
            launch.round,
            launch.task.identity,
            {name: seen.deciding for name, seen in launch.needs.items()},
            Owner(self.worker, "host", "machine", "boot", "pidns", 1000 + len(self.started), 1),
            launch.slots,
            tuple(device.label for device in devices),
            "log",
            "err",
        )
        self.disk.claims[key] = claim
        self.disk.living.add(key)
        self.disk.held.update(dict.fromkeys(launch.slots, key))
        self.events.append(Claimed(claim))
        self.running[key] = launch
        doubt = self._disagreement(launch)
        if doubt:
            self.finish(*key, NotStarted(doubt), output="none")

    def _disagreement(self, launch: Launch) -> str:
        if (launch.task.id, launch.round + 1) in self.disk.rounds:
            return "a newer round was opened"
        for need, seen in launch.needs.items():
            if (need, seen.round + 1) in self.disk.rounds:
                return "a need is to run again"
            if (need, seen.last + 1) in self.disk.claims:
                return "a need runs again"
        if self.worker not in self.disk.workers:
            return "its worker left"
        return self._asked_against(launch)

    def _asked_against(self, launch: Launch) -> str:
        name, paused = launch.task.id, {"": False, launch.task.id: False}
        for request in self.disk.requests[launch.heard :]:
            if request.kind == "cancel" and request.tasks.get(name, 0) >= launch.asked_round:
                return "cancelled"
            if request.kind in {"pause", "resume"}:
                paused.update({n: request.kind == "pause" for n in request.tasks or ("",) if n in paused})
        return "paused" if any(paused.values()) else ""


def killed(number: int = 9) -> Signalled:
    return Signalled(number)


@dataclass
class FakeCluster:
    """A cluster whose elements are in a phase and hold nobody: what workers do is a test's own."""

    troubles: list[Exception] = field(default_factory=list)  # each is raised once, by whatever is asked next
    jobs: dict[str, Element] = field(default_factory=dict)
    asked: list[tuple[int, float]] = field(default_factory=list)  # arrays with their delays
    dismissed: list[tuple[tuple[str, ...], int]] = field(default_factory=list)
    phase: Phase = "running"  # of what is asked for from now on

    def submit(self, array: Array, delay: float) -> None:
        self._trip()
        self.asked.append((array.number, delay))
        for index in range(array.size):
            job = f"{array.number}_{index}"
            self.jobs[job] = Element(job, array.number, index, "waiting" if delay else self.phase)

    def elements(self) -> tuple[Element, ...]:
        self._trip()
        return tuple(self.jobs.values())

    def dismiss(self, jobs: Sequence[str], level: int) -> None:
        self._trip()
        self.dismissed.append((tuple(jobs), level))
        for job in jobs:
            if level > CANCEL or self.jobs[job].phase == "waiting":
                self.end(job)

    def end(self, job: str) -> None:
        self.jobs[job] = replace(self.jobs[job], phase="over")

    def _trip(self) -> None:
        if self.troubles:
            raise self.troubles.pop(0)


@dataclass
class FakeReporter:
    shown: list[Event] = field(default_factory=list)
    closed: int | None = None
    wants: float = 3600.0  # seconds until it wants to be asked again

    def show(self, event: Event, situation: Situation) -> None:
        self.shown.append(event)

    def tick(self, situation: Situation, now: float) -> float:
        return self.wants

    def close(self, situation: Situation, exit_code: int) -> None:
        self.closed = exit_code

    def of(self, kind: type) -> list:
        return [event for event in self.shown if isinstance(event, kind)]
