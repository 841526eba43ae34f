"""Do random histories ever make a worker believe something that the records do not say, or do what is forbidden?"""

from __future__ import annotations

import copy
import random
from collections import Counter
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parallel_train.core.apply import absorb, apply
from parallel_train.core.decide import decide
from parallel_train.core.events import (
    Claimed,
    Interrupted,
    Joined,
    Launch,
    Launched,
    Leave,
    Looked,
    OpenRound,
    OutputFound,
    Refused,
    Requested,
    RoundOpened,
    Stop,
    Submitted,
    Told,
    Vanished,
    Watch,
    Watched,
)
from parallel_train.core.events import (
    Ended as AttemptEnded,
)
from parallel_train.core.facts import (
    End,
    Exited,
    Lost,
    NotStarted,
    Owner,
    Request,
    Round,
    Signalled,
    TimedOut,
    verdict,
)
from parallel_train.core.situation import Situation, Wishes, abridge, load, rebuild
from parallel_train.core.state import Ended, Ready, Running, Waiting, count, is_satisfied
from parallel_train.scheduler import Scheduler
from tests.support.builders import WORKER, claim, pool, task
from tests.support.fakes import FakeClock, FakeDisk, FakeQueue, FakeReporter, FakeRunner

OUTCOMES = (
    Exited(0),
    Exited(0),
    Exited(0),
    Exited(1),
    Signalled(9),
    TimedOut(),
    NotStarted("a need runs again"),
    Lost("killed"),
    Lost("rebooted"),
)
LIMIT = settings(
    max_examples=120, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
SOON = settings(LIMIT, max_examples=80)


def random_tasks(draw):
    """Up to 8 tasks; each may need earlier ones."""
    tasks = []
    for n in range(draw.randint(1, 8)):
        name = f"t{n}"
        needs = [t.id for t in tasks if draw.random() < 0.3]
        tasks.append(
            task(
                name,
                needs=needs,
                number=n + 1,
                template=draw.choice((0, 1)),
                retries=draw.choice((0, 0, 1, 2)),
                gpus=draw.choice((0, 1, 1, 2)),
                output=f"out/{name}" if draw.random() < 0.5 else None,
                priority=draw.choice((0, 0, 1)),
            )
        )
    return tasks


def random_wishes(draw, tasks):
    """A selection that holds the needs of all it holds."""
    chosen = set()
    for t in tasks:
        if draw.random() < 0.8 and all(need in chosen for need in t.needs):
            chosen.add(t.id)
    return Wishes(
        worker=WORKER,
        selection=frozenset(chosen),
        asked=tuple((name, 2) for name in sorted(chosen) if draw.random() < 0.15),
        repeat=frozenset(chosen) if draw.random() < 0.3 else frozenset(),
        max_failures=draw.choice([0] * 9 + [1]),
        ignore_failures=draw.random() < 0.2,
        canaries={("", 1): draw.choice(sorted(chosen))} if chosen and draw.random() < 0.3 else {},
        at_once=draw.choice((0, 0, 1, 3)),
    )


class World:
    """A worker's situation, and the events that may legally come next."""

    def __init__(self, seed):
        self.draw = random.Random(seed)
        self.tasks = {t.id: t for t in random_tasks(self.draw)}
        self.s = Situation(random_wishes(self.draw, list(self.tasks.values())), pool(2, 1))
        load(self.s, self.tasks.values())
        rebuild(self.s)
        self.now = 0.0

    def line(self):
        return self.s.lines[self.draw.choice(sorted(self.s.lines))]

    def event(self):
        self.now += self.draw.choice((0.0, 0.5, 30.0))
        kinds = (self.decided, self.decided, self.claimed, self.ended, self.ended, self.refused, self.foreign)
        rare = (self.round_opened, self.output, self.edited, self.vanished, self.interrupted, self.replayed)
        rare = (*rare, self.requested, self.joined)
        return self.draw.choice((*kinds, *kinds, *rare))()

    # ---- what this worker does ----

    def decided(self):
        """Something of what `decide` asks for, done."""
        decisions = decide(self.s, self.now)
        check_decisions(self.s, decisions)
        if not decisions:
            return None
        chosen = self.draw.choice(decisions)
        if isinstance(chosen, Launch):
            return Launched(chosen.task.id, chosen.attempt, chosen.slots, self.now)
        if isinstance(chosen, OpenRound):
            return self.opened(chosen.round)
        if isinstance(chosen, Stop):
            return Told(chosen.task, chosen.attempt, 3 if chosen.kill else 2)
        if isinstance(chosen, Watch):
            return Watched(chosen.claim.task, chosen.claim.attempt)
        return None if isinstance(chosen, Leave) else Looked(self.now)

    def opened(self, wanted):
        """What comes of asking for a round: sometimes another worker was faster, with something else in mind."""
        if self.draw.random() < 0.3:
            wanted = replace(wanted, by="other", aside=self.draw.random() < 0.5)
            return RoundOpened(wanted, ours=wanted.aside)
        return RoundOpened(wanted, ours=True)

    def claimed(self):
        line = self.line()
        if not line.launching:
            return None
        return Claimed(self.claim(line, slots=self.held((line.task.id, line.launching))))

    def held(self, key):
        both = {**self.s.pool.slots, **self.s.pool.extra}
        return tuple(name for name, slot in both.items() if slot.holder == key)

    def claim(self, line, **more):
        made_from = {}
        for need in line.task.needs:
            state = self.s.lines[need].state
            made_from[need] = state.attempt if isinstance(state, Ended) else 0
        return claim(line.task, line.next_attempt, round=line.round, needs=made_from, **more)

    def refused(self):
        line = self.line()
        if not line.launching:
            return None
        why = self.draw.choice(("busy", "behind", "trouble"))
        held = self.held((line.task.id, line.launching))
        return Refused(line.task.id, line.launching, why, self.now, held[:1] if why == "busy" else ())

    # ---- what others do ----

    def foreign(self):
        """Another worker claims what is ready for it (our own launch may be on its way)."""
        line = self.line()
        is_free = isinstance(line.state, Ready) or getattr(line.state, "why", "") == "back-off" or line.launching
        if not is_free:
            return None
        other = Owner("host.200.1", "host", "machine", "boot", "pidns", 200, 1)
        return Claimed(
            self.claim(line, owner=other, slots=()), orphan=self.draw.random() < 0.5, is_here=self.draw.random() < 0.5
        )

    def ended(self):
        line = self.line()
        if not line.attempts or line.attempts[-1].end is not None:
            return None
        outcome = self.draw.choice(OUTCOMES)
        output = "none"
        if line.task.output:
            output = self.draw.choice(("there", "there", "there", "missing", "empty"))
        stopped = "worker" if isinstance(outcome, (Exited, Signalled)) and self.draw.random() < 0.15 else ""
        number = line.attempts[-1].number
        started = "2026-01-02T03:04:05Z" if isinstance(outcome, (Exited, Signalled, TimedOut)) else ""
        end = End(line.task.id, number, outcome, stopped=stopped, output=output, started=started)
        return AttemptEnded(end, self.now)

    def round_opened(self):
        line = self.line()
        identity = line.task.identity if self.draw.random() < 0.7 else "another"
        number = line.round + self.draw.choice((0, 1, 1, 1))
        return RoundOpened(Round(line.task.id, number, identity, "asked for", aside=self.draw.random() < 0.5))

    def output(self):
        line = self.line()
        return OutputFound(
            line.task.id, self.draw.choice(("there", "missing", "empty") if line.task.output else ("none",))
        )

    def edited(self):
        some = []
        for t in self.tasks.values():
            if self.draw.random() < 0.2:
                some.append(replace(t, identity=f"{t.id} {self.draw.random()}", priority=self.draw.choice((0, 2))))
            else:
                some.append(t)
        self.tasks = {t.id: t for t in some}
        return Submitted("file", tuple(some))

    def vanished(self):
        line = self.line()
        if not line.attempts or line.attempts[-1].end is not None:
            return None
        return Vanished(
            line.task.id, line.attempts[-1].number, self.draw.choice(("killed", "killed", "rebooted", "expired"))
        )

    def requested(self):
        """A person asks for something; it may be read late, after newer ones."""
        line, kind = self.line(), self.draw.choice(("cancel", "pause", "resume", "priority", "retry"))
        value = {"cancel": line.round - self.draw.choice((0, 0, 1)), "priority": self.draw.choice((-1, 0, 3))}.get(
            kind, 1
        )
        names = {} if kind in {"pause", "resume"} and self.draw.random() < 0.3 else {line.task.id: value}
        number = max(1, self.s.heard + self.draw.choice((1, 1, 1, -1)))
        return Requested(Request(number, kind, names, by="anna@host"))

    def joined(self):
        return Joined(frozenset({self.line().task.id, "unknown"}))

    def interrupted(self):
        return Interrupted(1, 130, self.now) if self.draw.random() < 0.1 else None

    def replayed(self):
        """Something that was told before is told again, as folders do."""
        line = self.line()
        if line.rounds and self.draw.random() < 0.3:
            return RoundOpened(self.draw.choice(line.rounds))
        if not line.attempts:
            return None
        known = self.draw.choice(line.attempts)
        return AttemptEnded(known.end, self.now) if known.end and self.draw.random() < 0.5 else Claimed(known.claim)


# ---- what must hold ----

DERIVED = ("to_open", "ready", "ready_cpu", "delayed", "open", "filed")


def check_as_rebuilt(s):
    other = copy.deepcopy(s)
    rebuild(other)
    for name, line in s.lines.items():
        assert line.state == other.lines[name].state, name
    for kind in DERIVED:
        assert getattr(s, kind) == getattr(other, kind), kind
    assert +s.counts == +other.counts


def check_lists(s):
    chosen = [line for name, line in s.lines.items() if s.works_on(name)]
    assert s.ready == sorted(s.ready)
    assert s.ready_cpu == sorted(s.ready_cpu)
    assert s.delayed == sorted(s.delayed)
    ready = {line.task.id for line in chosen if isinstance(line.state, Ready)} - set(s.to_open)
    assert Counter(key[2] for key in s.ready + s.ready_cpu) == Counter(ready)
    assert all(s.lines[key[2]].task.gpus == 0 for key in s.ready_cpu)
    late = {line.task.id for line in chosen if isinstance(line.state, Waiting) and line.state.why == "back-off"}
    assert {name for _, name in s.delayed} == late - set(s.to_open)
    assert s.counts.total() == len(chosen)
    assert s.open == {line.task.id for line in chosen if not isinstance(line.state, Ended)} | set(s.to_open)


def check_slots(s):
    slots = {**s.pool.slots, **s.pool.extra}
    held = Counter(slot.holder for slot in slots.values() if slot.holder)
    for (name, attempt), number in held.items():
        line = s.lines[name]
        assert isinstance(line.state, Running), f"{name}.{attempt} holds a slot and does not run"
        assert line.state.attempt == attempt
        assert number <= max(line.task.gpus, 1)
    ours = [key for key, known in s.mine.items() if known is None or known.owner.worker == WORKER]
    assert len(ours) <= len(slots)
    assert all(isinstance(s.lines[name].state, Running) for name, _ in s.mine)


def check_histories(s):
    for line in s.lines.values():
        assert [a.number for a in line.attempts] == list(range(1, len(line.attempts) + 1))
        assert all(a.end is not None for a in line.attempts[:-1])
        if isinstance(line.state, Ended) and line.state.ending == "succeeded":
            assert line.deciding is not None
            assert line.deciding.number == line.state.attempt


def check_decisions(s, decisions):
    launches = [d for d in decisions if isinstance(d, Launch)]
    slots = [name for d in launches for name in d.slots]
    both = {**s.pool.slots, **s.pool.extra}
    assert len(set(slots)) == len(slots)
    assert all(both[name].holder is None for name in slots)
    assert len({d.task.id for d in launches}) == len(launches)
    for d in launches:
        line = s.lines[d.task.id]
        assert s.works_on(d.task.id)
        assert not line.is_paused
        assert not line.is_cancelled
        assert not line.launching
        assert not isinstance(line.state, (Running, Ended))
        assert d.attempt == line.next_attempt
        assert len(d.slots) == max(d.task.gpus, 1)
        assert set(d.slots) <= set(s.pool.extra if d.task.gpus == 0 else s.pool.slots)
        assert all(isinstance(s.lines[n].state, Ended) for n in d.task.needs)
        assert s.wishes.ignore_failures or all(s.lines[n].state.is_satisfied for n in d.task.needs)
        canary = s.canary(d.task)
        assert canary in {"", d.task.id} or is_satisfied(s.lines[canary].state)
        assert not set(d.task.needs) & set(s.to_open)
        assert count(line, "failed") <= d.task.retries
        assert count(line, "lost") < 5
    if s.stopping or s.is_behind or s.is_paused:
        assert not launches
    if s.stopping or s.is_behind:
        assert not [d for d in decisions if isinstance(d, OpenRound)]
    if s.wishes.at_once:
        assert len(s.mine) + len(launches) <= max(s.wishes.at_once, len(s.mine))


@LIMIT
@given(st.integers(0, 2**32))
def test_any_history_gives_what_its_records_give_and_breaks_no_rule(seed):
    world = World(seed)
    for _ in range(70):
        event = world.event()
        if event is None:
            continue
        apply(world.s, event)
        check_as_rebuilt(world.s)
        check_lists(world.s)
        check_slots(world.s)
        check_histories(world.s)


@LIMIT
@given(st.integers(0, 2**32))
def test_a_worker_that_forgets_what_succeeded_decides_the_same(seed):
    world = World(seed)
    brief = copy.deepcopy(world.s)
    begins = world.draw.randint(0, 30)
    for step in range(70):
        if step == begins:
            abridge(brief)
        event = world.event()
        if event is None:
            continue
        apply(world.s, event)
        apply(brief, event)
        assert {n: line.state for n, line in brief.lines.items()} == {n: x.state for n, x in world.s.lines.items()}
        assert decide(brief, world.now) == decide(world.s, world.now)
        check_as_rebuilt(brief)
        last = (line.attempts[-1].end for line in brief.lines.values() if line.attempts)
        assert step < begins or not any(end and verdict(end) == "succeeded" for end in last)


# ---- whole runs ----


class Fate:
    """What becomes of attempts when a runner has nothing else to tell."""

    def __init__(self, draw):
        self.draw = draw

    def __call__(self, runner):
        if not runner.running:
            return
        name, attempt = self.draw.choice(sorted(runner.running))
        output = "none"
        if runner.running[name, attempt].task.output:
            output = self.draw.choice(("there", "there", "there", "missing"))
        outcome = self.draw.choice(OUTCOMES)
        if isinstance(outcome, Lost):
            runner.vanish(name, attempt)
        elif isinstance(outcome, NotStarted) and self.draw.random() < 0.5:
            runner.finish(name, attempt, 143, stopped="worker", output=output)
        else:
            runner.finish(name, attempt, outcome, output=output)


def worker(draw, tasks, disk, clock, **wishes):
    s = Situation(Wishes(WORKER, frozenset(t.id for t in tasks), **wishes), pool(2, 1))
    load(s, tasks)
    rebuild(s)
    queue = FakeQueue(disk, WORKER)
    runner = FakeRunner(disk, WORKER, clock, idle=Fate(draw))
    return Scheduler(s, queue, runner, FakeReporter(), clock)


@SOON
@given(st.integers(0, 2**32))
def test_every_run_comes_to_its_end_with_the_right_exit_code(seed):
    draw = random.Random(seed)
    tasks = random_tasks(draw)
    disk, clock = FakeDisk(), FakeClock()
    first = worker(draw, tasks, disk, clock)
    code = first.run()
    s = first.situation
    check_all_ended(first, disk, code)
    # what was made is not made again, and what failed is repeated only when asked
    again = worker(draw, tasks, disk, clock)
    absorb(again.situation, FakeQueue(disk, WORKER).changes(clock.now))
    assert again.run() == code
    assert again.runner.started == []
    # everything asked for again runs again, with its needs before it
    third = worker(draw, tasks, disk, clock, asked=tuple((t.id, s.lines[t.id].round + 1) for t in tasks))
    absorb(third.situation, FakeQueue(disk, WORKER).changes(clock.now))
    check_all_ended(third, disk, third.run())
    runs = {launch.task.id for launch in third.runner.started}
    for t in tasks:
        state = third.situation.lines[t.id].state
        assert t.id in runs or state.ending == "aborted", t.id


def check_all_ended(scheduler, disk, code):
    s = scheduler.situation
    assert scheduler.runner.is_closed
    assert not disk.living
    assert not disk.held
    for line in s.lines.values():
        assert isinstance(line.state, Ended), line.task.id
        assert count(line, "failed") <= line.task.retries + 1
        assert count(line, "lost") <= 5
        if line.state.ending == "aborted":
            need = s.lines[line.state.because].state
            assert isinstance(need, Ended)
            assert not need.is_satisfied
    assert code == (0 if all(line.state.is_satisfied for line in s.lines.values()) else 1)
    assert scheduler.reporter.closed == code
    told = [e for e in scheduler.reporter.shown if isinstance(e, Claimed)]
    assert {(e.claim.task, e.claim.attempt) for e in told} <= set(disk.ends)


@settings(SOON, max_examples=30)
@given(st.integers(0, 2**32))
def test_an_interrupted_run_leaves_when_what_it_started_has_ended(seed):
    draw = random.Random(seed)
    disk, clock = FakeDisk(), FakeClock()
    scheduler = worker(draw, random_tasks(draw), disk, clock)
    fate, waits = scheduler.runner.idle, draw.randint(0, 6)

    def idle(runner):
        nonlocal waits
        waits -= 1
        fate(runner)
        if waits == 0:
            runner.events.append(Interrupted(1, 130, clock.now))

    scheduler.runner.idle = idle
    code = scheduler.run()
    assert not disk.living
    assert code in ({130} if scheduler.situation.stopping else {0, 1})
