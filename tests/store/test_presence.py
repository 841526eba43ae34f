"""Who works at a queue, as far as one worker can see: by the processes here, by the beats elsewhere."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from parallel_train.core import wire
from parallel_train.core.events import Claimed, Company, Ended, Silent, Vanished
from parallel_train.core.facts import Claim, End, Exited, Lost, Owner
from parallel_train.errors import UsageError
from parallel_train.store import queue, records
from parallel_train.store.queue import DiskQueue
from tests.support.builders import cpu, gpu
from tests.support.fakes import FakeClock

LEASE = 60.0


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / queue.NAME
    queue.create(made)
    return made


@pytest.fixture
def clock():
    return FakeClock()


def owner(name):
    return Owner(name, name, name, "boot", "pidns", 1, 1)


def worker(folder, clock, name="one", **more):
    """On a host of its own: it can't see the others' processes."""
    alive = {name: True, "dead": False}
    me = DiskQueue(folder, owner(name), lambda who: alive.get(who.worker), lease=LEASE, clock=clock.monotonic, **more)
    me.join()
    return me


def names(found):
    return sorted(who.worker for who in found)


def wait(clock, seconds, look, step=10.0):
    """Look regularly for that long; what the last look gave."""
    found = look()
    for _ in range(int(seconds / step)):
        clock.now += step
        found = look()
    return found


# ---- workers ----


def test_a_worker_says_who_it_is_and_what_it_works_on(folder, clock):
    worker(folder, clock, "two", about={"file": "a.yaml"})
    ((who, said),) = worker(folder, clock).company()
    assert who == owner("two")
    assert (said["file"], said["lease"]) == ("a.yaml", LEASE)


def test_a_queue_that_can_not_be_written_is_said(folder, clock):
    (folder / "workers").rename(folder / "away")
    with pytest.raises(UsageError, match=r"can't write to the queue folder .*: No such file"):
        worker(folder, clock)


def test_a_worker_that_leaves_takes_its_record_and_its_beat_along(folder, clock):
    one = worker(folder, clock)
    one.beat()
    one.leave()
    one.leave()
    assert list((folder / "workers").iterdir()) == list((folder / "beats").iterdir()) == []


def test_it_beats_as_often_as_its_lease_asks_for(folder, clock):
    one, beats = worker(folder, clock), []
    for _ in range(6):
        one.beat()
        beats.append(int((folder / "beats" / "one").read_text()))
        clock.now += 5.0
    assert beats == [1, 1, 2, 2, 3, 3]  # each ten seconds


def test_a_stranger_that_beats_is_company_and_one_that_is_silent_for_its_lease_is_none(folder, clock):
    one, two = worker(folder, clock), worker(folder, clock, "two")
    assert not one.has_strangers()
    assert names(one.others()) == ["two"]  # nothing is known yet
    assert one.has_strangers()

    def beats_and_looks():
        two.beat()
        return names(one.others())

    assert wait(clock, 3 * LEASE, beats_and_looks) == ["two"]
    assert wait(clock, LEASE, lambda: names(one.others())) == ["two"]
    assert wait(clock, 10, lambda: names(one.others())) == []
    assert beats_and_looks() == ["two"]  # it is back


def test_it_is_the_lease_of_the_other_that_counts(folder, clock):
    two = worker(folder, clock, "two")
    two.leave()
    two.lease = 4 * LEASE
    two.join()
    one = worker(folder, clock)
    assert wait(clock, 3 * LEASE, lambda: names(one.others())) == ["two"]
    assert wait(clock, 2 * LEASE, lambda: names(one.others())) == []


def test_a_process_here_is_asked_and_not_its_beat(folder, clock):
    worker(folder, clock, "dead")
    one = worker(folder, clock, "two")
    assert names(one.others()) == []
    assert not one.has_strangers()
    assert names(worker(folder, clock).others()) == ["two"]  # on another host


def test_workers_know_their_places_among_those_that_launch_the_same_tasks(folder, clock):
    slots = {"slots": [asdict(gpu("0"))]}
    me = worker(folder, clock, "b", about={"source": "a.yaml", **slots})
    assert me.changes(0.0) == []  # alone, as it began
    worker(folder, clock, "a", about={"source": "a.yaml", **slots})
    any_task = worker(folder, clock, "c", about={"cpu_slots": [asdict(cpu("0"))]})
    worker(folder, clock, "0", about={"source": "other.yaml", **slots})
    worker(folder, clock, "1", about={"source": "a.yaml"})  # it only waits
    assert me.changes(0.0) == [Company(1, 3)]
    assert me.changes(0.0) == []
    any_task.leave()
    assert me.changes(0.0) == [Company(1, 2)]


def test_a_worker_of_a_newer_version_stops_with_a_sentence(folder, clock, monkeypatch):
    one = worker(folder, clock)
    monkeypatch.setattr(records, "VERSION", records.VERSION + 1)
    worker(folder, clock, "two")
    monkeypatch.undo()
    with pytest.raises(UsageError, match="newer parallel-train"):
        list(one.others())


def test_a_beat_that_can_not_be_read_now_is_an_error_and_no_silence(folder, clock):
    one = worker(folder, clock)
    worker(folder, clock, "two")
    (folder / "beats" / "two").mkdir()
    with pytest.raises(IsADirectoryError):
        names(one.others())


# ---- attempts whose owner can't be seen ----


def claim(folder, task="a", lease=LEASE):
    made = Claim(task, 1, 1, "x", {}, owner("two"), ("gpu-0",), ("0",), "log", "err", lease=lease)
    data = {**{name: getattr(made, name) for name in Claim.__dataclass_fields__}, "owner": wire.owner_data(made.owner)}
    assert records.publish(str(folder / "claims" / f"{task}.1"), [data])
    return made


def beat(folder, number, task="a"):
    (folder / "beats" / f"{task}.1").write_text(f"{number:015d}\n")


def test_a_silent_attempt_is_said_and_after_its_lease_taken_for_gone(folder, clock):
    one, made = worker(folder, clock), claim(folder)
    assert one.changes(0.0) == [Claimed(made, orphan=True, is_here=False)]
    assert one.has_company()
    assert wait(clock, 30, lambda: one.changes(0.0)) == []
    assert wait(clock, 10, lambda: one.changes(0.0)) == [Silent("a", 1)]
    assert one.changes(0.0) == []  # said once
    assert wait(clock, 20, lambda: one.changes(0.0)) == []
    for _ in range(2):  # until somebody has seen to it
        assert wait(clock, 10, lambda: one.changes(0.0)) == [Vanished("a", 1, "expired")]


def test_an_attempt_that_is_heard_again_is_said_too(folder, clock):
    one = worker(folder, clock)
    claim(folder)
    wait(clock, 40, lambda: one.changes(0.0))
    beat(folder, 1)
    assert one.changes(0.0) == [Silent("a", 1, is_back=True)]


def test_an_attempt_that_is_heard_again_before_it_is_ended_is_left_alone(folder, clock):
    """Whoever found it silent may have been slow to say so."""
    one, made = worker(folder, clock), claim(folder)
    assert wait(clock, 70, lambda: one.changes(0.0)) == [Vanished("a", 1, "expired")]
    beat(folder, 1)
    assert one.end_as_lost(made, Lost("expired")) == Silent("a", 1, is_back=True)
    assert not list((folder / "ends").iterdir())
    assert wait(clock, 70, lambda: one.changes(0.0)) == [Vanished("a", 1, "expired")]
    assert one.end_as_lost(made, Lost("expired")).end.outcome == Lost("expired")


def test_whoever_was_stopped_before_he_could_end_it_knows_nothing_of_that_while(folder, clock):
    one, made = worker(folder, clock), claim(folder)
    assert wait(clock, 70, lambda: one.changes(0.0)) == [Vanished("a", 1, "expired")]
    clock.now += 60
    assert one.end_as_lost(made, Lost("expired")) == Silent("a", 1, is_back=True)


def test_an_attempt_that_has_ended_is_nobodys_stranger(folder, clock):
    one = worker(folder, clock)
    claim(folder)
    wait(clock, 40, lambda: one.changes(0.0))
    assert records.publish(str(folder / "ends" / "a.1"), [wire.end_data(End("a", 1, Exited(0)))])
    assert [type(event) for event in one.changes(0.0)] == [Ended]
    assert not one.has_company()
    assert wait(clock, 2 * LEASE, lambda: one.changes(0.0)) == []


def test_a_beat_that_can_not_be_read_now_hides_nothing_of_what_else_is_new(folder, clock):
    one = worker(folder, clock)
    claim(folder)
    one.changes(0.0)
    claim(folder, "b")
    assert records.publish(str(folder / "ends" / "b.1"), [wire.end_data(End("b", 1, Exited(0)))])
    (folder / "beats" / "a.1").mkdir()
    for _ in range(2):
        with pytest.raises(IsADirectoryError):
            one.changes(0.0)
    (folder / "beats" / "a.1").rmdir()
    assert [type(event) for event in one.changes(0.0)] == [Claimed, Ended]
