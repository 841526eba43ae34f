"""Does the document's example run unchanged but for the import, on several processes and hosts, whatever kills them?"""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from parallel_train import MultiRunner, find_best_gpu
from parallel_train.commands.ask import pause, resume
from parallel_train.errors import UsageError
from tests.faces.script import EXAMPLE, POINTS, Script
from tests.support.host import ENTER, Host, is_possible
from tests.support.sweep import Project
from tests.support.wait import wait_until

FINISHED = {f"{number}_finished" for number in range(18)}
EVERY_POINT_ONCE = dict.fromkeys(POINTS, 1)


@pytest.fixture
def script(project: Project) -> Script:
    return Script(project)


def runner(project: Project, **more) -> MultiRunner:
    return MultiRunner(project.root / "ini", project.root / "results", if_log=False, **more)


def is_complete(project: Project, folder: str = "ini", results: str = "results") -> bool:
    """Whether `status` calls every point succeeded, with a result file each and nothing else beside them, but for what
    somebody was writing as he was killed.
    """
    files = {path.name for path in (project.root / results).iterdir() if not path.name.startswith(".tmp-")}
    endings = Project(project.root / folder).endings()
    return set(endings.values()) == {"succeeded"} and files == {f"{number}.json" for number in range(18)}


# ---- the example ----


def test_the_example_as_six_processes_that_start_at_once(script, project):
    script.write(EXAMPLE, wait="time.sleep(0.02)", options="")
    processes = [script.start() for _ in range(6)]
    assert [process.wait(60) for process in processes] == [0] * 6, project.said
    assert script.calls("ended") == script.calls("began") == EVERY_POINT_ONCE
    assert script.markers() == FINISHED
    assert is_complete(project)
    best, *others = runner(project).results()
    assert (best.params, best.value, best.attempts) == ((256, 1, 0.1), 25.6, 1)
    assert best.host == os.uname().nodename
    assert best.time is not None
    assert best.time >= 0.02
    assert [r.value for r in others] == sorted((r.value for r in others), reverse=True)
    wait_until(lambda: not project.living(), "no companion is left")


def test_the_readme_shows_it_as_it_runs(project):
    readme = (Path(__file__).parents[2] / "README.md").read_text().split("## Coming from MultiRunner")[1]
    code, said = Script(project).write(readme.split("```py\n")[1].split("```")[0]).run()
    assert code == 0, said
    assert said.splitlines()[-18].startswith("(256, 1, 0.1) 25.6 ")


def test_status_results_and_explain_show_its_points_and_a_worker_leaves_them_alone(script, project, asked):
    wait = "while not os.path.exists('go'): time.sleep(0.01)"
    script.write(EXAMPLE, wait=wait, options="")
    running = script.start()
    wait_until(script.callers, "the first call is being made")
    status = asked("status", "ini/")
    assert "18 tasks: 1 running, 17 ready" in status.out
    assert f"(process {running.pid} on " in status.out
    assert "python new_run.py" in status.out
    assert script.markers() == {"0_running", *(f"{number}_to_run" for number in range(1, 18))}
    assert "runs now: attempt 1" in asked("explain", "1", "-C", "ini").out
    worker = project.run("worker", "-C", "ini", gpus="cpu:1")
    assert (worker.code, "18 calls are for their own script to make" in worker.out) == (0, True), worker.text
    project.write("go", "")
    assert running.wait(60) == 0
    table = asked("results", "ini", "--csv").out.splitlines()
    assert table[0].startswith("number,name,arg0,arg1,arg2,value,")
    assert ",256,1,0.1,25.6," in table[1]
    assert script.calls("ended") == EVERY_POINT_ONCE


# ---- hosts, and processes that are killed ----

FAKE = json.dumps({"gpus": [{"index": n, "uuid": f"GPU-{n}", "memory_total_mib": 8000} for n in range(3)]})
# Each process records the card that it was given.
ON_A_GPU = """
from parallel_train import find_best_gpu
gpu = find_best_gpu("fake:cards.json")
open(f"card.{os.uname().nodename}.{os.getpid()}.{gpu}", "w").close()
"""
hosts = pytest.mark.skipif(not is_possible(), reason="no namespaces to make hosts of")


def on_two_hosts(project: Project, script: Script) -> None:
    """Four processes for each of three cards of each of two hosts, all started at once."""
    project.write("cards.json", FAKE)
    for host in (Host(project, "alpha"), Host(project, "beta")):
        # One set of namespaces for the twelve of a host: they see each other.
        crowd = 'for n in $(seq 12); do "$@" & done; wait'
        host.begin([*ENTER, *host.set_up(), "sh", "-c", crowd, "sh", *script.argv])


# All of them go on to a second grid, with calls that take longer, and together: who has left holds no card any more.
ON_TO_ANOTHER_GRID = """
while not os.path.exists("go"):
    time.sleep(0.01)
CALLS = "calls_again"
a=MultiRunner("again/", "results_again/", speculate=False)
a.generate_ini([[16,64,256], [1,2], [0.001,0.01,0.1]])
a.run(train_a_model)
"""
KILLS = 6


@hosts
def test_two_hosts_with_three_cards_and_four_processes_on_each(project):
    """Also where a quarter of the processes is killed while they make calls."""
    text = EXAMPLE.format(wait="time.sleep(0.1 if CALLS == 'calls' else 0.5)", options="speculate=False")
    text = text.replace('"calls"', "CALLS").replace("a=Multi", f"CALLS = 'calls'{ON_A_GPU}a=Multi")
    script = Script(project).write(text + ON_TO_ANOTHER_GRID)
    again = Script(project, record="calls_again")
    on_two_hosts(project, script)
    wait_until(lambda: len(list(project.root.glob("card.*"))) == 24, "all have begun", 120)
    project.write("go", "")
    for n in range(KILLS):
        wait_until(lambda n=n: sum(again.calls("began").values()) > n, "calls of the second grid are being made", 120)
        with suppress(IndexError, ProcessLookupError):  # a slow machine: the calls are over already
            os.kill(random.Random(n).choice(callers(project)), signal.SIGKILL)
    assert [crowd.wait(120) for crowd in project.started] == [0, 0], project.said
    assert script.markers() == again.markers("again") == FINISHED
    assert script.calls("ended") == EVERY_POINT_ONCE
    assert set(again.calls("ended")) == POINTS
    assert sum(again.calls("began").values()) <= len(POINTS) + KILLS
    for folder, results in (("ini", "results"), ("again", "results_again")):
        assert is_complete(project, folder=folder, results=results)
        made = MultiRunner(project.root / folder, project.root / results, if_log=False).results()
        assert {result.host for result in made} <= {"alpha", "beta"}
    cards = Counter(tuple(path.name.split(".")[1:4:2]) for path in project.root.glob("card.*"))
    assert cards == {(host, gpu): 4 for host in ("alpha", "beta") for gpu in "012"}


def callers(project: Project) -> list[int]:
    """The processes of the script that live, on whichever host, by the pids of this machine."""
    found = []
    for pid in project.living():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            if Path(f"/proc/{pid}/cmdline").read_text().split("\0")[1:2] == ["new_run.py"]:
                found.append(pid)
    return found


def test_who_is_killed_between_its_result_and_its_end_has_made_its_call(project):
    """The result stands, so the call is not made again: its claim only lacks an end, which the next caller says."""
    script = Script(project).write(DIES)
    assert script.run()[0] == -signal.SIGKILL
    assert script.calls("ended") == {"1": 1}
    project.write("again", "")
    assert script.run()[0] == 0
    assert script.calls("ended") == {"1": 1, "2": 1}
    assert [result.value for result in runner(project).results()] == [2, 1]


DIES = (
    EXAMPLE.split("def train")[0]
    + """
from parallel_train import MultiRunner
from parallel_train.procs import shim

def f(x):
    record("ended", x)
    return x

if not os.path.exists("again"):
    shim.link_end = lambda *_: os.kill(os.getpid(), 9)
a=MultiRunner()
a.generate_ini([[1, 2]])
a.run(f)
"""
)


# ---- errors ----

FAILS = (
    EXAMPLE.split("def train")[0]
    + """
from parallel_train import MultiRunner

def f(x):
    record("began", x)
    if x == 1:
        raise ValueError(f"no {x}")
    return x

a=MultiRunner(OPTIONS)
a.generate_ini([[0, 1, 2]])
a.run(f, error_wait_time=0)
"""
)


def test_a_poison_point_is_given_up_after_three_errors_and_the_others_are_made(project, asked):
    script = Script(project).write(FAILS.replace("OPTIONS", ""))
    code, said = script.run()
    assert code == 0, said
    assert script.calls("began") == {"0": 1, "1": 3, "2": 1}
    assert script.markers() == {"0_finished", "1_to_run", "2_finished"}
    assert said.count("ValueError: no 1") == 3
    assert "in f" in said  # its traceback
    status = Project(project.root / "ini").status()["point1"]
    assert (status["ending"], status["attempts"], status["exit_code"]) == ("failed", 3, 1)
    logs = asked("logs", "ini", "2")
    assert "ValueError: no 1" in logs.out
    assert asked("logs", "ini", "point0").out.splitlines()[-1].endswith(" 0: 0")
    assert len(asked("logs", "ini", "point2").out.splitlines()) == 2  # nothing of the other points
    assert len(asked("logs", "ini", "2", "--lines", "2").out.splitlines()) == 2
    assert logs.err == ""
    assert "ValueError: no 1" in asked("explain", "ini", "2").out
    assert script.run()[0] == 0
    assert script.calls("began") == {"0": 1, "1": 4, "2": 1}  # the next start tries it once more


def test_a_process_leaves_after_so_many_errors_and_its_points_stay(project):
    script = Script(project).write(FAILS.replace("OPTIONS", "max_error_times=1"))
    code, said = script.run()
    assert code == 1
    assert "after 1 of max_error_times=1 errors" in said
    assert script.calls("began") == {"0": 1, "1": 1}
    assert script.markers() == {"0_finished", "1_to_run", "2_to_run"}
    assert script.run()[0] == 1
    assert script.calls("began")["1"] == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_is_told_to_stop_gives_the_point_back_at_no_cost(script, project, asked, number):
    script.write(EXAMPLE, wait="while not os.path.exists('go'): time.sleep(0.01)", options="")
    first = script.start()
    wait_until(script.callers, "a call is being made")
    first.send_signal(number)
    assert first.wait(30) != 0
    assert script.markers() == {f"{number}_to_run" for number in range(18)}
    project.write("go", "")
    assert script.run()[0] == 0
    assert script.calls("ended") == EVERY_POINT_ONCE
    assert Project(project.root / "ini").status()["point0"]["ending"] == "succeeded"
    assert f"({number.name})" in asked("explain", "ini", "1").out


def test_a_pause_is_said_once_and_waited_out(script, project):
    script.write(EXAMPLE, wait="", options="if_log=False")
    grid = [[16, 64, 256], [1, 2], [0.001, 0.01, 0.1]]
    runner(project).generate_ini(grid)
    pause(script.ini, [], sys.stdout)
    running = script.start()
    said = f"the queue is paused: parallel-train resume -C {script.ini}"
    wait_until(lambda: said in project.said, "it says what it waits for")
    resume(script.ini, [], sys.stdout)
    assert running.wait(60) == 0
    assert project.said.count("is paused") == 1
    assert script.calls("ended") == EVERY_POINT_ONCE


# ---- cancel ----


def test_ctrl_c_in_a_notebook_leaves_nobody_at_work_and_the_next_run_goes_on(project):
    def interrupted(_):
        raise KeyboardInterrupt

    one = runner(project)
    one.generate_ini([[1, 2]])
    with pytest.raises(KeyboardInterrupt):
        one.run(interrupted)
    assert list((project.root / "ini/.parallel-train/workers").iterdir()) == []
    one.run(lambda value: value)
    assert [result.value for result in one.results()] == [2, 1]


def test_the_result_of_a_cancelled_call_does_not_count_and_a_retry_makes_it_again(script, project, asked):
    script.write(EXAMPLE, wait="while not os.path.exists('go'): time.sleep(0.01)", options="")
    running = script.start()
    wait_until(script.callers, "a call is being made")
    cancelled = asked("cancel", "-C", "ini", "1")
    assert cancelled.code == 0, cancelled.err
    assert "its result will not count" in cancelled.out
    assert script.callers() == [running.pid]  # it goes on
    project.write("go", "")
    assert running.wait(60) == 0
    assert script.calls("ended") == EVERY_POINT_ONCE
    assert script.markers() == {"0_to_run"} | FINISHED - {"0_finished"}
    assert not (project.root / "results/0.json").exists()
    assert "start their script again" in asked("retry", "-C", "ini", "1").out
    assert script.run()[0] == 0
    assert script.calls("ended") == {**EVERY_POINT_ONCE, "16 1 0.001": 2}
    assert script.markers() == FINISHED


# ---- a straggler's copy ----

SLOW = (
    EXAMPLE.split("def train")[0]
    + """
import sys
from parallel_train import MultiRunner

def f(x):
    record("began", x)
    while x == 0 and sys.argv[1:] == ["slow"] and not os.path.exists("go"):
        time.sleep(0.01)
    record("ended", x)
    return f"{x} of {os.getpid()}"

a=MultiRunner(OPTIONS)
a.generate_ini([[0, 1, 2]])
a.run(f)
"""
)


class SlowScript(Script):
    argv = [sys.executable, "new_run.py", "slow"]  # noqa: RUF012  the same for all


@pytest.mark.parametrize("speculates", [True, False])
def test_an_idle_process_copies_what_another_is_slow_to_end_and_the_first_result_stands(project, speculates):
    options = "" if speculates else "speculate=False"
    slow = SlowScript(project).write(SLOW.replace("OPTIONS", options))
    straggler = slow.start()
    wait_until(slow.callers, "the slow call is being made")
    fast = [Script(project).start() for _ in range(2)]
    if not speculates:
        wait_until(lambda: slow.calls("ended") == {"1": 1, "2": 1}, "the others are done")
        project.write("go", "")
    assert [process.wait(60) for process in fast] == [0, 0], project.said
    values = {result.params: result.value for result in runner(project).results()}
    assert values[0,].endswith(f" of {straggler.pid}") != speculates
    project.write("go", "")
    assert straggler.wait(60) == 0, project.said
    assert {result.params: result.value for result in runner(project).results()} == values
    assert slow.calls("began") == {"0": 1 + speculates, "1": 1, "2": 1}
    assert {task["attempts"] for task in Project(project.root / "ini").status().values()} == {1}


# ---- grids ----


def test_another_grid_in_the_same_folder_is_refused_and_may_take_its_place(project):
    one = runner(project)
    one.generate_ini([[1, 2], ["a"]])
    one.run(lambda x, _: x)
    with pytest.raises(UsageError, match=r"holds another grid .2 points, this one has 3.*reserve_old_ini=False"):
        runner(project).generate_ini([[1, 2, 3], ["a"]])
    other = runner(project)
    other.generate_ini([[1, 7, 3], ["a"]], reserve_old_ini=False)
    made = []
    other.run(lambda x, _: made.append(x))
    assert made == [7, 3]
    assert {result.params: result.value for result in other.results()} == {(1, "a"): 1, (7, "a"): None, (3, "a"): None}


def test_points_that_are_in_both_grids_keep_their_results_wherever_they_stand(project):
    made = []
    one = runner(project)
    one.generate_ini([[1, 2], [10, 20]])
    one.run(lambda x, y: made.append((x, y)) or x * y)
    made.clear()
    wider = runner(project)
    wider.generate_ini([[1, 2, 3], [5, 10, 20]], reserve_old_ini=False)
    wider.run(lambda x, y: made.append((x, y)) or x * y)
    assert made == [(1, 5), (2, 5), (3, 5), (3, 10), (3, 20)]
    assert {result.params: result.value for result in wider.results()} == {
        (x, y): x * y for x in (1, 2, 3) for y in (5, 10, 20)
    }
    runner(project).generate_ini([[1, 2, 3], [5, 10, 20]])  # the same grid, whatever its numbers
    made.clear()
    narrower = runner(project)
    narrower.generate_ini([[3], [20, 30]], reserve_old_ini=False)
    narrower.run(lambda x, y: made.append((x, y)) or x * y)
    assert made == [(3, 30)]
    assert {result.params: result.value for result in narrower.results()} == {(3, 20): 60, (3, 30): 90}
    aside = [json.loads(path.read_text())["value"] for path in (project.root / "ini").rglob("aside/*/*.json")]
    assert aside == [10]  # of (1, 10), whose number (3, 30) has now
    assert len(list((project.root / "results").iterdir())) == 9  # the others stay where they are


def test_values_of_all_kinds(project, capsys):
    np = pytest.importorskip("numpy")
    one = runner(project)
    one.generate_ini([[np.float64(0.5), (1, 2), {"a": [None, True]}, "é\n"]], show_ini=True)
    assert capsys.readouterr().out.splitlines()[1] == "(1, 2)"
    given = []
    one.run(lambda value: given.append(value) or [np.int64(1), {2}, {"x": float("nan")}, 3][len(given) - 1])
    assert given == [0.5, (1, 2), {"a": [None, True]}, "é\n"]  # as they were given, tuples too
    results = {str(result.params[0]): result for result in one.results()}
    assert one.results()[0].value == 3
    assert results["0.5"].value == 1
    assert results["(1, 2)"].value is None
    assert results["(1, 2)"].pickle == project.root / "results/1.pkl"
    assert results["(1, 2)"].pickle.read_bytes().startswith(b"\x80")
    with pytest.raises(UsageError, match=r"argument 0: .* can't be written down for other processes"):
        runner(project).generate_ini([[object()]])
    with pytest.raises(UsageError, match="no point"):
        runner(project).generate_ini([[1], []])


def test_a_pickle_that_another_grid_left_is_not_taken_for_the_result(project):
    for values in ([1], [2]):
        one = runner(project)
        one.generate_ini([values])
        one.run(lambda value: {value})
        [result] = one.results()
        assert pickle.loads(result.pickle.read_bytes()) == set(values)
        shutil.rmtree(project.root / "ini")


def test_a_number_that_no_float_holds_is_no_best_one(project):
    one = runner(project)
    one.generate_ini([[10**400, 1]])
    one.run(lambda value: value)
    assert [result.value for result in one.results()] == [1, 10**400]


def test_results_go_into_a_folder(project):
    project.write("results", "")
    with pytest.raises(UsageError, match=r"result_dir is .*, which is no folder"):
        runner(project).generate_ini([[1]])


def test_a_folder_of_the_original_is_left_as_it_is(project):
    project.write("ini/0_to_run", "a pickle")
    with pytest.raises(UsageError, match="the original"):
        runner(project).generate_ini([[1]])
    assert [path.name for path in (project.root / "ini").iterdir()] == ["0_to_run"]


# ---- find_best_gpu ----


@pytest.fixture
def cards(project: Project) -> str:
    cards = [{"index": n, "uuid": f"GPU-{os.getpid()}-{n}", "memory_total_mib": 1000 * (n + 1)} for n in range(3)]
    return f"fake:{project.write('cards.json', json.dumps({'gpus': cards}))}"


def test_the_least_reserved_then_the_emptiest_gpu_and_the_dead_do_not_count(project, cards, monkeypatch):
    code = f"from parallel_train import find_best_gpu; print(find_best_gpu({cards!r}), flush=True); input()"
    others = []
    for _ in range(4):
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        process = subprocess.Popen([sys.executable, "-c", code], env=project.environment, **streams)
        project.started.append(process)
        others.append((process, int(process.stdout.readline())))
    assert [gpu for _, gpu in others] == [2, 1, 0, 2]
    monkeypatch.setenv("PARALLEL_TRAIN_GPUS", cards)
    assert find_best_gpu() == 1
    assert find_best_gpu() == 1  # its own reservation does not count against it
    for process, _ in others:
        process.kill()
        process.communicate()
    assert find_best_gpu() == 2


def test_without_a_gpu_it_says_so(project, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("PARALLEL_TRAIN_GPUS", raising=False)
    with pytest.raises(UsageError, match=r"find_best_gpu: CUDA_VISIBLE_DEVICES.* hides every GPU"):
        find_best_gpu()
