"""Does `explain` say why, what changed, what would change it and where that is written, and write nothing itself?"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import uuid
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from parallel_train.commands.explain import explain
from parallel_train.commands.options import RunOptions
from parallel_train.commands.status import status
from parallel_train.core.facts import Exited, Lost, Request, Round
from parallel_train.core.slots import Device
from parallel_train.core.task import DoneWhen, Task, identity, late
from parallel_train.core.wire import round_data
from parallel_train.errors import NothingSelectedError, UsageError
from parallel_train.procs import aside, locks
from parallel_train.project.reading import this_owner
from parallel_train.store import records, requests
from parallel_train.store.queue import DiskQueue
from tests.commands.history import AT, History, task

PYTHON = RunOptions(python="/usr/bin/python3")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def history(tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "default.yaml").touch()
    return History(tmp_path)


def told(history: History, *wanted: str, out: io.StringIO | None = None) -> str:
    out = out or io.StringIO()
    assert explain(history.path, wanted, PYTHON, as_json=False, out=out) == 0
    return out.getvalue()


def shape(history: History, *wanted: str) -> list[dict]:
    out = io.StringIO()
    assert explain(history.path, wanted, PYTHON, as_json=True, out=out) == 0
    return json.loads(out.getvalue())["tasks"]


def rows(text: str, title: str) -> list[str]:
    """The lines of one section."""
    lines = text.splitlines()
    start = lines.index(title) + 1
    return [line.strip() for line in lines[start : [*lines, ""].index("", start)]]


def changed(one: Task, **more: object) -> Task:
    made = replace(one, **more)
    return replace(made, identity=identity(made, {}, made.needs))


def ask(history: History, kind: str, *of: Task, value: int = 1, **more: object) -> None:
    wanted = Request(0, kind, {t.id: value for t in of}, by="anna@gpu1", at=AT, **more)
    requests.ask(history.queue, wanted)


# ---- one account from top to bottom ----


def test_a_failed_task_is_told_in_full(history):
    a = task("a", command=(late("python"), "train.py", "--note", "two words"), params={"lr": 0.1}, timeout=90.0)
    (a,) = history.submit(a)
    history.ran(a, outcome=Exited(3))
    assert told(history, "1") == (
        "#1 a: failed\n"
        "  failed: exit code 3\n"
        "\n"
        "What would change it\n"
        "  parallel-train logs 1   shows what it said last\n"
        "  parallel-train retry 1  runs it again\n"
        "\n"
        "What it is\n"
        "  command     /usr/bin/python3 train.py --note 'two words'\n"
        "  params      lr=0.1\n"
        "  output      output/a (missing)\n"
        "  GPUs        1\n"
        "  file        tasks/default.yaml\n"
        "  timeout     1m 30s\n"
        "\n"
        "What happened\n"
        f"  attempt 1   2026-01-02 03:04 UTC, GPU 0 of {os.uname().nodename}, took 00:01:00\n"
        "              exit code 3; this one decides\n"
        "              logs/gpu0_a_1.log (and .err)\n"
        "\n"
        "Records\n"
        "  tasks       .parallel-train/tasks/000001.jsonl\n"
        f"  claims      .parallel-train/claims/{a.id}.1\n"
        f"  ends        .parallel-train/ends/{a.id}.1\n"
    )


def test_its_reason_is_the_one_that_status_gives(history):
    first = task("a")
    a, _, c, d, e = history.submit(first, task("b", needs=(first.id,)), task("c"), task("d", retries=2), task("e"))
    history.ran(a, outcome=Exited(3))
    history.ran(c)
    history.write("output/c/x", "1")
    history.ran(d, outcome=Exited(4))
    ask(history, "cancel", e)
    table = io.StringIO()
    status(history.path, [], file=None, everything=False, as_json=False, out=table)
    titles, *found = [line.split("\t") for line in table.getvalue().splitlines() if "\t" in line]
    assert len(found) == 5
    for cells in found:
        row = dict(zip(titles, cells, strict=True))
        head, reason = told(history, row["#"]).splitlines()[:2]
        assert head == f"#{row['#']} {row['task']}: {row['state']}"
        assert row["why"] in reason  # which says it in full


# ---- why ----


def test_the_chain_goes_to_the_root(history):
    made = [task("t1")]
    for number in range(2, 12):
        made.append(task(f"t{number}", needs=(made[-1].id,)))
    first, *_ = history.submit(*made)
    history.ran(first, outcome=Exited(3))
    assert rows(told(history, "t3"), "Why") == [
        "because     #2 t2: needs t1, which failed",
        "#1 t1: failed: exit code 3",
    ]
    far = rows(told(history, "t11"), "Why")
    assert far[0] == "because     #10 t10: needs t9, which was aborted"
    assert far[-2:] == ["… and 4 more …", "#1 t1: failed: exit code 3"]
    assert rows(told(history, "t3"), "What would change it") == [
        "parallel-train logs 1   shows what #1 t1 said last",
        "parallel-train retry 3  runs #1 t1 again, then this one",
    ]


def test_a_ready_task_has_its_place_and_says_that_nobody_works(history):
    a, *_ = history.submit(task("a"), task("b", priority=2), task("c"), task("d", gpus=2))
    history.start(a)
    assert rows(told(history, "d"), "Why") == [
        "order       2 ready tasks before it, by priority and number: #2 b, #3 c",
        "slots       it takes 2 at once, and those that come free are kept for it",
        f"on slots    #1 a on GPU 0 of {os.uname().nodename}",
        "worker      none works here now",
    ]
    assert rows(told(history, "d"), "What would change it") == [
        "parallel-train worker        runs whatever is open here",
        "parallel-train priority 4 3  puts it first",
    ]
    assert rows(told(history, "b"), "Why")[0] == "order       no ready task is before it"


def work(history: History, *labels: str, **about: object) -> None:
    """A living worker of this process on GPUs of the test's own."""
    slots = [asdict(Device("gpu", label, label, f"gpu-{uuid.uuid4().hex}")) for label in labels]
    said = {"source": "tasks/default.yaml", "words": ["-j", "1", "--only", "a *"], "slots": slots, **about}
    DiskQueue(history.queue, this_owner("w1"), lambda _: True, about=said).join()


WORKERS = {
    "asked for it": ({"tasks": "1"}, True),
    "asked for another": ({"tasks": "2-3", "submission": 1}, False),
    "takes everything": ({"source": ""}, True),
    "its file names it since": ({"tasks": "", "submission": 0}, True),
    "of another file": ({"source": "x.yaml", "tasks": "2", "submission": 0}, False),
    "of another file, retried since": ({"source": "x.yaml", "tasks": "2", "request": 0}, True),
    "of another file, retried before": ({"source": "x.yaml", "tasks": "2", "request": 1}, False),
}


@pytest.mark.parametrize("case", WORKERS.values(), ids=WORKERS.keys())
def test_a_living_worker_is_named_and_whether_it_takes_the_task(history, case):
    about, takes = case
    (a,) = history.submit(task("a"))
    if "request" in about:
        ask(history, "retry", a)
    work(history, "0", "1", **about)
    found = rows(told(history, "a"), "Why")[1:]
    me = f"w1 (process {os.getpid()} on {os.uname().nodename})"
    assert found[0] == f"worker      {me} on GPU 0-1: parallel-train -j 1 --only 'a *'"
    assert found[1:] == ([] if takes else ["none of them works on this task"])
    steps = [step["command"] for step in shape(history, "a")[0]["steps"]]
    assert steps == ([] if takes else ["parallel-train worker"])


def test_a_task_wider_than_every_worker_is_said(history):
    history.submit(task("a", gpus=2))
    work(history, "0", tasks="1")
    assert rows(told(history, "a"), "Why")[-1] == "none of them has 2 slots for it"


def test_who_holds_a_slot_from_another_queue_is_named(history, tmp_path):
    history.submit(task("a"))
    work(history, "7", tasks="1")
    (slot,) = records.read_one(str(history.queue / "workers" / "w1"))["slots"]
    other = History(tmp_path / "other")
    (theirs,) = other.submit(task("theirs"))
    descriptor = locks.take(slot["lock"])
    assert descriptor is not None
    try:
        who = {"queue": str(other.queue), "task": theirs.id, "attempt": 2, "cookie": slot["lock"]}
        locks.sign(descriptor, who)
        assert rows(told(history, "a"), "Why")[1] == f"elsewhere   GPU 7: theirs (#1, attempt 2) in {other.path}"
    finally:
        os.close(descriptor)
    assert "elsewhere" not in told(history, "a")  # it has died
    (Path(locks.folder()) / slot["lock"]).unlink()


def test_a_back_off_says_when_it_is_over(history):
    (a,) = history.submit(task("a", retries=2))
    history.ran(a, outcome=Exited(3))
    (again,) = [row for row in rows(told(history, "a"), "Why") if row.startswith("again")]
    assert re.fullmatch(r"again       not before 03:04:0[6-9] UTC, which has passed", again)


def test_whoever_paused_it_is_named_with_the_way_out(history):
    a, b = history.submit(task("a"), task("b"))
    history.start(a)
    ask(history, "pause")
    ask(history, "pause", b)
    assert rows(told(history, "b"), "Why")[0] == "worker      none works here now"
    assert rows(told(history, "b"), "What would change it") == ["parallel-train resume 2  lets it start"]
    assert rows(told(history, "b"), "What happened")[1:] == [
        "pause       the whole queue by anna@gpu1, 2026-01-02 03:04 UTC (holds)",
        "pause       by anna@gpu1, 2026-01-02 03:04 UTC (holds)",
    ]
    ask(history, "resume", b)
    assert "parallel-train resume  lets the queue go on" in told(history, "b")
    assert "(holds)" not in rows(told(history, "b"), "What happened")[-1]


# ---- what changed ----


def test_a_changed_wording_is_told_and_that_of_a_need(history):
    a, b = history.submit(task("a", params={"lr": 0.1}), task("b", needs=(task("a").id,)))
    history.ran(a)
    history.ran(b, needs={a.id: 1})
    for one in (a, b):
        history.write(f"{one.output}/x", "1")
    new = changed(a, params={"lr": 0.2})
    history.submit(new, replace(b, identity="another"))
    assert told(history, "a").splitlines()[1] == "  changed: params.lr: 0.1 -> 0.2"
    assert rows(told(history, "a"), "What changed") == ["wording     params.lr: 0.1 -> 0.2"]
    assert rows(told(history, "b"), "What changed") == ["wording     #1 a: params.lr: 0.1 -> 0.2"]
    assert rows(told(history, "b"), "What would change it") == [
        "parallel-train tasks/default.yaml 2  runs it; the old output is put aside"
    ]
    assert len(rows(told(history, "a"), "Records")[0].split()) == 3  # both submissions


def test_a_changed_input_is_named_with_its_time(history):
    (a,) = history.submit(task("a", inputs=("old.txt", "new.txt", "folder", "gone")))
    history.ran(a)
    history.write("output/a/x", "1")
    for name, year in (("old.txt", 2025), ("new.txt", 2027), ("folder/f", 2028)):
        history.write(name, "1")
        when = datetime(year, 1, 2, tzinfo=timezone.utc).timestamp()
        os.utime(history.path / name, (when, when))
    history.submit(replace(a, identity="another"))
    found = rows(told(history, "a"), "What changed")
    assert found[0] == "input       the content of old.txt, new.txt, folder, gone"
    assert [row.split()[:4] for row in found[1:]] == [
        ["new.txt", "was", "written", "2027-01-02"],
        ["folder", "was", "written", "2028-01-02"],
    ]


def test_a_need_that_was_made_again_is_named(history):
    a, b = history.submit(task("a"), task("b", needs=(task("a").id,)))
    history.ran(a)
    history.ran(b, needs={a.id: 1})
    for one in (a, b):
        history.write(f"{one.output}/x", "1")
    history.open_round(a)
    history.ran(a, 2, round=2)
    assert rows(told(history, "b"), "What changed") == [
        "need        #1 a: attempt 1 was made from its attempt 1; now its attempt 2 decides"
    ]


def test_a_script_that_changed_since_is_named(history):
    (a,) = history.submit(task("a", command=(late("python"), "train.py")))
    history.write("train.py", "print(1)")
    history.ran(a, made_with={"train.py": "another"})
    history.write("output/a/x", "1")
    text = told(history, "a")
    assert "changed since: train.py (-B runs it again)" in text
    assert rows(text, "What changed") == ["made with   train.py, which changed since"]
    assert rows(text, "What would change it") == [
        "parallel-train tasks/default.yaml -B 1  runs it again; old outputs are put aside"
    ]


# ---- what it is, and what happened ----


def test_no_secret_is_shown_and_no_terminal_is_fooled(history):
    env = {"HF_TOKEN": "secret:HF_TOKEN", "API_KEY": "of an older version", "MODE": "a b"}
    history.submit(task("a\x1b[31mb", env=env, params={"p": "\x1b]0;x\x07q\n"}))
    text = told(history)
    assert "env         HF_TOKEN=secret:HF_TOKEN API_KEY='***' MODE='a b'" in text
    assert "#1 ab: ready" in text
    assert "params      p=q" in text
    assert "older version" not in json.dumps(shape(history))
    assert "\x1b" not in text


@pytest.mark.parametrize(("content", "holds"), [("it is done", "yes"), ("not yet", "no")])
def test_done_when_says_whether_it_holds(history, content, holds):
    history.submit(task("a", done_when=DoneWhen(("log.txt", "other.txt"), "is done")))
    history.write("log.txt", content)
    assert f"done when   log.txt or other.txt holds 'is done': {holds}" in told(history, "a")


def test_rounds_say_where_the_old_output_is(history):
    (a,) = history.submit(task("a"))
    history.ran(a)
    history.write("output/a/x", "1")
    for number in (2, 3, 4):
        opened = Round(a.id, number, a.identity, "asked for", aside=number != 3, by="anna@gpu1")
        records.publish(str(history.queue / "rounds" / f"{a.id}.{number}"), [round_data(opened)], durable=False)
        if number < 4:
            aside.put_aside(str(history.queue), f"{a.id}.{number}", number, str(history.path / "output/a"))
            history.ran(a, number, Exited(0) if number == 2 else Lost("killed"), round=number)
    found = [row for row in rows(told(history, "a"), "What happened") if row[:5] in {"round", "attem"}]
    assert [row.split()[1] for row in found] == ["1", "2", "2", "3", "3", "4"]
    opened = "asked for, opened by anna@gpu1; "
    assert found[1] == f"round 2     {opened}the old output is now .parallel-train/aside/{a.id}.2/a"
    assert found[3] == f"round 3     {opened}the old output was kept"
    assert found[5] == f"round 4     {opened}the old output is put aside before it starts"
    assert [one["standing"] for one in shape(history, "a")[0]["attempts"]] == ["earlier round"] * 3


def test_of_many_attempts_the_last_are_told_and_all_records_named(history):
    (a,) = history.submit(task("a", retries=20))
    for attempt in range(1, 15):
        history.ran(a, attempt, Exited(1))
    text = told(history, "a")
    assert rows(text, "What happened")[0] == "4 older attempts: see the records"
    assert text.count("exit code 1; does not decide") == 9
    (claims,) = [row.split()[1] for row in rows(text, "Records") if row.startswith("claims")]
    listing = ["bash", "-c", f"grep -c attempt {claims} | wc -l"]
    assert subprocess.run(listing, cwd=history.path, capture_output=True, text=True, check=True).stdout == "14\n"


def test_every_record_named_is_there(history):
    a, b = history.submit(task("a"), task("b"))
    history.ran(a, outcome=Exited(1))
    history.open_round(a)
    history.start(a, 2, round=2)
    ask(history, "cancel", b)
    for one in shape(history, "a", "b"):
        assert one["records"]
        assert all((history.path / path).is_file() for path in one["records"])


def test_what_is_damaged_is_said(history, capsys):
    (a,) = history.submit(task("a"))
    history.ran(a)
    (history.queue / "claims" / f"{a.id}.1").write_text("x")
    text = told(history, "a")
    assert "attempt 1   2026-01-02 03:04 UTC, took 00:01:00\n" in text
    damaged = f"the record {history.queue}/claims/{a.id}.1 is damaged"
    assert f"  damaged     {damaged}\n" in text
    assert capsys.readouterr().err == f"note: {damaged}\n"
    assert shape(history, "a")[0]["damaged"] == [damaged]


# ---- which tasks ----


def test_without_a_word_what_is_not_done_is_told_the_ended_first(history):
    a, _, c = history.submit(task("a"), task("b"), task("c"))
    history.ran(a)
    history.write("output/a/x", "1")
    history.ran(c, outcome=Exited(1))
    assert [one["name"] for one in shape(history)] == ["c", "b"]
    history.submit(a)
    assert shape(history) == []
    assert told(history) == "All tasks are done: name one to see why it counts so\n"


def test_a_task_that_no_file_names_is_told(history):
    a, b = history.submit(task("a"), task("b"))
    history.submit(b)
    text = told(history, a.name)
    assert "file        tasks/default.yaml names it no more: nothing starts it" in text
    assert "What would change it" not in text
    assert shape(history, "1")[0]["source"] is None


def test_many_are_told_up_to_ten(history):
    history.submit(*(task(f"t{number}") for number in range(1, 13)))
    text = told(history, "t*")
    assert len(re.findall(r"^#\d+ t\d+: ready$", text, re.MULTILINE)) == 10
    assert text.endswith("… and 2 more: name them to have them explained\n")
    assert len(shape(history, "t*")) == 12


def test_nothing_to_tell_says_why(history, tmp_path_factory):
    with pytest.raises(NothingSelectedError, match="the queue holds no task"):
        told(history)
    history.submit(task("a"))
    with pytest.raises(NothingSelectedError, match="no task, stage or id matches 'zz'"):
        told(history, "zz")
    with pytest.raises(UsageError, match="no queue in"):
        explain(tmp_path_factory.mktemp("x"), [], PYTHON, as_json=False, out=io.StringIO())


# ---- how it looks ----


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_a_terminal_gets_lines_that_fit_and_stay_aligned(history, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    a = task("a", command=("train", *(f"--option{n}=value{n}" for n in range(20))), params={"n": 1})
    history.submit(a, task("b", needs=(a.id,)))
    text = told(history, "a", out=Terminal())
    assert max(map(len, text.splitlines())) <= columns
    start = text.index("  command")
    wrapped = text[start : text.index("  params")].splitlines()
    assert {line[:14].strip() for line in wrapped} == {"command", ""}


def test_letters_that_a_stream_does_not_know_are_escaped(history):
    history.submit(task("größe✓"))
    out = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    explain(history.path, [], PYTHON, as_json=False, out=out)
    out.flush()
    assert out.buffer.getvalue().startswith("#1 größe\\u2713: ready".encode("latin-1"))


def test_looking_changes_nothing(history):
    a, b = history.submit(task("a"), task("b", inputs=("in",)))
    history.ran(a)
    history.open_round(a)
    ask(history, "pause", b)

    def state() -> list[tuple[str, int]]:
        return sorted((str(path), path.stat().st_mtime_ns) for path in Path(history.path).rglob("*"))

    before = state()
    told(history)
    shape(history, "a", "b")
    assert state() == before
