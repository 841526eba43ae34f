"""Does `logs` show the attempt that matters, follow it to its end, and keep the terminal safe?"""

import io
import os
import subprocess
import threading
import time
from dataclasses import replace

import pytest

from parallel_train.commands.logs import logs
from parallel_train.commands.project import this_owner
from parallel_train.core.facts import Exited, Lost, NotStarted, Signalled
from parallel_train.errors import NothingSelectedError, UsageError
from parallel_train.procs.process import start_time
from tests.commands.history import History, task


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def history(tmp_path):
    return History(tmp_path)


def shown(history, *tasks, out=None, **options):
    out = out or io.StringIO()
    options = {"follow": False, "err": False, "failed": False, "lines": 20, **options}
    assert logs(history.path, tasks, out=out, **options) == 0
    return out.getvalue()


# ---- which logs ----


def test_one_task_has_no_header_and_its_last_lines(history):
    (a,) = history.submit(task("a"))
    history.ran(a, log=b"".join(b"line %d\n" % n for n in range(100)))
    assert shown(history, "a", lines=2) == "line 98\nline 99\n"
    assert shown(history, "1", lines=0).count("\n") == 100


def test_several_have_headers(history):
    a, b = history.submit(task("a"), task("b"))
    history.ran(a, log=b"of a")
    history.start(b, log=b"of b\n")
    assert shown(history, "b", "a") == (
        "==> b (attempt 1, running): logs/gpu0_b_1.log <==\nof b\n"
        "\n==> a (attempt 1, exit code 0): logs/gpu0_a_1.log <==\nof a\n"
    )


@pytest.mark.parametrize("is_running", [True, False])
def test_the_newest_started_attempt_is_shown(history, is_running):
    (a,) = history.submit(task("a", retries=5))
    history.ran(a, 1, Exited(1), log=b"first\n")
    history.ran(a, 2, Exited(1), log=b"second\n")
    history.ran(a, 3, NotStarted("cancelled"), log=b"")
    if is_running:
        history.start(a, 4, log=b"fourth\n")
    assert shown(history, "a") == ("fourth\n" if is_running else "second\n")


def test_without_a_task_all_that_run_are_shown_also_those_of_no_file_any_more(history):
    a, b, c = history.submit(task("a"), task("b"), task("c"))
    history.start(a, log=b"of a\n")
    history.ran(b, log=b"of b\n")
    history.start(c, log=b"of c\n")
    history.submit(b, c)
    text = shown(history)
    assert "of a\n" in text
    assert "of b\n" not in text
    assert "of c\n" in text


def test_without_a_task_and_with_none_running_the_most_recent_one_is_shown(history):
    a, b = history.submit(task("a"), task("b"))
    history.ran(a, log=b"of a\n", at="2026-01-02T05:00:00Z")
    history.ran(b, log=b"of b\n", at="2026-01-02T04:00:00Z")
    assert shown(history) == "==> a (attempt 1, exit code 0): logs/gpu0_a_1.log <==\nof a\n"


def test_failed_shows_the_failed_ones_with_both_files(history):
    a, b, c = history.submit(task("a"), task("b"), task("c"))
    history.ran(a, outcome=Exited(3), log=b"epoch 1\n", err=b"Traceback\n")
    history.ran(b, log=b"fine\n", err=b"a warning\n")
    history.ran(c, outcome=Signalled(9), log=b"epoch 2\n")
    text = shown(history, failed=True)
    assert text == (
        "==> a (attempt 1, exit code 3): logs/gpu0_a_1.log <==\nepoch 1\n"
        "\n==> a (attempt 1, exit code 3): logs/gpu0_a_1.err <==\nTraceback\n"
        "\n==> c (attempt 1, killed by SIGKILL (9)): logs/gpu0_c_1.log <==\nepoch 2\n"
    )
    assert "epoch 1" not in shown(history, "c", failed=True)


def test_err_is_shown_when_asked_for_or_when_it_is_all_there_is(history):
    a, b = history.submit(task("a"), task("b"))
    history.start(a, log=b"of the log\n", err=b"of the err\n")
    history.ran(b, err=b"logging writes here\n")
    assert shown(history, "a") == "of the log\n"
    assert shown(history, "a", err=True) == "of the err\n"
    assert shown(history, "b") == "logging writes here\n"


def test_a_log_that_is_gone_is_said(history):
    (a,) = history.submit(task("a"))
    claim = history.ran(a)
    (history.path / claim.log).unlink()
    assert shown(history, "a") == "(logs/gpu0_a_1.log: No such file or directory)\n"


@pytest.mark.parametrize(
    ("words", "failed", "text"),
    [
        (["b"], False, "b has no log yet: it was never started"),
        (["zz"], False, "no task, stage or id matches 'zz'"),
        ([], True, "no task has failed"),
    ],
)
def test_nothing_to_show_says_why(history, words, failed, text):
    a, _ = history.submit(task("a"), task("b"))
    history.ran(a)
    with pytest.raises(NothingSelectedError, match=text):
        shown(history, *words, failed=failed)


def test_no_queue_and_no_tasks_are_said(history, tmp_path_factory):
    with pytest.raises(NothingSelectedError, match="nothing was started"):
        shown(history)
    with pytest.raises(UsageError, match="no queue in"):
        logs(
            tmp_path_factory.mktemp("empty"),
            [],
            follow=False,
            err=False,
            failed=False,
            lines=1,
            out=io.StringIO(),
        )


def test_looking_changes_nothing(history):
    (a,) = history.submit(task("a"))
    history.start(a, log=b"x\n")

    def state():
        return sorted((str(path), path.stat().st_mtime_ns) for path in history.path.rglob("*"))

    before = state()
    shown(history, "a")
    assert state() == before


# ---- what a terminal gets ----

HOSTILE = b"\x1b]0;title\x07\x1b[2J\x1b[31mred\x1b[0m\tcell\x08\x9b1m\xc2\x9b\xe2\x80\xae \xff \x00end\n"


def test_a_terminal_gets_text_and_tabs_only(history):
    (a,) = history.submit(task("a"))
    history.ran(a, log=HOSTILE + b"10%\r\x1b[K20%\r")
    text = shown(history, "a", out=Terminal())
    assert text.split("\n")[0] == "red\tcell\ufffd1m \ufffd end"
    assert text.split("\n")[1].endswith("20%")
    assert not [c for c in text.replace("\r\x1b[K", "") if ord(c) < 32 and c not in "\n\t"]


def test_a_pipe_gets_the_lines_as_they_are(history):
    (a,) = history.submit(task("a"))
    history.ran(a, log=HOSTILE)
    assert shown(history, "a") == HOSTILE.decode(errors="replace")


def test_a_stream_that_knows_few_letters_gets_the_rest_escaped(history):
    (a,) = history.submit(task("a"))
    history.ran(a, log="größe ✓\n".encode())
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="latin-1")
    logs(history.path, ["a"], follow=False, err=False, failed=False, lines=5, out=out)
    assert raw.getvalue() == "größe \\u2713\n".encode("latin-1")


def test_a_reader_that_goes_away_is_no_error(history):
    (a,) = history.submit(task("a"))
    history.ran(a, log=b"x" * 100_000 + b"\n" * 100_000)
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as out:
        assert logs(history.path, ["a"], follow=False, err=False, failed=False, lines=0, out=out) == 0


# ---- following ----


class Followed:
    """`logs -f` in a thread, and what it wrote."""

    def __init__(self, history, *tasks, out=None):
        self.out = out or io.StringIO()
        self.thread = threading.Thread(target=shown, args=(history, *tasks), kwargs={"out": self.out, "follow": True})

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.thread.join(timeout=10)
        assert not self.thread.is_alive()

    def wait_for(self, text):
        deadline = time.monotonic() + 10
        while text not in self.out.getvalue():
            assert time.monotonic() < deadline, self.out.getvalue()
            time.sleep(0.01)


def append(history, path, text):
    with (history.path / path).open("ab") as file:
        file.write(text)


def test_following_ends_with_the_attempt_and_shows_all_it_wrote(history):
    (a,) = history.submit(task("a"))
    claim = history.start(a, log=b"old 1\nold 2\n")
    with Followed(history, "a") as followed:
        followed.wait_for("old 2\n")
        append(history, claim.log, b"new 1\nhalf")
        followed.wait_for("new 1\n")
        append(history, claim.log, b" a line")
        append(history, claim.err, b"Traceback\n")
        history.end(a, outcome=Exited(1))
    assert followed.out.getvalue() == (
        "old 1\nold 2\nnew 1\nhalf a line\n\n==> a (attempt 1, exit code 1): logs/gpu0_a_1.err <==\nTraceback\n"
    )


def test_several_are_followed_with_a_header_at_each_switch(history):
    a, b = history.submit(task("a"), task("b"))
    claims = [history.start(one) for one in (a, b)]
    with Followed(history) as followed:
        followed.wait_for("_b_1.log <==\n")
        append(history, claims[0].log, b"a 1\n")
        followed.wait_for("a 1\n")
        append(history, claims[1].log, b"b 1\n")
        followed.wait_for("b 1\n")
        append(history, claims[1].log, b"b 2\n")
        followed.wait_for("b 2\n")
        history.end(a)
        history.end(b)
    text = followed.out.getvalue()
    assert text.count("==> a ") == 2
    assert text.count("==> b ") == 2
    assert text.endswith("b 1\nb 2\n")


def test_following_ends_where_the_owner_dies_without_an_end(history):
    (a,) = history.submit(task("a"))
    with subprocess.Popen(["sleep", "60"]) as process:
        owner = replace(this_owner("worker"), pid=process.pid, start=start_time(process.pid))
        history.start(a, log=b"last words\n", owner=owner)
        with Followed(history, "a") as followed:
            followed.wait_for("last words\n")
            process.kill()
            process.wait()
    assert followed.out.getvalue() == "last words\n"


def test_a_terminal_sees_a_progress_bar_move(history):
    (a,) = history.submit(task("a"))
    claim = history.start(a, log=b"epoch 1\n10%\r")
    with Followed(history, "a", out=Terminal()) as followed:
        followed.wait_for("epoch 1\n10%")
        append(history, claim.log, b"20%\r")
        followed.wait_for("10%\r\x1b[K20%")
        append(history, claim.log, b"30%\nepoch 2\n")
        history.end(a)
    assert followed.out.getvalue().endswith("20%\r\x1b[K30%\nepoch 2\n")


def test_a_lost_attempt_says_so(history):
    a, b = history.submit(task("a"), task("b"))
    history.ran(a, outcome=Lost("rebooted"))
    history.ran(b)
    assert "==> a (attempt 1, lost: its machine was restarted)" in shown(history, "a", "b")
