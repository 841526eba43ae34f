"""Does an attempt start at most once, end completely, and say truthfully how?"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from parallel_train.core.events import Ended, NeedSeen, Refused, Vanished, Warned
from parallel_train.core.facts import TIME_UP, Exited, Lost, NotStarted, Request, Signalled, TimedOut
from parallel_train.core.task import DoneWhen
from parallel_train.procs import fence, launcher, locks, logs, process, watch
from parallel_train.procs.beat import Beat
from parallel_train.procs.runner import LocalRunner, stop
from parallel_train.store import queue, requests
from tests.faults import ptrace
from tests.support.machine import is_gone, lives, machine
from tests.support.wait import wait_until

STUBBORN = """
import os, signal, sys, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda n, _: print(signal.Signals(n).name, flush=True))
open("ready", "w").write("yes")
while True:
    time.sleep(1000)
"""
# Starts a child in a session of its own that ignores TERM, and a daemon forked twice; tells their pids; ends.
LEAVES_THINGS = """
import os, signal, subprocess, sys, time
def stay(ignoring):
    if ignoring:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(told, b"%d\\n" % os.getpid())
    os.close(told)
    while True:
        time.sleep(1000)
heard, told = os.pipe()
if os.fork() == 0:
    stay(False)
if os.fork() == 0:
    os.setsid()
    stay(True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.environ.clear()
        stay(False)
    os._exit(0)
os.close(told)
pids = open(heard).read()
with open("pids.tmp", "w") as file:
    file.write(pids)
os.rename("pids.tmp", "pids")
"""


@pytest.fixture
def made(tmp_path):
    with machine(tmp_path) as one:
        yield one


def pids(made):
    return [int(word) for word in made.until_file("pids").split()]


# ---- ends ----


def test_an_end_tells_times_and_use(made):
    end = made.run(
        made.python(
            "x = bytearray(50 << 20)\nimport time\nt = time.process_time()\nwhile time.process_time() - t < 0.05: pass"
        )
    )
    assert end.outcome == Exited(0)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", end.started)
    assert end.started <= end.ended
    assert 0.05 <= end.seconds < 20
    assert end.cpu_seconds >= 0.05
    assert end.max_rss_kib > 50_000
    assert (end.swept, end.stopped, end.note) == (0, "", "")


@pytest.mark.parametrize("code", [0, 1, 2, 126, 127, 130, 255])
def test_the_exit_code_is_the_tasks(made, code):
    assert made.run(made.task("sh", "-c", f"exit {code}")).outcome == Exited(code)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_signal_is_told_from_an_exit_code(made, number):
    assert made.run(made.task("sh", "-c", f"kill -{int(number)} $$")).outcome == Signalled(number)


def test_logs_hold_the_tasks_bytes_and_nothing_else(made):
    made.run(made.task("sh", "-c", r"printf '\000\377out\r'; printf err >&2"))
    claim = made.claim()
    assert (made.project / claim.log).read_bytes() == b"\0\xffout\r"
    assert (made.project / claim.err).read_bytes() == b"err"
    assert re.fullmatch(r"logs/cpu0_task_\d{8}_\d{6}\.log", claim.log)
    assert claim.err == claim.log[:-4] + ".err"


def test_two_attempts_never_share_a_log(made):
    for attempt in (1, 2):
        made.run(made.task("echo", str(attempt)), attempt=attempt)
    assert [made.log(attempt=n) for n in (1, 2)] == ["1\n", "2\n"]
    assert made.claim(attempt=2).log.endswith("_a2.log")


def test_a_log_name_that_is_taken_gets_a_number(tmp_path):
    names = []
    for _ in range(3):
        log, out, err, errors = logs.open_new({"project": str(tmp_path), "queue": str(tmp_path), "log": "x"})
        names.append((log, err))
        os.close(out)
        os.close(errors)
    assert names == [("x.log", "x.err"), ("x_2.log", "x_2.err"), ("x_3.log", "x_3.err")]
    (tmp_path / "x_4.err").symlink_to("somewhere")
    log, out, _, errors = logs.open_new({"project": str(tmp_path), "queue": str(tmp_path), "log": "x"})
    assert log == "x_5.log"
    assert not (tmp_path / "x_4.log").exists()
    assert not (tmp_path / "somewhere").exists()
    os.close(out)
    os.close(errors)


# ---- outputs ----


@pytest.mark.parametrize(
    ("script", "output", "state"),
    [
        ("true", None, "none"),
        ("true", "out", "missing"),
        ("mkdir out", "out", "empty"),
        (": > out", "out", "empty"),
        ("ln -s nowhere out", "out", "empty"),
        ("mkdir out && : > out/x", "out", "there"),
        ("echo x > out", "out", "there"),
        ("echo x > deep/er/out", "deep/er/out", "there"),  # the parent is made for it
    ],
)
def test_what_stands_where_the_output_was_promised(made, script, output, state):
    end = made.run(made.task(script, shell=True, output=output))
    assert (end.output, isinstance(end.outcome, Exited)) == (state, True)


@pytest.mark.parametrize(
    ("script", "contains", "state"),
    [
        ("mkdir out; echo Finished > out/log.txt", "Finish", "there"),
        ("mkdir out; echo no > out/log.txt", "Finish", "not done"),
        ("mkdir out; : > out/other", None, "not done"),
        ("mkdir -p out/log.txt", "Finish", "not done"),
        ("mkdir out; echo Finish > out/log.txt.1; sleep 0.02; echo no > out/log.txt", "Finish", "not done"),
    ],
)
def test_done_when_is_asked_of_our_own_too(made, script, contains, state):
    task = made.task(script, shell=True, output="out", done_when=DoneWhen(("out/log.txt*",), contains))
    assert made.run(task).output == state


def test_an_old_output_is_put_aside_before_the_command_sees_it(made):
    (made.project / "out").mkdir()
    (made.project / "out" / "old").write_text("old")
    made.run(made.task("sh", "-c", "ls out; mkdir out; echo new > out/new", output="out"), round_=2, aside=2)
    assert "old" not in made.log()
    assert (made.folder / "aside" / "task.2" / "out" / "old").read_text() == "old"
    made.run(made.task("ls", "out", output="out"), attempt=2, round_=2, aside=2)
    assert made.log(attempt=2) == "new\n"  # the next attempt of the round finds what the first one made


def test_a_lost_attempt_that_did_not_come_to_put_the_old_output_aside_left_nothing_to_go_on_from(made):
    (made.project / "out").mkdir()
    shown = made.task('echo "<$PARALLEL_TRAIN_RESUME>"; mkdir -p out; echo > out/new', shell=True, output="out")
    made.run(shown, round_=2, aside=2, resumes=True)
    assert made.log() == "<>\n"
    made.run(shown, attempt=2, round_=2, aside=2, resumes=True)
    assert made.log(attempt=2) == "<1>\n"


# ---- stopping ----

# The shim sleeps while its task is told to end, and is told too; it wakes when the task is dead.
TOLD_WITH_ITS_SHIM = """
kill -STOP $PPID; kill -TERM $PPID
(until grep -q ') Z' /proc/$$/stat; do :; done; kill -CONT $PPID) &
kill -TERM $$
"""


@pytest.mark.parametrize(("place", "stopped"), [({"SLURM_JOB_ID": "7"}, "worker"), ({}, "")])
def test_a_task_that_slurm_told_to_end_together_with_its_shim_was_stopped(tmp_path, place, stopped):
    with machine(tmp_path, environment={**os.environ, **place}) as made:
        end = made.run(made.task(TOLD_WITH_ITS_SHIM, shell=True))
    assert (end.outcome, end.stopped) == (Signalled(signal.SIGTERM), stopped)


@pytest.mark.parametrize(("left", "stopped"), [(0.0, TIME_UP), (3600.0, "worker")])
def test_a_stop_at_the_end_of_its_allocation_is_that_end_s(made, left, stopped):
    made.start(made.task("sleep", "600"), stops_at=time.monotonic() + left)
    made.claimed()
    made.runner.stop("task", 1, kill=False)
    end = made.ended()
    assert (end.outcome, end.stopped) == (Signalled(signal.SIGINT), stopped)


def test_the_ladder_is_climbed_to_its_end(made):
    made.start(made.python(STUBBORN))
    made.claimed()
    made.until_file("ready")
    made.runner.stop("task", 1, kill=False)
    end = made.ended()
    assert (end.outcome, end.stopped) == (Signalled(signal.SIGKILL), "worker")
    assert made.log().split() == ["SIGINT", "SIGTERM"]
    assert end.seconds >= 2 * made.grace


def test_a_kill_cuts_the_ladder_short(tmp_path):
    with machine(tmp_path, grace=600) as made:
        made.start(made.python(STUBBORN))
        made.until_file("ready")
        made.runner.stop("task", 1, kill=False)
        wait_until(lambda: made.log() if (made.listen(), made.events)[1] else "", "INT was told")
        made.runner.stop("task", 1, kill=True)
        assert made.ended().outcome == Signalled(signal.SIGKILL)


def test_a_time_limit_climbs_the_same_ladder(made):
    end = made.run(made.python(STUBBORN, timeout=0.3))
    assert (end.outcome, end.stopped) == (TimedOut(), "timeout")
    assert end.seconds >= 0.3


def test_a_task_that_obeys_at_its_time_limit_has_timed_out_all_the_same(made):
    end = made.run(made.task("sh", "-c", "trap 'exit 0' INT; while :; do sleep 0.01; done", timeout=0.2))
    assert end.outcome == TimedOut()


@pytest.mark.parametrize("which", ["the task", "its child"])
def test_what_does_not_die_keeps_its_slot_and_no_other_and_is_named(made, which):
    """Like one that waits for a disk or a driver; here it is kept by whoever traces it."""
    code = "import subprocess, time\nchild = subprocess.Popen(['sleep', '600']).pid\n"
    code += "open('pids.tmp', 'w').write(f'{os.getpid()} {child}')\nos.rename('pids.tmp', 'pids')\ntime.sleep(600)"
    device = made.device()
    made.start(made.python("import os\n" + code), device)
    pid = pids(made)[which == "its child"]
    try:
        ptrace.seize(pid)
    except OSError as error:
        pytest.skip(f"no process can be traced here: {error}")
    made.claimed()
    made.runner.stop("task", 1, kill=True)
    warned = made.warned(f"process {pid} ")
    assert "does not die" in warned
    assert locks.is_held(device.lock)
    assert not (made.folder / "ends" / "task.1").exists()
    assert made.run(made.task("true", name="other")).outcome == Exited(0)
    os.waitpid(pid, 0x40000000)  # __WALL: now it may go
    end = made.ended()
    assert (end.outcome, end.stopped) == (Signalled(signal.SIGKILL), "worker")
    wait_until(lambda: not locks.is_held(device.lock), "the slot is free")


@pytest.mark.parametrize("kill", [False, True])
def test_a_stop_at_the_very_first_instant_is_kept(made, kill):
    for n in range(8):
        task = made.task("sh", "-c", "exec sleep 1000", name=f"t{n}")
        made.start(task)
        made.runner.stop(f"t{n}", 1, kill=kill)
        end = made.ended(f"t{n}")
        assert (end.outcome, end.stopped) == (Signalled(9 if kill else 2), "worker")


# ---- sweeping ----


def test_nothing_outlives_its_attempt(made):
    device = made.device()
    made.start(made.python(LEAVES_THINGS), device)
    left = pids(made)
    assert len(left) == 3
    end = made.ended()
    assert (end.outcome, end.swept) == (Exited(0), 3)
    assert all(is_gone(pid) for pid in left)


def test_the_end_is_recorded_only_when_all_is_swept_and_the_slot_is_free_only_then(made):
    device = made.device()
    path = Path(locks.folder()) / device.lock
    made.start(made.python(LEAVES_THINGS), device)
    left = pids(made)
    record = made.folder / "ends" / "task.1"
    while not record.exists():
        if any(lives(pid) for pid in left):
            assert locks.is_held(device.lock) or record.exists()
    assert all(is_gone(pid) for pid in left)
    made.ended()
    wait_until(lambda: not locks.is_held(device.lock), "the slot is free")
    descriptor = os.open(path, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert locks.holder(descriptor) == {}  # it signed off
    os.close(descriptor)


def test_a_stopped_attempt_is_swept_too(made):
    made.start(made.python(LEAVES_THINGS + "\ntime.sleep(1000)"))
    left = pids(made)
    made.claimed()
    made.runner.stop("task", 1, kill=True)
    assert made.ended().outcome == Signalled(signal.SIGKILL)
    assert all(is_gone(pid) for pid in left)


def test_a_killed_shim_takes_its_task_and_all_orphans_with_it(made):
    device = made.device()
    made.start(made.python(LEAVES_THINGS + "\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(1000)"), device)
    left = [*pids(made), int(made.until_file("pid"))]
    claim = made.claimed()
    os.kill(claim.owner.pid, signal.SIGKILL)
    assert made.event(Vanished).why == "killed"
    assert all(is_gone(pid) for pid in left)  # the launcher sweeps before anybody learns of it
    wait_until(lambda: not locks.is_held(device.lock), "the slot is free")
    end = made.run(made.task("true", name="next"), device)  # the slot is taken over with the dead holder's name
    assert end.outcome == Exited(0)


def test_a_dead_shim_is_told_once_nothing_of_it_lives_or_does_not_die():
    heard, line = socket.socketpair()
    with socket.socket() as nobody:
        sweeping = launcher.Launcher(nobody)
    sweeping.unswept, sweeping.since = [line], time.monotonic()
    sweeping.go_on([4242])
    assert sweeping.unswept == [line]
    sweeping.since -= launcher.PATIENCE
    sweeping.go_on([4242])
    with heard, heard.makefile() as file:  # to its end: the other side is closed
        assert "process 4242, left by a task" in file.read()
    assert sweeping.unswept == []


def test_a_task_dies_with_its_shim_also_where_nobody_is_left_to_sweep(made):
    device = made.device()
    made.start(made.python("import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(1000)"), device)
    task = int(made.until_file("pid"))
    claim = made.claimed()
    made.runner._process.kill()
    made.runner._process.wait()
    assert lives(task)
    os.kill(claim.owner.pid, signal.SIGKILL)
    wait_until(lambda: is_gone(task), "the task is dead")
    wait_until(lambda: not locks.is_held(device.lock), "the slot is free")


def test_whoever_takes_the_slot_of_a_killed_shim_sweeps_what_it_left(made):
    """Also where its launcher is dead: what it left carries its cookie and has closed the lock."""
    device, cookie = made.device(), "task.9.1.1." + os.urandom(8).hex()
    held = locks.take(device.lock)
    locks.sign(held, {"boot": process.boot_id(), "cookie": cookie})
    os.close(held)
    orphan = subprocess.Popen(["sleep", "1000"], env={**os.environ, "PARALLEL_TRAIN_COOKIE": cookie})
    decoy = subprocess.Popen(["sleep", "1000"], env={**os.environ, "PARALLEL_TRAIN_COOKIE": cookie + "1"})
    try:
        assert made.run(made.task("true"), device).outcome == Exited(0)
        assert orphan.wait(20) == -signal.SIGKILL
        assert decoy.poll() is None
    finally:
        for child in (orphan, decoy):
            child.kill()
            child.wait()


def test_after_a_reboot_nobody_is_waited_for_and_nobody_is_signalled(made):
    """Its pid and start time may be another's by now, and its cookie can't be anybody's."""
    made.start(made.task("sleep", "600"))
    claim = made.claimed()
    before = replace(claim, task="before", owner=replace(claim.owner, boot="an earlier one"))
    made.runner.watch(before)
    assert made.event(Vanished, "before").why == "rebooted"
    assert not stop(before)
    made.runner.sweep(before)
    assert stop(claim)
    assert made.ended().outcome == Signalled(signal.SIGINT)  # untouched until then


def dead_process():
    """Who somebody was that has ended, as it signs a slot."""
    gone = subprocess.Popen(["true"])
    who = {**process.this_process(""), "pid": gone.pid, "start": process.start_time(gone.pid)}
    gone.wait()
    return who


def test_what_holds_a_slot_though_its_shim_is_dead_is_swept_too(made):
    """Its attempt may have been ended from another host, so that nobody else comes to sweep it."""
    device, cookie = made.device(), "task.9.1.1." + os.urandom(8).hex()
    who = {**dead_process(), "cookie": cookie}
    held = locks.take(device.lock)
    environment = {**os.environ, "PARALLEL_TRAIN_COOKIE": cookie}
    orphan = subprocess.Popen(["sleep", "1000"], env=environment, pass_fds=[held])
    try:
        for stranger in ({"pidns": "another"}, {"boot": "another"}, process.this_process("")):
            locks.sign(held, {**who, **stranger})
            fence.sweep_if_dead(locks.holder_of(device.lock))
            assert orphan.poll() is None
        locks.sign(held, who)
        os.close(held)
        made.start(made.task("true"), device)
        assert made.refused().why == "busy"
        assert orphan.wait(20) == -signal.SIGKILL
        assert made.run(made.task("true"), device).outcome == Exited(0)
    finally:
        orphan.kill()
        orphan.wait()


def test_attempts_outlive_the_scheduler(made):
    made.start(made.task("sh", "-c", "until test -e go; do sleep 0.01; done; echo done"))
    claim = made.claimed()
    made.runner.close()
    assert lives(claim.owner.pid)
    (made.project / "go").touch()
    wait_until((made.folder / "ends" / "task.1").exists, "the end is recorded")
    assert (made.end().outcome, made.log()) == (Exited(0), "done\n")
    wait_until(lambda: is_gone(claim.owner.pid), "the shim is gone")


# ---- claims ----


def test_of_two_shims_for_one_attempt_exactly_one_claims(tmp_path):
    with machine(tmp_path, worker="one") as one, machine(tmp_path, worker="two") as two:
        for n in range(20):
            for each in (one, two):
                each.start(each.task("sh", "-c", "echo x >> $0", f"t{n}.ran", name=f"t{n}"))
            wait_until(
                lambda n=n: (one.listen(), two.listen(), done(one, n) and done(two, n))[2], f"both are done with {n}"
            )
            told = [e for each in (one, two) for e in each.events if getattr(e, "task", "") == f"t{n}"]
            assert [(e.why) for e in told] == ["behind"]
            assert (tmp_path / f"t{n}.ran").read_text() == "x\n"
        logs = list((tmp_path / "logs").iterdir())
        assert len(logs) == 40  # whoever lost left none behind


def done(each, n):
    def is_of(event):
        return getattr(event, "task", "") == f"t{n}" or (isinstance(event, Ended) and event.end.task == f"t{n}")

    return any(isinstance(e, (Ended, Refused)) and is_of(e) for e in each.events)


def test_a_claim_tells_who_runs_what_on_what(made):
    devices = (made.device("gpu", "1"), made.device("gpu", "0"))
    seen = {"need": NeedSeen(1, 4, 4)}
    made.start(made.task("true", gpus=2), *devices, attempt=1, round_=3, needs=seen)
    claim = made.claimed()
    assert (claim.round, claim.identity, dict(claim.needs)) == (3, "same", {"need": 4})
    assert (claim.slots, claim.gpus) == (tuple(d.lock for d in devices), ("1", "0"))
    assert claim.owner.worker == "tester"
    assert claim.owner.pid != os.getpid()
    assert str(claim.owner.pid) in claim.cookie
    assert claim.log.startswith("logs/gpu1-0_task_")
    made.ended()


def test_a_wide_task_takes_all_of_its_slots_or_none(made):
    one, two = made.device("gpu", "0"), made.device("gpu", "1")
    held = locks.take(max(one.lock, two.lock))
    made.start(made.task("true", gpus=2), one, two)
    refused = made.refused()
    assert (refused.why, len(refused.slots)) == ("busy", 1)
    wait_until(lambda: not locks.is_held(min(one.lock, two.lock)), "the other is free again")
    os.close(held)
    assert not (made.folder / "claims" / "task.1").exists()


@pytest.mark.parametrize(
    ("kind", "name", "why"),
    [
        ("rounds", "task.2", "a newer round was opened"),
        ("rounds", "need.2", "a need is to run again"),
        ("claims", "need.5", "a need runs again"),
        ("workers", None, "its worker left"),
    ],
)
def test_what_changed_meanwhile_is_seen_after_the_claim(made, kind, name, why):
    if name is None:
        made.queue().leave()
    else:
        made.publish(kind, name)
    made.start(made.task("touch", "ran"), needs={"need": NeedSeen(1, 4, 4)})
    made.claimed()
    assert made.ended().outcome == NotStarted(why)
    assert not (made.project / "ran").exists()


def test_the_same_view_starts(made):
    for n in range(1, 5):
        made.publish("claims", f"need.{n}")
    made.start(made.task("true"), needs={"need": NeedSeen(1, 4, 4)})
    assert made.ended().outcome == Exited(0)


def test_an_end_that_somebody_else_wrote_stands_and_is_said(made):
    made.start(made.task("sh", "-c", "until test -e go; do sleep 0.01; done"))
    claim = made.claimed()
    made.queue().end_as_lost(claim, Lost("killed"))
    (made.project / "go").touch()
    assert made.ended().outcome == Lost("killed")
    assert any("ended by somebody else" in e.text for e in made.events if isinstance(e, Warned))


def test_a_machine_that_can_not_write_claims_nothing_and_leaves_nothing(made):
    (made.folder / "claims").rmdir()
    made.start(made.task("true"))
    assert made.refused().why == "trouble"
    assert list((made.project / "logs").iterdir()) == []
    (made.folder / "claims").mkdir()
    assert made.run(made.task("true")).outcome == Exited(0)


def test_a_log_folder_that_went_away_is_made_again(made):
    (made.project / "logs").rmdir()
    assert made.run(made.task("true")).outcome == Exited(0)


def test_a_file_in_the_place_of_the_log_folder_is_trouble_and_no_attempt(made):
    (made.project / "logs").rmdir()
    (made.project / "logs").write_text("")
    made.start(made.task("true"))
    refused = made.refused()
    assert (refused.why, "logs" in refused.text) == ("trouble", True)
    assert list((made.folder / "claims").iterdir()) == []


def test_slot_locks_are_touched_while_they_are_held(made):
    device = made.device()
    held = locks.take(device.lock)
    os.utime(held, (1.0, 1.0))
    watched = watching(made.folder, held=[held])
    watched._on_time(watched.next_touch - 1)
    assert os.fstat(held).st_mtime == 1.0
    watched._on_time(watched.next_touch)
    assert os.fstat(held).st_mtime > 1.0
    os.close(held)


# ---- what people asked for ----


def ask(made, kind, **tasks):
    return requests.ask(made.folder, Request(0, kind, tasks)).number


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ([("cancel", {"task": 1})], "cancelled"),
        ([("cancel", {"task": 2})], "cancelled"),
        ([("cancel", {"other": 1})], ""),
        ([("pause", {})], "paused"),
        ([("pause", {}), ("resume", {})], ""),
        ([("pause", {"task": 1})], "paused"),
        ([("pause", {"task": 1}), ("resume", {})], "paused"),
        ([("pause", {"other": 1})], ""),
        ([("priority", {"task": 3})], ""),
    ],
)
def test_what_a_person_asked_meanwhile_is_seen_after_the_claim(made, asked, why):
    for kind, tasks in asked:
        ask(made, kind, **tasks)
    end = made.run(made.task("true"))
    assert end.outcome == (NotStarted(why) if why else Exited(0))


def test_what_the_scheduler_knew_is_not_asked_again(made):
    """It has decided with it: a round that a person asked for lifts an older cancel."""
    known = ask(made, "cancel", task=1)
    assert made.run(made.task("true"), heard=known).outcome == Exited(0)
    assert made.run(made.task("true", name="other"), heard=known - 1, asked_round=2).outcome == Exited(0)


def test_a_cancelled_attempt_is_ended_by_a_signal_to_its_shim(made):
    made.start(made.task("sh", "-c", "touch up; exec sleep 600"))
    claim = made.claimed()
    wait_until((made.project / "up").exists, "it runs")
    ask(made, "cancel", task=1)
    assert stop(claim)
    end = made.ended()
    assert (end.outcome, end.stopped) == (Signalled(signal.SIGINT), "cancel")
    wait_until(lambda: not stop(claim), "its shim is gone")


def test_an_attempt_hears_of_its_cancel_without_a_signal(tmp_path):
    """Whoever asks may sit at another host."""
    queue.create(tmp_path)
    requests.ask(tmp_path, Request(0, "cancel", {"task": 1}))
    pid = os.posix_spawn("/bin/sleep", ["sleep", "600"], {}, setsid=True)
    watched = watching(tmp_path, pid)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watch.SIGNALS)
    try:
        watched.wait()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert watched.outcome()["stopped"] == "cancel"
    assert watched.outcome()["outcome"] == {"signalled": signal.SIGINT}


def watching(folder, pid=0, held=()):
    order = {
        "queue": str(folder),
        "task": "task",
        "attempt": 1,
        "heard": 0,
        "asked_round": 1,
        "grace": 10.0,
        "timeout": None,
        "stops_at": None,
        "lease": 0.3,
        "beat": 0.05,
        "shared": False,
        "group": "",
        "log": "logs/task",
    }
    return watch.Watch(pid, order, list(held), Beat(order, time.monotonic()), say=print)


def test_requests_that_cannot_be_read_stop_nothing(made):
    (made.folder / "requests" / "1").write_text("damaged")
    assert made.run(made.task("true")).outcome == Exited(0)


@pytest.mark.parametrize("data", [{"kind": "dance"}, {"tasks": 3, "kind": "cancel"}, {}])
def test_a_request_of_another_version_stops_nobody(made, data):
    made.publish("requests", "1", data)
    assert made.run(made.task("true")).outcome == Exited(0)


def test_a_request_that_can_not_be_read_stops_nobody(made):
    (made.folder / "requests" / "1").symlink_to(made.folder / "requests" / "1")
    assert made.run(made.task("true")).outcome == Exited(0)


def test_requests_that_can_not_be_listed_cost_the_task_nothing(made):
    (made.folder / "requests").rmdir()
    (made.folder / "requests").write_text("")
    outcome = made.run(made.task("true")).outcome
    assert isinstance(outcome, NotStarted)
    assert "the queue can't be read" in outcome.why


def test_the_next_worker_of_a_queue_sweeps_what_its_killed_shims_left_on_slots_that_nobody_takes(made):
    """Another host may have ended their attempts: then no claim tells of them."""
    device, cookie = made.device(), "task.9.1.1." + os.urandom(8).hex()
    who = {**dead_process(), "cookie": cookie}
    held = locks.take(device.lock)
    orphan = subprocess.Popen(["sleep", "1000"], env={**os.environ, "PARALLEL_TRAIN_COOKIE": cookie})
    try:
        locks.sign(held, {**who, "queue": "another queue"})
        LocalRunner(made.around).close()
        assert orphan.poll() is None
        locks.sign(held, {**who, "queue": str(made.folder)})
        LocalRunner(made.around).close()
        assert orphan.wait(20) == -signal.SIGKILL
    finally:
        os.close(held)
        orphan.kill()
        orphan.wait()
