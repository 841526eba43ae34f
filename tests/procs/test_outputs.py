"""Is what stands at an output told from a disk that does not say?"""

from __future__ import annotations

import errno
import os

import pytest

from parallel_train.procs import outputs


@pytest.fixture
def output(tmp_path):
    made = tmp_path / "output" / "a"
    made.mkdir(parents=True)
    (made / "result").write_text("1")
    return made


def test_what_is_there_missing_or_empty(output, tmp_path):
    assert outputs.state(str(output), None) == "there"
    assert outputs.state(str(output / "result"), None) == "there"
    assert outputs.state(str(tmp_path / "no" / "b"), None) == "missing"
    (output / "result").unlink()
    assert outputs.state(str(output), None) == "empty"
    (output / "nowhere").symlink_to("loop")
    assert outputs.state(str(output / "nowhere"), None) == "empty"
    assert outputs.state(None, None) == "none"


@pytest.mark.skipif(os.getuid() == 0, reason="nothing is closed to root")
def test_a_folder_that_can_be_passed_and_not_listed(output):
    output.parent.chmod(0o100)
    try:
        assert outputs.state(str(output), None) == "there"
    finally:
        output.parent.chmod(0o700)


@pytest.mark.parametrize("asked", ["open", "lstat", "stat", "listdir"])
@pytest.mark.parametrize("failure", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENOMEM, errno.ECONNABORTED])
def test_a_disk_that_does_not_say_has_no_say(output, monkeypatch, asked, failure):
    def fails(*_):
        raise OSError(failure, os.strerror(failure))

    monkeypatch.setattr(os, asked, fails)
    with pytest.raises(OSError, match=os.strerror(failure)):
        outputs.state(str(output), None)


@pytest.mark.parametrize("done_when", ["there", "contains"])
def test_nor_where_it_does_not_say_whether_it_is_done(output, monkeypatch, done_when):
    wanted = {"files": [str(output / "result")], "contains": "1" if done_when == "contains" else None}
    assert outputs.state(str(output), wanted) == "there"

    def fails(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os.path, "getmtime", fails)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        outputs.state(str(output), wanted)


def test_a_folder_or_a_file_that_is_gone_says_that_it_is_not_done(output):
    assert not outputs.is_done([str(output), str(output / "gone")], "1")


@pytest.mark.parametrize(("lease", "told"), [(60.0, "there"), (-1.0, "missing")])
def test_an_attempt_asks_such_a_disk_again_for_a_lease(output, monkeypatch, lease, told):
    lstat, failures = os.lstat, [errno.EIO, errno.ESTALE]

    def fails_twice(path):
        if failures:
            raise OSError(failures.pop(), "no")
        return lstat(path)

    monkeypatch.setattr(os, "lstat", fails_twice)
    assert outputs.state_in_the_end({"output": str(output), "done_when": None, "lease": lease}) == told
