"""What does a task see, and what becomes of a command that can't be executed?"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from pathlib import Path

import pytest

from parallel_train.core.facts import Exited
from parallel_train.core.task import Metric
from parallel_train.procs.order import THREAD_CAPS
from tests.support.machine import machine

SEEN = """
import json, os, stat, sys
def tty():
    try:
        os.open("/dev/tty", os.O_RDWR)
        return True
    except OSError:
        return False
high = [int(n) for n in os.listdir("/proc/self/fd") if int(n) > 2 and os.path.exists("/proc/self/fd/" + n)]
mask = os.umask(0)
print(json.dumps({
    "env": dict(os.environ), "stdin": os.readlink("/proc/self/fd/0"), "read": sys.stdin.read(), "tty": tty(),
    "session": os.getsid(0) == os.getpid(), "group": os.getpgid(0) == os.getpid(), "umask": mask,
    "fds": {n: os.readlink("/proc/self/fd/%d" % n) for n in high}, "cwd": os.getcwd(),
    "oom": int(open("/proc/self/oom_score_adj").read()),
    "mask": [l for l in open("/proc/self/status") if l.startswith(("SigBlk", "SigIgn"))],
}))
"""


def seen(made, *devices, **more):
    end = made.run(made.python(SEEN, **more), *devices)
    assert end.outcome == Exited(0), (made.project / made.claim().err).read_text()
    return json.loads(made.log())


@pytest.fixture
def made(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k not in THREAD_CAPS}
    with machine(tmp_path, environment=environment, threads=3, umask=0o027) as one:
        yield one


def test_a_task_has_no_terminal_and_nothing_to_read(made):
    found = seen(made)
    assert (found["stdin"], found["read"], found["tty"]) == ("/dev/null", "", False)
    assert (found["session"], found["group"]) == (True, True)


def test_a_task_has_the_signals_of_a_fresh_process(made):
    blocked, ignored = (int(line.split()[1], 16) for line in seen(made)["mask"])
    assert blocked == 0
    assert ignored & ~(1 << 12 | 1 << 24) == 0  # Python itself ignores PIPE and XFSZ


def test_where_memory_runs_out_the_kernel_takes_a_task_before_who_looks_after_it(made):
    ours = int(Path("/proc/self/oom_score_adj").read_text())
    assert seen(made)["oom"] == min(1000, ours + 500)


def test_a_task_has_the_users_umask_and_its_logs_are_private(made):
    found = seen(made)
    assert found["umask"] == 0o027
    for path in (made.claim().log, made.claim().err):
        assert stat.S_IMODE((made.project / path).stat().st_mode) == 0o600


def test_a_task_inherits_its_slots_above_100_and_nothing_else(made):
    gpus = (made.device("gpu", "0"), made.device("gpu", "1"))
    found = seen(made, *gpus, gpus=2)
    locks = {int(n): path for n, path in found["fds"].items()}
    assert all(n > 100 for n in locks)
    assert sorted(Path(path).name for path in locks.values()) == sorted(g.lock for g in gpus)


def test_what_a_task_is_told(made):
    task = {
        "params": {"seed": 7, "lr": 0.1},
        "output": "out/x/run",
        "metrics": (Metric("acc", file="m.json"),),
        "env": {"MINE": "1"},
        "gpus": 2,
    }
    Path(made.project, "out/x").mkdir(parents=True)
    code = f"import os; os.makedirs('out/x/run'); open('out/x/run/f', 'w').write('x')\n{SEEN}"
    devices = (made.device("gpu", "0"), made.device("gpu", "3"))
    end = made.run(made.python(code, **task), *devices)
    env = json.loads(made.log())["env"]
    assert end.output == "there"
    expected = {
        "CUDA_VISIBLE_DEVICES": "0,3",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "PYTHONUNBUFFERED": "1",
        "PARALLEL_TRAIN_GPUS": "0,3",
        "PARALLEL_TRAIN_RUN_ID": "tester",
        "PARALLEL_TRAIN_TASK_ID": "task",
        "PARALLEL_TRAIN_ATTEMPT": "1",
        "PARALLEL_TRAIN_SEED": "7",
        "PARALLEL_TRAIN_OUTPUT_DIR": str(made.project / "out/x/run"),
        "PARALLEL_TRAIN_METRICS_FILE": str(made.project / "m.json"),
        "MINE": "1",
        **dict.fromkeys(THREAD_CAPS, "3"),
    }
    assert {name: env.get(name) for name in expected} == expected
    assert json.loads(env["PARALLEL_TRAIN_PARAMS"]) == {"seed": 7, "lr": 0.1}
    assert 1024 <= int(env["MASTER_PORT"]) < 65536
    assert env["PARALLEL_TRAIN_COOKIE"] == made.claim().cookie
    assert env["PATH"] == os.environ["PATH"]


def test_a_task_on_a_cpu_slot_sees_no_gpu(made):
    env = seen(made, made.device("cpu", "0"), gpus=0)["env"]
    assert (env["CUDA_VISIBLE_DEVICES"], env["PARALLEL_TRAIN_GPUS"]) == ("", "")


def test_thread_caps_that_the_user_set_are_kept(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "17"}
    with machine(tmp_path, environment=environment, threads=2) as made:
        env = seen(made, env={"MKL_NUM_THREADS": "5"})["env"]
        assert [env[name] for name in THREAD_CAPS] == ["17", "5", "2", "2"]


def test_a_secret_is_looked_up_at_launch_and_stands_in_no_record(tmp_path):
    secret = "canary-" + os.urandom(8).hex()
    environment = {**os.environ, "VAULT": secret}
    with machine(tmp_path, environment=environment) as made:
        code = "import os, hashlib; print(hashlib.sha256(os.environ['API_TOKEN'].encode()).hexdigest())"
        made.run(made.python(code, env={"API_TOKEN": "secret:VAULT"}))
        assert made.log().strip() == hashlib.sha256(secret.encode()).hexdigest()
        for path in made.folder.rglob("*"):
            assert not path.is_file() or secret.encode() not in path.read_bytes(), path


def test_a_secret_that_is_not_there_fails_and_is_named(made):
    end = made.run(made.python("pass", env={"API_TOKEN": "secret:NOWHERE_TO_BE_FOUND"}))
    assert end.outcome == Exited(126)
    assert "NOWHERE_TO_BE_FOUND is not set" in end.note


@pytest.mark.parametrize(
    ("command", "cwd", "code", "note"),
    [
        (("no-such-program-anywhere",), ".", 127, "command no-such-program-anywhere: No such file or directory"),
        (("./closed",), ".", 126, "command ./closed: Permission denied"),
        (("./folder",), ".", 126, "command ./folder: Permission denied"),
        (("./no-format",), ".", 126, "command ./no-format: Exec format error"),
        (("./no-interpreter",), ".", 127, "command ./no-interpreter: No such file or directory"),
        (("true", "x" * 200_000), ".", 126, "command true: Argument list too long"),
        (("true",), "gone", 127, "folder {project}/gone: No such file or directory"),
        (("true",), "closed", 126, "folder {project}/closed: Not a directory"),
    ],
)
def test_a_command_that_can_not_be_executed_has_failed_and_says_why(*, made, command, cwd, code, note):
    (made.project / "closed").write_text("#!/bin/sh\n")
    (made.project / "closed").chmod(0o600)
    (made.project / "folder").mkdir()
    (made.project / "no-format").write_text("neither program nor script")
    (made.project / "no-interpreter").write_text("#!/no/such/interpreter\n")
    for name in ("no-format", "no-interpreter"):
        (made.project / name).chmod(0o700)
    end = made.run(made.task(*command, cwd=cwd))
    assert end.outcome == Exited(code)
    assert end.note == note.format(project=made.project)
    assert made.run(made.task("true", name="next")).outcome == Exited(0)  # nothing is held up by it


def test_arguments_arrive_byte_for_byte(made):
    odd = ["", " ", "$(touch x)", "a'b\"c", "\n\t\\", "*", "-rf", "ü", "\udcff", "x" * 100_000]
    code = "import os, sys; sys.stdout.buffer.write(b'\\0'.join(os.fsencode(a) for a in sys.argv[1:]))"
    made.run(made.task(sys.executable, "-I", "-c", code, *odd))
    assert (made.project / made.claim().log).read_bytes() == b"\0".join(os.fsencode(word) for word in odd)


def test_a_shell_only_where_one_is_asked_for(made):
    made.run(made.task("echo $((1+2)) | tr 3 4", shell=True))
    assert made.log() == "4\n"
    made.run(made.task("echo", "$((1+2)) | tr 3 4", name="plain"))
    assert made.log("plain") == "$((1+2)) | tr 3 4\n"
