"""What dies, and what lives on: the scheduler, its launcher and its shims killed; two schedulers; a full disk."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.sweep import FAST_PYTHON, QUEUE, Project, lives, overlaps, program, shell
from tests.support.sweep import project as project_in
from tests.support.wait import wait_until

LAUNCHER = "procs/launcher.py"


def launcher_of(project: Project) -> int:
    """The launcher, told apart from its shims by being nobody's fork: its parent is the scheduler."""
    scheduler = project.started[-1].pid

    def look() -> int:
        return next((pid for pid in project.living() if parent(pid) == scheduler and LAUNCHER in command(pid)), 0)

    return wait_until(look, "the launcher is there")


def parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


# ---- the scheduler ----


def test_tasks_outlive_a_killed_scheduler_and_the_next_run_takes_them_over(project: Project):
    project.tasks(
        project.recording("good", more={"until": "go"}),
        project.recording("bad", more={"until": "go", "code": 3}),
        project.recording("later"),
    )
    first = project.start()
    before = project.until_started("good", "bad")
    kill(first.pid)
    first.wait()
    assert all(lives(effect.pid) for effect in before)

    second = project.start()
    wait_until(lambda: project.said.count("Still running from before") == 2, f"both are taken over: {project.said}")
    project.write("go", "")
    assert second.wait(30) == 1
    assert sorted(project.order()) == ["bad", "good", "later"]
    assert overlaps(project.effects()) == []
    status = project.status()
    assert {name: task["exit_code"] for name, task in status.items()} == {"good": 0, "bad": 3, "later": 0}
    assert {name: task["attempts"] for name, task in status.items()} == {"good": 1, "bad": 1, "later": 1}
    project.until_quiet()


def test_what_ended_while_nobody_looked_counts(project: Project):
    """The results of a run whose scheduler is dead are all there; nothing is run again for it."""
    project.tasks(project.recording("good", more={"until": "go"}), project.recording("bad", more={"code": 4}))
    first = project.start()
    project.until_started("good", "bad")
    kill(first.pid)
    first.wait()
    project.write("go", "")
    project.until_quiet()
    assert {n: t["exit_code"] for n, t in project.status().items()} == {"good": 0, "bad": 4}
    assert project.plan()["good"][0] == "skip"
    assert sorted(project.order()) == ["bad", "good"]


def test_a_task_may_write_as_much_as_it_likes_without_a_scheduler(project: Project):
    """Its log is a file, never a pipe that somebody must read."""
    script = "until [ -e go ]; do sleep 0.02; done; head -c 3000000 /dev/zero; echo end; echo done > {output}"
    project.tasks({"name": "floods", "command": f"touch started; {script}", "shell": True, "output": "output/floods"})
    first = project.start()
    wait_until((project.root / "started").exists, "the task has started")
    kill(first.pid)
    first.wait()
    project.write("go", "")
    project.until_quiet()
    found = project.status()["floods"]
    assert found["ending"] == "succeeded"
    assert (project.root / found["log"]).read_bytes() == bytes(3_000_000) + b"end\n"


# ---- the launcher ----


def test_a_killed_launcher_costs_nothing(project: Project):
    project.tasks(
        project.recording("a", more={"until": "go"}),
        project.recording("b", more={"until": "go"}),
        project.recording("c"),
        project.recording("d"),
    )
    scheduler = project.start()
    project.until_started("a", "b")
    kill(launcher_of(project))
    project.write("go", "")
    assert scheduler.wait(30) == 0, project.said
    assert sorted(project.order()) == ["a", "b", "c", "d"]
    assert overlaps(project.effects()) == []


# ---- the shim ----


def test_a_killed_shim_takes_its_task_along_and_the_task_runs_again(project: Project):
    """What the task had left behind is gone before its slot is used again, whatever it did to get away."""
    project.write("first", "")
    script = "if mv first second 2>/dev/null; then exec {daemon}; else exec {record}; fi"
    record = " ".join(project.recorder("a", output="output/a"))
    daemon = " ".join(program("leaves_daemon", "pids", "never"))
    both = script.format(daemon=daemon, record=record)
    project.tasks({"name": "a", "command": both, "shell": True, "output": "output/a"})
    scheduler = project.start(gpus="fake:1")
    pids = wait_until(lambda: pids_in(project.root / "pids"), "the daemons are there")
    kill(parent(pids[0]))
    assert scheduler.wait(30) == 0, project.said
    assert [pid for pid in pids if lives(pid)] == []
    found = project.status()["a"]
    assert (found["ending"], found["attempts"]) == ("succeeded", 2)
    assert project.result("a") == "made by attempt 2\n"
    assert "lost" in project.said


def pids_in(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def test_a_shim_killed_while_no_scheduler_lives(project: Project):
    """The next run finds its attempt dead, ends what carries its mark, and runs the task again."""
    project.tasks(project.recording("a", more={"until": "go"}))
    first = project.start()
    task = project.until_started("a")[0]
    kill(first.pid)
    first.wait()
    kill(task.shim)
    wait_until(lambda: not lives(task.pid), "the task died with its shim")
    assert project.status()["a"]["ending"] is None
    second = project.start()
    project.until_started("a", times=2)
    project.write("go", "")
    assert second.wait(30) == 0, project.said
    assert project.status()["a"]["attempts"] == 2


def test_a_task_that_kills_its_shim_each_time_fails(project: Project):
    project.tasks({"name": "poison", "command": "echo x >> count; kill -9 $PPID; sleep 60", "shell": True})
    found = project.run()
    assert found.code == 1
    assert "lost 5 times" in found.out
    assert (project.root / "count").read_text() == "x\n" * 5
    assert project.endings() == {"poison": "failed"}
    project.until_quiet()


def test_what_a_task_leaves_running_is_ended_before_its_slot_is_used_again(project: Project):
    project.tasks(
        {"name": "leaves", "command": program("leaves_daemon", "pids")},
        {"name": "looks", "command": "ps -o pid= -p $(tr '\\n' ',' < pids)0 > seen; true", "shell": True},
    )
    assert project.run(gpus="fake:1").code == 0
    assert len(pids_in(project.root / "pids")) == 4
    assert (project.root / "seen").read_text() == ""
    project.until_quiet()


def test_as_the_first_process_of_a_container_it_leaves_no_zombies(project: Project):
    """Nobody else reaps there: twenty tasks leave ten orphans each, and the last one looks."""
    enter = ["unshare", *(["--user", "--map-root-user"] if os.getuid() else []), "--pid", "--fork", "--mount-proc"]
    if shutil.which("unshare") is None or subprocess.run([*enter, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespaces here")
    orphans = "for n in 1 2 3 4 5 6 7 8 9 10; do (setsid sh -c 'sleep 0.01 & exit' &); done"
    look = (
        "grep -l '^State:.Z' /proc/[0-9]*/status >> zombies; readlink /proc/1/exe > first; cat /proc/1/cmdline >> first"
    )
    project.tasks(
        *({"name": f"t{number}", "command": shell(f": {number}; {orphans}")} for number in range(20)),
        {"name": "last", "command": shell(look + "; true"), "needs": [f"t{number}" for number in range(20)]},
    )
    done = subprocess.run(
        [*enter, *project.argv(gpus="fake:4")],
        cwd=project.root,
        env=project.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "parallel_train" in (project.root / "first").read_text()
    assert (project.root / "zombies").read_text() == ""


def test_another_process_with_the_same_command_is_left_alone(project: Project):
    decoy = subprocess.Popen([*FAST_PYTHON, "-c", "import time; time.sleep(600)"])
    try:
        project.tasks({"name": "leaves", "command": program("leaves_daemon", "pids")})
        assert project.run().code == 0
        assert decoy.poll() is None
    finally:
        decoy.kill()
        decoy.wait()


# ---- two schedulers ----


def test_two_schedulers_in_one_folder_share_the_work(project: Project):
    project.tasks(*(project.recording(f"t{number}", more={"seconds": 0.05}) for number in range(20)))
    both = [project.start(gpus="fake:3"), project.start(gpus="fake:3")]
    assert [scheduler.wait(40) for scheduler in both] == [0, 0], project.said
    assert sorted(project.order()) == sorted(f"t{number}" for number in range(20))
    assert overlaps(project.effects()) == []
    assert set(project.endings().values()) == {"succeeded"}


def test_a_second_scheduler_waits_for_what_the_first_one_runs(project: Project):
    """Its exit code is that of its tasks, whoever ran them."""
    project.tasks(project.recording("bad", more={"until": "go", "code": 7}))
    first = project.start()
    project.until_started("bad")
    second = project.start()
    wait_until(lambda: "Running for worker" in project.said, "the second one saw it")
    project.write("go", "")
    assert (first.wait(30), second.wait(30)) == (1, 1)
    assert project.order() == ["bad"]


def test_a_second_scheduler_goes_on_when_the_first_is_killed(project: Project):
    project.tasks(project.recording("a", more={"until": "go"}), project.recording("b", more={"until": "go"}))
    first = project.start(gpus="fake:1")
    project.until_started("a")
    second = project.start(gpus="fake:1")
    wait_until(lambda: "Running for worker" in project.said, "the second one saw it")
    kill(first.pid)
    project.write("go", "")
    assert second.wait(30) == 0
    assert project.order() == ["a", "b"]
    assert overlaps(project.effects()) == []


def test_two_folders_never_share_a_card(tmp_path: Path):
    cards = tmp_path / "cards.json"
    cards.write_text(json.dumps({"gpus": [{"index": 0, "uuid": "GPU-a"}, {"index": 1, "uuid": "GPU-b"}]}))
    effects = tmp_path / "effects"
    with project_in(tmp_path / "one") as one, project_in(tmp_path / "two") as two:
        for place in (one, two):
            place.root.mkdir()
            command = program("recorder", effects, place.root.name + "{n}", "seconds=0.05")
            place.tasks({"command": command, "matrix": {"n": list(range(8))}})
        effects.mkdir()
        both = [place.start(gpus=f"fake:{cards}") for place in (one, two)]
        assert [scheduler.wait(40) for scheduler in both] == [0, 0], one.said + two.said
        one.root = tmp_path  # where the effects are
        found = one.effects()
        one.root = tmp_path / "one"
    assert len(found) == 16
    assert {effect.slots for effect in found} == {"0", "1"}
    assert overlaps(found) == []
    for name in ("GPU-a", "GPU-b"):
        for lock in Path(f"/tmp/parallel-train-{os.getuid()}").glob(f"fake-*-{name}"):
            lock.unlink()


# ---- records ----


def test_temporary_files_are_no_records(project: Project):
    project.tasks(project.recording("a"))
    assert project.run().code == 0
    for kind in ("tasks", "claims", "ends", "rounds", "workers"):
        (project.root / QUEUE / kind / ".tmp-1-abcdef").write_text("half a rec")
    found = project.run()
    assert found.code == 0, found.text
    assert project.order() == ["a"]


def test_a_damaged_end_is_never_a_success(project: Project):
    """It keeps its name, is said, and its task runs again."""
    project.tasks(project.recording("a"))
    assert project.run().code == 0
    end = project.queue("ends")[0]
    damaged = end.read_bytes()[:-20]
    end.write_bytes(damaged)
    found = project.run()
    assert found.code == 0, found.text
    assert f"{QUEUE}/ends/{end.name} is damaged" in found.text
    assert end.read_bytes() == damaged
    assert project.order() == ["a", "a"]


# ---- a full disk ----


class SmallDisk:
    """A project on a disk of 128 KiB that only its scheduler sees; `outside` has room."""

    def __init__(self, project: Project, outside: Path) -> None:
        self.project, self.outside = project, outside

    def start(self, *names: str, first: str = "true") -> subprocess.Popen[str]:
        """Run a sweep of recorders that go on until `outside/go` is there; `first` is done before it."""
        tasks = [
            {"name": name, "command": program("recorder", self.outside, name, f"until={self.outside}/go")}
            for name in names
        ]
        (self.outside / "tasks.yaml").write_text(json.dumps({"tasks": tasks}))
        root = self.project.root
        script = f'mount -t tmpfs -o size=128k tmpfs {root} && cd {root} && {first}; exec "$@"'
        run = self.project.argv(f"{self.outside}/tasks.yaml", "--log-dir", f"{self.outside}/logs", gpus="fake:1")
        with self.said.open("w") as said:
            scheduler = subprocess.Popen(
                ["unshare", "-Urm", "sh", "-c", script, "sh", *run],
                env={**self.project.environment, "PYTHONPATH": str(Path.cwd())},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                text=True,
            )
        self.project.started.append(scheduler)
        return scheduler

    @property
    def said(self) -> Path:
        return self.outside / "said.txt"

    def until_said(self, text: str) -> None:
        wait_until(lambda: text in self.said.read_text(), f"{text!r} is said, only {self.said.read_text()}")

    def fill(self, scheduler: subprocess.Popen[str]) -> Path:
        """Fill the disk to its last byte; the file that does."""
        path = Path(f"/proc/{scheduler.pid}/root{self.project.root}/fill")
        with path.open("wb", buffering=0) as file:
            for size in (4096, 1):
                with suppress(OSError):  # no space left
                    while True:
                        file.write(bytes(size))
        return path


@pytest.fixture
def small_disk(project: Project, tmp_path_factory: pytest.TempPathFactory):
    mount = ["unshare", "-Urm", "mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(project.root)]
    try:
        tried = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no unshare command here")
    if tried.returncode:
        pytest.skip(f"no file system can be mounted here: {tried.stderr.decode().strip()}")
    return SmallDisk(project, tmp_path_factory.mktemp("outside"))


def test_a_full_disk_loses_no_end(small_disk: SmallDisk):
    """What runs goes on, its end is written once there is room, and then the next task starts."""
    scheduler = small_disk.start("a", "b")
    wait_until(lambda: list(small_disk.outside.glob("a.1.*")), f"a runs; {small_disk.said.read_text()}")
    fill = small_disk.fill(scheduler)
    (small_disk.outside / "go").touch()
    small_disk.until_said("the end can't be written yet")
    assert scheduler.poll() is None
    assert not list(small_disk.outside.glob("b.*"))
    fill.unlink()
    assert scheduler.wait(30) == 0, small_disk.said.read_text()
    assert len(list(small_disk.outside.glob("a.*"))) == len(list(small_disk.outside.glob("b.*"))) == 1


def test_a_disk_that_is_full_from_the_start_is_said(small_disk: SmallDisk):
    """In a queue that is there already: a new one could not even be made."""
    queue = f"mkdir -p {QUEUE}/tasks {QUEUE}/workers && touch {QUEUE}/README.md {QUEUE}/id"
    scheduler = small_disk.start("a", first=f"{queue} && head -c 1m /dev/zero > fill 2>/dev/null")
    assert scheduler.wait(30) == 2
    assert (
        f"can't write to the queue folder {small_disk.project.root / QUEUE}: No space left"
        in small_disk.said.read_text()
    )
    assert "Traceback" not in small_disk.said.read_text()
    assert not list(small_disk.outside.glob("a.*"))
