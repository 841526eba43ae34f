"""A task: one command to run to its end. Immutable; everything that may change about it is a record."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"
Kind: TypeAlias = "tuple[str | None, int, tuple[tuple[str, str | bool], ...]]"  # see `kind_of`

# What is only known at launch stands between two NUL bytes: no argument, path or variable can hold one.
_LATE = re.compile("\0([a-z_]+)\0")


def late(name: str) -> str:
    """The mark that `fill` replaces by the value of `name` at launch."""
    return f"\0{name}\0"


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replace the late marks in `text`. Raises KeyError for one that has no value."""
    return _LATE.sub(lambda mark: values[mark[1]], text) if "\0" in text else text


def show(text: str) -> str:
    """`text` as its author wrote it: late marks as `{name}`, home as `~`."""
    return _LATE.sub(lambda mark: "~" if mark[1] == "home" else f"{{{mark[1]}}}", text)


@dataclass(frozen=True, slots=True)
class DoneWhen:
    """How to recognise a finished output that no attempt of ours made.

    `files` are glob patterns relative to the project; of each the newest match counts. One file that is there
    (and holds `contains`, where given) is enough.
    """

    files: tuple[str, ...]
    contains: str | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """Where a task's number is found: key `name` of the JSON file `file`, or group 1 of `regex` in its log.

    A task file that names neither means metrics.json in the output.

    A dotted `name` walks into nested objects. Of several matches of `regex` the last counts. NaN is never best.
    """

    name: str
    mode: Literal["max", "min"] = "max"
    file: str | None = None
    regex: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """One command to run to its end. `command`, `env` and `cwd` may hold late marks (see `late`)."""

    name: str
    command: tuple[str, ...]
    id: str = ""
    number: int = 0  # queue-wide and permanent; 0 until it is submitted
    identity: str = ""  # see `identity`; empty until it is submitted
    source: str = ""  # the task file, as given
    template: int = 0  # which of the file's templates it was made from
    stage: str | None = None
    shell: bool = False
    cwd: str = "."
    env: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Json] = field(default_factory=dict)
    output: str | None = None  # relative to the project unless absolute
    inputs: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()  # task ids
    gpus: int = 1
    timeout: float | None = None  # seconds
    retries: int = 0
    priority: int = 0
    done_when: DoneWhen | None = None
    metrics: tuple[Metric, ...] = ()  # the first one ranks
    python: str = ""  # what {python} means; empty: what the worker says
    # Made by a user's own process, which calls a function: nothing is launched, and `command` is only for people.
    is_call: bool = False


def kind_of(task: Task) -> Kind:
    """Tasks of one kind should take about as long: same stage, width and params, numbers left aside."""
    texts = [(name, value) for name, value in task.params.items() if isinstance(value, str | bool)]
    return task.stage, task.gpus, tuple(sorted(texts))


def is_secret(variable: str) -> bool:
    """Whether the value of an environment variable with this name is shown to nobody."""
    return variable.upper().endswith(("TOKEN", "KEY", "SECRET", "PASSWORD"))


def assigned(name: str, value: Json) -> str:
    """NAME=VALUE as it may be shown."""
    return f"{name}=***" if is_secret(name) else f"{name}={value}"


def is_ours(variable: str) -> bool:
    """Whether the worker sets the environment variable for each attempt."""
    return variable == "CUDA_VISIBLE_DEVICES" or variable.startswith("PARALLEL_TRAIN_")


def has_late(task: Task, name: str) -> bool:
    """Whether the value of `name` is filled into the task at launch."""
    mark = late(name)
    return any(mark in text for text in (*task.command, *task.env.values(), task.cwd))


def digest(value: Json) -> str:
    """64 bits of SHA-256 over canonical JSON, as 16 hex digits."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def written(task: Task) -> dict[str, Json]:
    """The part of a task that makes it this task, as written: what its result depends on."""
    return {
        "command": list(task.command),
        "shell": task.shell,
        "cwd": task.cwd,
        "env": dict(task.env),
        "params": dict(task.params),
        "output": task.output,
    }


def task_id(task: Task) -> str:
    """The hash of the promised output, so that an output has one line of attempts whoever asks for it.

    Without an output: the hash of what was written and of the needs. (Not of the inputs' content: a changed
    input makes the same task stale, not another task.)
    """
    if task.output is not None:
        return digest({"output": task.output})
    return digest({**written(task), "needs": list(task.needs), "inputs": list(task.inputs)})


def identity(task: Task, inputs: Mapping[str, str], needs: Sequence[str]) -> str:
    """What the result depends on: the task as written, its inputs' content, and its needs' identities.

    `inputs` maps each declared input to its fingerprint; `needs` are the identities of `task.needs`, in order.
    Retries, timeout, gpus, priority and done_when are no part of it: the newest submission's hold.
    """
    return digest({**written(task), "inputs": dict(inputs), "needs": list(needs)})
