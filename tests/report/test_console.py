"""Does the reporter pick the right face, and does it survive whatever happens to the terminal?"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import select
import stat
from dataclasses import replace

import pytest

from parallel_train.core.apply import apply
from parallel_train.core.events import Claimed, HungUp, Interrupted, Launched, Warned
from parallel_train.core.situation import Wishes
from parallel_train.report.console import Setup, make_reporter, noted_fields
from parallel_train.report.outlet import Outlet
from parallel_train.report.table import ResultRow, results_sheet
from parallel_train.report.view import view
from parallel_train.store.journal import Journal
from tests.support.builders import WORKER, claim, claimed, ended, situation, task

A = task("a", number=1, output="out/a")
B = task("b", number=2)


class Clock:
    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def setup(tmp_path):
    return Setup(tmp_path, tmp_path / "w.log", Clock(), wall=lambda: 1767323045.0)


@pytest.fixture
def terminal(monkeypatch):
    """A pseudo-terminal: (what reads it, a text stream that writes to it)."""
    monkeypatch.setenv("TERM", "xterm-256color")
    reader, writer = pty.openpty()
    stream = os.fdopen(writer, "w", encoding="utf-8")
    yield reader, stream
    for close in (stream.close, lambda: os.close(reader)):
        with contextlib.suppress(OSError):
            close()


def read(reader):
    """All that a terminal was sent until now."""
    text = b""
    while select.select([reader], [], [], 0.1)[0]:
        text += os.read(reader, 65536)
    return text.decode()


def run(reporter, s, *events):
    reporter.begin(s)
    for event in events:
        apply(s, event)
        reporter.show(event, s)


def test_lines_where_there_is_no_terminal(setup):
    s, out = situation(A, B), io.StringIO()
    reporter = make_reporter(s, setup, out)
    run(reporter, s, claimed(A), ended(A, output="there"))
    reporter.close(s, 0)
    text = out.getvalue()
    assert text.startswith("2 tasks: 2 to do on GPU 0-1\n[GPU 0] Launching task: a (")
    assert "✓ [GPU 0] Task completed: a\n  Time: 01:23:45\n" in text
    assert "\x1b" not in text
    assert not setup.lines.exists()


def test_a_worker_in_an_allocation_tells_of_its_own_attempts_alone(setup):
    s, out = situation(A, B, wishes=Wishes(worker=WORKER, selection=frozenset("ab"), is_lent=True)), io.StringIO()
    reporter = make_reporter(s, setup, out)
    elsewhere = replace(claim(B), owner=replace(claim(B).owner, worker="pt1.100.1"))
    run(reporter, s, claimed(A), Claimed(elsewhere, is_here=False), ended(B), ended(A, output="there"))
    text = out.getvalue()
    assert "Task completed: a" in text
    assert "b" not in text.replace("tasks: 2 to do", "").split()


def test_the_status_line_comes_each_interval(setup):
    s, out = situation(A), io.StringIO()
    reporter = make_reporter(s, setup, out)
    run(reporter, s, claimed(A))
    assert reporter.tick(s, 105.0) == pytest.approx(5.0)
    assert reporter.tick(s, 110.0) == pytest.approx(10.0)
    reporter.tick(s, 115.0)
    assert out.getvalue().count("Still running") == 1


def test_no_status_line_where_none_is_wanted(tmp_path):
    s, out = situation(A), io.StringIO()
    reporter = make_reporter(s, Setup(tmp_path, tmp_path / "w.log", Clock(), check_interval=0), out)
    run(reporter, s)
    assert reporter.tick(s, 1e9) == float("inf")
    assert "Still" not in out.getvalue()


def test_ctrl_c_is_said_once(setup, terminal):
    """By the table, as long as it holds; elsewhere by a line."""
    interrupted = (Launched("a", 1, ("gpu-0",), 0.0), claimed(A), Interrupted(1, 130, 0.0))
    s, lines = situation(A), io.StringIO()
    run(make_reporter(s, setup, lines), s, *interrupted)
    assert lines.getvalue().count("Draining: 1 task") == 1
    s = situation(A)
    reporter = make_reporter(s, setup, terminal[1])
    run(reporter, s, *interrupted)
    shown = view(s, reporter.memory, 101.0)
    assert shown.notice == "Draining: 1 task left; Ctrl-C again stops them"
    assert shown.recent == ()


def test_signs_where_the_encoding_has_none(setup):
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    s = situation(task("ü"))
    reporter = make_reporter(s, setup, out)
    run(reporter, s, claimed(task("ü")), ended(task("ü")))
    assert b"OK [GPU 0] Task completed: \\xfc" in raw.getvalue()


class Broken(io.StringIO):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error


@pytest.mark.parametrize(
    "error",
    [BrokenPipeError(), OSError(5, "EIO"), OSError(9, "EBADF"), ValueError("closed file"), OSError(28, "ENOSPC")],
)
def test_a_stream_that_breaks_is_left_for_the_file(setup, error):
    s = situation(A)
    reporter = make_reporter(s, setup, Broken(error))
    run(reporter, s, claimed(A), ended(A, output="there"))
    reporter.close(s, 0)
    text = setup.lines.read_text()
    assert text.startswith("1 task: 1 to do")
    assert "Task completed: a" in text
    assert stat.S_IMODE(setup.lines.stat().st_mode) == 0o600


def test_no_stream_and_no_file_is_no_reason_to_stop(tmp_path):
    s = situation(A)
    reporter = make_reporter(s, Setup(tmp_path, tmp_path / "no" / "folder", Clock()), None)
    run(reporter, s, claimed(A), Warned("x"))
    reporter.tick(s, 1e6)
    reporter.close(s, 0)


def test_a_terminal_gets_a_table(setup, terminal):
    reader, stream = terminal
    s = situation(A, B)
    reporter = make_reporter(s, setup, stream)
    run(reporter, s, claimed(A))
    assert reporter.tick(s, 100.0) <= 1.0
    text = read(reader)
    assert "GPU 0" in text
    assert "0/2 done" in text
    apply(s, ended(A, outcome=3))
    reporter.show(ended(A, outcome=3), s)
    reporter.close(s, 1)
    text = read(reader)
    assert "✗ [GPU 0] Task failed: a (exit code 3)" in text
    assert "parallel-train logs --failed" in text


def test_a_dumb_terminal_gets_lines(setup, terminal, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert make_reporter(situation(A), setup, terminal[1]).screen is None


def test_no_color_is_honoured(setup, terminal, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    reader, stream = terminal
    s = situation(A)
    reporter = make_reporter(s, setup, stream)
    run(reporter, s, Warned("careful"))
    reporter.tick(s, 100.0)
    reporter.stop()
    assert "\x1b[31m" not in read(reader)


def test_a_terminal_that_vanishes_is_left_for_the_file(setup, terminal):
    reader, stream = terminal
    s = situation(A)
    reporter = make_reporter(s, setup, stream)
    run(reporter, s, claimed(A))
    reporter.tick(s, 100.0)
    os.close(reader)
    reporter.tick(s, 101.0)
    run(reporter, s, ended(A, output="there"))
    reporter.close(s, 0)
    assert reporter.screen is None
    assert "Task completed: a" in setup.lines.read_text()
    assert "\x1b" not in setup.lines.read_text()


def test_a_hang_up_switches_at_once(setup, terminal):
    s = situation(A)
    reporter = make_reporter(s, setup, terminal[1])
    run(reporter, s, HungUp(), claimed(A))
    assert setup.lines.read_text().splitlines()[0] == f"The terminal is gone; going on, lines in {setup.lines}"
    assert "Launching task: a" in setup.lines.read_text()


def test_a_hang_up_leaves_a_users_file_alone(setup):
    s, out = situation(A), io.StringIO()
    run(make_reporter(s, setup, out), s, HungUp(), claimed(A))
    assert "The terminal is gone; going on\n[GPU 0] Launching" in out.getvalue()
    assert not setup.lines.exists()


def test_the_results_come_before_the_summary(tmp_path):
    sheet = results_sheet([ResultRow(1, "a", "succeeded", metrics={"acc": 0.5}, is_best=True)], [])
    s, out = situation(A), io.StringIO()
    reporter = make_reporter(s, Setup(tmp_path, tmp_path / "l", Clock(), results=lambda: sheet), out)
    reporter.close(s, 0)
    assert out.getvalue().splitlines()[1].split("\t") == ["*", "1", "a", "0.5", "succeeded"]
    assert out.getvalue().splitlines()[2].startswith("1 task in ")


def test_the_journal(tmp_path):
    journal = Journal(tmp_path / "w.jsonl")
    s = situation(task("a", env={"HF_TOKEN": "hush"}, params={"p": "hush"}))
    setup = Setup(tmp_path, tmp_path / "l", Clock(), record=journal.write)
    run(make_reporter(s, setup, io.StringIO()), s, claimed(A), ended(A, outcome=3), Interrupted(1, 130, 1.0))
    journal.close()
    text = journal.path.read_text()
    claimed_, ended_, interrupted = map(json.loads, text.splitlines())
    assert (claimed_["event"], claimed_["task"], claimed_["attempt"]) == ("claimed", "a", 1)
    assert (ended_["outcome"], ended_["verdict"]) == ("exit code 3", "failed")
    assert interrupted["level"] == 1
    assert "hush" not in text
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600


def test_a_journal_that_cant_be_written_is_given_up(tmp_path):
    journal = Journal(tmp_path / "no" / "folder.jsonl")
    journal.write("a")
    (tmp_path / "no").mkdir()
    journal.write("b")
    assert not journal.path.exists()


def test_an_end_notes_no_command():
    assert set(noted_fields(ended(A))) == {"task", "attempt", "outcome", "verdict", "seconds"}


def test_an_outlet_survives_a_closed_pipe(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    outlet = Outlet(stream, tmp_path / "l")
    outlet.say("one")
    outlet.say("two")
    stream.close()  # would raise, were anything still held back
    assert (tmp_path / "l").read_text() == "one\ntwo\n"
