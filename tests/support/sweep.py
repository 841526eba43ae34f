"""A project in a folder of the test's, the command as a user runs it there, and what its tasks say happened."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from parallel_train.commands import status
from tests.support.wait import wait_until

PROGRAMS = Path(__file__).parent / "programs"
MARK = "TEST_OF_PARALLEL_TRAIN"  # in the environment of all that a test starts: the project's folder
QUEUE = ".parallel-train"
FAST_PYTHON = [sys.executable, "-I", "-S"]
_NOT_A_USERS = ("PYTEST_", "PARALLEL_TRAIN", "COLUMNS", "LINES", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
DEADLINE = 60  # seconds, for one command on a busy machine


def program(name: str, *arguments: object) -> list[str]:
    """The command of one of tests/support/programs."""
    return [*FAST_PYTHON, str(PROGRAMS / f"{name}.py"), *map(str, arguments)]


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


@dataclass(frozen=True)
class Effect:
    """What one attempt wrote of itself (see programs/recorder.py). Without an end it was cut short."""

    name: str
    attempt: int
    pid: int
    shim: int
    slots: str
    shared: list[str]  # slots that somebody else held as well
    began: float
    ended: float | None = None
    code: int | None = None


@dataclass
class Project:
    root: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    # ---- the task file ----

    def tasks(self, *templates: Mapping[str, Any], file: str = "tasks/default.yaml", **more: Any) -> None:
        """Write a task file; JSON is YAML."""
        self.write(file, json.dumps({"tasks": list(templates), **more}, indent=2))

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def recorder(self, name: str, **wishes: object) -> list[str]:
        (self.root / "effects").mkdir(exist_ok=True)
        return program("recorder", "effects", name, *(f"{key}={value}" for key, value in wishes.items()))

    def recording(
        self, name: str, *, output: bool = True, more: Mapping[str, object] | None = None, **keys: Any
    ) -> Any:
        """A task that records what it does; `more` are wishes of the recorder, `keys` keys of the task file."""
        wishes = {**({"output": f"output/{name}"} if output else {}), **(more or {})}
        promised = {"output": f"output/{name}"} if output else {}
        return {"name": name, "command": self.recorder(name, **wishes), **promised, **keys}

    # ---- the command ----

    def run(self, *arguments: str, gpus: str | None = "fake:2", seconds: float = DEADLINE, **more: Any) -> Result:
        """Run the command to its end."""
        done = subprocess.run(
            self.argv(*arguments, gpus=gpus),
            **self._settings(more),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def ask(self, *arguments: str) -> Result:
        """Run a command that takes no devices."""
        return self.run(*arguments, gpus=None)

    def start(self, *arguments: str, gpus: str | None = "fake:2", **more: Any) -> subprocess.Popen[str]:
        """Start the command; what it says goes to the file `said` unless `more` says otherwise."""
        with (self.root / "said").open("a") as said:
            streams = {"stdin": subprocess.DEVNULL, "stdout": said, "stderr": subprocess.STDOUT}
            settings = self._settings(more)
            process = subprocess.Popen(self.argv(*arguments, gpus=gpus), **{**streams, **settings})
        self.started.append(process)
        return process

    def argv(self, *arguments: str, gpus: str | None = "fake:2") -> list[str]:
        chosen = [] if gpus is None else ["--gpus", gpus]
        return [sys.executable, "-m", "parallel_train", *arguments, *chosen]

    @property
    def environment(self) -> dict[str, str]:
        """This process's, without what a test runner sets for itself."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_A_USERS)}
        return {**kept, MARK: str(self.root)}

    def _settings(self, more: Mapping[str, Any]) -> dict[str, Any]:
        environment = {**self.environment, **more.get("env", {})}
        return {"cwd": self.root, "text": True, **more, "env": environment}

    @property
    def said(self) -> str:
        path = self.root / "said"
        return path.read_text() if path.exists() else ""

    # ---- what happened ----

    def status(self, *, everything: bool = False) -> dict[str, dict[str, Any]]:
        """What `status --json` says, by task name. Asked within this process: it only looks, and is asked often."""
        out = io.StringIO()
        status.status(self.root, (), file=None, everything=everything, as_json=True, out=out)
        return {task["name"]: task for task in json.loads(out.getvalue())["tasks"]}

    def endings(self) -> dict[str, str]:
        return {name: task["ending"] for name, task in self.status().items()}

    def plan(self, *arguments: str) -> dict[str, tuple[str, str]]:
        """What `-n --json` says: (decision, reason) by task name."""
        found = self.run("-n", "--json", *arguments)
        assert found.code == 0, found.text
        return {task["name"]: (task["decision"], task["reason"]) for task in json.loads(found.out)["tasks"]}

    def effects(self, name: str | None = None) -> list[Effect]:
        """What the attempts recorded themselves, in the order in which they began."""
        paths = [p for p in (self.root / "effects").glob("*") if not p.name.startswith(".")]
        found = [_effect(path.read_text()) for path in paths]
        chosen = [e for e in found if e is not None and name in {None, e.name}]
        return sorted(chosen, key=lambda effect: effect.began)

    def order(self) -> list[str]:
        """The names of the tasks in the order in which their attempts began."""
        return [effect.name for effect in self.effects()]

    def until_started(self, *names: str, times: int = 1) -> list[Effect]:
        """Wait until each of these tasks was started that often; their newest attempts."""

        def look() -> list[Effect]:
            found = [self.effects(name) for name in names]
            return [effects[-1] for effects in found] if all(len(effects) >= times for effects in found) else []

        return wait_until(look, f"{names} have started {times} times; {self.said}")

    def result(self, name: str) -> str:
        return (self.root / "output" / name / "result.txt").read_text()

    def queue(self, kind: str) -> list[Path]:
        folder = self.root / QUEUE / kind
        return sorted(path for path in folder.iterdir()) if folder.is_dir() else []

    def journal(self) -> str:
        """The lines that were written instead of to a terminal."""
        return "".join(path.read_text() for path in self.queue("journal") if path.suffix == ".log")

    def aside(self) -> list[str]:
        """The content of all files that were put aside."""
        files = [path for path in (self.root / QUEUE / "aside").rglob("*") if path.is_file()]
        return sorted(path.read_text() for path in files)

    def tree(self) -> dict[str, tuple[int, int, int]]:
        """Every file and folder with its size and times, to see that nothing was touched."""
        paths = [path for path in (self.root, *self.root.rglob("*")) if path.name != "said"]
        stats = {str(path.relative_to(self.root)): path.lstat() for path in paths}
        return {name: (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for name, stat in stats.items()}

    # ---- processes ----

    def living(self) -> list[int]:
        """Everything that this test started, directly or not, and that still lives."""
        return [pid for pid in _pids() if _carries(pid, f"{MARK}={self.root}")]

    def until_quiet(self) -> None:
        wait_until(lambda: not self.living(), f"{self.root} is quiet, only {[_command(p) for p in self.living()]}")

    def clean_up(self) -> None:
        for pid in self.living():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.started:
            process.wait()
        mark = hashlib.sha256(os.fsencode(os.path.realpath(self.root / QUEUE))).hexdigest()[:12]
        for path in Path(f"/tmp/parallel-train-{os.getuid()}").glob(f"*-{mark}-*"):
            path.unlink(missing_ok=True)


@contextmanager
def project(root: Path) -> Iterator[Project]:
    made = Project(root)
    try:
        yield made
    finally:
        made.clean_up()


# ---- the judge ----


def overlaps(effects: Iterable[Effect]) -> list[str]:
    """Each two attempts that were on one slot at one time, by their own clocks or as they noticed themselves."""
    found = [f"{e.name}.{e.attempt} shared {e.shared}" for e in effects if e.shared]
    by_slot: dict[str, list[Effect]] = {}
    for effect in effects:
        for slot in effect.slots.split(","):
            if slot:
                by_slot.setdefault(slot, []).append(effect)
    for slot, there in by_slot.items():
        for one, other in pairwise(sorted(there, key=lambda effect: effect.began)):
            if one.ended is not None and other.began < one.ended:
                found.append(f"{one.name}.{one.attempt} and {other.name}.{other.attempt} on slot {slot}")
    return found


def most_at_once(effects: Sequence[Effect]) -> int:
    times = [(e.began, 1) for e in effects] + [(e.ended or float("inf"), -1) for e in effects]
    running = most = 0
    for _, change in sorted(times):
        running += change
        most = max(most, running)
    return most


def _effect(text: str) -> Effect | None:
    """None where the first line is not written yet."""
    lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return Effect(**{key: value for line in lines for key, value in line.items()}) if lines else None


# ---- processes ----


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _carries(pid: int, entry: str) -> bool:
    try:
        return entry.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return "gone"


def lives(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in {"Z", "X"}
