"""Who of a cluster's elements is there for which tasks?"""

from __future__ import annotations

import pytest

from parallel_train.core.cluster import Element, Phase
from parallel_train.core.facts import Array
from parallel_train.core.muster import Muster

ARRAYS = {1: Array(1, 2, ("a", "b")), 2: Array(2, 2, ("b", "c"), is_each=True)}


def element(job: str, phase: Phase, array: int = 1, state: str = "") -> Element:
    return Element(job, array, int(job[-1]), phase, state)


RUNNING, WAITING = element("1_0", "running"), element("1_1", "waiting")
FOR_B, FOR_C = element("2_0", "running", 2), element("2_1", "waiting", 2)
UNKNOWN = element("9_0", "waiting", 9)  # its record can't be read
ALL = Muster((RUNNING, WAITING, FOR_B, FOR_C, UNKNOWN), ARRAYS)


@pytest.mark.parametrize(
    ("tasks", "takers"),
    [
        ("a", [RUNNING, WAITING, UNKNOWN]),
        ("b", [RUNNING, WAITING, FOR_B, UNKNOWN]),
        ("c", [RUNNING, FOR_C, UNKNOWN]),
        ("added since", [RUNNING, UNKNOWN]),
    ],
)
def test_who_runs_takes_up_what_comes_and_who_waits_what_it_was_asked_for(tasks: str, takers: list[Element]):
    assert ALL.takers([tasks]) == takers
    assert ALL.about([tasks]).elements == takers


@pytest.mark.parametrize(
    ("open_", "needless"), [("", [WAITING, FOR_C]), ("a", [FOR_C]), ("b", [FOR_C]), ("c", [WAITING]), ("abc", [])]
)
def test_who_waits_is_needless_once_nothing_of_its_own_is_open(open_: str, needless: list[Element]):
    assert ALL.needless(open_) == needless


def test_who_left_by_itself_was_not_lost():
    failed, timed_out = element("1_0", "over", state="NODE_FAIL"), element("2_1", "over", 2, "TIMEOUT")
    left = [element("1_1", "over", state=state) for state in ("COMPLETED", "COMPLETING")]
    over = Muster((failed, *left, timed_out), ARRAYS)
    assert over.lost("a") == [failed]
    assert over.lost("c") == [timed_out]
    assert over.lost("") == over.present == []
    assert over.of("over") == [failed, *left, timed_out]
    assert over.about("c").elements == [timed_out]


def test_an_element_is_gone_where_the_cluster_answers_and_does_not_have_it():
    assert ALL.is_gone("1_7")
    assert not ALL.is_gone("1_0")
    assert not ALL.is_gone("")
    assert not Muster(silent="it is down").is_gone("1_0")
