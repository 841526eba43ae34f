"""Where does a pipeline of ours do what GNU make does with the same steps, and where not?

The lines of `row` are those of the README's table, and are run as they stand there: theirs beside the Makefile
(pipeline.mk), ours beside the same pipeline as a task file (pipeline.yaml), in two copies of one project.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.sweep import PROGRAMS, Project, Result
from tests.support.sweep import project as make_project
from tests.support.wait import wait_until

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

HERE = Path(__file__).parent
README = HERE.parents[1] / "README.md"
LRS = ("0.3", "0.1", "0.03", "0.01")
TRAINS = tuple(f"lr{lr}" for lr in LRS)
EVERY = ("preprocessed", *TRAINS, "best")
TABLE = "output/best/results.csv"
ROWS: list[tuple[str, str]] = []


def row(theirs: str, ours: str) -> Callable[..., object]:
    """A line of the README's table, for the test that runs it."""
    ROWS.append((theirs, ours))
    return pytest.mark.parametrize(("theirs", "ours"), [(theirs, ours)])


@dataclass
class Side:
    """One copy of the project, in which make or we run."""

    project: Project
    seen: int = 0  # lines of `ran` that were looked at
    table: tuple[int, int] = field(default=(0, 0))  # the table of results that was looked at

    @property
    def root(self) -> Path:
        return self.project.root

    def argv(self, line: str) -> list[str]:
        program, *words = shlex.split(line)
        if program == "make":
            return [program, *words, f"PYTHON={sys.executable}"]
        return self.project.argv(*words, gpus="fake:4")

    @property
    def environment(self) -> dict[str, str]:
        return {**self.project.environment, "MAKEFLAGS": "", "VIRTUAL_ENV": "", "CONDA_PREFIX": ""}

    def run(self, line: str) -> Result:
        done = subprocess.run(
            self.argv(line),
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def start(self, line: str) -> subprocess.Popen[str]:
        with (self.root / "said").open("a") as said:
            process = subprocess.Popen(
                self.argv(line), cwd=self.root, env=self.environment, stdout=said, stderr=said, text=True
            )
        self.project.started.append(process)
        return process

    def lines(self, what: str) -> list[list[str]]:
        """What `ran` says of steps that began, are half done or ended: name, pid, pid of the parent."""
        path = self.root / "ran"
        words = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [rest for kind, *rest in words if kind == what]

    def until_half(self, *names: str) -> list[int]:
        """Wait until these steps are half done; their pids."""

        def pids() -> list[int]:
            found = {name: int(pid) for name, pid, _ in self.lines("half")}
            return [found[name] for name in names] if found.keys() >= set(names) else []

        return wait_until(pids, f"{names} are half done; {self.project.said}")

    def began(self) -> tuple[str, ...]:
        """The steps that were begun since the last look, in the order of EVERY."""
        names = [name for name, *_ in self.lines("begins")]
        new, self.seen = names[self.seen :], len(names)
        before, self.table = self.table, self._table()
        assert len(new) == len(set(new)), f"a step ran twice: {new}"
        return tuple(name for name in EVERY if name in new or (name == "best" and self.table != before))

    def _table(self) -> tuple[int, int]:
        path = self.root / TABLE
        return (path.stat().st_ino, path.stat().st_mtime_ns) if path.exists() else (0, 0)

    def made(self) -> dict[str, str]:
        """All that the steps made: text by path, and where links lead."""
        paths = [path for path in (self.root / "output").rglob("*") if path.is_symlink() or path.is_file()]
        return {
            str(p.relative_to(self.root)): str(p.readlink()) if p.is_symlink() else p.read_text() for p in sorted(paths)
        }


@dataclass
class Both:
    make: Side
    here: Side

    def run(self, theirs: str, ours: str) -> tuple[Result, Result]:
        return self.make.run(theirs), self.here.run(ours)

    def began(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return self.make.began(), self.here.began()

    def write(self, name: str, text: str) -> None:
        for side in (self.make, self.here):
            side.project.write(name, text)

    def remove(self, name: str) -> None:
        for side in (self.make, self.here):
            (side.root / name).unlink()

    def have_the_same(self) -> bool:
        assert self.make.made() == self.here.made()
        return True


def lay_out(root: Path) -> None:
    (root / "tasks").mkdir(parents=True)
    (root / "settings").mkdir()
    shutil.copy(HERE / "pipeline.mk", root / "Makefile")
    shutil.copy(HERE / "pipeline.yaml", root / "tasks/pipeline.yaml")
    shutil.copy(PROGRAMS / "step.py", root)
    (root / "raw.txt").write_text("Raw data\n")
    for lr in LRS:
        (root / f"settings/{lr}.txt").write_text(lr)


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    """Two copies of one project in which nothing was made yet."""
    with ExitStack() as stack:
        sides = []
        for name in ("make", "here"):
            lay_out(tmp_path / name)
            sides.append(Side(stack.enter_context(make_project(tmp_path / name))))
        yield Both(*sides)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two copies after a first run."""
    root = tmp_path_factory.mktemp("done")
    for name, line in (("make", "make"), ("here", "parallel-train tasks/pipeline.yaml")):
        lay_out(root / name)
        with make_project(root / name) as project:
            found = Side(project).run(line)
            assert found.code == 0, found.text
    return root


@pytest.fixture
def finished(done: Path, tmp_path: Path) -> Iterator[Both]:
    """Two copies of one project in which everything was made once."""
    with ExitStack() as stack:
        sides = []
        for name in ("make", "here"):
            shutil.copytree(done / name, tmp_path / name, symlinks=True)
            sides.append(Side(stack.enter_context(make_project(tmp_path / name))))
            sides[-1].began()
        yield Both(*sides)


# ---- the same ----


@row("make", "parallel-train tasks/pipeline.yaml")
def test_both_make_the_same_once_and_the_second_time_nothing(finished: Both, theirs: str, ours: str):
    assert finished.have_the_same()
    made = finished.here.made()
    assert made["output/best/model.txt"] == "../train/lr0.3/model.txt"
    assert {re.split("/", path)[1] for path in made} == {"preprocessed", "train", "best"}
    assert [found.code for found in finished.run(theirs, ours)] == [0, 0]
    assert finished.began() == ((), ())


@row("make train LR=0.01", "parallel-train tasks/pipeline.yaml train lr=0.01")
def test_a_target_is_a_stage_and_a_variable_a_param(both: Both, theirs: str, ours: str):
    assert [found.code for found in both.run(theirs, ours)] == [0, 0]
    assert both.began() == (("preprocessed", "lr0.01"),) * 2
    assert both.have_the_same()
    misspelt, refused = both.run("make train LRR=0.01", "parallel-train tasks/pipeline.yaml train lrr=0.01")
    assert (misspelt.code, refused.code) == (0, 2)
    assert "no task has a param 'lrr' (did you mean 'lr'?)" in refused.err
    assert both.began() == (tuple(name for name in TRAINS if name != "lr0.01"), ())


@row("make -j 2", "parallel-train tasks/pipeline.yaml -j 2")
def test_so_many_at_once(both: Both, theirs: str, ours: str):
    for name in TRAINS:
        both.write(f"hold-{name}", "")
    running = [side.start(line) for side, line in ((both.make, theirs), (both.here, ours))]
    for side in (both.make, both.here):
        wait_until(lambda side=side: len(side.lines("half")) == 3, "two trainings are half done")
    for name in TRAINS:
        both.remove(f"hold-{name}")
    assert [process.wait(60) for process in running] == [0, 0]
    for side in (both.make, both.here):
        words = [line.split()[:2] for line in (side.root / "ran").read_text().splitlines()]
        now, most = 0, 0
        for kind, _ in words:
            now += {"begins": 1, "half": 0, "ends": -1}[kind]
            most = max(most, now)
        assert most == 2


@row("make -C DIR -f FILE", "parallel-train -C DIR -f FILE")
def test_another_folder_and_file(finished: Both, theirs: str, ours: str):
    for side, line, file in ((finished.make, theirs, "Makefile"), (finished.here, ours, "tasks/pipeline.yaml")):
        above = Side(Project(side.root.parent, side.project.started))
        found = above.run(line.replace("DIR", side.root.name).replace("FILE", file))
        assert found.code == 0, found.text
        assert side.began() == ()


# ---- what has changed ----


@row("touch raw.txt; make", "touch raw.txt; parallel-train tasks/pipeline.yaml")
def test_make_goes_by_times_and_we_by_content(finished: Both, theirs: str, ours: str):
    for side, line in ((finished.make, theirs), (finished.here, ours)):
        touch, command = line.split("; ")
        subprocess.run(shlex.split(touch), cwd=side.root, check=True)
        assert side.run(command).code == 0
    assert finished.began() == (EVERY, ())
    # The other way round: a change that keeps the file's time, as rsync, tar and git make them.
    for side in (finished.make, finished.here):
        status = (side.root / "raw.txt").stat()
        side.project.write("raw.txt", "Raw dado\n")
        os.utime(side.root / "raw.txt", ns=(status.st_atime_ns, status.st_mtime_ns))
    finished.run("make", "parallel-train tasks/pipeline.yaml")
    assert finished.began() == ((), EVERY)


@row("make -n", "parallel-train tasks/pipeline.yaml -n")
def test_a_changed_input_runs_again_exactly_what_depends_on_it(finished: Both, theirs: str, ours: str):
    finished.write("settings/0.1.txt", "0.5")
    before = [side.project.tree() for side in (finished.make, finished.here)]
    said, told = finished.run(theirs, ours)
    assert [side.project.tree() for side in (finished.make, finished.here)] == before
    assert [line.split()[-1] for line in said.out.splitlines() if "step.py" in line] == ["output/train/lr0.1"]
    assert len(said.out.splitlines()) == 2  # and collate
    plan = [line.split("\t")[1:] for line in told.out.splitlines()[1:]]
    assert [line for line in plan if line[0] != "skip"] == [
        ["run", "lr0.1", "changed: the content of settings/0.1.txt, or what it needs"],
        ["wait", "collate", "waits for lr0.1"],
    ]

    finished.run("make", "parallel-train tasks/pipeline.yaml")
    assert finished.began() == (("lr0.1", "best"),) * 2
    assert finished.have_the_same()
    assert finished.here.made()["output/best/model.txt"] == "../train/lr0.1/model.txt"


@row("edit a recipe; make", "edit a command; parallel-train tasks/pipeline.yaml")
def test_make_does_not_see_a_changed_recipe(finished: Both, theirs: str, ours: str):
    for side, file in ((finished.make, "Makefile"), (finished.here, "tasks/pipeline.yaml")):
        text = (side.root / file).read_text()
        side.project.write(file, text.replace("--metric accuracy", "--metric accuracy --mode min"))
    finished.run(theirs.split("; ")[1], ours.split("; ")[1])
    assert finished.began() == ((), ("best",))
    assert finished.here.made()["output/best/model.txt"] == "../train/lr0.01/model.txt"


@row("touch output/preprocessed/x; make", "touch output/preprocessed/x; parallel-train tasks/pipeline.yaml")
def test_a_new_file_in_a_folder_that_a_step_made(finished: Both, theirs: str, ours: str):
    for side, line in ((finished.make, theirs), (finished.here, ours)):
        touch, command = line.split("; ")
        subprocess.run(shlex.split(touch), cwd=side.root, check=True)
        assert side.run(command).code == 0
    assert finished.began() == ((*TRAINS, "best"), ())


@row("make -B", "parallel-train tasks/pipeline.yaml -B")
def test_all_again(finished: Both, theirs: str, ours: str):
    assert [found.code for found in finished.run(theirs, ours)] == [0, 0]
    assert finished.began() == (EVERY,) * 2
    assert finished.have_the_same()
    assert len(list((finished.here.root / ".parallel-train/aside").glob("*.2"))) == len(EVERY)


# ---- what goes wrong ----


@row("make -k", "parallel-train tasks/pipeline.yaml -k")
def test_after_a_failure_the_others_go_on(both: Both, theirs: str, ours: str):
    both.write("fail-lr0.1", "")
    assert [found.code for found in both.run(theirs, ours)] == [2, 1]
    assert both.began() == (("preprocessed", *TRAINS),) * 2
    assert both.here.project.endings()["collate"] == "aborted"
    both.remove("fail-lr0.1")
    assert [found.code for found in both.run(theirs, ours)] == [0, 0]
    assert both.began() == (("lr0.1", "best"),) * 2
    assert both.have_the_same()


@row("make -i", "parallel-train tasks/pipeline.yaml -i")
def test_a_failure_does_not_count(both: Both, theirs: str, ours: str):
    both.write("fail-lr0.1", "")
    ignoring, told = both.run(theirs, ours)
    assert [ignoring.code, told.code] == [0, 0]
    assert "Task failed: lr0.1" in told.out
    assert both.began() == (EVERY,) * 2
    assert both.have_the_same()
    assert "output/train/lr0.1,,output/train/lr0.1/metrics.json: No such file" in both.here.made()[TABLE]
    both.remove("fail-lr0.1")
    both.run("make", "parallel-train tasks/pipeline.yaml")
    assert both.began() == (("lr0.1", "best"),) * 2
    assert both.have_the_same()


@row("make", "parallel-train tasks/pipeline.yaml -S")
def test_after_a_failure_nothing_more_is_started(both: Both, theirs: str, ours: str):
    both.write("fail-lr0.1", "")
    assert [found.code for found in both.run(theirs, f"{ours} -j 1")] == [2, 1]
    assert both.began() == (("preprocessed", "lr0.3", "lr0.1"),) * 2


@row("kill -9; make", "kill -9; parallel-train tasks/pipeline.yaml")
def test_make_takes_a_half_written_target_for_done(both: Both, done: Path, theirs: str, ours: str):
    both.write("hold-preprocessed", "")
    for side, line in ((both.make, theirs), (both.here, ours)):
        scheduler = side.start(line.split("; ")[1])
        (step,) = side.until_half("preprocessed")
        scheduler.kill()
        os.kill(step, signal.SIGKILL)
        scheduler.wait()
        side.project.until_quiet()
    both.remove("hold-preprocessed")
    both.began()
    assert [found.code for found in both.run(theirs.split("; ")[1], ours.split("; ")[1])] == [0, 0]
    assert both.began() == ((*TRAINS, "best"), EVERY)
    whole = Side(Project(done / "here")).made()
    assert both.here.made() == whole
    assert both.make.made() != whole


# ---- the README ----


def test_the_readme_has_these_lines():
    section = README.read_text().split("\n## Coming from a Makefile\n", 1)[1].split("\n## ", 1)[0]
    told = re.findall(r"^\| `(.+?)` \| `(.+?)` \|", section, re.MULTILINE)
    assert sorted(told) == sorted(ROWS)
