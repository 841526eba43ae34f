"""Does the table fit terminals of every size, and does it keep what matters?"""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from parallel_train.core.apply import apply
from parallel_train.core.events import Interrupted
from parallel_train.core.slots import Pool
from parallel_train.report.drawn import clip
from parallel_train.report.live import INTERVAL, Screen, frame
from parallel_train.report.memory import Memory, Moment, Said
from parallel_train.report.view import view
from tests.support.builders import claimed, cpu, ended, gpu, pool, situation, task

START = Moment(100.0, 1767323045.0)


def drawn(shown, width, height=24):
    console = Console(file=io.StringIO(), width=width, height=height, markup=False, highlight=False)
    console.print(frame(shown, width, height))
    return console.file.getvalue().splitlines()


def running(tasks, slots, number, **more):
    every = [task(f"cal_{'sym' if n % 2 else 'asym'}_0.{n}_seed{n}", number=n + 1, **more) for n in range(tasks)]
    s = situation(*every, slots=pool(slots), events=[claimed(every[n], gpus=str(n)) for n in range(number)])
    return s, Memory.of(s, START)


@pytest.mark.parametrize("width", [20, 60, 100, 200])
@pytest.mark.parametrize("height", [10, 24, 60])
@pytest.mark.parametrize("load", [(3, 2, 2), (12, 4, 4), (200, 64, 64), (200, 64, 3)])
def test_it_fits(width, height, load):
    tasks, *_ = load
    s, memory = running(*load)
    memory.recent.extend(Said(f"happening {n} " + "x" * 200) for n in range(6))
    lines = drawn(view(s, memory, START.now + 5), width, height)
    assert max(map(cell_len, lines)) <= width
    assert len(lines) <= height
    assert any(f"0/{tasks} done" in line for line in lines) or width < 60


def test_a_wide_terminal_shows_the_logs():
    s, memory = running(3, 2, 2)
    shown = view(s, memory, START.now + 330)
    assert not any("logs/" in line for line in drawn(shown, 60))
    row = next(line for line in drawn(shown, 120) if "GPU 1" in line)
    assert row.split() == ["GPU", "1", "cal_sym_0.1_seed1", "00:05:30", "logs/gpu1_cal_sym_0.1_seed1.log"]


def test_idle_slots_are_folded():
    s, memory = running(200, 64, 3)
    assert "idle: GPU 3-63" in drawn(view(s, memory, START.now), 60)


def test_what_does_not_fit_is_counted():
    s, memory = running(200, 64, 64)
    lines = drawn(view(s, memory, START.now), 60, 24)
    shown = sum(line.startswith("GPU") for line in lines)
    assert f"… and {64 - shown} more run" in lines


def test_a_wide_attempt_is_one_row_and_cpus_are_named():
    a, b = task("a", gpus=2), task("b", gpus=0)
    slots = Pool.of([gpu("0"), gpu("1"), gpu("2")], [cpu("0"), cpu("1")])
    s = situation(a, b, slots=slots, events=[claimed(a, gpus="0 1"), claimed(b, gpus="cpu0", slots=("cpu-0",))])
    shown = view(s, Memory.of(s, START), START.now)
    assert [(row.slot, row.task) for row in shown.rows] == [("GPU 0-1", "a"), ("CPU 0", "b")]
    assert shown.idle == "GPU 2"


def test_one_that_starts_and_one_elsewhere():
    from parallel_train.core.events import Launched  # noqa: PLC0415

    a, b = task("a"), task("b")
    s = situation(a, b, events=[claimed(b, gpus="7")])
    apply(s, Launched("a", 1, ("gpu-1",), 0.0))
    shown = view(s, Memory.of(s, START), START.now)
    assert [(row.slot, row.elapsed) for row in shown.rows] == [("GPU 1", None), ("GPU 7", 0.0)]
    assert "starting" in drawn(shown, 80)[1]


def test_counts_progress_and_notice():
    a, b = task("a"), task("b")
    s = situation(a, b, events=[claimed(a), ended(a), claimed(b), Interrupted(1, 130, 0.0)])
    shown = view(s, Memory.of(s, START), START.now)
    assert (shown.done, shown.total) == (1, 2)
    assert shown.counts == (("running", 1), ("succeeded", 1))
    assert shown.notice == "Draining: 1 task left; Ctrl-C again stops them"


def test_hostile_names_are_neutral():
    a = task("\x1b[2J[red]evil[/red]\n漢字")
    s = situation(a, events=[claimed(a, log="logs/\x1b[31mx.log")])
    text = "\n".join(drawn(view(s, Memory.of(s, START), START.now), 120))
    assert "\x1b" not in text
    assert "[red]evil[/red] 漢字" in text


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [("abc", 3, "abc"), ("abcdefgh", 5, "ab…gh"), ("漢字漢字", 5, "漢…字"), ("abc", 1, "…"), ("", 0, "")],
)
def test_clip(text, width, expected):
    assert clip(text, width) == expected


class Terminal(Console):
    """A console whose size a test may change."""

    shape = (80, 24)

    @property
    def size(self):
        from rich.console import ConsoleDimensions  # noqa: PLC0415

        return ConsoleDimensions(*self.shape)


def test_drawings_are_bounded_and_follow_the_size():
    console = Terminal(file=io.StringIO(), force_terminal=True, _environ={"TERM": "xterm"})
    screen = Screen(console)
    s, memory = running(3, 2, 2)
    assert screen.due_in(0.0) == 0.0
    screen.draw(view(s, memory, START.now), 0.0)
    assert screen.due_in(0.1) == pytest.approx(INTERVAL - 0.1)
    console.shape = (60, 24)
    assert screen.due_in(0.1) == 0.0
    before = len(console.file.getvalue())
    screen.draw(view(s, memory, START.now), 0.1)
    assert "\x1b[2J" in console.file.getvalue()[before:]
    screen.say(Said("lasting [b]words[/b]", more=("more",)))
    screen.stop()
    assert "lasting [b]words[/b]" in console.file.getvalue()
    assert "\x1b[?25h" in console.file.getvalue()[before:]  # the cursor is shown again
