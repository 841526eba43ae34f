"""Are the last lines of a log what a person expects, however large it is and whatever was written to it?"""

import os
import tracemalloc

import pytest

from parallel_train.report import tail
from parallel_train.report.tail import CUT, LONGEST_LINE, Tail, last_lines


def shown(path, lines):
    found = Tail.open(path, lines)
    try:
        return [*found.lines(), *found.flush()]
    finally:
        found.close()


@pytest.fixture
def log(tmp_path):
    return tmp_path / "run.log"


@pytest.mark.parametrize(
    ("content", "lines", "expected"),
    [
        (b"", 3, []),
        (b"a", 3, [b"a"]),
        (b"a\nb\nc\nd\n", 2, [b"c", b"d"]),
        (b"a\nb\nc\nd", 2, [b"c", b"d"]),
        (b"a\nb\n\n\n", 2, [b"", b""]),
        (b"a\nb\n", 2, [b"a", b"b"]),
        (b"a\nb\n", 9, [b"a", b"b"]),
        (b"a\nb\nc\n", 0, [b"a", b"b", b"c"]),
        (b"a\r\nb\r\n", 1, [b"b"]),
        (b"0%\r50%\r100%\ndone\n", 2, [b"100%", b"done"]),
        (b"0%\r50%\r", 1, [b"50%"]),
        (b"\xff\x00\n\xc3", 2, [b"\xff\x00", b"\xc3"]),
    ],
)
@pytest.mark.parametrize("block", [1, 2, 3, 2**18])
def test_the_last_lines(log, monkeypatch, *, content, lines, expected, block):
    monkeypatch.setattr(tail, "_BLOCK", block)
    log.write_bytes(content)
    assert shown(log, lines) == expected


def test_what_is_written_later_follows_and_an_open_line_waits(log):
    log.write_bytes(b"one\ntwo")
    followed = Tail.open(log, 5)
    assert list(followed.lines()) == [b"one"]
    assert followed.rest == b"two"
    with log.open("ab") as file:
        file.write(b" and a half\n10%\r")
    assert list(followed.lines()) == [b"two and a half"]
    with log.open("ab") as file:
        file.write(b"20%\r")
    assert list(followed.lines()) == []
    with log.open("ab") as file:
        file.write(b"\n30%\r40%")
    assert list(followed.lines()) == [b"20%"]
    assert list(followed.flush()) == [b"40%"]
    assert list(followed.flush()) == []
    followed.close()


@pytest.mark.parametrize("lines", [0, 20])
def test_a_huge_line_is_cut_and_takes_little_memory(log, lines):
    with log.open("wb") as file:
        file.truncate(200 * 2**20)
        file.seek(0, os.SEEK_END)
        file.write(b"the end")
    tracemalloc.start()
    try:
        (line,) = shown(log, lines)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert line.startswith(CUT)
    assert line.endswith(b"\0the end")
    assert len(line) == LONGEST_LINE + len(CUT)
    assert peak < 4 * 2**20


def test_of_ten_gigabytes_only_the_end_is_read(log):
    with log.open("wb") as file:
        file.truncate(10 * 2**30)  # holes: they take no room
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast but one\nlast\n")
    found = Tail.open(log, 2)
    assert found.file.tell() == 10 * 2**30 + 1
    assert list(found.lines()) == [b"last but one", b"last"]
    found.close()
    assert last_lines(log, 2) == ["last but one", "last"]


def test_a_file_that_was_emptied_is_read_from_its_beginning(log):
    log.write_bytes(b"one\ntwo\nthr")
    followed = Tail.open(log, 5)
    assert list(followed.lines()) == [b"one", b"two"]
    log.write_bytes(b"new\n")
    assert list(followed.lines()) == [b"new"]
    followed.close()


@pytest.mark.parametrize("becomes", ["deleted", "replaced"])
def test_a_file_that_lost_its_name_is_read_on_as_its_task_writes_on(log, becomes):
    with log.open("ab", buffering=0) as task:
        task.write(b"one\n")
        followed = Tail.open(log, 5)
        assert list(followed.lines()) == [b"one"]
        log.unlink()
        if becomes == "replaced":
            log.write_bytes(b"somebody else's\n")
        task.write(b"two\n")
        assert list(followed.lines()) == [b"two"]
        followed.close()


def test_the_bytes_as_they_are(log):
    content = b"a\r\nb\xff\x1b[31m\r50%"
    log.write_bytes(content)
    found = Tail.open(log, 0)
    assert b"".join(found.blocks()) == content
    assert list(found.blocks()) == []
    found.close()


def test_an_endless_progress_bar_is_its_last_state(log):
    log.write_bytes(b"start\n" + b"".join(b"step %d\r" % n for n in range(100_000)))
    assert shown(log, 2) == [b"start", b"step 99999"]


def test_a_pipe_or_a_link_in_place_of_a_log_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc/hostname")
    for name in ("pipe", "link", "gone", "."):
        with pytest.raises(OSError, match=r"regular|symbolic|No such"):
            Tail.open(tmp_path / name, 5)
