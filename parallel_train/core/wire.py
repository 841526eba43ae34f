"""Records as JSON values, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, get_args

from parallel_train.core.facts import (
    Claim,
    End,
    Exited,
    Lost,
    NotStarted,
    Outcome,
    OutputState,
    Owner,
    Request,
    Round,
    Signalled,
    TimedOut,
)
from parallel_train.core.task import DoneWhen, Metric, Task

Data = Mapping[str, Any]
_OUTPUTS = {state: state for state in get_args(OutputState)}  # one string for all tasks: a situation keeps it


def claim_of(data: Data) -> Claim:
    return Claim(
        **{
            **_known(Claim, data),
            "owner": owner_of(data["owner"]),
            "slots": tuple(data["slots"]),
            "gpus": tuple(data["gpus"]),
        }
    )


def owner_of(data: Data) -> Owner:
    return Owner(**_known(Owner, data))


def owner_data(owner: Owner) -> dict[str, Any]:
    return asdict(owner)


def end_of(data: Data) -> End:
    output = _OUTPUTS[data.get("output", "none")]
    return End(**{**_known(End, data), "outcome": outcome_of(data["outcome"]), "output": output})


def end_data(end: End) -> dict[str, Any]:
    return {**{f.name: getattr(end, f.name) for f in fields(end)}, "outcome": outcome_data(end.outcome)}


def outcome_of(data: Data) -> Outcome:
    ((kind, value),) = dict(data).items()
    match kind:
        case "exited":
            return Exited(value)
        case "signalled":
            return Signalled(value)
        case "timed_out":
            return TimedOut()
        case "not_started":
            return NotStarted(value)
        case "lost":
            return Lost(value)
    raise KeyError(kind)


def outcome_data(outcome: Outcome) -> dict[str, Any]:
    match outcome:
        case Exited(code):
            return {"exited": code}
        case Signalled(number):
            return {"signalled": number}
        case TimedOut():
            return {"timed_out": True}
        case NotStarted(why):
            return {"not_started": why}
        case Lost(why):  # pragma: no branch
            return {"lost": why}


def round_of(data: Data) -> Round:
    return Round(**_known(Round, data))


def round_data(round_: Round) -> dict[str, Any]:
    return asdict(round_)


def request_of(data: Data) -> Request:
    return Request(**_known(Request, data))


def request_data(request: Request) -> dict[str, Any]:
    return asdict(request)


def task_of(data: Data) -> Task:
    done_when = data.get("done_when")
    return Task(
        **{
            **_known(Task, data),
            "command": tuple(data["command"]),
            "inputs": tuple(data.get("inputs", ())),
            "needs": tuple(data.get("needs", ())),
            "done_when": DoneWhen(tuple(done_when["files"]), done_when.get("contains")) if done_when else None,
            "metrics": tuple(Metric(**_known(Metric, m)) for m in data.get("metrics", ())),
        }
    )


_TASK_DEFAULTS = {f.name: getattr(Task(name="", command=()), f.name) for f in fields(Task)}


def task_data(task: Task) -> dict[str, Any]:
    """A task without what is as it would be by default."""
    found = {name: getattr(task, name) for name in _TASK_DEFAULTS}
    kept = {name: value for name, value in found.items() if value != _TASK_DEFAULTS[name] or name == "command"}
    kept.setdefault("name", task.name)
    if task.done_when:
        kept["done_when"] = asdict(task.done_when)
    if task.metrics:
        kept["metrics"] = [asdict(metric) for metric in task.metrics]
    return kept


def _known(kind: Any, data: Data) -> dict[str, Any]:
    """The fields that this version knows: a newer writer may have added some."""
    return {f.name: data[f.name] for f in fields(kind) if f.name in data}
