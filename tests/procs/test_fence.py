"""Is what hides from everything else ended through its attempt's control group, and nothing but that?"""

from __future__ import annotations

import os
import signal
import subprocess
import uuid
from pathlib import Path

import pytest

from parallel_train.core.events import Vanished
from parallel_train.core.facts import Exited, Signalled
from parallel_train.procs import fence, locks, process, runner
from tests.support.machine import is_gone, lives, machine
from tests.support.wait import wait_until

groups = pytest.mark.skipif(not fence.place(), reason=f"no control groups of our own: {fence.obstacle()}")

# Two forks, a session, no environment, no descriptors, no folder: no mark is left on it, and it is nobody's child.
GHOST = """
import os, sys, time
def ghost():
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    with open(sys.argv[1] + ".tmp", "w") as file:
        file.write(str(os.getpid()))
    os.rename(sys.argv[1] + ".tmp", sys.argv[1])
    os.closerange(0, 200)
    os.execve(sys.executable, ["ghost", "-I", "-S", "-c", "import time; time.sleep(600)"], {})
child = os.fork()
if child == 0:
    ghost()
os.waitpid(child, 0)
time.sleep(600)
"""


@pytest.fixture
def made(tmp_path):
    with machine(tmp_path) as one:
        yield one


@pytest.fixture
def cookie():
    """One of an attempt of this process: whoever tidies here meanwhile lets it be."""
    own = f"task.1.{os.getpid()}.{process.start_time(os.getpid())}.{uuid.uuid4()}"
    yield own
    fence.end(fence.path(own))


def ghost(made, device=None):
    """A task and a process of it that nothing leads to; the pid of that one."""
    path = str(made.project / "ghost")
    made.start(made.task(os.sys.executable, "-I", "-S", "-c", GHOST, path), *([device] if device else []))
    return int(made.until_file("ghost"))


def group_of(pid):
    text = Path(f"/proc/{pid}/cgroup").read_text()
    return next(line[3:] for line in text.splitlines() if line.startswith("0::"))


def sleeper_in(group):
    pid = fence.fork(group)
    if pid == 0:
        os.execv("/bin/sleep", ["sleep", "600"])
    return pid


# ---- where groups are made ----


def tree(tmp_path, group="/user.slice/work.scope", *, mount="sys/fs/cgroup", systemd=True, files=("cgroup.kill",)):
    """A machine as far as it is asked; the folder of this process's group in it."""
    folder = tmp_path / mount / group.lstrip("/")
    folder.mkdir(parents=True)
    for name in ("cgroup.procs", "cgroup.type", *files):
        (folder / name).write_text("")
    (folder / "cgroup.procs").write_text(f"1\n{os.getpid()}\n")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(f"4:memory:/else\n0::{group}\n")
    if systemd:
        (tmp_path / "run/systemd/system").mkdir(parents=True)
    return folder


def mark(folder, value=b"1"):
    try:
        os.setxattr(folder, "user.delegate", value)
    except OSError:
        pytest.skip("this disk has no extended attributes")


@pytest.mark.parametrize("mount", ["sys/fs/cgroup", "sys/fs/cgroup/unified"])
def test_a_delegated_group_is_ours_to_divide(tmp_path, mount):
    folder = tree(tmp_path, mount=mount)
    assert "not delegated" in fence.obstacle(str(tmp_path))  # though it may be written
    mark(folder, b"0")
    assert "not delegated" in fence.obstacle(str(tmp_path))
    mark(folder)
    assert fence.obstacle(str(tmp_path)) == ""


def test_the_top_one_is_ours_only_where_no_systemd_divides_it(tmp_path):
    tree(tmp_path, "/", systemd=False)
    assert fence.obstacle(str(tmp_path)) == ""
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    assert "not delegated" in fence.obstacle(str(tmp_path))


def test_another_ones_group_is_left_alone_without_systemd_too(tmp_path):
    tree(tmp_path, "/somebody/else", systemd=False)
    assert "not delegated" in fence.obstacle(str(tmp_path))


def test_an_old_kernel_can_not_end_a_group(tmp_path):
    mark(tree(tmp_path, files=()))
    assert "5.14" in fence.obstacle(str(tmp_path))


@pytest.mark.parametrize("text", ["", "4:memory:/else\n", "0::/../other\n", "0::/gone (deleted)\n", "0::\n"])
def test_a_group_that_can_not_be_seen_is_none(tmp_path, text):
    mark(tree(tmp_path))
    (tmp_path / "proc/self/cgroup").write_text(text)
    assert fence.obstacle(str(tmp_path)) == "there is no cgroup v2 here"


def test_a_folder_that_does_not_list_us_is_not_our_group(tmp_path):
    folder = tree(tmp_path)
    mark(folder)
    (folder / "cgroup.procs").write_text(f"1\n{os.getpid()}0\n")
    assert fence.obstacle(str(tmp_path)) == "there is no cgroup v2 here"


# ---- one group ----


@groups
def test_a_child_is_born_in_its_group_and_nobody_is_moved(cookie):
    group, before = fence.path(cookie), group_of(os.getpid())
    pid = sleeper_in(group)
    assert group.endswith(group_of(pid))
    assert group_of(pid) != before == group_of(os.getpid())
    assert Path(group, "cgroup.procs").read_text() == f"{pid}\n"
    assert fence.end(group)
    assert not Path(group).exists()
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL


@groups
def test_the_groups_that_a_task_made_in_its_own_end_with_it(cookie):
    group = fence.path(cookie)
    pid = sleeper_in(group)
    inner = f"{group}/of/tasks"
    Path(inner).mkdir(parents=True)
    other = sleeper_in(f"{inner}/own")
    assert fence.end(group)
    assert not Path(group).exists()
    for each in (pid, other):
        assert os.waitpid(each, 0)[1] == signal.SIGKILL


@pytest.mark.parametrize("group", ["", "/sys/fs/cgroup/no-such-folder/group", "/proc/group"])
def test_without_a_group_it_is_a_plain_fork(group):
    before = group_of(os.getpid())
    pid = sleeper_in(group)
    assert group_of(pid) == before
    fence.kill(group)
    assert fence.end(group)
    assert lives(pid)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_folder_that_is_no_group_is_given_up_again(tmp_path):
    """An old kernel's, say, which has no way to end it."""
    pid = sleeper_in(str(tmp_path / "group"))
    assert list(tmp_path.iterdir()) == []
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_group_that_another_container_took_away_is_done_without(tmp_path, monkeypatch):
    """Its launcher can't see our shim, and takes an empty group for one left behind."""
    mkdir = os.mkdir
    monkeypatch.setattr(os, "mkdir", lambda path: (mkdir(path), Path(path).rmdir()))
    pid = sleeper_in(str(tmp_path / "group"))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@groups
def test_what_a_record_says_is_not_enough_to_kill(cookie):
    group = fence.path(cookie)
    pid = sleeper_in(group)
    for forged, whose in (
        (group, cookie + "0"),
        (group, "other"),
        (group + "/", cookie),
        (f"{fence.place()}/../{Path(fence.place()).name}/{Path(group).name}", cookie),
        (fence.place(), ""),
        (None, cookie),
        (7, cookie),
        ("", cookie),
    ):
        assert fence.sweep(forged, whose)
        assert lives(pid)
    assert fence.sweep(group, cookie)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL


def test_a_folder_elsewhere_is_not_touched(tmp_path):
    folder = tmp_path / (fence.PREFIX + "cookie")
    folder.mkdir()
    assert fence.sweep(str(folder), "cookie")
    assert folder.exists()


@pytest.fixture
def freeze():
    """Makes a process deaf even to SIGKILL, as one is that waits for a disk; until `thaw`, or the end of the test."""
    freezer = Path("/sys/fs/cgroup/freezer", f"test-{uuid.uuid4()}")
    try:
        freezer.mkdir()
    except OSError:
        pytest.skip("no freezer (cgroup v1) of our own")

    def freeze(pid):
        (freezer / "tasks").write_text(str(pid))
        (freezer / "freezer.state").write_text("FROZEN")
        wait_until(lambda: (freezer / "freezer.state").read_text() == "FROZEN\n", "it is frozen")
        return thaw

    def thaw():
        (freezer / "freezer.state").write_text("THAWED")

    yield freeze
    thaw()
    wait_until(lambda: (freezer / "tasks").read_text() == "", "what was frozen has ended")
    freezer.rmdir()


@groups
def test_what_does_not_die_is_not_waited_for_forever(cookie, freeze):
    group = fence.path(cookie)
    pid = sleeper_in(group)
    thaw = freeze(pid)
    assert not fence.end(group, patience=0.01)
    assert lives(pid)
    thaw()
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert fence.end(group)


@pytest.mark.parametrize("by", ["group", "environment"])
def test_a_slot_is_not_free_while_what_its_dead_holder_left_does_not_die(made, cookie, freeze, by):
    if by == "group" and not fence.place():
        pytest.skip(fence.obstacle())
    group = fence.path(cookie) if by == "group" else ""
    pid = fence.fork(group)
    if pid == 0:
        os.execve("/bin/sleep", ["sleep", "600"], {"PARALLEL_TRAIN_COOKIE": "" if group else cookie})
    wait_until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n", "it sleeps")
    thaw = freeze(pid)
    device, other = made.device(), made.device()
    held = locks.take(device.lock)
    locks.sign(held, {"boot": process.boot_id(), "cookie": cookie, "group": group, "queue": "/some/queue"})
    os.close(held)
    made.start(made.task("true"), device)
    refused = made.refused()
    assert (refused.why, refused.slots) == ("busy", (device.lock,))
    assert f"/some/queue that does not die: process {pid} (sleep, state D)" in refused.text
    assert made.run(made.task("true", name="other"), other).outcome == Exited(0)
    thaw()
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert made.run(made.task("true"), device).outcome == Exited(0)


@groups
def test_empty_groups_of_dead_shims_are_taken_away_and_no_others(cookie):
    own = process.this_process("")
    mine = f"task.1.{own['pid']}.{own['start']}.{own['boot']}"
    reused = f"task.1.{own['pid']}.{int(own['start']) + 1}.{own['boot']}"
    folders = {name: Path(fence.place(), name) for name in (fence.PREFIX + mine, fence.PREFIX + "x", "test-" + cookie)}
    pid = sleeper_in(fence.path(cookie))
    try:
        for folder in (*folders.values(), Path(fence.path(reused))):
            folder.mkdir()
        fence.tidy()
        assert not Path(fence.path(reused)).exists()
        assert all(folder.exists() for folder in folders.values())
        assert lives(pid)
    finally:
        for folder in folders.values():
            folder.rmdir()
    fence.end(fence.path(cookie))
    os.waitpid(pid, 0)


# ---- attempts ----


@groups
def test_a_task_lives_in_a_group_of_its_own_and_its_shim_does_not(made):
    # By what the shell does itself: one that waits for a `cat` may take a SIGINT for the cat's, and go on.
    made.start(made.task("sh", "-c", "while read line; do echo $line; done < /proc/self/cgroup; exec sleep 600"))
    claim = made.claimed()
    assert claim.group == fence.path(claim.cookie)
    wait_until(lambda: fence.PREFIX + claim.cookie in made.log(), "it tells its group")
    assert group_of(claim.owner.pid) == group_of(made.runner._process.pid) == group_of(os.getpid())
    made.runner.stop("task", 1, kill=False)
    assert made.ended().outcome == Signalled(signal.SIGINT)
    assert not Path(claim.group).exists()


@groups
def test_a_command_that_can_not_be_started_leaves_no_group(made):
    assert made.run(made.task("no-such-program")).outcome == Exited(127)
    assert not Path(made.claim().group).exists()


@groups
def test_one_of_us_in_a_task_may_divide_its_group(made):
    code = f"import sys; sys.path.insert(0, {str(Path(fence.__file__).parents[2])!r})\n"
    code += "from parallel_train.procs import fence; print(fence.place(), end='')"
    assert made.run(made.python(code)).outcome == Exited(0)
    assert made.log() == made.claim().group


@groups
def test_what_hides_is_dead_before_its_attempt_is_given_up(made):
    """Its shim was shot: whoever recovers the attempt sweeps, then says that it is lost."""
    pid = ghost(made)
    claim = made.claimed()
    made.runner._process.kill()  # else it would sweep its orphans
    made.runner._process.wait()
    os.kill(claim.owner.pid, signal.SIGKILL)
    assert made.event(Vanished).why == "killed"
    assert lives(pid)
    runner.sweep(claim)
    assert is_gone(pid)
    assert not Path(claim.group).exists()


@groups
def test_whoever_takes_the_slot_next_ends_what_hides(made):
    device = made.device()
    pid = ghost(made, device)
    claim = made.claimed()
    made.runner._process.kill()
    made.runner._process.wait()
    os.kill(claim.owner.pid, signal.SIGKILL)
    wait_until(lambda: not locks.is_held(device.lock), "the slot is free")
    assert lives(pid)
    made.runner._lose_launcher()
    assert made.run(made.task("true", name="next"), device).outcome == Exited(0)
    assert is_gone(pid)
    assert not Path(claim.group).exists()


@groups
def test_a_decoy_beside_it_is_left_alone(made):
    """The same program, as hidden, in the group that we are in."""
    pid = ghost(made)
    decoy = subprocess.Popen(["ghost", "600"], executable="/bin/sleep", env={}, cwd="/", start_new_session=True)
    try:
        claim = made.claimed()
        made.runner.stop("task", 1, kill=True)
        made.ended()
        runner.sweep(claim)
        assert is_gone(pid)
        assert decoy.poll() is None
    finally:
        decoy.kill()
        decoy.wait()
