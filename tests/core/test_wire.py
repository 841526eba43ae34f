"""Does every record come back from JSON as the value that it was?"""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallel_train.core import wire
from parallel_train.core.facts import Claim, End, Exited, Lost, NotStarted, Owner, Request, Round, Signalled, TimedOut
from parallel_train.core.task import DoneWhen, Metric, Task

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
NUMBER = st.integers(0, 2**53)
COUNTS = st.dictionaries(TEXT, NUMBER, max_size=3)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBER | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
OUTCOMES = st.one_of(
    st.builds(Exited, NUMBER),
    st.builds(Signalled, NUMBER),
    st.just(TimedOut()),
    st.builds(NotStarted, TEXT),
    st.builds(Lost, st.sampled_from(["killed", "rebooted", "expired", "damaged"])),
)
CLAIMS = st.builds(
    Claim,
    needs=COUNTS,
    slots=TEXTS,
    gpus=TEXTS,
    made_with=st.dictionaries(TEXT, TEXT, max_size=2),
    owner=st.builds(Owner, *[TEXT] * 5, st.integers(0, 2**31 - 1), NUMBER),
)
ENDS = st.builds(End, TEXT, NUMBER, OUTCOMES, note=TEXT, seconds=st.floats(0, 1e9), swept=NUMBER)
ROUNDS = st.builds(Round, TEXT, NUMBER, TEXT, st.sampled_from(["asked for", "changed"]), st.booleans(), TEXT)
REQUESTS = st.builds(Request, NUMBER, st.sampled_from(["cancel", "excuse"]), COUNTS, NUMBER, TEXT, TEXT)
TASKS = st.builds(
    Task,
    name=TEXT,
    command=st.lists(TEXT, min_size=1, max_size=3).map(tuple),
    params=st.dictionaries(TEXT, JSON, max_size=3),
    env=st.dictionaries(TEXT, TEXT, max_size=2),
    output=st.none() | TEXT,
    inputs=TEXTS,
    needs=TEXTS,
    gpus=st.integers(0, 3),
    timeout=st.none() | st.floats(0, 1e6),
    priority=st.integers(-5, 5),
    shell=st.booleans(),
    done_when=st.none() | st.builds(DoneWhen, TEXTS, st.none() | TEXT),
    metrics=st.lists(st.builds(Metric, TEXT, st.sampled_from(["max", "min"]), st.none() | TEXT), max_size=2).map(tuple),
)


PATIENT = settings(deadline=None)  # a busy machine takes the usual 0.2 s for anything


def through_json(data):
    return json.loads(json.dumps(data))


@PATIENT
@given(ENDS)
def test_an_end(end):
    assert wire.end_of(through_json(wire.end_data(end))) == end


@PATIENT
@given(ROUNDS)
def test_a_round(round_):
    assert wire.round_of(through_json(wire.round_data(round_))) == round_


@PATIENT
@given(REQUESTS)
def test_a_request(request_):
    assert wire.request_of(through_json(wire.request_data(request_))) == request_


@PATIENT
@given(CLAIMS)
def test_a_claim_as_a_shim_writes_it(claim):
    data = {name: getattr(claim, name) for name in Claim.__dataclass_fields__}
    assert wire.claim_of(through_json({**data, "owner": wire.owner_data(claim.owner)})) == claim


@PATIENT
@given(TASKS)
def test_a_task(task):
    assert wire.task_of(through_json(wire.task_data(task))) == task


def test_a_task_is_written_without_what_is_as_usual():
    assert wire.task_data(Task("a", ("x",))) == {"name": "a", "command": ("x",)}


def test_what_a_newer_version_added_is_passed_over():
    end = End("a", 1, Exited(0))
    assert wire.end_of({**wire.end_data(end), "mood": "good"}) == end
    assert wire.task_of({"name": "a", "command": ["x"], "colour": 1}) == Task("a", ("x",))


@pytest.mark.parametrize("outcome", [{}, {"exploded": 1}, {"exited": 0, "lost": "killed"}, 3, [], None])
def test_an_outcome_that_nobody_knows_is_refused(outcome):
    with pytest.raises((KeyError, TypeError, ValueError)):
        wire.outcome_of(outcome)
