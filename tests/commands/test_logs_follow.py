"""Does `logs -f` show all that tasks write, attempt after attempt, and stop when no other can come?"""

import io
import os
import re
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from parallel_train.commands.logs import logs
from parallel_train.core.facts import Exited, Lost
from parallel_train.errors import UsageError
from parallel_train.procs.process import start_time
from parallel_train.procs.runner import is_alive
from parallel_train.project.reading import this_owner
from parallel_train.store.queue import DiskQueue
from tests.commands.history import History, task
from tests.support.wait import wait_until


@pytest.fixture
def history(tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("NO_COLOR", "1")
    return History(tmp_path)


@pytest.fixture
def worker(history):
    """Somebody works here: this process."""
    disk = DiskQueue(history.queue, this_owner("worker"), is_alive)
    disk.join()
    yield disk
    disk.leave()


class Followed:
    """`logs -f` in a thread, what it wrote, and what it said beside that."""

    def __init__(self, history, capsys, *tasks, out=None, **options):
        self.capsys, self.said = capsys, ""
        self.out = out or io.StringIO()
        options = {"failed": False, "err": False, "raw": False, "lines": 20, **options}
        self.thread = threading.Thread(
            target=logs, args=(history.path, tasks), kwargs={"follow": True, "out": self.out, **options}
        )

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.thread.join(timeout=20)
        assert not self.thread.is_alive()
        self.read()

    @property
    def text(self):
        return self.out.getvalue()

    def read(self):
        self.said += self.capsys.readouterr().err
        return self.said

    def until(self, text):
        wait_until(lambda: text in self.text, f"{text!r} in the logs")

    def until_said(self, text):
        wait_until(lambda: text in self.read(), f"{text!r} said")


def succeed(history, one, attempt=1):
    history.write(f"{one.output}/made", b"x")
    history.end(one, attempt)


def append(history, path, text):
    with (history.path / path).open("ab") as file:
        file.write(text)


# ---- one attempt ----


def test_following_ends_with_the_attempt_and_shows_all_it_wrote(history, capsys):
    (a,) = history.submit(task("a"))
    claim = history.start(a, log=b"old 1\nold 2\n")
    with Followed(history, capsys, "a") as followed:
        followed.until("old 2\n")
        append(history, claim.log, b"new 1\nhalf")
        followed.until("new 1\n")
        append(history, claim.log, b" a line")
        append(history, claim.err, b"Traceback\n")
        history.end(a, outcome=Exited(1))
    assert followed.text == (
        "old 1\nold 2\nnew 1\nhalf a line\n\n==> a (attempt 1, exit code 1): logs/gpu0_a_1.err <==\nTraceback\n"
    )
    assert followed.said == "a: attempt 1 ended: exit code 1\n"


def test_what_has_ended_is_shown_once(history, worker, capsys):
    (a,) = history.submit(task("a"))
    history.ran(a, outcome=Exited(1), log=b"x\n")
    with Followed(history, capsys, "a") as followed:
        pass
    assert (followed.text, followed.said) == ("x\n", "")


def test_an_empty_log_says_so_and_is_followed(history, capsys):
    (a,) = history.submit(task("a"))
    claim = history.start(a)
    with Followed(history, capsys, "a") as followed:
        followed.until_said("a: attempt 1 has written nothing yet")
        append(history, claim.log, b"first\n")
        succeed(history, a)
    assert followed.text == "first\n"


def test_an_attempt_after_one_that_wrote_nothing_has_its_header(history, worker, capsys):
    (a,) = history.submit(task("a"))
    history.start(a)
    with Followed(history, capsys, "a") as followed:
        followed.until_said("written nothing yet")
        history.end(a, outcome=Lost("killed"))
        history.start(a, 2, log=b"second\n")
        followed.until("second\n")
        succeed(history, a, 2)
    assert followed.text == "==> a (attempt 2, running): logs/gpu0_a_2.log <==\nsecond\n"


def test_following_ends_where_the_owner_dies_without_an_end(history, capsys):
    (a,) = history.submit(task("a"))
    with subprocess.Popen(["sleep", "60"]) as process:
        owner = replace(this_owner("worker"), pid=process.pid, start=start_time(process.pid))
        history.start(a, log=b"last words\n", owner=owner)
        with Followed(history, capsys, "a") as followed:
            followed.until("last words\n")
            process.kill()
            process.wait()
    assert followed.text == "last words\n"
    assert followed.said == (
        "a: attempt 1 ended: lost: its process died without an end; it runs again once a scheduler works here\n"
    )


@pytest.mark.parametrize("becomes", ["deleted", "replaced", "emptied"])
def test_a_log_that_is_taken_away_is_followed_as_its_task_writes_on(history, capsys, becomes):
    (a,) = history.submit(task("a"))
    claim = history.start(a, log=b"one\n" * 9)
    path = history.path / claim.log
    with path.open("ab", buffering=0) as writer, Followed(history, capsys, "a") as followed:
        followed.until("one\n" * 9)
        if becomes == "emptied":
            os.truncate(path, 0)
        else:
            path.unlink()
        if becomes == "replaced":
            path.write_bytes(b"somebody else's\n")
        writer.write(b"two\n")
        followed.until("two\n")
        succeed(history, a)
    assert followed.text == "one\n" * 9 + "two\n"


def test_raw_bytes_come_as_they_are_written(history, capsys):
    (a,) = history.submit(task("a"))
    claim = history.start(a, log=b"\x1b[2J10%\r")
    data = io.BytesIO()
    with Followed(history, capsys, "a", raw=True, out=io.TextIOWrapper(data, encoding="utf-8")) as followed:
        wait_until(lambda: data.getvalue() == b"\x1b[2J10%\r", "the beginning")
        append(history, claim.log, b"20%\r\xff")
        succeed(history, a)
    assert data.getvalue() == b"\x1b[2J10%\r20%\r\xff"
    assert followed.said == "a: attempt 1 ended: exit code 0\n"


# ---- attempt after attempt ----


def test_a_retry_is_followed_from_its_beginning(history, worker, capsys):
    (a,) = history.submit(task("a", retries=1))
    history.start(a, log=b"try 1\n")
    with Followed(history, capsys, "a", lines=1) as followed:
        followed.until("try 1\n")
        history.end(a, outcome=Exited(1))
        followed.until_said("a: attempt 1 ended: exit code 1; it will run again\n")
        claim = history.start(a, 2, log=b"try 2\nmore\n")
        followed.until("more\n")
        append(history, claim.log, b"done\n")
        succeed(history, a, 2)
    header = "\n==> a (attempt 2, running): logs/gpu0_a_2.log <==\n"
    assert followed.text == f"try 1\n{header}try 2\nmore\ndone\n"
    assert followed.said.endswith("again\na: attempt 2 ended: exit code 0\n")


def test_lost_attempts_and_a_new_round_are_followed_and_none_is_left_out(history, worker, capsys):
    (a,) = history.submit(task("a"))
    history.start(a, log=b"1\n")
    with Followed(history, capsys, "a") as followed:
        followed.until("1\n")
        history.open_round(a)
        history.end(a, outcome=Lost("killed"))
        history.ran(a, 2, Lost("rebooted"), log=b"2\n", round=2)
        history.start(a, 3, log=b"3\n", round=2)
        followed.until("3\n")
        succeed(history, a, 3)
    assert re.findall(r"^\d$", followed.text, re.MULTILINE) == ["1", "2", "3"]
    assert followed.said.splitlines()[-1] == "a: attempt 3 ended: exit code 0"


def test_a_task_in_its_back_off_is_waited_for_and_given_up_with_the_worker(history, worker, capsys):
    (a,) = history.submit(task("a", retries=1))
    history.ran(a, outcome=Exited(1), log=b"1\n")
    with Followed(history, capsys, "a") as followed:
        followed.until_said("it will run again")
        worker.leave()
    assert followed.text == "1\n"


def test_a_task_that_has_not_begun_is_waited_for_where_somebody_works(history, worker, capsys):
    need, a = history.submit(task("need"), replace(task("a", needs=(task("need").id,))))
    history.start(need)
    with Followed(history, capsys, "a") as followed:
        followed.until_said("a: not started yet: waits for need\n")
        succeed(history, need)
        history.start(a, log=b"begun\n", needs={need.id: 1})
        followed.until("begun\n")
        succeed(history, a)
    assert followed.text == "begun\n"


def test_a_need_made_again_runs_what_was_made_from_it_again(history, worker, capsys):
    """Between the two the task has ended for nobody: the worker is about to open its round."""
    need, a = history.submit(task("need"), replace(task("a", needs=(task("need").id,))))
    history.start(need)
    succeed(history, need)
    history.start(a, log=b"old\n", needs={need.id: 1})
    succeed(history, a)
    history.open_round(need)
    history.start(need, 2, round=2)
    with Followed(history, capsys, "a") as followed:
        followed.until_said("it will run again")
        succeed(history, need, 2)
        history.open_round(a)
        history.start(a, 2, log=b"new\n", needs={need.id: 2}, round=2)
        followed.until("new\n")
        succeed(history, a, 2)
    assert followed.said.endswith("a: attempt 2 ended: exit code 0\n")


# ---- several ----


def test_lines_of_several_are_whole_and_named(history, capsys):
    a, b = history.submit(task("a"), task("b"))
    claims = [history.start(one, log=b"begin\n") for one in (a, b)]
    with Followed(history, capsys) as followed:
        followed.until("b | begin\n")
        for part in range(40):
            for claim in claims:
                append(history, claim.log, b"part %d " % part)
            if part % 8 == 7:
                for claim in claims:
                    append(history, claim.log, b"end\n")
        succeed(history, a)
        succeed(history, b)
    text = followed.text
    assert text.count("==> ") == 2
    whole = "".join(f"part {part} " + "end\n" * (part % 8 == 7) for part in range(40))
    for name in "ab":
        assert "".join(re.findall(rf"^{name} \| (part.*\n)", text, re.MULTILINE)) == whole
    assert sorted(followed.said.splitlines()) == [
        "a: attempt 1 ended: exit code 0",
        "b: attempt 1 ended: exit code 0",
    ]


def test_without_a_name_what_starts_later_joins_until_nothing_is_about_to_run(history, worker, capsys):
    a, b, c = history.submit(task("a"), task("b"), task("c"))
    history.start(a, log=b"of a\n")
    succeed(history, a)
    history.start(b, log=b"of b\n")
    with Followed(history, capsys) as followed:
        followed.until("of b\n")
        succeed(history, b)
        history.start(c, log=b"of c\n")
        followed.until("of c\n")
        (late,) = history.submit(task("late"), source="tasks/late.yaml")
        succeed(history, c)
        history.start(late, log=b"of late\n")
        followed.until("of late\n")
        succeed(history, late)
    assert "of a" not in followed.text
    assert re.findall(r"^\w+ \| .*", followed.text, re.MULTILINE) == ["b | of b", "c | of c", "late | of late"]


def test_without_a_name_it_ends_where_tasks_are_left_that_nobody_works_on(history, capsys):
    a, _ = history.submit(task("a"), task("b"))
    history.start(a, log=b"of a\n")
    with Followed(history, capsys) as followed:
        followed.until("of a\n")
        succeed(history, a)
    assert followed.said == "a: attempt 1 ended: exit code 0\n"


def test_what_its_file_names_no_longer_is_not_waited_for(history, worker, capsys):
    a, _ = history.submit(task("a"), task("b"))
    history.start(a, log=b"of a\n")
    with Followed(history, capsys) as followed:
        followed.until("of a\n")
        history.submit(a)
        succeed(history, a)
    assert "b" not in followed.said


def test_a_deleted_queue_ends_it_with_a_sentence(history, capsys):
    (a,) = history.submit(task("a"))
    history.start(a, log=b"of a\n")
    found = []

    def look():
        with pytest.raises(UsageError, match="no queue in") as raised:
            logs(history.path, ["a"], failed=False, follow=True, err=False, raw=False, lines=1, out=out)
        found.append(raised)

    out = io.StringIO()
    thread = threading.Thread(target=look)
    thread.start()
    wait_until(lambda: "of a" in out.getvalue(), "the log")
    history.queue.rename(history.path / "elsewhere")
    thread.join(timeout=20)
    assert len(found) == 1


# ---- on a terminal ----


class Terminal(io.StringIO):
    def isatty(self):
        return True


def screen(text):
    """What stands on a terminal after `text`: it obeys what we send, and nothing else is in there."""
    lines, row = [""], 0
    for part in re.findall(r"\x1b\[\d*[AJ]|\r|\n|[^\x1b\r\n]+", text):
        if part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
            lines[row] = ""
        elif part == "\x1b[J":
            lines = [*lines[:row], ""]
        elif part.endswith("A") and part[0] == "\x1b":
            row -= int(part[2:-1])
        elif part != "\r":
            lines[row] += part
    return "\n".join(lines)


def test_a_terminal_sees_progress_bars_move_below_the_lines(history, capsys):
    a, b = history.submit(task("a"), task("b"))
    claims = [history.start(one, log=b"epoch 1\n10%\r") for one in (a, b)]
    with Followed(history, capsys, "a", "b", out=Terminal()) as followed:
        seen = lambda: screen(followed.text)  # noqa: E731
        wait_until(lambda: seen().endswith("a | 10%\nb | 10%"), "both bars")
        append(history, claims[0].log, b"20%\r")
        wait_until(lambda: seen().endswith("a | 20%\nb | 10%"), "the first bar moving")
        append(history, claims[1].log, b"wide " * 20)
        wait_until(lambda: seen().endswith("a | 20%\nb | " + ("wide " * 20)[:55].rstrip()), "a line cut to the width")
        append(history, claims[0].log, b"\x1b[2J30%\nepoch 2\n")
        succeed(history, a)
        succeed(history, b)
    lines = [line for line in screen(followed.text).split("\n") if line and "==>" not in line]
    assert lines == ["a | epoch 1", "b | epoch 1", "a | 30%", "a | epoch 2", "b | " + "wide " * 20]


def test_a_pipe_sees_a_progress_bar_once(history, capsys):
    (a,) = history.submit(task("a"))
    claim = history.start(a, log=b"epoch 1\n")
    with Followed(history, capsys, "a") as followed:
        followed.until("epoch 1\n")
        for percent in range(100):
            append(history, claim.log, b"%d%%\r" % percent)
        append(history, claim.log, b"100%\nepoch 2\n")
        followed.until("epoch 2\n")
        append(history, claim.log, b"1%\r2%\r")
        succeed(history, a)
    assert followed.text == "epoch 1\n100%\nepoch 2\n2%\n"


# ---- as a process ----


def test_it_ends_once_nobody_reads_though_nothing_is_written(history):
    (a,) = history.submit(task("a"))
    history.start(a, log=b"x\n")
    command = [sys.executable, "-m", "parallel_train", "-C", str(history.path), "logs", "-f", "a"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"x\n"
        process.stdout.close()
        assert process.wait(20) == 0
