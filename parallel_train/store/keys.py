"""The keys of a task file, as pydantic knows them."""

from __future__ import annotations

import re
import sys
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from parallel_train.core.placeholders import written

MOST_TASKS = 1_000_000

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def _as_text(value: Any) -> Any:
    return written(value) if isinstance(value, str | int | float) else value


def _as_seconds(value: Any) -> Any:
    """Seconds above 0, also out of `2h30m`."""
    if isinstance(value, str) and value and (found := _DURATION.fullmatch(value)):
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
        value = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= sys.float_info.max:
        return float(value)
    raise ValueError("no duration")


# What an editor is told: also what is read as text, a list or seconds.
_TEXT = {"type": ["string", "number", "boolean"]}
_SECONDS = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0},
        {"type": "string", "minLength": 1, "pattern": f"^{_DURATION.pattern}$"},
    ]
}

Text = Annotated[str, BeforeValidator(_as_text), WithJsonSchema(_TEXT)]
Texts = Annotated[
    list[Text],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": _TEXT}]}),
]
Seconds = Annotated[float, BeforeValidator(_as_seconds), WithJsonSchema(_SECONDS)]
FromZero = Annotated[int, Field(ge=0)]


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class DoneWhenKeys(_Keys):
    """How to recognise a finished output that we did not make."""

    file: Text | list[Text]
    contains: Text | None = None


class MetricKeys(_Keys):
    """Where a task's number is found: a key of a JSON file, or a group of a regex in the log."""

    name: Text
    mode: Literal["max", "min"] = "max"
    file: Text | None = None
    regex: Text | None = None


class MatrixKeys(BaseModel):
    """Lists of values by name; every combination becomes a task."""

    model_config = ConfigDict(extra="allow", strict=True)
    __pydantic_extra__: dict[str, list[Any]]

    include: list[dict[str, Any]] = []
    exclude: list[dict[str, Any]] = []


class SearchKeys(_Keys):
    """Points of a search space: all of them (`grid`), or `samples` of them drawn with `seed` (`random`)."""

    space: Any
    method: Literal["grid", "random"] | None = None
    samples: Annotated[int, Field(ge=1, le=MOST_TASKS)] | None = None
    seed: int = 0


class TemplateKeys(_Keys):
    """One entry of `tasks`, or `defaults`.

    A `command` that is one text is split into words before anything is filled in, so that a value stays in
    its word. With `shell` the text goes to /bin/sh as it is, and each value is quoted for it.
    """

    name: Text | None = None
    command: Text | list[Text] | None = None
    params: dict[str, Any] = {}
    matrix: MatrixKeys | None = None
    zip: dict[str, list[Any]] = {}
    search: SearchKeys | None = None
    seeds: Annotated[int, Field(ge=1, le=MOST_TASKS)] | Annotated[list[int], Field(min_length=1)] | None = None
    output: Text | None = None
    done_when: Text | DoneWhenKeys | None = None
    metrics: MetricKeys | list[MetricKeys] = []
    inputs: Texts = []
    needs: Texts = []
    stage: Text | None = None
    gpus: FromZero = 1
    env: dict[str, Text] = {}
    cwd: Text = "."
    timeout: Seconds | None = None
    retries: FromZero = 0
    priority: int = 0
    shell: bool = False


class FileKeys(_Keys):
    """A whole task file."""

    defaults: TemplateKeys = TemplateKeys()
    tasks: Annotated[list[TemplateKeys], Field(min_length=1)]
