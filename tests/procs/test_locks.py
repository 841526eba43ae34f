"""Is a slot held by one at a time, for as long as anything of its attempt lives, and not a moment longer?"""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from parallel_train.procs import locks
from tests.support.wait import wait_until

TAKE = (
    "from parallel_train.procs import locks; import sys; d = locks.take(sys.argv[1]); print(d is not None, flush=True)"
)


@pytest.fixture
def name():
    made = f"cpu-test-{uuid.uuid4().hex}"
    yield made
    (Path(locks.folder()) / made).unlink(missing_ok=True)


def other_process(name, then="sys.stdin.read()"):
    """Another process that tries to take the lock and holds it until its input is closed."""
    made = subprocess.Popen(
        [sys.executable, "-c", f"{TAKE}; {then}", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return made, made.stdout.readline() == "True\n"


def test_one_at_a_time_across_processes(name):
    other, has_it = other_process(name)
    with other:
        assert has_it
        assert locks.take(name) is None
        assert locks.is_held(name)
        other.kill()
        other.wait()
    mine = locks.take(name)
    assert mine is not None
    other, has_it = other_process(name)
    with other:
        assert not has_it
    os.close(mine)
    assert not locks.is_held(name)


def test_one_at_a_time_within_a_process(name):
    mine = locks.take(name)
    assert locks.take(name) is None
    os.close(mine)
    again = locks.take(name)
    assert again is not None
    os.close(again)


def test_the_descriptor_stands_above_those_that_scripts_use_and_is_not_inherited_by_itself(name):
    mine = locks.take(name)
    assert mine > 100
    assert not os.get_inheritable(mine)
    os.close(mine)


def test_a_lock_that_a_child_inherits_is_free_only_when_the_child_is_dead(name):
    mine = locks.take(name)
    os.set_inheritable(mine, True)
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[mine])
    os.close(mine)
    assert locks.take(name) is None
    child.kill()
    child.wait()
    assert not locks.is_held(name)
    child.stdin.close()


def test_a_look_does_not_disturb_and_a_lock_waits_it_out(name):
    mine = locks.take(name)
    for _ in range(100):
        assert locks.is_held(name)
    os.close(mine)
    looking = os.open(Path(locks.folder()) / name, os.O_RDWR)
    fcntl.flock(looking, fcntl.LOCK_SH)  # as a look takes it, for a moment
    child = os.fork()
    if child == 0:
        os.close(looking)
        os._exit(0 if locks.take(name) is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0  # patience has an end
    os.close(looking)
    assert not locks.is_held(name)
    assert not locks.is_held("cpu-test-never-" + uuid.uuid4().hex)


def test_looks_from_many_sides_never_keep_a_lock_from_being_taken(name):
    os.close(locks.take(name))
    looker = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from parallel_train.procs import locks; import sys\nwhile 1: locks.is_held(sys.argv[1])",
            name,
        ]
    )
    try:
        for _ in range(200):
            mine = locks.take(name)
            assert mine is not None
            os.close(mine)
    finally:
        looker.kill()
        looker.wait()


def test_a_file_that_was_replaced_under_us_is_no_lock(name, monkeypatch):
    path = Path(locks.folder()) / name
    real, replaced = fcntl.flock, []

    def cleaned_in_between(descriptor, operation):
        real(descriptor, operation)
        if not replaced:
            replaced.append(os.fstat(descriptor).st_ino)
            path.rename(path.with_name(name + ".old"))

    monkeypatch.setattr(fcntl, "flock", cleaned_in_between)
    mine = locks.take(name)
    monkeypatch.undo()
    assert os.fstat(mine).st_ino == path.stat().st_ino != replaced[0]
    assert locks.take(name) is None
    os.close(mine)
    path.with_name(name + ".old").unlink()


def test_a_planted_link_is_refused(name, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (Path(locks.folder()) / name).symlink_to(victim)
    with pytest.raises(OSError, match="symbolic"):
        locks.take(name)
    assert victim.read_text() == "precious"


def test_the_folder_is_ours_alone():
    found = os.lstat(locks.folder())
    assert stat.S_IMODE(found.st_mode) & 0o022 == 0
    assert found.st_uid == os.getuid()


@pytest.mark.parametrize("kind", ["open to others", "link", "file", "another's"])
def test_a_folder_that_is_not_ours_alone_is_refused(tmp_path, monkeypatch, kind):
    place = tmp_path / "place"
    if kind == "link":
        (tmp_path / "real").mkdir(mode=0o700)
        place.symlink_to(tmp_path / "real")
    elif kind == "file":
        place.write_text("")
    else:
        place.mkdir(mode=0o700)
        place.chmod(0o777 if kind == "open to others" else 0o700)
    real_lstat, real_mkdir = os.lstat, os.mkdir

    def lstat(path):
        found = real_lstat(place)
        if kind != "another's":
            return found
        return os.stat_result((*found[:4], os.getuid() + 1, *found[5:10]))

    monkeypatch.setattr(os, "lstat", lstat)
    monkeypatch.setattr(os, "mkdir", lambda path, mode: real_mkdir(place, mode))
    with pytest.raises(PermissionError, match=r"not a folder of yours|others can write"):
        locks.folder()


def test_the_holder_is_written_read_and_taken_out_again(name):
    mine = locks.take(name)
    assert locks.holder(mine) == {}
    locks.sign(mine, {"task": "a", "cookie": "x" * 3000})
    locks.sign(mine, {"task": "b", "pid": 7})
    assert locks.holder(mine) == {"task": "b", "pid": 7}
    locks.sign(mine, {})
    assert locks.holder(mine) == {}
    os.ftruncate(mine, 0)
    os.pwrite(mine, b'{"half', 0)
    assert locks.holder(mine) == {}
    os.pwrite(mine, b"[1, 2]     ", 0)
    assert locks.holder(mine) == {}
    os.close(mine)


def test_a_killed_holder_leaves_its_name(name):
    sign = "locks.sign(d, {'task': 'a'}); print(1, flush=True); sys.stdin.read()"
    other, has_it = other_process(name, sign)
    with other:
        assert has_it
        assert other.stdout.readline() == "1\n"
        other.kill()
        other.wait()
    mine = wait_until(lambda: locks.take(name), "the lock is free")
    assert locks.holder(mine) == {"task": "a"}
    os.close(mine)


def test_a_held_lock_can_be_kept_fresh(name):
    mine = locks.take(name)
    os.utime(mine, (1.0, 1.0))
    locks.touch(mine)
    assert os.fstat(mine).st_mtime > 1.0
    os.close(mine)
