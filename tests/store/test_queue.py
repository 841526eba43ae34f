"""What does the queue on disk make of damage, leftovers, strangers and trouble?"""

from __future__ import annotations

import errno
import os
import stat
import threading
from dataclasses import asdict, replace

import pytest

from parallel_train.core import wire
from parallel_train.core.apply import note
from parallel_train.core.events import Claimed, Ended, Joined, Requested, RoundOpened, Submitted, Warned
from parallel_train.core.facts import Claim, End, Exited, Lost, Owner, Request, Round, Signalled, claim_in
from parallel_train.core.state import Success
from parallel_train.errors import UsageError
from parallel_train.store import queue, records, requests, submissions
from parallel_train.store.queue import DiskQueue
from tests.support.builders import situation, task

ONE = Owner("one", "host", "machine", "boot", "pidns", 1, 1)
CLAIM = Claim(
    *("a", 1, 1, "x", {"need": 3}, ONE, ("gpu-0",), ("0",), "log", "err", "cookie"),
    made_with={"the data root": "/d"},
    at="2026-01-02T03:04:05Z",
)
END = End("a", 1, Signalled(9), "worker", "missing", "note", "s", "e", 1.5, 7, 0.5, 2)
ROUND = Round("a", 2, "x", "changed", aside=True, by="one")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / queue.NAME
    queue.create(made)
    return made


def worker(folder, name="one", *, alive=lambda _: True, **more):
    owner = Owner(name, "host", "machine", "boot", "pidns", 1, 1)
    return DiskQueue(folder, owner, alive, **more)


def publish(folder, kind, name, data):
    assert records.publish(str(folder / kind / name), [data])


def damage(folder, kind, name):
    """Flip a bit in the middle of a record."""
    path = folder / kind / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))
    return path, bytes(data)


def wire_claim(attempt):
    return asdict(replace(CLAIM, attempt=attempt))


def apply_all(events):
    found = situation(task("a"))
    note(found, events)
    return found


def fill(folder):
    publish(folder, "claims", "a.1", asdict(CLAIM))
    publish(folder, "ends", "a.1", wire.end_data(END))
    publish(folder, "rounds", "a.2", wire.round_data(ROUND))


def test_records_come_back_as_they_were(folder):
    fill(folder)
    assert worker(folder).changes(5.0) == [RoundOpened(ROUND), Claimed(CLAIM, is_here=False), Ended(END, 5.0)]


REPEATED = {"round": 1, "identity": "x", "needs": {"need": 3}, "worker": "two"}
SUCCESS = replace(END, outcome=Exited(0), stopped="", output="there", **REPEATED)


def test_of_anothers_success_a_brief_reader_reads_no_claim_and_decides_the_same(folder):
    publish(folder, "claims", "a.1", asdict(replace(CLAIM, owner=replace(ONE, worker="two"))))
    publish(folder, "ends", "a.1", wire.end_data(SUCCESS))
    whole = apply_all(worker(folder).changes(5.0)).lines["a"]
    damage(folder, "claims", "a.1")
    told = worker(folder, reads_ends_only=True).changes(5.0)
    assert told == [Claimed(claim_in(SUCCESS), is_here=False), Ended(SUCCESS, 5.0)]
    brief = apply_all(told).lines["a"]
    for line in (whole, brief):
        line.forget()
    assert brief == whole
    assert brief.success == Success(1, 1, "x", {"need": 3})


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(replace(SUCCESS, worker="one"), id="its own"),
        pytest.param(replace(SUCCESS, outcome=Exited(1)), id="no success"),
        pytest.param(replace(SUCCESS, round=0), id="an end that says less"),
    ],
)
def test_a_brief_reader_reads_the_other_claims(folder, end):
    publish(folder, "claims", "a.1", asdict(CLAIM))
    publish(folder, "ends", "a.1", wire.end_data(end))
    assert worker(folder, reads_ends_only=True).changes(5.0) == [Claimed(CLAIM, is_here=False), Ended(end, 5.0)]


@pytest.mark.parametrize("trouble", ["damaged", "gone"])
def test_a_success_whose_claim_can_not_be_read_is_not_run_again(folder, trouble):
    publish(folder, "claims", "a.1", asdict(CLAIM))
    publish(folder, "ends", "a.1", wire.end_data(SUCCESS))
    path = folder / "claims" / "a.1"
    if trouble == "gone":
        path.unlink()
    else:
        damage(folder, "claims", "a.1")
    told = worker(folder).changes(5.0)
    assert [event for event in told if not isinstance(event, Warned)] == [
        Claimed(claim_in(SUCCESS), is_here=False),
        Ended(SUCCESS, 5.0),
    ]
    assert len(told) == (2 if trouble == "gone" else 3)


def test_what_a_brief_reader_saw_running_is_told_once(folder):
    publish(folder, "claims", "a.1", asdict(CLAIM))
    reader = worker(folder, reads_ends_only=True)
    assert [event.claim for event in reader.changes(5.0)] == [CLAIM]
    publish(folder, "ends", "a.1", wire.end_data(SUCCESS))
    assert reader.changes(6.0) == [Ended(SUCCESS, 6.0)]


def test_a_queue_is_private_and_says_what_it_is(folder):
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.is_dir()}
    assert set(modes) == set(queue.KINDS)
    assert set(modes.values()) == {0o700}
    assert "parallel-train" in (folder / "README.md").read_text()
    queue.create(folder)  # again does no harm
    one = worker(folder)
    one.join()
    one.open_round(ROUND)
    for path in (folder / "workers" / "one", folder / "rounds" / "a.2"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_mark_of_a_queue_is_whole_or_absent(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        with pytest.raises(UsageError, match="No space left"):
            queue.create(tmp_path / "q")
    assert not (tmp_path / "q" / "id").exists()
    queue.create(tmp_path / "q")
    assert len((tmp_path / "q" / "id").read_text()) == 12
    assert not list((tmp_path / "q").glob(".tmp-*"))


def test_a_folder_that_can_not_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="can't make the queue folder"):
        queue.create(tmp_path / "file" / "queue")


@pytest.mark.parametrize(("kind", "name"), [("claims", "a.1"), ("ends", "a.1"), ("rounds", "a.2")])
def test_a_damaged_record_is_said_keeps_its_name_and_is_not_taken_for_absent(folder, kind, name):
    fill(folder)
    path, data = damage(folder, kind, name)
    events = worker(folder).changes(0.0)
    assert [e.text for e in events if isinstance(e, Warned)] == [f"the record {path} is damaged"]
    assert path.read_bytes() == data
    told = [e for e in events if not isinstance(e, Warned)]
    assert [type(e) for e in told] == [RoundOpened, Claimed, Ended]  # each is there still
    assert worker(folder).end_as_lost(CLAIM, Lost("killed")).end.outcome == (
        Lost("damaged") if kind == "ends" else Signalled(9)
    )
    if kind == "ends":
        assert told[2].end == End("a", 1, Lost("damaged"))
    if kind == "claims":
        assert (told[1].claim.task, told[1].claim.attempt, told[1].claim.identity) == ("a", 1, "")
    if kind == "rounds":
        assert (told[0].round.number, told[0].round.identity) == (2, "")


def test_a_damaged_round_is_never_won(folder):
    fill(folder)
    path, data = damage(folder, "rounds", "a.2")
    there = worker(folder).open_round(ROUND)
    assert (there.ours, there.round.number, there.round.identity) == (False, 2, "")
    assert path.read_bytes() == data


@pytest.mark.parametrize("data", [{"task": "b", "attempt": 1, "number": 2}, {"task": "a"}, {}, [1]])
def test_a_whole_record_that_is_not_what_its_name_says_is_damage(folder, data):
    """As after a copy by hand: nothing is learnt of another task, and the name stays taken."""
    publish(folder, "rounds", "a.2", data)
    publish(folder, "ends", "a.1", data)
    publish(folder, "claims", "a.1", data)
    one = worker(folder)
    events = one.changes(0.0)
    assert sum(isinstance(event, Warned) for event in events) == 3
    assert [type(event) for event in events if not isinstance(event, Warned)] == [RoundOpened, Claimed, Ended]
    assert one.open_round(ROUND) == RoundOpened(Round("a", 2, "", "asked for", aside=True), ours=False)
    assert one.end_as_lost(CLAIM, Lost("killed")) == Ended(End("a", 1, Lost("damaged")))


@pytest.mark.parametrize("kind", ["claims", "ends", "rounds"])
def test_an_empty_file_of_a_records_name_is_damage(folder, kind):
    (folder / kind / "a.1").touch()
    assert any(isinstance(event, Warned) for event in worker(folder).changes(0.0))


def test_an_end_whose_claim_is_gone_keeps_its_number(folder):
    publish(folder, "ends", "a.1", wire.end_data(End("a", 1, Exited(0))))
    stand_in, end = worker(folder).changes(0.0)
    assert (stand_in.claim.attempt, stand_in.claim.owner.pid, end.end.attempt) == (1, 0, 1)


def test_a_record_of_a_newer_version_stops_with_a_sentence(folder, monkeypatch):
    monkeypatch.setattr(records, "VERSION", records.VERSION + 1)
    fill(folder)
    monkeypatch.undo()
    one = worker(folder)
    for deed in (
        lambda: one.changes(0.0),
        lambda: one.open_round(ROUND),
        lambda: one.end_as_lost(CLAIM, Lost("killed")),
    ):
        with pytest.raises(UsageError, match="newer parallel-train"):
            deed()


def test_temporary_and_foreign_files_are_passed_over(folder):
    fill(folder)
    for kind in ("claims", "ends", "rounds"):
        for name in (".tmp-1-abc", "README", "a.b", ".1", "a.1.bak", "a.-1"):
            (folder / kind / name).write_text("half a rec")
    (folder / "workers" / ".tmp-1-abc").write_text("")
    one = worker(folder)
    assert len(one.changes(0.0)) == 3
    assert not one.has_company()


def test_only_what_is_of_interest_is_read(folder):
    fill(folder)
    (folder / "ends" / "b.1").write_text("damaged")
    assert len(worker(folder, interest=frozenset("a")).changes(0.0)) == 3
    assert worker(folder, interest=frozenset("c")).changes(0.0) == []


def test_attempts_come_in_the_order_of_their_numbers(folder):
    for n in (10, 9, 2, 1, 11):
        publish(folder, "ends", f"a.{n}", wire.end_data(End("a", n, Exited(0))))
    told = [e.end.attempt for e in worker(folder).changes(0.0) if isinstance(e, Ended)]
    assert told == [1, 2, 9, 10, 11]


def test_an_end_counts_for_its_own_attempt_though_earlier_records_were_lost(folder):
    """Somebody deleted claims and ends of the first attempt."""
    publish(folder, "claims", "a.2", wire_claim(2))
    publish(folder, "ends", "a.2", wire.end_data(replace(END, attempt=2)))
    told = worker(folder).changes(0.0)
    found = apply_all(told)
    assert [(a.number, a.end) for a in found.lines["a"].attempts] == [(2, replace(END, attempt=2))]


NO_RECORDS = ("²", "\u0661", "01", "0", "+1", "-1", "1e3", "9" * 200, "\udcff")


@pytest.mark.parametrize("name", NO_RECORDS)
def test_a_name_that_is_no_number_is_no_record(folder, name):
    fill(folder)
    ask(folder, "pause")
    before = worker(folder).changes(0.0)
    for kind in ("claims", "ends", "rounds"):
        (folder / kind / f"a.{name}").write_bytes((folder / "ends/a.1").read_bytes())
    (folder / "requests" / name).write_text("x")
    (folder / "tasks" / f"{name}.jsonl").write_text("x")
    assert worker(folder).changes(0.0) == before
    assert requests.last(folder) == 1
    assert len(requests.read_all(folder)) == 1
    assert submissions.read_all(folder / "tasks") == []


def test_a_request_of_a_far_number_holds_nobody_up(folder):
    (folder / "requests" / "999999999999999").write_text("x")
    assert requests.read_all(folder) == []
    assert [ask(folder, "pause").number for _ in range(2)] == [10**15, 10**15 + 1]


def test_after_a_beat_that_can_not_be_read_nothing_is_passed_over(folder):
    fill(folder)
    publish(folder, "claims", "b.1", asdict(replace(CLAIM, task="b")))
    (folder / "beats" / "b.1").mkdir()
    one = worker(folder, alive=lambda _: None)
    with pytest.raises(OSError, match="directory"):
        one.changes(0.0)
    (folder / "beats" / "b.1").rmdir()
    assert [type(e) for e in one.changes(0.0)] == [RoundOpened, Claimed, Claimed, Ended]
    assert one.changes(0.0) == []


def test_a_missing_folder_holds_nothing(tmp_path):
    assert worker(tmp_path / "nowhere").changes(0.0) == []
    assert not worker(tmp_path / "nowhere").has_company()


def test_looking_writes_nothing(folder):
    fill(folder)
    before = {str(p): p.stat().st_mtime_ns for p in folder.rglob("*")}
    one = worker(folder, sources={"f"})
    one.changes(0.0)
    one.has_company()
    assert {str(p): p.stat().st_mtime_ns for p in folder.rglob("*")} == before


# ---- workers ----


def test_the_records_of_dead_workers_are_cleared_by_the_next(folder):
    worker(folder, "dead").join()
    worker(folder, "living").join()
    worker(folder, "elsewhere").join()
    alive = {"dead": False, "living": True, "elsewhere": None, "one": True}
    one = worker(folder, alive=lambda owner: alive[owner.worker])
    one.join()
    assert sorted(path.name for path in (folder / "workers").iterdir()) == ["elsewhere", "living", "one"]
    assert sorted(owner.worker for owner in one.others()) == ["elsewhere", "living"]
    assert one.has_company()


def test_a_damaged_worker_record_is_no_company_and_stops_nobody(folder):
    (folder / "workers" / "broken").write_text("x")
    one = worker(folder)
    one.join()
    assert not one.has_company()


# ---- submissions ----


def test_a_newer_submission_is_followed_with_the_records_of_its_new_tasks(folder):
    a, b = task("a"), task("b")
    submissions.submit(folder / "tasks", "f", [a], "now")
    fill(folder)
    publish(folder, "ends", "b.1", wire.end_data(End("b", 1, Exited(0))))
    one = worker(folder, sources={"f"}, interest=frozenset("a"))
    assert [t.id for t in one.changes(0.0)[0].tasks] == ["a"]
    assert one.changes(0.0) == []
    submissions.submit(folder / "tasks", "f", [a, b], "later")
    events = one.changes(0.0)
    assert isinstance(events[0], Submitted)
    assert [t.id for t in events[0].tasks] == ["a", "b"]
    assert "b" in [e.end.task for e in events if isinstance(e, Ended)]


def test_a_submission_of_another_file_is_not_followed(folder):
    one = worker(folder, sources={"f"})
    submissions.submit(folder / "tasks", "g", [task("a")], "now")
    assert one.changes(0.0) == []


# ---- requests ----


def ask(folder, kind, tasks=None, submission=0):
    return requests.ask(folder, Request(0, kind, tasks or {}, submission, by="anna@host", at="now"))


def test_requests_are_numbered_and_come_back_as_they_were(folder):
    first, second = ask(folder, "pause"), ask(folder, "cancel", {"a": 2})
    assert (first.number, second.number, requests.last(folder)) == (1, 2, 2)
    assert worker(folder).requests(0.0) == [Requested(first), Requested(second)]


def test_the_tenth_request_comes_after_the_second(folder):
    asked = [ask(folder, "priority", {"a": n}) for n in range(11)]
    assert [e.request for e in worker(folder).requests(0.0)] == asked


def test_of_many_at_once_each_gets_a_number_of_its_own(folder):
    gate = threading.Barrier(8)

    def one():
        gate.wait()
        ask(folder, "pause")

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.name for path in (folder / "requests").iterdir()) == [str(n) for n in range(1, 9)]


def test_a_damaged_request_is_said_and_the_others_hold(folder):
    ask(folder, "cancel", {"a": 1})
    path, data = damage(folder, "requests", "1")
    last = ask(folder, "pause")
    told = worker(folder).requests(0.0)
    assert [type(e) for e in told] == [Warned, Requested]
    assert str(path) in told[0].text
    assert told[1].request == last
    assert path.read_bytes() == data


def test_what_was_added_before_a_worker_came_does_not_join_it(folder):
    added, _ = submissions.submit(folder / "tasks", "add 1", [task("a")], "now")
    ask(folder, "add", submission=added.number)
    one = worker(folder, sources={"f"}, interest=frozenset(), submission=1, request=requests.last(folder))
    assert [type(e) for e in one.changes(0.0)] == [Requested]


def test_what_is_added_joins_with_its_records(folder):
    one = worker(folder, sources={"f"}, interest=frozenset())
    one.changes(0.0)
    added, _ = submissions.submit(folder / "tasks", "g", [task("a"), task("b")], "now")
    fill(folder)
    ask(folder, "add", submission=added.number)
    told = one.requests(0.0)
    assert [type(e) for e in told if not isinstance(e, Requested)] == [Submitted, RoundOpened, Claimed, Ended, Joined]
    assert told[-1] == Joined(frozenset("ab"))
    # from now on the file is followed
    submissions.submit(folder / "tasks", "g", [task("a"), task("b"), task("c")], "later")
    (again,) = (e for e in one.changes(0.0) if isinstance(e, Submitted))
    assert [t.id for t in again.tasks] == ["a", "b", "c"]


def test_a_retry_of_tasks_of_another_file_brings_that_file_along(folder):
    submissions.submit(folder / "tasks", "g", [task("a")], "now")
    one = worker(folder, sources={"f"}, interest=frozenset(), submission=1)
    one.changes(0.0)
    fill(folder)
    ask(folder, "retry", {"a": 2})
    told = one.requests(0.0)
    assert [e.request.kind for e in told if isinstance(e, Requested)] == ["retry"]
    assert [e.tasks for e in told if isinstance(e, Joined)] == [frozenset("a")]
    assert [e.source for e in told if isinstance(e, Submitted)] == ["g"]
    assert [type(e) for e in told if isinstance(e, RoundOpened | Ended)] == [RoundOpened, Ended]


def test_somebody_who_looks_takes_nothing_up(folder):
    looker = worker(folder, interest=frozenset("a"))
    submissions.submit(folder / "tasks", "g", [task("b")], "now")
    ask(folder, "add", submission=1)
    ask(folder, "retry", {"b": 2})
    assert [type(e) for e in looker.changes(0.0)] == [Requested, Requested]


def test_what_is_asked_about_a_task_in_the_moment_it_was_added_is_told_after_it(folder):
    one = worker(folder, sources={"f"}, interest=frozenset())
    one.changes(0.0)
    submissions.submit(folder / "tasks", "add 1", [task("a")], "now")
    ask(folder, "add", submission=1)
    cancel = ask(folder, "cancel", {"a": 1})
    kinds = [type(e) for e in one.requests(0.0)]
    assert kinds == [Submitted, Requested, Requested, Joined]
    assert one.changes(0.0) == []
    # one of before too, once the task is of interest
    two = worker(folder, sources={"f"}, interest=frozenset(), submission=1, request=2)
    assert [e.request.number for e in two.changes(0.0)] == [1, 2]
    submissions.submit(folder / "tasks", "f", [task("a")], "later")
    assert two.changes(0.0)[1:] == [Requested(cancel)]


@pytest.mark.parametrize("blocked", ["requests", "tasks", "claims", "ends", "rounds"])
def test_after_a_trouble_nothing_is_passed_over_whatever_could_not_be_read(folder, blocked):
    submissions.submit(folder / "tasks", "f", [task("b")], "before")
    one = worker(folder, sources={"f"}, interest=frozenset("b"), submission=1)
    one.changes(0.0)
    submissions.submit(folder / "tasks", "f", [task("a"), task("b")], "now")
    fill(folder)
    pause = ask(folder, "pause")
    kind = folder / blocked
    kind.rename(folder / "away")
    kind.write_text("a file in its place")
    kind.unlink()
    kind.symlink_to(kind)  # it can't be listed: too many links
    with pytest.raises(OSError, match="symbolic links"):
        one.changes(0.0)
    kind.unlink()
    (folder / "away").rename(kind)
    told = one.changes(0.0)
    assert Requested(pause) in told
    assert [type(e) for e in told] == [Submitted, Requested, RoundOpened, Claimed, Ended]
    assert one.changes(0.0) == []


def test_what_a_file_names_again_comes_with_its_past(folder):
    """Somebody works here who has not heard of it until now."""
    fill(folder)
    submissions.submit(folder / "tasks", "f", [task("b")], "now")
    one = worker(folder, everything=True, interest=frozenset("b"), submission=1)
    assert one.changes(0.0) == []
    submissions.submit(folder / "tasks", "f", [task("a"), task("b")], "later")
    assert [type(e) for e in one.changes(0.0)] == [Submitted, RoundOpened, Claimed, Ended]
