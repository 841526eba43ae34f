"""Records as JSON values, and back.

What is read is checked field by field: a record may be whole and yet hold what nobody of ours wrote. The functions
that read raise KeyError, TypeError or ValueError then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any, get_args

from parallel_train.core.facts import (
    Array,
    Asking,
    Claim,
    End,
    Exited,
    Lost,
    LostBy,
    NotStarted,
    Outcome,
    OutputState,
    Owner,
    Request,
    Round,
    Signalled,
    TimedOut,
    Why,
)
from parallel_train.core.slots import Device
from parallel_train.core.task import DoneWhen, Metric, Task, fill

Data = Mapping[str, Any]
_SEQUENCE = (list, tuple)
_MAPPING = (dict, Mapping)  # what JSON gives is known at the first look
_OUTPUTS = {state: state for state in get_args(OutputState)}  # one string for all tasks: a situation keeps it
Check = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    """What names, paths and arguments can hold, bytes that are no UTF-8 among them."""
    return isinstance(value, str) and "\0" not in value and (value.isascii() or _are_bytes(value))


def _are_bytes(text: str) -> bool:
    try:
        text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _is_unfilled(value: Any) -> bool:
    """A text in which something is filled in at launch."""
    try:
        return isinstance(value, str) and _is_text(fill(value, _LATE))
    except KeyError:
        return False


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _many(check: Check) -> Check:
    return lambda value: isinstance(value, _SEQUENCE) and all(map(check, value))


def _some(check: Check) -> Check:
    each = _many(check)
    return lambda value: each(value) and len(value) > 0


def _mapping(check: Check) -> Check:
    return lambda value: isinstance(value, _MAPPING) and all(map(check, value.values()))


def _one_of(literal: Any) -> Check:
    return lambda value: _is_text(value) and value in get_args(literal)


_LATE = dict.fromkeys(("python", "data_root", "home"), "")
# By the name or the type of a field, as it is written there. Those that are in neither have a function of their own.
_UNFILLED: Mapping[str, Check] = {
    "command": _some(_is_unfilled),
    "cwd": _is_unfilled,
    "env": _mapping(_is_unfilled),
}
_CHECKS: Mapping[str, Check] = {
    "str": _is_text,
    "int": _is_whole,
    "float": _is_number,
    "bool": lambda value: isinstance(value, bool),
    "str | None": _or_none(_is_text),
    "float | None": _or_none(_is_number),
    "tuple[str, ...]": _many(_is_text),
    "Mapping[str, int]": _mapping(_is_whole),
    "Mapping[str, str]": _mapping(_is_text),
    "Mapping[str, Json]": _mapping(lambda _: True),
    "Why": _one_of(Why),
    "OutputState": _one_of(OutputState),
    "Asking": _one_of(Asking),
    "Literal['gpu', 'cpu']": lambda value: value in ("gpu", "cpu"),
    "Literal['max', 'min']": lambda value: value in ("max", "min"),
}
_FIELDS: Mapping[type, Mapping[str, Check | None]] = {
    kind: {f.name: _UNFILLED.get(f.name) or _CHECKS.get(str(f.type)) for f in fields(kind)}
    for kind in (Claim, Owner, End, Round, Request, Array, Task, Metric, DoneWhen, Device)
}
_MOST_PID = 2**31
_LONGEST_NAME = 255  # of a file, and so of a slot's lock


def texts(data: Data, *names: str) -> tuple[str, ...]:
    """The values of `names`, which are texts."""
    found = tuple(data[name] for name in names)
    if not all(map(_is_text, found)):
        raise TypeError(f"one of {', '.join(names)} is no text")
    return found


def claim_of(data: Data) -> Claim:
    if any(len(name) > _LONGEST_NAME for name in (*data["slots"], *data["gpus"])):
        raise ValueError("a slot's name is too long")
    return Claim(
        **{
            **_known(Claim, data),
            "owner": owner_of(data["owner"]),
            "slots": tuple(data["slots"]),
            "gpus": tuple(data["gpus"]),
        }
    )


def owner_of(data: Data) -> Owner:
    owner = Owner(**_known(Owner, data))
    if not 0 <= owner.pid < _MOST_PID:
        raise ValueError(f"{owner.pid} is no process")
    return owner


def owner_data(owner: Owner) -> dict[str, Any]:
    return asdict(owner)


def device_of(data: Data) -> Device:
    return Device(**_known(Device, data))


def about_of(data: Data) -> dict[str, Any]:
    """What a worker says about itself, as far as it can be meant: it lives, be its record as it may."""
    return {name: value for name, value in data.items() if name not in _ABOUT or _ABOUT[name](value)}


def _is_device(value: Any) -> bool:
    try:
        return bool(device_of(value))
    except (TypeError, ValueError):
        return False


_ABOUT: Mapping[str, Check] = {
    **dict.fromkeys(("source", "tasks", "log_dir", "at"), _is_text),
    **dict.fromkeys(("submission", "request"), _is_whole),
    **dict.fromkeys(("slots", "cpu_slots"), _many(_is_device)),
    "lease": lambda value: _is_number(value) and value > 0,
    **dict.fromkeys(("ignore_failures", "calls"), lambda value: isinstance(value, bool)),
    **dict.fromkeys(("words", "options"), _many(_is_text)),
}


def end_of(data: Data) -> End:
    output = _OUTPUTS[data.get("output", "none")]
    return End(**{**_known(End, data), "outcome": outcome_of(data["outcome"]), "output": output})


def end_data(end: End) -> dict[str, Any]:
    return {**{f.name: getattr(end, f.name) for f in fields(end)}, "outcome": outcome_data(end.outcome)}


def outcome_of(data: Data) -> Outcome:
    match tuple(dict(data).items()):
        case (("exited", int(code)),):
            return Exited(code)
        case (("signalled", int(number)),):
            return Signalled(number)
        case (("timed_out", True),):
            return TimedOut()
        case (("not_started", str(why)),):
            return NotStarted(why)
        case (("lost", why),) if why == "damaged" or why in get_args(LostBy):
            return Lost(why)
    raise ValueError(f"{data} is no outcome")


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


def array_of(data: Data) -> Array:
    many = {"selection": tuple(data["selection"]), "options": tuple(data.get("options", ()))}
    array = Array(**{**_known(Array, data), **many})
    if array.size < 1 or array.gpus < 0 or (array.is_each and array.size != len(array.selection)):
        raise ValueError("it has no such elements")
    return array


def array_data(array: Array) -> dict[str, Any]:
    return asdict(array)


def task_of(data: Data) -> Task:
    done_when = data.get("done_when")
    return Task(
        **{
            **_known(Task, data),
            "command": tuple(data["command"]),
            "inputs": tuple(data.get("inputs", ())),
            "needs": tuple(data.get("needs", ())),
            "done_when": None if done_when is None else _done_when_of(done_when),
            "metrics": tuple(Metric(**_known(Metric, m)) for m in data.get("metrics", ())),
        }
    )


def _done_when_of(data: Data) -> DoneWhen:
    found = _known(DoneWhen, data)
    return DoneWhen(**{**found, "files": tuple(found["files"])})


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
    if not isinstance(data, _MAPPING):
        raise TypeError(f"{data!r} is no {kind.__name__}")
    checks = _FIELDS[kind]
    found = {}
    for name, value in data.items():
        if name in checks:
            fits = checks[name]
            if fits is not None and not fits(value):
                raise ValueError(f"{name} can't be {value!r}")
            found[name] = value
    return found
