"""Do real launchers, shims and tasks keep the promises that their stand-in makes in other tests?"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from parallel_train.core import wire
from parallel_train.core.events import Claimed, Ended, Event, Launch, Refused, Vanished
from parallel_train.core.facts import Claim, Exited, Signalled, TimedOut
from parallel_train.core.slots import Device
from parallel_train.core.task import Task
from parallel_train.ports import Runner
from parallel_train.procs import locks
from parallel_train.store import records
from tests.support.fakes import FakeDisk, FakeQueue, FakeRunner
from tests.support.machine import machine
from tests.support.wait import wait_until

PROGRAMS = {
    "ok": ("sh", "-c", "exit 0"),
    "fails": ("sh", "-c", "exit 3"),
    "dies": ("sh", "-c", "kill -9 $$"),
    "hangs": ("sh", "-c", "exec sleep 1000"),
    "waits": ("sh", "-c", "trap 'exit 7' INT; echo > $0.ready; while :; do sleep 0.02; done", "{name}"),
}


@dataclass
class World:
    """A runner, and what happens around it."""

    runner: Runner
    other: Runner  # another worker's, on the same machine
    end_by_itself: Callable[[str], None]  # what a program does without being told, done by hand in the fake
    until_ready: Callable[[str], None]
    kill_owner: Callable[[Claim], None]
    claim: Callable[[str, int], None]  # somebody else claims
    events: list[Event] = field(default_factory=list)
    others: list[Event] = field(default_factory=list)

    def start(self, program: str, device: Device, *, name="task", attempt=1, runner=None, **more) -> None:
        command = tuple(word.format(name=name) for word in PROGRAMS[program])
        task = replace(Task(name, command, id=name, identity="x"), **more)
        (runner or self.runner).start(Launch(task, attempt, 1, {}, (device.lock,), 0), (device,))
        self.program = program

    def event(self, kind, *, of=None):
        runner, events = (self.runner, self.events) if of is None else (of, self.others)

        def look():
            events.extend(runner.wait(0.05))
            return next((e for e in events if isinstance(e, kind)), None)

        return wait_until(look, f"{kind.__name__}, only {events}")


def fake_world(_path):
    disk = FakeDisk()
    for name in ("tester", "other"):
        FakeQueue(disk, name).join()
    one, other = FakeRunner(disk, "tester"), FakeRunner(disk, "other")
    outcomes = {"ok": 0, "fails": 3, "dies": Signalled(9), "hangs": TimedOut()}

    def obey(_runner):
        for task, attempt, kill in one.stops:
            for each in (r for r in (one, other) if (task, attempt) in r.running):
                each.finish(task, attempt, Signalled(9) if kill else 7, stopped="worker")

    def end_by_itself(program):
        one.finish("task", 1, outcomes[program])

    def kill_owner(claim):
        key = (claim.task, claim.attempt)
        (other if key in other.running else one).vanish(*key)

    def claim(name, attempt):
        disk.claims[name, attempt] = None

    one.idle = other.idle = obey
    yield World(one, other, end_by_itself, lambda name: None, kill_owner, claim)


def real_world(path):
    with machine(path, worker="tester") as one, machine(path, worker="other") as other:
        yield World(
            one.runner,
            other.runner,
            end_by_itself=lambda program: None,
            until_ready=lambda name: one.until_file(f"{name}.ready"),
            kill_owner=lambda claim: os.kill(claim.owner.pid, signal.SIGKILL),
            claim=lambda name, attempt: one.publish("claims", f"{name}.{attempt}"),
        )


@pytest.fixture(params=[fake_world, real_world], ids=["fake", "real"])
def world(request, tmp_path):
    yield from request.param(tmp_path)


@pytest.fixture
def device(request):
    name = f"cpu-test-{os.urandom(8).hex()}"
    yield Device("cpu", "0", "", name)
    (Path(locks.folder()) / name).unlink(missing_ok=True)


@pytest.mark.parametrize(("program", "outcome"), [("ok", Exited(0)), ("fails", Exited(3)), ("dies", Signalled(9))])
def test_an_attempt_is_claimed_and_then_ended(world, device, program, outcome):
    world.start(program, device)
    claim = world.event(Claimed).claim
    assert (claim.task, claim.attempt, claim.round, claim.identity) == ("task", 1, 1, "x")
    assert (claim.slots, claim.gpus, claim.owner.worker) == ((device.lock,), (claim.gpus[0],), "tester")
    world.end_by_itself(program)
    end = world.event(Ended).end
    assert (end.task, end.attempt, end.outcome, end.stopped) == ("task", 1, outcome, "")
    assert [type(e) for e in world.events] == [Claimed, Ended]


def test_a_time_limit_ends_an_attempt(world, device):
    world.start("hangs", device, timeout=0.1)
    world.event(Claimed)
    world.end_by_itself("hangs")
    assert world.event(Ended).end.outcome == TimedOut()


@pytest.mark.parametrize(("kill", "outcome"), [(False, Exited(7)), (True, Signalled(9))])
def test_an_attempt_that_is_told_to_end_ends(world, device, kill, outcome):
    world.start("waits", device)
    world.event(Claimed)
    world.until_ready("task")
    world.runner.stop("task", 1, kill=kill)
    end = world.event(Ended).end
    assert (end.outcome, end.stopped) == (outcome, "worker")


def test_telling_an_unknown_attempt_to_end_does_no_harm(world):
    world.runner.stop("nobody", 1, kill=True)
    assert world.runner.wait(0) == []


def test_a_held_slot_refuses(world, device):
    world.start("waits", device)
    world.event(Claimed)
    world.start("ok", device, name="second")
    refused = world.event(Refused)
    assert (refused.task, refused.why, refused.slots) == ("second", "busy", (device.lock,))


def test_a_slot_is_free_when_its_attempt_has_ended(world, device):
    world.start("ok", device)
    world.event(Claimed)
    world.end_by_itself("ok")
    world.event(Ended)
    world.events.clear()
    world.start("ok", device, name="second")
    assert world.event(Claimed).claim.task == "second"


def test_an_attempt_that_somebody_claimed_is_refused(world, device):
    world.claim("task", 1)
    world.start("ok", device)
    refused = world.event(Refused)
    assert (refused.task, refused.attempt, refused.why) == ("task", 1, "behind")


def test_an_attempt_whose_predecessor_has_not_ended_is_refused(world, device):
    world.start("ok", device, attempt=2)
    assert world.event(Refused).why == "behind"


def test_an_attempt_of_another_worker_can_be_watched_and_stopped(world, device):
    world.start("waits", device, runner=world.other)
    claim = world.event(Claimed, of=world.other).claim
    world.until_ready("task")
    world.runner.watch(claim)
    world.runner.stop("task", 1, kill=False)
    for runner in (world.other, None):  # its own listens, ours watches
        end = world.event(Ended, of=runner).end
        assert (end.outcome, end.stopped) == (Exited(7), "worker")


def test_the_death_of_a_watched_owner_is_learnt(world, device):
    world.start("hangs", device, runner=world.other)
    claim = world.event(Claimed, of=world.other).claim
    world.runner.watch(claim)
    world.kill_owner(claim)
    vanished = world.event(Vanished)
    assert (vanished.task, vanished.attempt, vanished.why) == ("task", 1, "killed")


def test_the_death_of_an_owner_of_ours_is_learnt(world, device):
    world.start("hangs", device)
    claim = world.event(Claimed).claim
    world.kill_owner(claim)
    assert world.event(Vanished).attempt == 1


def test_watching_what_is_over_tells_how_it_ended(world, device):
    world.start("ok", device)
    claim = world.event(Claimed).claim
    world.end_by_itself("ok")
    world.event(Ended)
    world.events.clear()
    world.runner.watch(claim)
    assert world.event(Ended).end.outcome == Exited(0)


def test_a_claim_is_what_is_written(tmp_path):
    """The event's claim reads back as the record's."""
    with machine(tmp_path) as one:
        one.start(one.task("true"))
        assert one.claimed() == wire.claim_of(records.read_one(str(one.folder / "claims" / "task.1")))
