"""Does each event give the line that people expect, once?"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from parallel_train.core.apply import apply
from parallel_train.core.events import (
    HungUp,
    Interrupted,
    Launched,
    Looked,
    Refused,
    RoundOpened,
    Submitted,
    Warned,
)
from parallel_train.core.facts import TIME_UP
from parallel_train.report.lines import Narrator
from parallel_train.report.memory import Memory, Moment
from parallel_train.report.summary import closing, opening
from parallel_train.report.tail import last_lines
from parallel_train.report.view import status_line
from tests.support.builders import (
    Lost,
    Signalled,
    claim,
    claimed,
    ended,
    found,
    pool,
    ran,
    round_,
    situation,
    task,
)

A = task("a", number=1, output="out/a")
B = task("b", number=2, needs="a")
C = task("c", number=3, needs="b")
START = Moment(100.0, 1767323045.0)


class Told:
    """A narrator and its situation: events in, lines out."""

    def __init__(self, *tasks, **more):
        self.s = situation(*tasks, **more)
        self.memory = Memory.of(self.s, START)
        self.narrator = Narrator(self.memory, lambda path: ["its last words"], "journal/w.log")
        self.narrator.named.update(self.s.named)

    def __call__(self, *events):
        lines = []
        for event in events:
            apply(self.s, event)
            said = self.narrator.tell(event, self.s, START)
            lines += [said.text, *said.more] if said else []
        return lines


def test_a_launch_in_the_guides_words():
    first, *rest = Told(A)(Launched("a", 1, ("gpu-0",), 0.0), claimed(A))
    assert first.startswith("[GPU 0] Launching task: a (")
    assert rest == ["[GPU 0] Output dir: out/a", "[GPU 0] Log file: logs/gpu0_a.log"]


def test_a_wide_one_and_one_on_a_cpu():
    assert Told(A)(claimed(A, gpus="0 1"))[0].startswith("[GPU 0-1] Launching")
    assert Told(A)(claimed(A, gpus="cpu0"))[0].startswith("[CPU 0] Launching")


def test_completed():
    told = Told(A)
    told(claimed(A, gpus="1"))
    assert told(ended(A, output="there")) == ["✓ [GPU 1] Task completed: a", "  Time: 01:23:45"]


def test_failed_with_its_log_and_what_it_brings_about():
    told = Told(A, B, C)
    told(claimed(A))
    assert told(ended(A, outcome=3)) == [
        "✗ [GPU 0] Task failed: a (exit code 3)",
        "  Time: 01:23:45",
        "  Log: logs/gpu0_a.log",
        "  Last lines of logs/gpu0_a.err:",
        "  | its last words",
        "  Not run: 2 tasks that needed it",
        "  See: parallel-train logs 1",
    ]


def test_failed_with_retries_left():
    told = Told(task("a", retries=2))
    told(claimed(A))
    lines = told(ended(A, outcome=Signalled(9)))
    assert lines[0] == "✗ [GPU 0] Task failed: a (killed by SIGKILL (9))"
    assert any(line.startswith("  Retry 1 of 2 in ") for line in lines)


def test_lost_and_stopped():
    told = Told(A)
    told(claimed(A))
    lines = told(ended(A, outcome=Lost("killed")))
    assert lines[0] == "✗ [GPU 0] Task lost: a (lost: its process died without an end)"
    assert "  It starts again" in lines
    told(claimed(A, 2))
    assert told(ended(A, 2, Signalled(2), stopped="worker")) == [
        "[GPU 0] Task stopped: a (stopped by worker, killed by SIGINT (2)); it costs no attempt"
    ]


def test_what_no_allocation_is_long_enough_for_is_said_at_each_stop_from_the_third_on():
    told, lines = Told(A), []
    for n in range(1, 5):
        told(claimed(A, n))
        lines.append(told(ended(A, n, Signalled(2), stopped=TIME_UP)))
    stop = "[GPU 0] Task stopped: a (its allocation's time was up); it costs no attempt"
    what_to_do = (
        "  Ask for more (--time), or let it write checkpoints and go on from them where PARALLEL_TRAIN_RESUME is set"
    )
    assert lines == [
        [stop],
        [stop],
        *([stop, f"  It does not fit into the time limit: stopped {n} times in a row", what_to_do] for n in (3, 4)),
    ]


def test_what_is_read_twice_is_told_once():
    told = Told(A)
    assert told(claimed(A))
    assert not told(claimed(A))
    assert told(ended(A, output="there"))
    assert not told(ended(A, output="there"), claimed(A), Looked(1.0))


def test_another_workers_attempt():
    other = claim(A)
    other = replace(other, owner=replace(other.owner, worker="box.7.1"))
    assert Told(A)(replace(claimed(A), claim=other)) == ["[GPU 0] Started by worker box.7.1: a"]


def test_a_busy_slot_is_told_once():
    told = Told(A)
    busy = Refused("a", 1, "busy", 5.0, ("gpu-1",), "/project/.parallel-train")
    launch = Launched("a", 1, ("gpu-1",), 4.0)
    assert told(launch, busy) == ["[GPU 1] Held by a task of /project/.parallel-train; trying again each second"]
    assert not told(launch, busy)
    told(claimed(A, slots=("gpu-1",)), ended(A, output="there"))
    assert not told(Refused("a", 2, "behind", 6.0))


def test_trouble_is_told_once_in_a_row():
    told = Told(A)
    trouble = Refused("a", 1, "trouble", 5.0, text="no \x1b[31mprocesses")
    assert told(trouble, trouble) == ["! a can't be started: no processes; trying again"]
    assert told(Warned("disk full"), Warned("disk full"), trouble)[0] == "! disk full"


def test_rounds():
    told = Told(A, events=[ran(A, outcome=1)])
    opened = RoundOpened(round_(A), ours=True)
    assert told(opened) == ["Runs again: a (asked for; the old output is put aside)"]
    kept = round_(A, 3, "failed before", aside=False)
    assert told(RoundOpened(kept)) == ["Runs again: a (failed before, by another worker; its folder is kept)"]


def test_a_trouble_of_one_task_names_it():
    told = Told(A, B)
    given_up = "this attempt was ended by somebody else"
    assert told(Warned(given_up, "a"), Warned(given_up, "b")) == [f"! a: {given_up}", f"! b: {given_up}"]
    assert told(Warned(given_up, "gone")) == [f"! {given_up}"]


def test_hundreds_of_rounds_are_folded():
    tasks = [task(f"t{n}") for n in range(100)]
    lines = Told(*tasks)(*(RoundOpened(round_(t), ours=True) for t in tasks))
    assert len(lines) == 21
    assert lines[-1] == "… more tasks run again"


def test_an_edited_file():
    told = Told(A, B)
    assert not told(Submitted("x.yaml", (A, B)))
    assert told(Submitted("x.yaml", (A, task("d"), task("e")))) == ["x.yaml was edited: 2 tasks added, 1 withdrawn"]


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (1, "Draining: 1 task runs on; Ctrl-C again stops them"),
        (2, "Stopping 1 task (INT, TERM, KILL, 10 s apart); Ctrl-C again kills them"),
        (3, "Killing 1 task"),
        (4, "Leaving without waiting: 1 task dies unseen"),
    ],
)
def test_interrupts(level, expected):
    told = Told(A)
    told(Launched("a", 1, ("gpu-0",), 0.0), claimed(A))
    assert told(Interrupted(level, 130, 1.0)) == [expected]


def test_interrupt_while_nothing_runs_and_a_hang_up():
    assert Told(A)(Interrupted(1, 130, 1.0)) == ["Interrupted: nothing of ours runs; leaving"]
    assert Told(A)(HungUp()) == ["The terminal is gone; going on, lines in journal/w.log"]


def test_hostile_names_stay_on_one_line():
    evil = task("\x1b[2Jx\n[red]y", output="o\x1b]0;t\x07ut\r/a")
    for line in Told(evil)(claimed(evil), ended(evil, outcome=1)):
        assert line.isprintable()
    assert "[red]" in Told(evil)(claimed(evil))[0]


def test_the_status_line():
    told = Told(A, B, task("d"), slots=pool(4, 1))
    told(claimed(A, gpus="0"), claimed(task("d"), gpus="2 3"))
    line = status_line(told.s, told.memory, START.now + 330)
    assert line == "[00:05:30] Still running: 2 tasks on GPUs [0, 2, 3] (0/3 done)"
    told(ended(A, seconds=100.0, output="there"), claimed(B, gpus="cpu0"))
    line = status_line(told.s, told.memory, START.now + 50)
    assert "2 tasks on GPUs [2, 3] and CPUs [0] (1/3 done, ETA 00:00:50)" in line


# ---- the first and the last words ----


def test_the_opening():
    d = task("d", number=4)
    s = situation(A, B, C, d, events=[found(A), claimed(B, needs={"a": 0}), ended(B, outcome=2), claimed(d)])
    assert [said.text for said in opening(s)] == [
        "4 tasks: 1 to do on GPU 0-1, 1 skipped, 1 failed, 1 aborted",
        "Skipped: a (output exists (not verified))  out/a",
        "Not run: b (failed: exit code 2)",
        "Not run: c (needs b, which failed)",
        "[GPU 0] Still running from before: d (attempt 1, since 2026-01-02 03:04:05 UTC)",
    ]


def test_a_long_opening_is_folded():
    tasks = [task(f"t{n}", number=n + 1) for n in range(100)]
    lines = opening(situation(*tasks, events=[found(t) for t in tasks]))
    assert len(lines) == 22
    assert lines[-1].text == "  … and 80 more"


def test_the_closing():
    told = Told(A, B, task("d", number=4), events=[ran(A, outcome=3)])
    told(claimed(task("d")), ended(task("d")))
    said = closing(told.s, told.memory, 1, START.now + 5025)
    assert [line for one in said for line in (one.text, *one.more)] == [
        "3 tasks in 01:23:45: 1 succeeded, 1 failed, 1 aborted",
        "Failed:",
        "  #1 a: exit code 3  logs/gpu0_a.log",
        "Not run:",
        "  #2 b: needs a, which failed",
        "Next:",
        "  parallel-train results        the table of results",
        "  parallel-train logs --failed  what the failed ones said",
        "  parallel-train --failed       run only those again",
    ]


def test_an_interrupted_closing():
    told = Told(A, B)
    said = closing(told.s, told.memory, 130, START.now)
    assert said[1].text == "Not ended: 2 tasks"
    assert "the same command again" in said[-1].more[-1]


# ---- the end of a log ----


def test_the_tail_of_a_log(tmp_path):
    log = tmp_path / "x.log"
    text = "old\n" * 100_000 + "\n".join(f"line {n}" for n in range(20))
    log.write_bytes(text.encode() + b"\n 10%|#\r 50%|##\r100%|###\r\n\x1b[31mError\x1b[0m \xff\n\n")
    assert last_lines(log)[-3:] == ["line 19", "100%|###", "Error \ufffd"]
    assert len(last_lines(log)) == 10


def test_a_log_that_is_none(tmp_path):
    assert last_lines(tmp_path / "absent") == []
    os.mkfifo(tmp_path / "pipe")
    assert last_lines(tmp_path / "pipe") == []
    (tmp_path / "link").symlink_to("/etc/passwd")
    assert last_lines(tmp_path / "link") == []
    (tmp_path / "long").write_text("x" * 1_000_000)
    assert len(last_lines(tmp_path / "long")[0]) == 300
