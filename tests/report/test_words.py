"""Do durations, slots, endings and reasons read well, and do hostile texts come out neutral?"""

from __future__ import annotations

import pytest

from parallel_train.core.explain import reason
from parallel_train.core.facts import TIME_UP, End
from parallel_train.core.situation import Wishes
from parallel_train.report import words
from tests.support.builders import (
    Exited,
    Lost,
    NotStarted,
    Signalled,
    TimedOut,
    claimed,
    ended,
    found,
    ran,
    situation,
    task,
)

A = task("a", output="out/a")
B = task("b", needs="a")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain ünïcode 漢字", "plain ünïcode 漢字"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]52;c;aGk=\x1b\\x", "x"),
        ("\x9b31mred", "31mred"),
        ("a\nb\tc\r\nd", "a b c d"),
        ("a\x00\x07\x08b", "ab"),
        ("a\u202eb\u2066c", "abc"),
        ("[red]markup[/red]", "[red]markup[/red]"),
        ("lone \x1b", "lone "),
    ],
)
def test_clean(text, expected):
    assert words.clean(text) == expected


def test_a_remark_is_one_line_that_somebody_may_read():
    assert words.remark("the record \x1b[2J\r\nx is damaged") == "note: the record  x is damaged"
    assert len(words.remark("x" * 200_000)) < 5000


@pytest.mark.parametrize(("seconds", "expected"), [(0, "00:00:00"), (5025.9, "01:23:45"), (360000, "100:00:00")])
def test_clock(seconds, expected):
    assert words.clock(seconds) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.25, "0.2s"), (45, "45s"), (60, "1m"), (3600, "1h"), (5400, "1h 30m"), (3605, "1h"), (183600, "2d 3h")],
)
def test_span(seconds, expected):
    assert words.span(seconds) == expected


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        (("0",), "GPU 0"),
        (("0", "1"), "GPU 0-1"),
        (("2", "0"), "GPU 0,2"),
        (("0", "1", "2", "5", "GPU-ab"), "GPU 0-2,5,GPU-ab"),
        (("cpu0",), "CPU 0"),
        ((), "no GPU"),
    ],
)
def test_slot(gpus, expected):
    assert words.slot(gpus) == expected


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (End("a", 1, Exited(3)), "exit code 3"),
        (End("a", 1, Signalled(9)), "killed by SIGKILL (9)"),
        (End("a", 1, Signalled(200)), "killed by signal 200"),
        (End("a", 1, TimedOut(), stopped="timeout"), "timed out after 1h"),
        (End("a", 1, Exited(0), output="missing"), "output missing, though exit code 0"),
        (End("a", 1, Exited(0), output="not done"), "done_when does not hold, though exit code 0"),
        (End("a", 1, NotStarted("its worker left")), "not started: its worker left"),
        (End("a", 1, Lost("killed")), "lost: its process died without an end"),
        (End("a", 1, Lost("rebooted")), "lost: its machine was restarted"),
        (End("a", 1, Exited(127), note="no such file: x.py\x1b[0m"), "exit code 127: no such file: x.py"),
        (End("a", 1, Signalled(2), stopped="worker"), "stopped by worker, killed by SIGINT (2)"),
    ],
)  # fmt: skip
def test_end(end, expected):
    assert words.end(end, task("a", timeout=3600.0)) == expected


OLD = [claimed(A, identity="old"), ended(A)]
TOO_LONG = (
    "it does not fit into the time limit: stopped 3 times in a row; ask for more (--time), or let it write checkpoints"
    " and go on from them where PARALLEL_TRAIN_RESUME is set"
)
TIMES_UP = [e for n in range(1, 4) for e in (claimed(A, n), ended(A, n, Signalled(2), stopped=TIME_UP))]
LOST = [e for n in range(1, 6) for e in (claimed(A, n), ended(A, n, Lost("killed")))]


@pytest.mark.parametrize(
    ("name", "events", "expected"),
    [
        ("a", [], "first run"),
        ("a", [found(A)], "output exists (not verified)"),
        ("a", [ran(A, output="there")], "done: attempt 1, 2026-01-02 04:27 UTC, took 01:23:45"),
        ("a", [OLD], "changed since its last attempt"),
        ("a", [ran(A, outcome=3)], "failed: exit code 3"),
        ("a", [LOST[:2]], "attempt 1 did not count (lost: its process died without an end, 1 of 5)"),
        ("a", [TIMES_UP[:4]], "attempt 2 did not count (its allocation's time was up)"),
        (
            "a",
            [TIMES_UP],
            "attempt 3 did not count (its allocation's time was up); " + TOO_LONG,
        ),
        ("a", [LOST], "failed: lost 5 times"),
        ("a", [claimed(A)], "runs now: attempt 1 on GPU 0 of host, by worker host.100.1"),
        ("b", [], "waits for a"),
        ("b", [ran(A, outcome=3)], "needs a, which failed"),
        ("a", [ran(A, output="there"), found(A, "missing")], "its output is gone: out/a"),
    ],
)
def test_reason(name, events, expected):
    s = situation(A, B, events=events)
    assert words.reason(reason(s, name), s) == expected


def test_reasons_that_hang_on_the_time_and_the_wishes():
    c = task("c", retries=2)
    s = situation(c, events=[ran(c, outcome=3)])
    until = reason(s, "c").why.until
    assert words.reason(reason(s, "c"), s, until - 12) == "exit code 3; retry 1 of 2 in 12s"
    assert words.reason(reason(s, "c"), s) == "exit code 3; retry 1 of 2"
    s = situation(A, events=[ran(A, outcome=3)], wishes=Wishes(repeat=frozenset("a")))
    assert words.reason(reason(s, "a"), s) == "failed before: exit code 3"
    s = situation(A, wishes=Wishes(asked=(("a", 2),)))
    assert words.reason(reason(s, "a"), s) == "asked for again"
