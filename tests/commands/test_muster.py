"""Do the commands that look say what Slurm says of the workers that it was asked for, and what to do about it?"""

from __future__ import annotations

import json
import os
import shlex
import threading
import time
from dataclasses import asdict, replace

import pytest

from parallel_train.commands import muster, wait
from parallel_train.commands.attach import Attached, chosen, situation_of
from parallel_train.commands.sight import Sight
from parallel_train.core.events import ClusterSilent, ElementsSeen
from parallel_train.core.facts import Exited
from parallel_train.core.roster import Roster, Terms
from parallel_train.core.situation import Situation, Wishes
from parallel_train.core.slots import Pool
from parallel_train.core.task import Task
from parallel_train.procs.runner import is_alive
from parallel_train.project import workers
from parallel_train.project.reading import known_tasks, this_owner
from parallel_train.project.workers import Worker
from parallel_train.store.queue import DiskQueue
from tests.commands.history import History, task
from tests.support.call import Caller, call
from tests.support.slurm import StandIn, stand_in
from tests.support.wait import wait_until

__all__ = ["call"]

TWO = 'tasks:\n  - {name: one, command: "true"}\n  - {name: two, command: "true 2", gpus: 0}\n'
AGAIN = "parallel-train tasks/a.yaml --on slurm --workers 4"


@pytest.fixture
def history(call: Caller) -> History:
    """One that succeeded, one that failed, two that are to run."""
    made = History(call.root)
    done, failed, *_ = made.submit(task("done"), task("failed"), task("left"), task("right"), source="tasks/a.yaml")
    made.ran(done)
    made.write(f"{done.output}/result", "1")
    made.ran(failed, outcome=Exited(3))
    return made


@pytest.fixture
def slurm(history: History, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """It was asked for four workers, for all of these tasks."""
    made = stand_in(history.queue, tmp_path_factory.mktemp("slurm") / "bin", monkeypatch)
    made.enlist(ids(history))
    return made


def ids(history: History, *names: str) -> list[str]:
    known = {one.name: one.id for one in known_tasks(history.queue)}
    return [known[name] for name in names or known]


def named(history: History, name: str) -> Task:
    return next(one for one in known_tasks(history.queue) if one.name == name)


def work_in(history: History, job: str, name: str = "w1") -> None:
    """Make this process the worker of an element."""
    disk = DiskQueue(history.queue, this_owner(name), is_alive, about={"source": "tasks/a.yaml", "job": job})
    disk.join()


# ---- status ----


def test_status_says_who_runs_where_who_waits_and_why_and_who_was_lost(slurm: StandIn, call: Caller):
    slurm.lists(
        *(f"812_{n}|RUNNING|pt1|None" for n in range(3)),
        "812_3|RUNNING|pt2|None",
        "813_0|PENDING||Resources",
        "813_1|PENDING||Resources",
        "812_7|PENDING||SomethingNew",
        "811_0|NODE_FAIL|pt2|None",
        "811_1|COMPLETED|pt1|None",
        "811_2|PREEMPTED|pt1|None",
    )
    said = call("status").out.split("\n4 tasks: 2 ready, 1 succeeded, 1 failed\n")[1]
    assert said == (
        "Slurm: 4 workers run, 3 wait\n"
        "  812_[0-3]  runs on pt1 (3), pt2\n"
        "  813_[0-1]  waits in Slurm's queue: no machine has what it asks for free (Resources)\n"
        "  812_7      waits in Slurm's queue: SomethingNew\n"
        "  811_0      its machine failed (NODE_FAIL, pt2)\n"
        "  811_2      was ended to make room for another job (preempted) (pt1)\n"
    )
    assert slurm.calls("sacct") == []


def test_what_was_lost_matters_only_to_what_it_was_asked_for(history: History, slurm: StandIn, call: Caller):
    slurm.enlist(ids(history, "done", "left"), 2, size=2, is_each=True)
    slurm.lists("8_0|TIMEOUT|pt1|None 2", "8_1|TIMEOUT|pt2|None 2")
    said = call("status").out
    assert "\n  8_1  was ended at its time limit (TIMEOUT, pt2)\n" in said
    assert "8_0" not in said


def test_the_log_of_a_worker_that_failed_is_named(history: History, slurm: StandIn, call: Caller):
    slurm.lists("8_0|FAILED|pt1|NonZeroExitCode", "8_1|FAILED|pt1|NonZeroExitCode")
    history.write("logs/slurm-8_0.log", "bash: module: command not found\n")
    said = call("status").out
    assert "8_[0-1]  its worker failed: the end of its log says why (pt1, logs/slurm-8_0.log)\n" in said


def test_a_long_list_is_cut(slurm: StandIn, call: Caller):
    slurm.lists(*(f"8_{n}|RUNNING|pt{n}|None" for n in range(7)), *(f"8_{n}|PENDING||New{n}" for n in range(7, 20)))
    said = call("status").out
    assert "runs on pt0, pt1, pt2, pt3, 3 others\n" in said
    assert said.endswith("  … and 6 more such lines\n")


def test_nobody_there_gives_the_command_that_asks_again(slurm: StandIn, call: Caller):
    assert f"\nNo worker of these runs or waits in Slurm: {AGAIN} asks for some\n" in call("status").out


@pytest.mark.parametrize("options", [("--on", "slurm", "--gpus", "cpu:6", "--sbatch", "--comment=a b"), ()])
def test_that_command_asks_for_the_like(history: History, slurm: StandIn, call: Caller, options: tuple[str, ...]):
    slurm.enlist(ids(history), 2, options=options)
    slurm.enlist(["another"], 3)
    slurm.lists("8_0|COMPLETED|pt1|None 2")
    typed = shlex.join(options or ("--on", "slurm"))
    assert f": parallel-train tasks/a.yaml {typed} asks for some\n" in call("status").out


def test_for_what_only_was_added_a_worker_here_is_named(history: History, slurm: StandIn, call: Caller):
    history.submit(source="tasks/a.yaml")
    history.submit(task("alone"), source="add")
    assert "No scheduler works here: parallel-train worker does what is open\n" in call("status").out


def test_a_worker_in_an_element_is_shown_once(history: History, slurm: StandIn, call: Caller):
    slurm.lists("812_3|RUNNING|pt2|None")
    work_in(history, "812_3")
    said = call("status").out
    assert "Slurm: 1 worker runs\n  812_3  runs on pt2\n" in said
    assert "Worked on by" not in said


def test_a_worker_whose_element_is_over_works_no_more(history: History, slurm: StandIn, call: Caller):
    """Its record stays where its machine died."""
    slurm.lists("812_3|NODE_FAIL|pt2|None")
    work_in(history, "812_3")
    said = call("status").out
    assert "its machine failed" in said
    assert f"{AGAIN} asks for some\n" in said
    assert "Worked on by" not in said


@pytest.mark.parametrize("how", ["dead", "hangs", "absent"])
def test_without_an_answer_the_records_say_what_they_say(history: History, slurm: StandIn, call: Caller, how: str):
    path = os.environ["PATH"]
    if how == "dead":
        slurm.fails("squeue", "Unable to contact slurm controller (connect failure)")
        why = "squeue: Unable to contact slurm controller (connect failure)"
    elif how == "hangs":
        slurm.command("squeue", "exec sleep 60")
        why = "squeue did not answer within 2 s"
    else:
        (slurm.folder / "squeue").unlink()
        path = str(slurm.folder)
        why = "squeue is not installed here: Slurm is used from a machine that has its commands"
    work_in(history, "812_3")
    began = time.monotonic()
    said = call("status", PATH=path).out.split("1 failed\n")[1]
    assert time.monotonic() - began < 20
    assert said.startswith(
        f"Slurm can't be asked now ({why}): what stands here is what the records say\nWorked on by w1"
    )


def test_what_the_queue_has_forgotten_the_accounts_tell(slurm: StandIn, call: Caller):
    slurm.lists("7_0|NODE_FAIL|pt1|None", "7_1|CANCELLED by 0|pt2|None", by="sacct")
    said = call("status").out
    assert "\nSlurm: no worker runs or waits\n" in said
    assert "\n  7_0  its machine failed (NODE_FAIL, pt1)\n  7_1  was cancelled in Slurm (CANCELLED by 0, pt2)\n" in said
    assert f"{AGAIN} asks for some\n" in said
    (asked,) = slurm.calls("sacct")
    local = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(1767323045 - 3600))
    assert f"--starttime={local}" in asked


def test_scripts_read_the_same_beside_the_tasks(slurm: StandIn, call: Caller):
    slurm.lists("812_0|PENDING||Priority", "812_1|RUNNING|pt1|None")
    told = json.loads(call("status", "--json").out)
    assert [one["name"] for one in told["tasks"]] == ["done", "failed", "left", "right"]
    assert told["cluster"] == {
        "silent": None,
        "elements": [
            {
                "job": "812_0",
                "array": 1,
                "phase": "waiting",
                "state": "PENDING",
                "reason": "Priority",
                "meaning": "waits in Slurm's queue",
                "why": "others come first (Priority)",
                "host": None,
            },
            {
                "job": "812_1",
                "array": 1,
                "phase": "running",
                "state": "RUNNING",
                "reason": None,
                "meaning": "runs",
                "why": None,
                "host": "pt1",
            },
        ],
    }


@pytest.mark.parametrize("has_arrays", [True, False])
def test_slurm_is_asked_only_where_it_was_asked_before_and_something_is_open(
    history: History, slurm: StandIn, call: Caller, *, has_arrays: bool
):
    if has_arrays:
        history.submit(task("done"), source="tasks/a.yaml")
    else:
        (history.queue / "arrays" / "1").unlink()
    assert "Slurm" not in call("status").out
    assert list(json.loads(call("status", "--json").out)) == ["tasks"]
    assert slurm.calls("squeue") == []


def test_who_keeps_looking_does_not_ask_each_time(history: History, slurm: StandIn):
    watching = muster.Musters(history.queue)
    assert [watching.look() for _ in range(3)] == [watching.look()] * 3
    assert len(slurm.calls("squeue")) == 1


# ---- explain ----


def test_explain_says_who_will_work_on_the_task(history: History, slurm: StandIn, call: Caller):
    slurm.enlist(ids(history, "right"), 2, size=1)
    slurm.lists("8_0|PENDING||Priority", "9_0|PENDING||Resources 2", "7_0|BOOT_FAIL|pt1|None")
    said = call("explain", "left").out
    assert (
        "  slurm       1 worker waits\n              8_0  waits in Slurm's queue: others come first (Priority)\n"
        in said
    )
    assert "7_0  its machine did not start (BOOT_FAIL, pt1)\n" in said
    assert "9_0" not in said
    assert "none works here now" not in said
    assert "--on slurm" not in said
    told = json.loads(call("explain", "left", "--json").out)["tasks"][0]
    assert [element["job"] for element in told["cluster"]["elements"]] == ["8_0", "7_0"]


def test_explain_gives_the_way_where_nobody_will(slurm: StandIn, call: Caller):
    said = call("explain", "left").out
    assert "  slurm       no worker runs or waits\n" in said
    assert f"  {AGAIN}  asks Slurm for workers\n" in said


def test_explain_runs_again_where_it_ran(history: History, slurm: StandIn, call: Caller):
    history.write("tasks/a.yaml", "")
    assert f"  parallel-train tasks/a.yaml -B 1 {AGAIN.partition('.yaml ')[2]}  " in call("explain", "done").out


def test_who_asks_for_workers_is_no_worker_without_slots(history: History, slurm: StandIn, call: Caller):
    slurm.lists("8_0|PENDING||Priority")
    about = {"source": "tasks/a.yaml", "tasks": "1-4", "terms": asdict(Terms(4, 1, 1)), "words": ["tasks/a.yaml"]}
    DiskQueue(history.queue, this_owner("w1"), is_alive, about=about).join()
    said = call("explain", "left").out
    assert f"w1 (process {os.getpid()} on {os.uname().nodename}): parallel-train tasks/a.yaml\n" in said
    assert "none of them" not in said


# ---- attach, wait, logs ----


def test_attach_means_who_watches_rather_than_whom_a_cluster_lends(history: History, slurm: StandIn):
    slurm.lists("812_3|RUNNING|pt2|None")
    work_in(history, "812_3", name="a")
    assert chosen(history.path, None).name == "a"
    work_in(history, "", name="b")
    assert chosen(history.path, None).name == "b"
    assert chosen(history.path, "812_3").name == "a"


def test_attach_shows_a_run_of_others_as_it_is_seen_there(history: History, slurm: StandIn):
    """Its tasks are done elsewhere, and it says who is there."""
    terms = Terms(workers=3, gpus=2, slots=2)
    situation = Situation(Wishes(worker="w"), Pool(), roster=Roster(terms))
    about = workers.about(situation, DiskQueue(history.queue, this_owner("w"), is_alive), "tasks/a.yaml", "logs")
    disk, seen = situation_of(history.path, Worker(replace(this_owner("w"), worker="w"), about), print)
    assert seen.roster is not None
    assert seen.roster.terms == terms
    slurm.lists("8_0|PENDING||Priority", "8_1|RUNNING|pt1|None")
    attached = Attached(Worker(disk.owner, about), disk, seen, None, None)  # type: ignore[arg-type]
    assert [type(event) for event in attached._of_cluster(0.0)] == [ElementsSeen]
    assert list(attached._of_cluster(0.0)) == []
    slurm.fails("squeue", "Unable to contact slurm controller")
    attached._musters._due = 0.0
    assert [type(event) for event in attached._of_cluster(0.0)] == [ClusterSilent]


def test_of_several_that_a_cluster_lends_the_run_of_all_is_offered(history: History, slurm: StandIn, call: Caller):
    slurm.lists("812_3|RUNNING|pt2|None", "812_4|RUNNING|pt2|None")
    work_in(history, "812_3", name="a")
    work_in(history, "812_4", name="b")
    assert call("attach").err == (
        f"parallel-train: several workers live here: {AGAIN} shows the run of them all, and asks for no more than are"
        " missing; or name one, as in parallel-train attach 812_3\n"
        f"  a (process {os.getpid()} on {this_owner('').host}): in Slurm, 812_3\n"
        f"  b (process {os.getpid()} on {this_owner('').host}): in Slurm, 812_4\n"
    )


def test_attach_says_who_waits_where_nobody_works(slurm: StandIn, call: Caller):
    slurm.lists("8_0|PENDING||Priority")
    said = f"no scheduler works here now; Slurm: 1 worker waits; {AGAIN} shows their run; parallel-train status"
    assert said in call("attach").err


def test_wait_says_whom_it_waits_for(history: History, slurm: StandIn, capsys: pytest.CaptureFixture[str]):
    slurm.lists("8_0|PENDING||Priority")
    found = wait.Waiting.of(history.path, ())
    thread = threading.Thread(target=found.until_ended, daemon=True)
    thread.start()
    said: list[str] = []
    wait_until(lambda: said.append(capsys.readouterr().err) or "(Priority)" in "".join(said), "it is said")
    for name in ("left", "right"):
        history.ran(named(history, name))
    thread.join(60)
    assert not thread.is_alive()
    assert "".join(said) == (
        "note: waiting for 2 tasks that have not ended.\n"
        "Slurm: 1 worker waits\n  8_0  waits in Slurm's queue: others come first (Priority)\n"
    )


def test_logs_follow_what_a_worker_that_waits_will_do(history: History, slurm: StandIn):
    slurm.lists("8_0|PENDING||Priority")
    assert all(
        sight.is_expected(line) for sight in [Sight(history.path, ("left",), failed=False)] for line in sight.lines
    )
    slurm.lists()
    assert not any(
        sight.is_expected(line) for sight in [Sight(history.path, ("left",), failed=False)] for line in sight.lines
    )


# ---- who will do what is asked for ----


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        (["8_0|RUNNING|pt1|None", "8_1|PENDING||Priority"], "Taken up by 1 worker in Slurm\n"),
        (["8_1|PENDING||Priority"], "Taken up in Slurm, when its turn comes, by 1 worker that waits\n"),
        ([], f"No worker of these runs or waits in Slurm: {AGAIN} asks for some\n"),
    ],
)
def test_a_retry_names_the_workers_in_slurm(slurm: StandIn, call: Caller, listed: list[str], said: str):
    slurm.lists(*listed)
    assert call("retry", "failed").out.endswith(said)


def test_what_is_added_is_for_those_that_run_and_not_for_those_that_were_asked_for_before(slurm: StandIn, call: Caller):
    slurm.lists("8_1|PENDING||Priority")
    assert "No scheduler works here: parallel-train worker does what is open" in call("add", "--", "true").out
    slurm.lists("8_1|RUNNING|pt1|None")
    assert "Taken up by 1 worker in Slurm" in call("add", "--", "true").out


# ---- cancel ----


def test_with_nothing_left_those_that_wait_are_cancelled(slurm: StandIn, call: Caller):
    slurm.lists("8_0|PENDING||Priority", "8_1|PENDING||Priority", "8_2|RUNNING|pt1|None", "7_0|NODE_FAIL|pt1|None")
    found = call("cancel", "*")
    assert found.code == 0
    assert slurm.calls("scancel") == ["--state=PENDING 8_[0-1]"]
    assert (
        "Cancelled in Slurm, since nothing is left for them: 2 workers that waited (8_[0-1])\n"
        "In Slurm 1 worker runs (8_2): with nothing left to do it leaves by itself\n"
    ) in found.out


def test_those_that_wait_for_something_else_stay(history: History, slurm: StandIn, call: Caller):
    slurm.enlist(ids(history, "left", "failed"), 2, size=1)
    slurm.enlist(ids(history, "left", "right"), 3, size=2, is_each=True)
    slurm.lists("8_0|PENDING||Priority", "9_0|PENDING||None 2", "10_0|PENDING||None 3", "10_1|PENDING||None 3")
    found = call("cancel", "left")
    assert slurm.calls("scancel") == ["--state=PENDING 9_[0] 10_[0]"]
    assert "since nothing is left for them: 2 workers that waited (9_0 10_0)\n" in found.out


def test_a_cancel_while_slurm_is_silent_counts_and_says_what_is_left(slurm: StandIn, call: Caller):
    slurm.fails("squeue", "Unable to contact slurm controller (connect failure)")
    found = call("cancel", "*")
    assert found.code == 0
    assert (
        "Slurm can't be asked now (squeue: Unable to contact slurm controller (connect failure)): whoever waits there"
        " leaves at once when its turn comes. Once Slurm answers: parallel-train cancel '*'\n"
    ) in found.out
    slurm.lists("8_0|PENDING||Priority")
    slurm.fails("scancel", "Kill job error on job id 8_0: Unable to contact slurm controller")
    assert "Slurm can't be asked now (Kill job error on job id 8_0: Unable" in call("cancel", "*").out
    slurm.command("scancel", "")
    assert "1 worker that waited (8_0)" in call("cancel", "*").out


def test_a_cancel_of_a_part_does_not_mind_that_slurm_is_silent(slurm: StandIn, call: Caller):
    slurm.fails("squeue", "Unable to contact slurm controller")
    assert "Slurm" not in call("cancel", "left").out


# ---- gc ----


def test_gc_knows_the_records_and_what_a_killed_writer_left_beside_them(history: History, slurm: StandIn, call: Caller):
    left = history.write(".parallel-train/arrays/.tmp-999999999-abc", "x")
    os.utime(left, (0, 0))
    assert "1 temporary file" in call("gc", "--yes").out
    assert not left.exists()
    assert (history.queue / "arrays" / "1").exists()


# ---- a run here ----


@pytest.mark.parametrize(
    "case",
    [
        ("8_0|PENDING||Priority", "--gpus=cpu:1", True),
        ("8_0|PENDING||Priority", "--gpus=fake:1", False),
        ("8_0|COMPLETED|pt1|None", "--gpus=cpu:1", False),
        ("8_0|PENDING||Priority", "--on=slurm", False),
    ],
)
def test_a_run_on_a_cpu_of_what_slurm_serves_is_told_so(slurm: StandIn, call: Caller, case: tuple[str, str, bool]):
    listed, where, is_said = case
    slurm.lists(listed)
    call.write("tasks/a.yaml", TWO)
    found = call("tasks/a.yaml", "-n", where)
    said = "1 task wants a GPU, and this run does it on the CPU here. Slurm serves this queue: "
    assert found.code == 0, found.err
    assert (f"{said}{AGAIN} has it done there\n" in found.err) == is_said


def test_so_it_is_while_only_the_run_that_asks_for_them_lives(history: History, slurm: StandIn, call: Caller):
    about = {"source": "tasks/a.yaml", "terms": asdict(Terms(4, 1, 1))}
    DiskQueue(history.queue, this_owner("w1"), is_alive, about=about).join()
    call.write("tasks/a.yaml", TWO)
    assert "Slurm serves this queue" in call("tasks/a.yaml", "-n", "--gpus", "cpu:1").err
