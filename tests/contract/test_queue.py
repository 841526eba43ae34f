"""Do the queue on disk and its stand-in keep the same promises?"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest

from parallel_train.core import wire
from parallel_train.core.events import Claimed, Ended, Enlisted, Joined, Requested, RoundOpened
from parallel_train.core.facts import Array, Claim, End, Exited, Lost, Owner, Request, Round
from parallel_train.ports import Queue
from parallel_train.store import queue, records, requests
from parallel_train.store.queue import DiskQueue
from tests.support.fakes import FakeDisk, FakeQueue


@dataclass
class Shared:
    """One place that several workers share, and how records of others come there."""

    worker: Callable[[str], Queue]
    claim: Callable[[Claim], None]
    end: Callable[[End], None]
    ask: Callable[[str, dict[str, int]], None]
    refuse: Callable[[Queue], None]  # the disk takes nothing more of that worker


def owner(worker: str) -> Owner:
    return Owner(worker, "host", "machine", "boot", "pidns", 1, 1)


def fake(_: Path) -> Shared:
    disk = FakeDisk()
    return Shared(
        worker=lambda name: FakeQueue(disk, name),
        claim=lambda claim: disk.claims.__setitem__((claim.task, claim.attempt), claim),
        end=lambda end: disk.ends.__setitem__((end.task, end.attempt), end),
        ask=lambda kind, tasks: disk.requests.append(Request(len(disk.requests) + 1, kind, tasks)),
        refuse=lambda worker: worker.troubles.append(OSError("no room")),
    )


def on_disk(path: Path) -> Shared:
    folder = path / queue.NAME
    queue.create(folder)

    def publish(kind: str, name: str, data: dict) -> None:
        assert records.publish(str(folder / kind / name), [data])

    return Shared(
        worker=lambda name: DiskQueue(folder, owner(name), lambda _: True, everything=True),
        claim=lambda c: publish("claims", f"{c.task}.{c.attempt}", asdict(c)),
        end=lambda e: publish("ends", f"{e.task}.{e.attempt}", wire.end_data(e)),
        ask=lambda kind, tasks: requests.ask(folder, Request(0, kind, tasks)),
        refuse=lambda _: folder.rename(path / "away"),
    )


@pytest.fixture(params=[fake, on_disk], ids=["fake", "disk"])
def shared(request, tmp_path):
    return request.param(tmp_path)


def a_claim(task="a", attempt=1, worker="one"):
    return Claim(task, attempt, 1, "x", {}, owner(worker), ("gpu-0",), ("0",), "log", "err")


def a_round(task="a", number=2, identity="x", *, aside=True, by="one"):
    return Round(task, number, identity, "asked for", aside=aside, by=by)


def test_company_comes_and_goes(shared):
    one, two = shared.worker("one"), shared.worker("two")
    one.join()
    assert not one.has_company()
    two.join()
    assert one.has_company()
    assert two.has_company()
    two.leave()
    assert not one.has_company()
    two.leave()  # twice does no harm


def test_a_round_is_opened_once_and_the_winner_is_told(shared):
    one, two = shared.worker("one"), shared.worker("two")
    wanted = a_round()
    assert one.open_round(wanted) == RoundOpened(wanted, ours=True)
    # the same for somebody else: what they wanted is there
    same = two.open_round(replace(wanted, by="two", why="changed"))
    assert same == RoundOpened(wanted, ours=True)


@pytest.mark.parametrize("other", [a_round(aside=False), a_round(identity="y")], ids=["kept", "another identity"])
def test_whoever_wanted_another_kind_learns_what_is_there(shared, other):
    shared.worker("one").open_round(a_round())
    assert shared.worker("two").open_round(other) == RoundOpened(a_round(), ours=False)


def test_of_many_at_once_exactly_one_opens_the_round(shared):
    names = [f"w{n}" for n in range(8)]
    opened, gate = [], threading.Barrier(len(names))

    def ask(name):
        worker, wanted = shared.worker(name), a_round(identity=name, by=name)
        gate.wait()
        opened.append(worker.open_round(wanted))

    threads = [threading.Thread(target=ask, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({o.round for o in opened}) == 1
    assert sum(o.ours for o in opened) == 1


def test_each_record_is_told_once_and_no_end_before_its_claim(shared):
    one, two = shared.worker("one"), shared.worker("two")
    two.join()
    for n in range(1, 12):
        shared.claim(a_claim(attempt=n, worker="two"))
        if n < 11:
            shared.end(End("a", n, Exited(1)))
    two.open_round(a_round())
    told = one.changes(5.0)
    assert one.changes(6.0) == []
    kinds = [type(e) for e in told]
    assert (kinds.count(RoundOpened), kinds.count(Claimed), kinds.count(Ended)) == (1, 11, 10)
    assert [e.claim.attempt for e in told if isinstance(e, Claimed)] == list(range(1, 12))
    assert {e.at for e in told if isinstance(e, Ended)} == {5.0}
    seen = set()
    for event in told:
        if isinstance(event, Claimed):
            seen.add(event.claim.attempt)
        if isinstance(event, Ended):
            assert event.end.attempt in seen
    shared.end(End("a", 11, Exited(0)))
    assert one.changes(7.0) == [Ended(End("a", 11, Exited(0)), 7.0)]


def test_what_is_over_holds_no_slot_and_is_nobodys_orphan(shared):
    one = shared.worker("one")
    shared.claim(a_claim(worker="gone"))
    shared.end(End("a", 1, Exited(0)))
    (claimed, _) = one.changes(0.0)
    assert (claimed.is_here, claimed.orphan) == (False, False)


def test_an_attempt_whose_worker_lives_is_no_orphan(shared):
    one, two = shared.worker("one"), shared.worker("two")
    one.join()
    two.join()
    shared.claim(a_claim("a", worker="two"))
    assert [e.orphan for e in one.changes(0.0)] == [False]
    two.leave()
    shared.claim(a_claim("b", worker="two"))
    assert [e.orphan for e in one.changes(0.0)] == [True]


def test_a_dead_owner_is_ended_as_lost_unless_there_is_an_end(shared):
    one, two = shared.worker("one"), shared.worker("two")
    shared.claim(a_claim("a"))
    shared.claim(a_claim("b"))
    assert one.end_as_lost(a_claim("a"), Lost("killed")).end.outcome == Lost("killed")
    assert two.end_as_lost(a_claim("a"), Lost("rebooted")).end.outcome == Lost("killed")
    shared.end(End("b", 1, Exited(0), output="there"))
    assert one.end_as_lost(a_claim("b"), Lost("killed")).end == End("b", 1, Exited(0), output="there")


def test_what_a_sick_slot_spoilt_is_excused_by_a_request_that_all_hear(shared):
    one, two = shared.worker("one"), shared.worker("two")
    said = one.excuse({"a": 2, "b": 1}).request
    assert (said.number, said.kind, said.tasks, said.by) == (1, "excuse", {"a": 2, "b": 1}, "one")
    assert [e.request for e in two.requests(0.0)] == [said]


DEEDS = {
    "a round": lambda worker: worker.open_round(a_round()),
    "an excuse": lambda worker: worker.excuse({"a": 1}),
    "an end": lambda worker: worker.end_as_lost(a_claim(), Lost("killed")),
}


@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS.keys())
def test_a_disk_that_takes_nothing_is_an_os_error_which_a_worker_lives_through(shared, deed):
    one = shared.worker("one")
    shared.refuse(one)
    with pytest.raises(OSError):  # noqa: PT011  whatever the disk says
        deed(one)


def test_each_request_is_told_once_in_its_order_with_what_else_changed_or_alone(shared):
    one, two = shared.worker("one"), shared.worker("two")
    shared.ask("pause", {})
    shared.ask("cancel", {"a": 1})
    asked = [Requested(Request(1, "pause")), Requested(Request(2, "cancel", {"a": 1}))]
    assert one.requests(0.0) == asked
    assert one.requests(0.0) == []
    shared.claim(a_claim())
    assert two.changes(0.0)[:2] == asked
    assert one.requests(0.0) == []
    assert [type(e) for e in one.changes(0.0)] == [Claimed]


def test_a_retry_comes_with_its_round_and_joins(shared):
    one = shared.worker("one")
    shared.worker("two").open_round(a_round())
    shared.ask("retry", {"a": 2})
    request = Requested(Request(1, "retry", {"a": 2}))
    assert one.requests(0.0) == [request, RoundOpened(a_round()), Joined(frozenset("a"))]
    assert one.changes(0.0) == []


def test_an_array_is_numbered_and_told_with_whose_it_is(shared):
    one, two = shared.worker("one"), shared.worker("two")
    one.join()
    wanted = Array(0, 2, ("a", "b"), gpus=4)
    first, second = one.enlist(wanted), one.enlist(wanted)
    assert [(a.number, a.by, a.selection) for a in (first, second)] == [(1, "one", ("a", "b")), (2, "one", ("a", "b"))]
    assert two.changes(0.0) == [Enlisted(first, ours=False), Enlisted(second, ours=False)]
    assert two.changes(0.0) == []
    one.leave()
    assert shared.worker("three").changes(0.0) == [Enlisted(first, ours=True), Enlisted(second, ours=True)]
