"""Does a check of a shared disk find what it does, on one host and on two, and leave nothing behind?"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from parallel_train.core.machine import Sharing
from parallel_train.procs import apart
from parallel_train.procs.meeting import PREFIX, meet
from parallel_train.procs.sharing import RACES, check
from parallel_train.store import records
from tests.support.wait import wait_until

ONE, OTHER = {"host": "one", "machine": "1"}, {"host": "other", "machine": "2"}


def test_this_disk_is_fit_and_left_as_it_was(tmp_path):
    found = check(str(tmp_path), 0.0)
    assert (found.trouble, found.has_links, found.races, found.host) == ("", True, RACES, "")
    assert (found.both_won, found.none_won, found.half_read, found.both_created, found.rename) == (0, 0, 0, 0, "")
    assert None not in {found.by_listing, found.by_name, found.by_anew, found.by_content, found.sync}
    assert found.has_flock
    assert list(tmp_path.iterdir()) == []


def told(place, here, results):
    results.put((here["host"], check(place, 60.0, here)))


def test_two_hosts_find_each_other_and_see_the_same(tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    hosts = [context.Process(target=told, args=(str(tmp_path), here, results)) for here in (ONE, OTHER)]
    for host in hosts:
        host.start()
    found = dict(results.get(timeout=60) for _ in hosts)
    for host in hosts:
        host.join()
    assert {name: each.host for name, each in found.items()} == {"one": "other", "other": "one"}
    for each in found.values():
        assert (each.trouble, each.races, each.both_won, each.none_won) == ("", RACES, 0, 0)
        assert each.has_flock
        assert each.sync is not None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("vanishes", ["hello is read", "guest is asked"])
def test_a_host_that_leaves_in_that_moment_is_nobody(tmp_path, monkeypatch, vanishes):
    """It gave up waiting, and took its folder with it, just when a guest came."""
    host, own = (tmp_path / f"{PREFIX}{name}" for name in "ab")
    for folder in (host, own):
        folder.mkdir()
    records.publish(str(host / "hello"), [OTHER])
    publish = records.publish

    def leaves(path, lines):
        is_guest = Path(path).parent == host
        if is_guest and vanishes == "hello is read":
            shutil.rmtree(host)
        won = publish(path, lines)
        if is_guest and vanishes == "guest is asked":
            shutil.rmtree(host)
        return won

    monkeypatch.setattr(records, "publish", leaves)
    monkeypatch.setattr("parallel_train.procs.meeting._LISTEN_AGAIN", 0.0)
    assert meet(str(tmp_path), str(own), ONE, 0.3) is None
    assert not host.exists()


def test_a_disk_whose_links_replace_is_found_out(tmp_path, monkeypatch):
    def replaces(source, target):
        shutil.copy(source, f"{source}.copy")
        Path(f"{source}.copy").replace(target)

    monkeypatch.setattr(os, "link", replaces)
    found = check(str(tmp_path), 0.0)
    assert found.both_won == RACES
    assert list(tmp_path.iterdir()) == []


def test_a_link_that_was_made_and_called_an_error_counts_as_made(tmp_path, monkeypatch):
    link = os.link

    def lies(source, target):
        link(source, target)
        raise FileExistsError

    monkeypatch.setattr(os, "link", lies)
    found = check(str(tmp_path), 0.0)
    assert (found.both_won, found.none_won, found.wrong_answers) == (0, 0, RACES)


def test_one_without_links_is_told(tmp_path, monkeypatch):
    def refuses(source, target):
        raise PermissionError(1, "no")

    monkeypatch.setattr(os, "link", refuses)
    assert check(str(tmp_path), 0.0) == Sharing(has_links=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["/proc", "/nowhere"])
def test_where_nothing_can_be_made_it_says_so(place):
    assert check(place, 0.0).trouble.startswith("nothing can be made there: ")


def test_a_question_that_hangs_is_left_at_its_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(apart, "_PATIENCE", 0.2)

    def hangs():
        (tmp_path / "pid").write_text(str(os.getpid()))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
        return {}

    with pytest.raises(TimeoutError, match="did not answer within"):
        apart.ask(hangs, 2.0)
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_one_that_is_ended_clears_away_what_it_made(tmp_path):
    pid = os.fork()
    if pid == 0:
        check(str(tmp_path), 600.0, ONE)
        os._exit(0)
    made = wait_until(lambda: list(tmp_path.glob(f"{PREFIX}*/hello")), "it looks for another one")
    waits = int(children(pid)[0])
    os.kill(waits, signal.SIGTERM)
    assert os.waitpid(pid, 0)[1] == 0
    assert made
    assert list(tmp_path.iterdir()) == []


def test_what_is_ended_is_told_once_and_has_time_to_clear_away(tmp_path):
    def clears_away():
        try:
            time.sleep(600)
        finally:
            for number in range(100):
                (tmp_path / str(number)).touch()
                time.sleep(0.002)
        return {}

    with pytest.raises(TimeoutError):
        apart.ask(clears_away, 0.5)
    assert len(list(tmp_path.iterdir())) == 100


def children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_what_was_asked_answers_or_raises():
    assert apart.ask(lambda: {"a": "x" * 300_000}, 30.0) == {"a": "x" * 300_000}

    def fails():
        raise OSError(5, "no")

    with pytest.raises(OSError, match="no"):
        apart.ask(fails, 30.0)
    with pytest.raises(OSError, match="broke off"):
        apart.ask(lambda: {"a": 1 // 0}, 30.0)
