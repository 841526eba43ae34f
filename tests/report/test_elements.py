"""Is it said of a cluster's workers what people want to know, and once?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from parallel_train.core.apply import apply
from parallel_train.core.cluster import Element
from parallel_train.core.events import ClusterSilent, ElementsSeen, Enlisted, Interrupted, NotEnlisted
from parallel_train.core.facts import Array
from parallel_train.core.roster import Roster, Terms
from parallel_train.core.slots import Pool
from parallel_train.report import elements
from parallel_train.report.lines import Narrator
from parallel_train.report.memory import Memory, Moment
from parallel_train.report.summary import closing, opening
from parallel_train.report.view import notice, status_line, view
from tests.support.builders import claim, claimed, ended, situation, task

A, B = task("a", number=1), task("b", number=2)
TERMS = Terms(workers=3, gpus=2, slots=2)
START = Moment(100.0, 1767323045.0)
BUSY = "no machine has what it asks for free (Resources)"


class Told:
    """A run on a cluster: events in, lines out."""

    def __init__(self, *tasks, terms=TERMS):
        self.s = situation(*(tasks or (A, B)), slots=Pool())
        self.s.roster = Roster(terms)
        self.memory = Memory.of(self.s, START)
        self.narrator = Narrator(self.memory, lambda path: [f"the end of {path}"])

    def __call__(self, *events):
        lines = []
        for event in events:
            apply(self.s, event)
            said = self.narrator.tell(event, self.s, START)
            lines += [said.text, *said.more] if said else []
        return lines

    def send(self, size=3, gpus=2, delay=0.0, **more):
        number = len(self.s.roster.arrays) + 1
        array = Array(number, size, tuple(self.s.lines), gpus, **more)
        return self(Enlisted(array, ours=True, is_sent=True, delay=delay, at=START.now))

    @property
    def notice(self):
        return notice(self.s, START.now)


def seen(*phases, array=1, **more):
    return ElementsSeen(tuple(Element(f"7{array}_{n}", array, n, p, **more) for n, p in enumerate(phases)), START.now)


@pytest.mark.parametrize(
    ("terms", "where"),
    [
        (TERMS, "on the cluster, by up to 3 workers with 2 GPUs each"),
        (Terms(workers=1, gpus=0, slots=4), "on the cluster, by up to 1 worker with 4 CPU slots"),
        (Terms(workers=0, gpus=1, slots=1, is_each=True), "on the cluster, a job for each"),
        (Terms(workers=9, gpus=1, slots=1, is_each=True), "on the cluster, a job for each, at most 9 at once"),
    ],
)
def test_the_first_line_says_where_it_runs(terms, where):
    assert opening(Told(A, terms=terms).s)[0].text == f"1 task: 1 to do {where}"


def test_what_was_asked_for():
    told = Told()
    assert told.send() == ["Asked the cluster for 3 workers with 2 GPUs each (array 1)"]
    assert told.send(1, delay=5.0) == ["Asked the cluster for 1 worker with 2 GPUs (array 2, in 5s: others were lost)"]
    each = Told(terms=Terms(workers=0, gpus=2, slots=2, is_each=True))
    assert each.send(2, 0, is_each=True) == ["Asked the cluster for 2 tasks with no GPU each (array 1)"]


def test_an_array_of_somebody_else_is_no_news():
    assert Told()(Enlisted(Array(1, 1, ("a",)), ours=False)) == []


def test_how_many_there_are_and_why_they_wait_is_said_when_it_changes():
    told = Told()
    told.send()
    assert told(seen("waiting", "waiting", "waiting", why=BUSY)) == [f"3 workers wait: {BUSY}"]
    assert told(seen("waiting", "waiting", "waiting", why=BUSY)) == []
    assert told(seen("running", "waiting", "waiting")) == ["1 of 3 workers runs, 2 wait"]
    assert told(seen("running", "running", "waiting", why=BUSY)) == [f"2 of 3 workers run, 1 waits: {BUSY}"]
    assert told(seen("running")) == ["1 worker runs"]
    assert told.notice == "1 worker runs"


def test_reasons_are_told_the_most_frequent_first():
    told = Told()
    told.send()
    waits = [Element(f"71_{n}", 1, n, "waiting", why=why) for n, why in enumerate(["rare", BUSY, BUSY, ""])]
    assert told(ElementsSeen(tuple(waits), START.now)) == [f"4 workers wait: {BUSY}; rare"]


def test_who_is_over_is_said_once_and_by_what_it_was_over():
    told = Told()
    told.send(8)
    lost = [Element(f"71_{n}", 1, n, "over", meaning="its machine failed" if n < 7 else "") for n in range(8)]
    assert told(ElementsSeen((*lost[:7], Element("71_7", 1, 7, "running")), START.now)) == [
        "1 worker runs",
        "  71_0, 71_1, 71_2, 71_3, 71_4 and 2 more: its machine failed",
    ]
    apply(told.s, claimed(A))
    assert told(ElementsSeen((*lost[:7], Element("71_7", 1, 7, "over", "ODD")), START.now)) == [
        "no worker is there",
        "  71_7: ODD",
    ]


def test_the_log_of_one_that_came_to_nothing_is_shown():
    told = Told()
    told.send(1)
    assert told(seen("over", meaning="its worker failed", log="logs/slurm-71_0.log")) == [
        "no worker is there",
        "  71_0: its worker failed",
        "  Last lines of logs/slurm-71_0.log:",
        "  | the end of logs/slurm-71_0.log",
    ]


def test_a_silent_cluster_is_said_once_and_when_it_is_back():
    told = Told()
    assert told(ClusterSilent("no\x1b[31m answer", START.now), NotEnlisted("no", is_final=False, at=START.now)) == [
        "! The cluster does not answer: no answer",
        "  What is known comes from the records; it is asked again from time to time",
    ]
    assert told.notice == "The cluster does not answer; it is asked again in 20s"
    assert told(seen()) == ["The cluster answers again: no worker is there"]
    assert told(seen()) == []


def test_a_refusal():
    told = Told()
    assert told(seen(), NotEnlisted("invalid partition: x", is_final=True, at=START.now)) == [
        "✗ The cluster refuses: invalid partition: x"
    ]
    assert told(NotEnlisted("invalid partition: x", is_final=True, at=START.now)) == []
    assert told.notice == "The cluster refuses: invalid partition: x"
    assert "Not ended: 2 tasks. The cluster refuses: invalid partition: x" in texts(
        closing(told.s, told.memory, 2, 0.0)
    )


def texts(said):
    return [one.text for one in said]


def test_when_all_is_lost_the_last_words_say_why():
    told = Told()
    for delay in (0, 5, 10, 20, 40, 80):
        told.send(1, delay=float(delay))
    told(seen("over", array=6, meaning="its machine failed"))
    assert told.notice == (
        "The last 5 times that workers were asked for, none of them started a task; 76_0: its machine failed"
    )


@pytest.mark.parametrize(
    ("level", "said", "shown"),
    [
        (
            1,
            "Draining: 1 worker runs on, 1 worker that waits is sent away; Ctrl-C again stops them",
            "Draining: 2 workers left; Ctrl-C again stops them",
        ),
        (
            2,
            "Stopping 2 workers (INT, TERM, KILL, 10 s apart); Ctrl-C again kills them",
            "Stopping 2 workers (INT, TERM, KILL, 10 s apart); Ctrl-C again kills them",
        ),
    ],
)
def test_a_person_who_leaves_hears_of_the_workers(level, said, shown):
    told = Told()
    told.send()
    told(seen("running", "waiting", "over"))
    assert told(Interrupted(level, 130, START.now)) == [said]
    assert told.notice == shown


def test_whoever_only_waits_is_sent_away():
    told = Told()
    told.send()
    told(seen("waiting", "waiting"))
    assert told(Interrupted(1, 130, START.now)) == ["Interrupted: 2 workers that wait are sent away"]


def test_nobody_is_there_to_be_left():
    assert Told()(Interrupted(1, 130, START.now)) == ["Interrupted: nothing of ours runs; leaving"]


def test_an_attempt_of_a_worker_is_told_as_ones_own_with_its_host():
    told = Told()
    lines = told(claimed(A, at="", owner=replace(claim(A).owner, worker="host.200.1")))
    assert lines[0].startswith("[GPU 0 of host] Launching task: a (")
    assert told(ended(A))[0] == "✓ [GPU 0 of host] Task completed: a"
    assert elements.place(claim(A), told.s) == "GPU 0 of host"


def test_the_table_and_the_status_line():
    told = Told()
    told.send()
    told(seen("running", "waiting", why=BUSY), claimed(A, at=""))
    [row] = view(told.s, told.memory, START.now).rows
    assert row.slot == "GPU 0 of host"
    assert status_line(told.s, told.memory, START.now) == (
        f"[00:00:00] Still running: 1 task (0/2 done); 1 of 2 workers runs, 1 waits: {BUSY}"
    )


def test_a_detached_run_says_how_to_look():
    told = Told(A, terms=Terms(workers=1, gpus=1, slots=1, is_detached=True))
    assert closing(told.s, told.memory, 0, 0.0)[0].text == "Left to the cluster: 1 task"
    told.send(1)
    told(seen("waiting"))
    sent, then = closing(told.s, told.memory, 0, 0.0)
    assert sent.text == "Sent to the cluster: 1 task. 1 worker waits"
    assert then.more == (
        "  the same command without --detach  shows their run, and waits for its end",
        "  parallel-train status              where every task stands",
    )


def test_what_failed_is_run_again_where_it_ran():
    told = Told(A)
    told.s.named = {"tasks/mine.yaml": frozenset(["a"])}
    told.s.wishes = replace(told.s.wishes, options=("--on", "slurm", "--workers", "2"))
    told(claimed(A, at=""), ended(A, outcome=1))
    again = "  parallel-train tasks/mine.yaml --failed --on slurm --workers 2  run only those again"
    assert closing(told.s, told.memory, 1, 0.0)[-1].more[-1] == again


def test_what_fits_into_no_worker():
    told = Told(task("a", gpus=4))
    assert told.notice == "a wants more than this worker has (2 GPU slots): left to others"
