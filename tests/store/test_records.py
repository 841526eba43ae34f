"""Is a record whole or absent, written once, and is any damage to it seen?"""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import resource
import signal
import stat
import threading
from pathlib import Path

import pytest

from parallel_train.store import records

SAMPLES = [
    [{}],
    [{"task": "ab12", "attempt": 3, "outcome": {"exited": 0}, "note": "ünïcode \n\r\u2028 \x00"}],
    [{"source": "f"}, {"a": [1, 2.5, None, True, {"b": "c"}]}, {"nan": float("inf")}],
]


@pytest.mark.parametrize("lines", SAMPLES)
def test_what_was_written_is_read(tmp_path, lines):
    path = str(tmp_path / "r")
    assert records.publish(path, lines)
    assert records.read(path) == lines
    assert records.read_one(path) == lines[0]


@pytest.mark.parametrize("lines", SAMPLES)
def test_any_altered_bit_and_any_other_length_is_seen(lines):
    data = records.encode(lines)
    unseen = []
    for place in range(len(data)):
        for bit in range(8):
            altered = bytearray(data)
            altered[place] ^= 1 << bit
            unseen += [(place, bit)] if is_accepted(bytes(altered)) else []
        unseen += [("cut", place)] if is_accepted(data[:place]) else []
        unseen += [("without", place)] if is_accepted(data[:place] + data[place + 1 :]) else []
    unseen += [tail for tail in (b"\n", b"\0", b" ", data) if is_accepted(data + tail)]
    assert unseen == []


@pytest.mark.parametrize("blank", [b"\t", b"\r", b"  ", b"\n"])
def test_a_blank_that_json_would_forgive_is_seen(blank):
    data = records.encode(SAMPLES[1])
    for place in [n for n, byte in enumerate(data) if byte == 0x20]:
        assert not is_accepted(data[:place] + blank + data[place + 1 :])


def is_accepted(data):
    try:
        records.decode(data)
    except (records.DamagedError, records.NewerVersionError):
        return False
    return True


def test_a_newer_version_is_told_from_damage():
    body, _, seal = records.encode([{"a": 1}])[:-1].rpartition(b"\n")
    newer = {**json.loads(seal), "v": records.VERSION + 1, "more": True}
    with pytest.raises(records.NewerVersionError, match="newer parallel-train"):
        records.decode(body + b"\n" + json.dumps(newer).encode() + b"\n")
    with pytest.raises(records.DamagedError):
        records.decode(body + b"\n" + json.dumps({**newer, "v": 0}).encode() + b"\n")


@pytest.mark.parametrize("data", [b"", b"\n", b"{}", b"[]\n", b"\xff\xfe\n\n", b"null\nnull\n", b"{}\n" * 3])
def test_what_is_no_record_is_damage(data):
    with pytest.raises(records.DamagedError):
        records.decode(data)


def test_a_record_is_never_overwritten(tmp_path):
    path = tmp_path / "r"
    assert records.publish(str(path), [{"n": 1}])
    assert not records.publish(str(path), [{"n": 2}])
    assert records.read_one(str(path)) == {"n": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_a_record_is_private(tmp_path):
    before = os.umask(0)
    try:
        records.publish(str(tmp_path / "r"), [{}])
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "r").stat().st_mode) == 0o600


def test_links_are_not_followed(tmp_path):
    secret = tmp_path / "elsewhere"
    records.publish(str(secret), [{}])
    (tmp_path / "r").symlink_to(secret)
    assert not records.publish(str(tmp_path / "r"), [{"n": 2}])
    with pytest.raises(records.DamagedError, match="no file"):
        records.read(str(tmp_path / "r"))


def race(path, number, gate, results):
    gate.wait()
    results.put((number, records.publish(path, [{"n": number}], durable=number % 2 == 0)))


def test_of_many_processes_exactly_one_wins(tmp_path):
    context = multiprocessing.get_context("fork")
    path, gate, results = str(tmp_path / "r"), context.Barrier(16), context.Queue()
    racers = [context.Process(target=race, args=(path, n, gate, results)) for n in range(16)]
    for racer in racers:
        racer.start()
    told = dict(results.get(timeout=20) for _ in racers)
    for racer in racers:
        racer.join()
    (winner,) = [n for n, won in told.items() if won]
    assert records.read_one(path) == {"n": winner}
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_of_many_threads_exactly_one_wins_each_time(tmp_path):
    for n in range(20):
        path, won, gate = str(tmp_path / f"r.{n}"), [], threading.Barrier(8)

        def try_it(path=path, won=won, gate=gate):
            gate.wait()
            won.append(records.publish(path, [{}], durable=False))

        threads = [threading.Thread(target=try_it) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert won.count(True) == 1


@pytest.mark.parametrize("room", [0, 1, 100, 4000])
def test_a_disk_that_can_not_take_it_holds_no_part_of_it(tmp_path, room):
    """Short writes and an error, as a full disk gives them, by a limit on file sizes."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
            records.publish(str(tmp_path / "r"), [{"text": "x" * 5000}])
        except OSError as error:
            code = 0 if error.errno == errno.EFBIG else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert list(tmp_path.iterdir()) == []
    assert records.publish(str(tmp_path / "r"), [{"text": "x" * 5000}])


def test_a_folder_that_is_gone_is_an_error_and_no_defeat(tmp_path):
    with pytest.raises(FileNotFoundError):
        records.publish(str(tmp_path / "no" / "r"), [{}])


@pytest.mark.parametrize("failure", [errno.EIO, errno.EEXIST, errno.ENOENT])
def test_a_link_that_was_made_counts_whatever_the_answer_said(tmp_path, monkeypatch, failure):
    """Network disks lose answers: what is true is what stands there."""
    link = os.link

    def lies(source, target):
        link(source, target)
        raise OSError(failure, os.strerror(failure))

    monkeypatch.setattr(os, "link", lies)
    assert records.publish(str(tmp_path / "r"), [{"n": 1}])
    assert not records.publish(str(tmp_path / "r"), [{"n": 2}])
    assert records.read_one(str(tmp_path / "r")) == {"n": 1}


def test_a_link_that_was_not_made_is_an_error(tmp_path, monkeypatch):
    def refuses(source, target):
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(os, "link", refuses)
    with pytest.raises(OSError, match="no"):
        records.publish(str(tmp_path / "r"), [{}])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("durable", [True, False])
def test_the_bytes_are_handed_to_the_disk_before_they_have_a_name(tmp_path, monkeypatch, durable):
    """A network disk takes them when the file is closed: another host must not find the name without them."""
    link, still_open = os.link, []

    def looks(source, target):
        still_open.extend(fd for fd in Path("/proc/self/fd").iterdir() if os.path.realpath(fd) == source)
        link(source, target)

    monkeypatch.setattr(os, "link", looks)
    assert records.publish(str(tmp_path / "r"), [{}], durable=durable)
    assert still_open == []


@pytest.mark.parametrize("failure", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_disk_without_hard_links_is_told_as_that(tmp_path, monkeypatch, failure):
    def refuses(source, target):
        raise OSError(failure, os.strerror(failure))

    monkeypatch.setattr(os, "link", refuses)
    with pytest.raises(OSError, match="makes no hard links"):
        records.publish(str(tmp_path / "r"), [{}])
    assert list(tmp_path.iterdir()) == []


def test_exists_means_any_record_of_this_name(tmp_path):
    assert not records.exists(str(tmp_path / "r"))
    (tmp_path / "r").symlink_to("nowhere")
    assert records.exists(str(tmp_path / "r"))


def test_what_is_no_file_is_no_record(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")  # nobody writes: to read it must not wait
    for name in ("folder", "pipe"):
        with pytest.raises(records.DamagedError, match="it is no file"):
            records.read(str(tmp_path / name))
        assert not records.is_whole(str(tmp_path / name))
    assert not records.is_whole(str(tmp_path / "absent"))


def test_a_file_is_overwritten_as_a_whole_and_what_fails_leaves_nothing(tmp_path):
    file = tmp_path / "file"
    for text in (b"one", b"two"):
        records.overwrite(str(file), text)
        assert file.read_bytes() == text
    assert file.stat().st_mode & 0o777 == 0o600
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        records.overwrite(str(tmp_path / "folder"), b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
