"""Does the one loop move values faithfully, say trouble and try again, and leave as it should?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from parallel_train.core import policy
from parallel_train.core.apply import absorb
from parallel_train.core.decide import STOP
from parallel_train.core.events import (
    ClusterSilent,
    Ended,
    Interrupted,
    Launched,
    Look,
    NotEnlisted,
    Refused,
    RoundOpened,
    Told,
    Vanished,
    Warned,
)
from parallel_train.core.facts import End, Exited, Lost, Request, Round
from parallel_train.core.roster import Roster, Terms
from parallel_train.core.situation import Wishes
from parallel_train.core.slots import Pool
from parallel_train.errors import ClusterError, UsageError
from parallel_train.scheduler import Scheduler
from tests.support.builders import WORKER, claimed, pool, ran, situation, task
from tests.support.fakes import FakeClock, FakeCluster, FakeDisk, FakeQueue, FakeReporter, FakeRunner

A, B = task("a", number=1), task("b", number=2)
TERMS = Terms(workers=4, gpus=2, slots=2)
FULL = OSError(28, "No space left on device")


def claim(of, worker=WORKER):
    made = claimed(of, gpus="").claim
    return replace(made, owner=replace(made.owner, worker=worker))


def finish_all(runner, outcome=0):
    for name, attempt in sorted(runner.running):
        runner.finish(name, attempt, outcome)


def nothing(_runner):
    pass


def steps(*several):
    """What happens in one wait after the other."""
    following = iter(several)

    def idle(runner):
        next(following)(runner)

    return idle


def scheduler(*tasks, disk=None, idle=finish_all, events=(), wishes=None, slots=None):
    disk = disk or FakeDisk()
    clock = FakeClock()
    s = situation(*tasks, wishes=wishes, slots=slots, events=events)
    queue = FakeQueue(disk, WORKER)
    absorb(s, queue.changes(clock.now))
    return Scheduler(s, queue, FakeRunner(disk, WORKER, clock, idle=idle), FakeReporter(), clock)


def kinds(scheduler):
    return [type(e).__name__ for e in scheduler.reporter.shown]


def warnings(scheduler):
    return [e.text for e in scheduler.reporter.of(Warned)]


def test_a_run_from_its_first_launch_to_its_exit_code():
    run = scheduler(A, slots=pool(1))
    assert run.run() == 0
    assert kinds(run) == ["Launched", "Claimed", "Ended"]
    assert (run.reporter.closed, run.runner.is_closed, run.queue.disk.workers) == (0, True, set())


def test_a_failure_gives_exit_code_1_and_the_others_run():
    run = scheduler(A, B, idle=lambda r: [r.finish(*k, 1 if k[0] == "a" else 0) for k in sorted(r.running)])
    assert run.run() == 1
    assert {end.end.task for end in run.reporter.of(Ended)} == {"a", "b"}


def test_nothing_to_do_is_done_at_once():
    run = scheduler(A, events=ran(A))
    assert run.run() == 0
    assert (run.runner.started, run.runner.waits, kinds(run)) == ([], [], [])


def has_run(of):
    """A disk on which `of` has been run."""
    return FakeDisk(claims={(of.id, 1): claim(of)}, ends={(of.id, 1): ran(of)[1].end})


def test_a_round_is_opened_and_run():
    run = scheduler(A, disk=has_run(replace(A, identity="old")))
    assert run.run() == 0
    assert kinds(run) == ["RoundOpened", "Launched", "Claimed", "Ended"]


def test_a_refused_launch_is_tried_again_when_its_slot_is_free():
    disk = FakeDisk(held={"gpu-0": ("stranger", 1)})
    waited = []

    def idle(runner):
        waited.append(runner.clock.now)
        if len(waited) == 3:
            disk.held.clear()
        finish_all(runner)

    run = scheduler(A, disk=disk, slots=pool(1), idle=idle)
    assert run.run() == 0
    assert [e.why for e in run.reporter.of(Refused)] == ["busy"] * 3
    assert len(run.reporter.of(Launched)) == 4


def test_an_attempt_of_a_dead_worker_is_swept_ended_and_repeated():
    theirs = claim(A, worker="gone")
    disk = FakeDisk(claims={("a", 1): theirs})
    run = scheduler(A, disk=disk)
    assert run.run() == 0
    assert run.runner.swept == [theirs]
    assert kinds(run) == ["Watched", "Vanished", "Ended", "Launched", "Claimed", "Ended"]
    assert disk.ends["a", 1].outcome == Lost("killed")


def test_an_end_that_was_written_meanwhile_stands():
    theirs = claim(A)
    disk = FakeDisk(claims={("a", 1): theirs})
    run = scheduler(A, disk=disk, idle=lambda r: None)
    other = FakeRunner(disk)
    disk.living.add(("a", 1))
    run.runner.watch = lambda c: (other.finish("a", 1, 0), run.runner.events.append(Vanished("a", 1)))
    assert run.run() == 0
    assert len(disk.claims) == 1


def test_two_workers_share_one_queue():
    disk = FakeDisk()
    tasks = [task(f"t{n}", number=n) for n in range(6)]
    one = scheduler(*tasks, disk=disk, slots=pool(1))
    two = FakeQueue(disk, "other.1")
    two.join()
    theirs = FakeRunner(disk, "other.1", one.clock)
    started = []

    def idle(runner):
        """The other worker takes a task of its own each time, and ends the one before."""
        for key in sorted(theirs.running):
            theirs.finish(*key)
        free = [t for t in tasks if (t.id, 1) not in disk.claims]
        if free:
            started.append(free[-1].id)
            disk.claims[free[-1].id, 1] = claim(free[-1], worker="other.1")
            disk.living.add((free[-1].id, 1))
            theirs.running[free[-1].id, 1] = None
        finish_all(runner)

    one.runner.idle = idle
    assert one.run() == 0
    mine = [launch.task.id for launch in one.runner.started]
    assert started
    assert sorted({*mine, *started}) == [t.id for t in tasks]
    assert len(disk.claims) == len(disk.ends) == 6  # none twice


# ---- trouble ----


def test_what_the_disk_refuses_is_said_once_and_tried_again():
    run = scheduler(A, disk=has_run(A), wishes=Wishes(asked=(("a", 2),)))
    run.queue.troubles = [FULL, FULL, FULL]
    assert run.run() == 0
    assert warnings(run) == [f"OpenRound: {FULL}; trying again"]
    assert [e.round.number for e in run.reporter.of(RoundOpened)] == [2]


def test_an_end_that_comes_while_a_round_can_not_be_opened_counts():
    disk = has_run(B)
    disk.claims["a", 1] = claim(A)
    disk.living.add(("a", 1))
    run = scheduler(A, B, disk=disk, wishes=Wishes(asked=(("b", 2),)))
    open_round = run.queue.open_round

    def ends_meanwhile(wanted):
        if ("a", 1) not in disk.ends:
            run.runner.finish("a", 1)
            raise FULL
        return open_round(wanted)

    run.queue.open_round = ends_meanwhile
    assert run.run() == 0
    assert {e.end.task for e in run.reporter.of(Ended)} == {"a", "b"}


def test_a_machine_that_can_not_start_is_left_alone_for_a_while():
    run = scheduler(A, slots=pool(1))
    run.runner.troubles = [OSError(11, "no more processes")] * 2
    begun = run.clock.now
    assert run.run() == 0
    assert [e.why for e in run.reporter.of(Refused)] == ["trouble", "trouble"]
    assert run.clock.now - begun >= 2 * policy.TROUBLE_PAUSE


def test_a_folder_that_can_not_be_read_stops_nothing():
    run = scheduler(A, slots=pool(1))
    FakeQueue(run.queue.disk, "other.1").join()
    run.queue.troubles = [OSError(5, "Input/output error")] * 3
    ticks = []
    run.runner.idle = lambda r: ticks.append(1) if len(ticks) < 5 else finish_all(r)
    assert run.run() == 0
    assert len(warnings(run)) == 1
    assert "Input/output error" in warnings(run)[0]


def test_a_record_of_our_own_that_can_not_be_withdrawn_costs_no_exit_code():
    run = scheduler(A, events=ran(A, 1, 1))
    run.queue.leave = lambda: (_ for _ in ()).throw(FULL)
    assert run.run() == 1
    assert run.runner.is_closed


def test_a_bug_that_would_wait_for_ever_is_said():
    run = scheduler(A)
    run.situation.ready.clear()
    assert run.run() == 1
    assert "[this is a bug]" in warnings(run)[0]


# ---- leaving ----


@pytest.mark.parametrize(("level", "code"), [(1, 130), (2, 143)])
def test_an_interrupted_run_waits_for_what_it_started(level, code):
    run = scheduler(A, B, slots=pool(1))
    run.runner.idle = steps(lambda r: r.events.append(Interrupted(level, code, 0.0)), nothing, finish_all)
    assert run.run() == code
    assert [launch.task.id for launch in run.runner.started] == ["a"]
    assert run.runner.stops == ([("a", 1, False)] if level == STOP else [])
    assert [e.level for e in run.reporter.of(Told)] == ([2] if level == STOP else [])


def test_the_screen_says_how_long_the_loop_may_wait_and_nobody_waits_longer_than_a_poll():
    run = scheduler(A)
    run.reporter.wants = 0.25
    run.runner.idle = steps(nothing, finish_all)
    run.run()
    assert run.runner.waits[-1] == 0.25
    assert max(run.runner.waits) <= policy.POLL


def test_a_back_off_is_waited_for_and_no_longer():
    again = task("a", retries=1)
    outcomes = iter((1, 0))
    run = scheduler(again, idle=lambda r: [r.finish(*k, next(outcomes)) for k in sorted(r.running)])
    begun = run.clock.now
    assert run.run() == 0
    assert run.clock.now - begun == pytest.approx(policy.backoff("a", 1), abs=0.01)


def test_rounds_that_others_opened_are_followed():
    disk = FakeDisk()
    run = scheduler(A, disk=disk, slots=pool(1))
    FakeQueue(disk, "other.1").join()
    asked = []

    def idle(runner):
        if not asked:
            asked.append(disk.rounds.setdefault(("a", 2), Round("a", 2, A.identity, "asked for", aside=True)))
            runner.clock.now += policy.POLL
        finish_all(runner)

    run.runner.idle = idle
    assert run.run() == 0
    assert [launch.round for launch in run.runner.started] == [1, 2]


class LastMoment(FakeQueue):
    """Somebody asks for something just after this worker withdrew."""

    def __init__(self, disk, *pending):
        super().__init__(disk, WORKER)
        self.pending = list(pending)

    def leave(self):
        super().leave()
        while self.pending:
            self.disk.requests.append(self.pending.pop(0)())


def test_what_is_asked_in_the_last_moment_is_taken_up():
    disk = has_run(A)
    run = scheduler(A, disk=disk)
    absorb(run.situation, run.queue.changes(0.0))

    def retry():
        disk.rounds["a", 2] = Round("a", 2, A.identity, "asked for", aside=False)
        return Request(1, "retry", {"a": 2})

    run.queue = LastMoment(disk, retry)
    assert run.run() == 0
    assert [(launch.task.id, launch.round) for launch in run.runner.started] == [("a", 2)]
    assert disk.workers == set()


def test_who_can_not_join_again_for_it_at_once_tries_until_it_can():
    disk = has_run(A)
    run = scheduler(A, disk=disk)
    absorb(run.situation, run.queue.changes(0.0))
    joins = []

    def retry():
        disk.rounds["a", 2] = Round("a", 2, A.identity, "asked for", aside=False)
        return Request(1, "retry", {"a": 2})

    class Full(LastMoment):
        def join(self):
            joins.append(1)
            if 1 < len(joins) < 4:
                raise UsageError("can't write to the queue folder: No space left on device")
            super().join()

    run.queue = Full(disk, retry)
    assert run.run() == 0
    assert len(joins) == 4
    assert isinstance(run.reporter.of(Ended)[-1].end.outcome, Exited)


def test_news_that_give_nothing_to_do_keep_nobody():
    """Others may write faster than we look."""
    disk = has_run(A)
    run = scheduler(A, disk=disk)
    absorb(run.situation, run.queue.changes(0.0))
    run.queue = LastMoment(disk, lambda: Request(1, "priority", {"a": 5}))
    assert run.run() == 0
    assert run.runner.started == []


def test_whoever_can_not_read_what_was_asked_stays_and_tries_again():
    disk = has_run(A)
    run = scheduler(A, disk=disk)
    absorb(run.situation, run.queue.changes(0.0))
    queue = run.queue
    requests, troubles = queue.requests, [FULL, FULL]

    def refused(now):
        if troubles and not disk.workers:
            raise troubles.pop()
        return requests(now)

    queue.requests = refused
    assert run.run() == 0
    assert troubles == []
    assert run.reporter.closed == 0


def test_a_round_that_is_found_by_a_look_asks_for_another_one():
    """Its reader may have claimed after that look had listed the claims."""
    need, reader = task("need", number=1, output="x"), task("reader", number=2, needs="need")
    made = scheduler(need, reader, events=[*ran(need), *ran(reader)])
    made.queue.disk.rounds["need", 2] = Round("need", 2, need.identity, "asked for", aside=True)
    assert made._act(Look())
    assert made.situation.is_behind
    assert made._act(Look())
    assert not made.situation.is_behind


# ---- workers of a cluster ----


def coordinator(*tasks, cluster, idle, terms=TERMS):
    run = scheduler(*tasks, idle=idle, slots=Pool())
    run.situation.roster = Roster(terms)
    run.cluster = cluster
    return run


def work_as(run, *tasks):
    """A worker on another machine runs them to their end."""
    disk = run.queue.disk
    for of in tasks:
        disk.claims[of.id, 1] = claim(of, "pt1.200.1")
        disk.ends[of.id, 1] = End(of.id, 1, Exited(0))
    run.queue.disk.workers.add("pt1.200.1")


def test_workers_of_a_cluster_do_all_the_work():
    cluster = FakeCluster()
    run = coordinator(A, B, cluster=cluster, idle=lambda _: work_as(run, A, B) if cluster.jobs else None)
    assert run.run() == 0
    assert (cluster.asked, cluster.dismissed) == ([(1, 0.0)], [])
    assert [a.selection for a in run.queue.disk.arrays] == [("a", "b")]
    assert kinds(run)[:3] == ["ElementsSeen", "Enlisted", "ElementsSeen"]


def test_what_a_worker_wrote_is_read_before_it_is_taken_for_lost():
    """It came and left between two looks."""
    cluster = FakeCluster()

    def work_and_leave(_):
        if cluster.jobs:
            work_as(run, A)
            run.queue.disk.workers.discard("pt1.200.1")
            cluster.end("1_0")

    run = coordinator(A, cluster=cluster, idle=work_and_leave)
    assert run.run() == 0
    assert cluster.asked == [(1, 0.0)]


def test_a_record_of_an_array_is_there_before_the_cluster_hears_of_it():
    seen = []

    class Strict(FakeCluster):
        def submit(self, array, delay):
            seen.append(array in run.queue.disk.arrays)
            super().submit(array, delay)

    cluster = Strict()
    run = coordinator(A, cluster=cluster, idle=lambda _: work_as(run, A))
    assert (run.run(), seen) == (0, [True])


def test_a_refusal_for_good_ends_a_run():
    class Refusing(FakeCluster):
        def submit(self, array, delay):
            raise ClusterError("invalid partition")

    run = coordinator(A, cluster=Refusing(), idle=nothing)
    assert run.run() == 2
    assert [e.text for e in run.reporter.of(NotEnlisted)] == ["invalid partition"]


def test_a_silent_cluster_is_said_and_asked_again():
    cluster = FakeCluster(troubles=[TimeoutError("no answer"), ClusterError("no permission")])
    run = coordinator(A, cluster=cluster, idle=lambda _: work_as(run, A) if cluster.jobs else None)
    assert run.run() == 0
    assert [e.text for e in run.reporter.of(ClusterSilent)] == ["no answer", "no permission"]


def test_elements_are_dismissed_when_a_person_says_so():
    cluster = FakeCluster()

    def interrupt(runner):
        if cluster.jobs and not run.situation.stopping:
            runner.events.append(Interrupted(2, 143, runner.clock.now))

    run = coordinator(A, cluster=cluster, idle=interrupt)
    assert run.run() == 143
    assert cluster.dismissed == [(("1_0",), STOP)]


def test_trouble_with_a_dismissal_is_said_and_tried_again():
    cluster = FakeCluster()

    def interrupt(runner):
        if cluster.jobs and not run.situation.stopping:
            cluster.troubles.append(TimeoutError("no answer"))
            runner.events.append(Interrupted(2, 143, runner.clock.now))

    run = coordinator(A, cluster=cluster, idle=interrupt)
    assert run.run() == 143
    assert len(run.reporter.of(ClusterSilent)) == 1
    assert cluster.dismissed == [(("1_0",), STOP)]
