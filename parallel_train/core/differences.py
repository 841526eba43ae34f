"""What differs between two wordings of one task."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest

from parallel_train.core.task import Json, Task, is_secret, show

_MOST_DIFFERENCES = 6
_MOST_CHARACTERS = 40  # of one value


@dataclass(frozen=True, slots=True)
class Change:
    """What of a task itself made it another: its wording, or where that is the same the content of an input."""

    task: str
    wording: tuple[str, ...] = ()  # see differences
    inputs: tuple[str, ...] = ()  # one of these


def changes(then: Mapping[str, Task], now: Mapping[str, Task], task: str) -> tuple[Change, ...]:
    """Why the identity of `task` is not what it was: what changed of itself, and of all that it needs.

    `then` are the tasks that were submitted with its former wording.
    """
    seen, known = {task}, [task]
    for name in known:  # grows while it is walked
        new = [need for need in now[name].needs if need in now and need not in seen]
        seen.update(new)
        known += new
    found = (_own(then, now, name) for name in known)
    return tuple(change for change in found if change is not None)


def _own(then: Mapping[str, Task], now: Mapping[str, Task], name: str) -> Change | None:
    new, old = now[name], then.get(name)
    if old is None or old.identity == new.identity:
        return None
    wording = _in_wording(old, new)
    if wording:
        return Change(name, wording)
    has_other_needs = any(n in now and n in then and now[n].identity != then[n].identity for n in new.needs)
    return None if has_other_needs else Change(name, inputs=new.inputs)


def differences(old: Task, new: Task) -> tuple[str, ...]:
    """What changed from `old` to `new`, as short texts such as `params.lr: 0.1 -> 0.01`; at most seven."""
    found = _in_wording(old, new)
    return found if found or old.identity == new.identity else (_behind(new),)


def _in_wording(old: Task, new: Task) -> tuple[str, ...]:
    found = [*_in_mapping("params", old.params, new.params), *_in_command(old, new)]
    found += _in_mapping("env", old.env, new.env)
    for name in ("output", "cwd", "shell", "inputs", "needs"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            found.append("needs: changed" if name == "needs" else f"{name}: {_text(before)} -> {_text(after)}")
    more = len(found) - _MOST_DIFFERENCES
    return (*found[:_MOST_DIFFERENCES], *([f"and {more} more"] if more > 0 else []))


def _behind(task: Task) -> str:
    """What may have changed where the wording has not."""
    if not task.inputs:
        return "what it needs"
    content = f"the content of {task.inputs[0] if len(task.inputs) == 1 else 'an input'}"
    return f"{content}, or what it needs" if task.needs else content


def _in_mapping(where: str, old: Mapping[str, Json], new: Mapping[str, Json]) -> Iterator[str]:
    for name in dict.fromkeys((*old, *new)):
        if name in old and name in new and _same(old[name], new[name]):
            continue
        if where == "env" and is_secret(name):
            yield f"env.{name}: changed"
        elif name not in old:
            yield f"{where}.{name}: added ({_text(new[name])})"
        elif name not in new:
            yield f"{where}.{name}: removed ({_text(old[name])})"
        else:
            yield f"{where}.{name}: {_text(old[name])} -> {_text(new[name])}"


def _same(old: Json, new: Json) -> bool:
    """As identities see it: 1, 1.0 and true are three values, and NaN is one."""
    return json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)


def _in_command(old: Task, new: Task) -> Iterator[str]:
    for place, (before, after) in enumerate(zip_longest(old.command, new.command), start=1):
        if before is None:
            yield f"command: word {place} added ({_text(after)})"
        elif after is None:
            yield f"command: word {place} removed ({_text(before)})"
        elif before != after:
            yield f"command: word {place}: {_text(before)} -> {_text(after)}"


def _text(value: object) -> str:
    if value is None:
        return "none"
    text = show(value) if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"
