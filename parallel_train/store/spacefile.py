"""A search space as a task file has it -> its points, or all that is wrong with it; and its JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from parallel_train.core.space import Fault, Space, SpaceError, from_matrix, from_tree
from parallel_train.store.yamlscalar import scalar


def read(raw: object) -> Space:
    """The space of a tree, of a whole config with its `root`, or of lists and ranges by name. Raises SpaceError.

    Keys are text in a file: a branch named 64 is that of the value 64 where no value is the text "64".
    """
    if not isinstance(raw, Mapping) or not raw:
        repair = "write names with their values: {lr: [0.1, 0.01]}, or a tree with 'key' and 'values'"
        raise SpaceError([Fault("space", "this is no search space", repair)])
    if not _is_tree(raw):
        return from_matrix(raw, check_unique=True)
    space = from_tree(raw, read_case=scalar)
    if space.repetitions > 1:
        what = "a task of a task file runs once: 'repetitions' can't stand here"
        raise SpaceError([Fault("repetitions", what, "give the task 'seeds:', one for each run", ("repetitions",))])
    return space


def _is_tree(raw: Mapping[str, Any]) -> bool:
    return "root" in raw or "values" in raw or isinstance(raw.get("key"), str)


# What an editor is told: a tree of choices holds itself, and pydantic does not read it.
_CHOICE, _VALUES = {"$ref": "#/$defs/SpaceChoice"}, {"$ref": "#/$defs/SpaceValues"}
_BRANCH = {"anyOf": [_CHOICE, {"type": "null"}]}
SPACE: dict[str, Any] = {"anyOf": [{"$ref": "#/$defs/SpaceConfig"}, _CHOICE, {"$ref": "#/$defs/SpaceGrid"}]}


def _mapping(description: str, required: Sequence[str], keys: Mapping[str, tuple[Any, str]], **more: Any) -> Any:
    properties = {key: {**kind, "description": said} for key, (kind, said) in keys.items()}
    return {
        "description": description,
        "type": "object",
        "required": list(required),
        "properties": properties,
        "additionalProperties": False,
        **more,
    }


_RANGE = _mapping(
    "Evenly spaced numbers",
    ("from", "to"),
    {
        "from": ({"type": "number"}, "the first"),
        "to": ({"type": "number"}, "the last"),
        "count": ({"type": "integer", "minimum": 2}, "how many, with both ends"),
        "step": ({"type": "number", "exclusiveMinimum": 0}, "how far apart, instead of a count"),
        "log": ({"type": "boolean"}, "by even factors instead of even steps"),
    },
    oneOf=[{"required": ["count"]}, {"required": ["step"]}],
)
DEFINITIONS: dict[str, Any] = {
    "SpaceConfig": _mapping(
        "A tree, and what all its points have in common",
        ("root",),
        {
            "root": (_CHOICE, "the first choice"),
            "common": ({"type": "object"}, "params of every point"),
            "check_unique": ({"type": "boolean"}, "whether a value that is listed twice is refused"),
            "repetitions": ({"const": 1}, "only 1 here: 'seeds' repeats a task"),
        },
    ),
    "SpaceChoice": _mapping(
        "One of the values; then the branch that is named like it, or the default",
        ("key", "values"),
        {
            "key": ({"type": "string"}, "the name of the param"),
            "values": (_VALUES, "a list or a range"),
            "default": (_BRANCH, "what follows a value without a branch of its own"),
        },
        additionalProperties=_BRANCH,
    ),
    "SpaceGrid": {
        "description": "Every combination of a value of each",
        "type": "object",
        "properties": {},
        "minProperties": 1,
        "not": {"anyOf": [{"required": ["root"]}, {"required": ["values"]}]},
        "additionalProperties": _VALUES,
    },
    "SpaceValues": {
        "description": "A list or a range",
        "properties": {},
        "anyOf": [{"type": "array", "minItems": 1}, _RANGE],
    },
}
