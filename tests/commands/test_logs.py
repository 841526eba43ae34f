"""Does `logs` show the attempt that matters, say what it is, and keep the terminal safe?"""

import io
import os
import re

import pytest

from parallel_train.commands.logs import logs
from parallel_train.core.facts import Exited, Lost, NotStarted, Signalled
from parallel_train.errors import NothingSelectedError, UsageError
from tests.commands.history import History, task


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def history(tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return History(tmp_path)


DEFAULTS = {"failed": False, "follow": False, "err": False, "raw": False, "lines": 20}


def shown(history, *tasks, out=None, **options):
    out = out or io.StringIO()
    assert logs(history.path, tasks, out=out, **{**DEFAULTS, **options}) == 0
    return out.getvalue()


def raw(history, *tasks, **options):
    data = io.BytesIO()
    out = io.TextIOWrapper(data, encoding="utf-8")
    assert logs(history.path, tasks, out=out, **{**DEFAULTS, "raw": True, **options}) == 0
    return data.getvalue()


# ---- which logs ----


def test_one_task_has_no_header_and_its_last_lines(history, capsys):
    (a,) = history.submit(task("a"))
    history.ran(a, log=b"".join(b"line %d\n" % n for n in range(100)))
    assert shown(history, "a", lines=2) == "line 98\nline 99\n"
    assert shown(history, "1", lines=0).count("\n") == 100
    assert capsys.readouterr().err == ""


def test_of_several_each_line_names_its_task(history):
    a, b = history.submit(task("a"), task("longer"))
    history.ran(a, log=b"of a\nagain")
    history.start(b, log=b"of b\n")
    assert shown(history, "longer", "a") == (
        "==> longer (attempt 1, running): logs/gpu0_longer_1.log <==\nlonger | of b\n"
        "\n==> a (attempt 1, exit code 0): logs/gpu0_a_1.log <==\na | of a\na | again\n"
    )


def test_on_a_terminal_names_are_equally_wide_and_coloured(history, monkeypatch):
    long = "x" * 40 + "-end"
    a, b = history.submit(task("a"), task(long))
    history.ran(a, log=b"of a\n")
    history.ran(b, log=b"of b\n")
    text = shown(history, "*", out=Terminal())
    assert f"\x1b[36ma{' ' * 25}\x1b[0m | of a\n" in text
    assert f"\x1b[33m{'x' * 12}…{'x' * 9}-end\x1b[0m | of b\n" in text
    monkeypatch.setenv("NO_COLOR", "1")
    assert f"\na{' ' * 25} | of a\n" in shown(history, "*", out=Terminal())
    monkeypatch.setenv("TERM", "dumb")
    assert "\na | of a\n" in shown(history, "*", out=Terminal())


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


def test_a_name_is_that_of_a_task_that_holds_a_number_stays(history):
    a, b = history.submit(task("a"), task("b"))
    history.ran(a, log=b"of a\n")
    history.submit(b)
    assert shown(history, "1") == "of a\n"
    with pytest.raises(NothingSelectedError, match="matches 'a'"):
        shown(history, "a")


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
    assert shown(history, failed=True) == (
        "==> a (attempt 1, exit code 3): logs/gpu0_a_1.log <==\na | epoch 1\n"
        "\n==> a (attempt 1, exit code 3): logs/gpu0_a_1.err <==\na | Traceback\n"
        "\n==> c (attempt 1, killed by SIGKILL (9)): logs/gpu0_c_1.log <==\nc | epoch 2\n"
    )
    assert "epoch 1" not in shown(history, "c", failed=True)


def test_err_is_shown_when_asked_for_or_when_it_is_all_there_is(history):
    a, b = history.submit(task("a"), task("b"))
    history.start(a, log=b"of the log\n", err=b"of the err\n")
    history.ran(b, err=b"logging writes here\n")
    assert shown(history, "a") == "of the log\n"
    assert shown(history, "a", err=True) == "of the err\n"
    assert shown(history, "b") == "logging writes here\n"


def test_a_lost_attempt_says_so(history):
    a, b = history.submit(task("a"), task("b"))
    history.ran(a, outcome=Lost("rebooted"), log=b"x\n")
    history.ran(b)
    assert "==> a (attempt 1, lost: its machine was restarted)" in shown(history, "a", "b")


# ---- nothing to show ----


def test_an_empty_log_is_said_with_its_attempt(history, capsys):
    a, b, c = history.submit(task("a"), task("b", retries=1), task("c"))
    history.start(a)
    history.ran(b, outcome=Exited(1))
    history.ran(b, 2, outcome=Exited(2))
    history.ran(c, log=b"of the log\n")
    assert shown(history, "a") == shown(history, "b") == shown(history, "c", err=True) == ""
    assert capsys.readouterr().err == (
        "a: attempt 1 has written nothing yet (running since 2026-01-02 03:04:05 UTC)\n"
        "b: attempt 2 wrote nothing (exit code 2)\n"
        "c: attempt 1 wrote nothing to logs/gpu0_c_1.err (exit code 0)\n"
    )


def test_a_log_that_is_gone_is_said(history, capsys):
    (a,) = history.submit(task("a"))
    claim = history.ran(a)
    (history.path / claim.log).unlink()
    assert shown(history, "a") == ""
    assert capsys.readouterr().err == "a: can't read logs/gpu0_a_1.log: No such file or directory\n"


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize(
    ("words", "failed", "text"),
    [
        (["b"], False, "b has no log yet: it was never started"),
        (["zz"], False, "no task, stage or id matches 'zz'"),
        ([], True, "no task has failed"),
    ],
)
def test_nothing_to_show_says_why(history, *, words, failed, text, follow):
    a, _ = history.submit(task("a"), task("b"))
    history.ran(a)
    with pytest.raises(NothingSelectedError, match=text):
        shown(history, *words, failed=failed, follow=follow)


def test_no_queue_and_no_tasks_are_said(history, tmp_path_factory):
    with pytest.raises(NothingSelectedError, match="nothing was started"):
        shown(history)
    with pytest.raises(UsageError, match="no queue in"):
        logs(tmp_path_factory.mktemp("empty"), [], out=io.StringIO(), **DEFAULTS)


def test_looking_changes_nothing(history):
    (a,) = history.submit(task("a"))
    history.start(a, log=b"x\n")

    def state():
        return sorted((str(path), path.stat().st_mtime_ns) for path in history.path.rglob("*"))

    before = state()
    shown(history, "a")
    assert state() == before


# ---- what a terminal gets ----

HOSTILE = (
    b"\x1b]0;title\x07\x1b]52;c;cm0gLXJmIH4=\x1b\\\x1b[2J\x1b[5A\x1bc\x1bP1;2|dcs\x1b\\"
    b"\x1b[31mred\x1b[0m\tcell\x08\x9b1m\xc2\x9b2J\xc2\x9d0;x\xe2\x80\xae \xff \x00end\x1b]52;c;open"
)
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.mark.parametrize("is_terminal", [True, False])
@pytest.mark.parametrize("end", [b"\n", b""])
def test_nobody_gets_what_a_terminal_would_obey(history, is_terminal, end):
    (a,) = history.submit(task("a"))
    history.ran(a, log=HOSTILE + end)
    text = shown(history, "a", out=Terminal() if is_terminal else io.StringIO())
    colours = ("\x1b[31m", "\x1b[0m", "\x1b[0m") if is_terminal else ("", "", "")
    assert text == "{}red{}\tcell\ufffd1m2J0;x \ufffd end{}\n".format(*colours)
    assert not CONTROLS.search(text.replace("\x1b[31m", "").replace("\x1b[0m", ""))


def test_colours_end_with_their_line_and_can_be_refused(history, monkeypatch):
    (a,) = history.submit(task("a"))
    history.ran(a, log=b"\x1b[1;38;5;208mINFO\nplain\n\x1b[4:3munder\n\x1b]0;x\x1b[32mgreen\n")
    assert shown(history, "a", out=Terminal()) == (
        "\x1b[1;38;5;208mINFO\x1b[0m\nplain\n\x1b[4:3munder\x1b[0m\n\x1b[32mgreen\x1b[0m\n"
    )
    monkeypatch.setenv("NO_COLOR", "1")
    assert shown(history, "a", out=Terminal()) == "INFO\nplain\nunder\ngreen\n"


def test_random_bytes_are_harmless(history, capsys):
    (a,) = history.submit(task("a\x1b]0;name\x07"))
    history.ran(a, log=os.urandom(200_000) + b"\x1b[31m" * 100)
    text = shown(history, "1", lines=0, out=Terminal())
    assert not CONTROLS.search(re.sub(r"\x1b\[[0-9;:]*m", "", text))


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_progress_bar_is_its_last_state(history, is_terminal):
    (a,) = history.submit(task("a"))
    history.ran(a, log=b"0%\r50%\r100%\ndos\r\n1%\r\x1b[K2%\r")
    assert shown(history, "a", out=Terminal() if is_terminal else io.StringIO()) == "100%\ndos\n2%\n"


def test_a_stream_that_knows_few_letters_gets_the_rest_escaped(history):
    (a,) = history.submit(task("a"))
    history.ran(a, log="größe ✓\n".encode())
    data = io.BytesIO()
    out = io.TextIOWrapper(data, encoding="latin-1")
    logs(history.path, ["a"], out=out, **DEFAULTS)
    assert data.getvalue() == "größe \\u2713\n".encode("latin-1")


def test_a_reader_that_goes_away_is_no_error(history):
    (a,) = history.submit(task("a"))
    history.ran(a, log=b"x" * 100_000 + b"\n" * 100_000)
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as out:
        assert logs(history.path, ["a"], out=out, **{**DEFAULTS, "lines": 0}) == 0


# ---- bytes as they are ----


def test_raw_is_the_file_and_nothing_else(history, capsys):
    (a,) = history.submit(task("a"))
    content = HOSTILE + b"\r\n0%\r50%\r" + bytes(range(256)) * 2000
    history.ran(a, outcome=Exited(1), log=content, err=b"Traceback")
    assert raw(history, "a", lines=0) == content
    assert raw(history, "a", err=True) == b"Traceback"
    assert raw(history, "a", lines=1) == content[content.rindex(b"\n") + 1 :]
    assert capsys.readouterr().err == ""


def test_raw_of_several_is_one_file_after_the_other(history, capsys):
    a, b, c = history.submit(task("a"), task("b"), task("c"))
    history.ran(a, log=b"of a\r")
    history.ran(b, log=b"of b\x1b[0m")
    history.ran(c, err=b"of c\n")
    assert raw(history, "b", "a", "c") == b"of b\x1b[0mof a\r"
    assert capsys.readouterr().err == (
        "==> b (attempt 1, exit code 0): logs/gpu0_b_1.log <==\n"
        "==> a (attempt 1, exit code 0): logs/gpu0_a_1.log <==\n"
        "c: attempt 1 wrote nothing to logs/gpu0_c_1.log (exit code 0)\n"
    )


def test_raw_follows_one_task_only(history):
    for one in history.submit(task("a"), task("b")):
        history.start(one)
    with pytest.raises(UsageError, match="--raw -f follows one task, these are 2: name one"):
        raw(history, follow=True)
