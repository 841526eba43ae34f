"""A task file's values -> its keys, or complaints in plain words; and the JSON Schema of both."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from pydantic import BaseModel, ValidationError

from parallel_train.core.graph import did_you_mean, nearest
from parallel_train.errors import MOST_FAULTS
from parallel_train.store import spacefile
from parallel_train.store.document import Document, Path
from parallel_train.store.keys import DoneWhenKeys, FileKeys, MetricKeys, SearchKeys, TemplateKeys

_AT_ONCE = 1000
_MOST_KEYS = 200

_WORDS = {
    "tasks": "a list with at least one task",
    "defaults": "a mapping with the keys of a task",
    "name": "text",
    "command": "text, or a list of texts",
    "params": "a mapping of names to values",
    "matrix": "a mapping of names to lists of values",
    "include": "a list of mappings",
    "exclude": "a list of mappings",
    "zip": "a mapping of names to lists of values",
    "search": "a mapping with 'space', and for a random one 'samples' and 'seed'",
    "space": "names with lists or ranges, or a tree with 'key', 'values' and 'default'",
    "method": "grid or random",
    "samples": "a whole number from 1 to 1,000,000",
    "seed": "a whole number",
    "seeds": "a whole number from 1 to 1,000,000, or a list of whole numbers",
    "output": "text",
    "done_when": "a file, or a mapping with 'file' and 'contains'",
    "contains": "text",
    "metrics": "a mapping with 'name' and 'file' or 'regex', or a list of such",
    "mode": "max or min",
    "file": "a file",
    "regex": "text",
    "inputs": "a list of files",
    "needs": "a list of names",
    "stage": "text",
    "gpus": "a whole number from 0",
    "env": "a mapping of names to texts",
    "cwd": "text",
    "timeout": "seconds above 0, or text like 2h30m",
    "retries": "a whole number from 0",
    "priority": "a whole number",
    "shell": "true or false",
}
_NO_KEYS = {  # what somebody may well ask for, and why there is no such key
    "nodes": (
        "a task runs on one machine: there is no 'nodes'",
        "gpus: N asks for that many of its GPUs; for torchrun over several machines start sbatch yourself",
    ),
}
# Without one of these, a placeholder may only seem to be unknown.
_LOOKED_UP = frozenset({"command", "params", "matrix", "zip", "search", "seed", "seeds", "output"})
_INSIDE = {"matrix": "a list of values", "zip": "a list of values", "env": "text or a number"}


def json_schema() -> dict[str, Any]:
    """The keys as a JSON Schema, for editors."""
    made = FileKeys.model_json_schema()
    made["$defs"]["SearchKeys"]["properties"]["space"] = {**spacefile.SPACE}
    for model in (made, *made["$defs"].values()):
        for key, value in model["properties"].items():
            value.pop("title", None)
            value["description"] = _WORDS[key]
    made["$defs"] |= spacefile.DEFINITIONS
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that is wrong. `is_general` where a better one may stand deeper in the same value."""

    path: tuple[str | int, ...]
    message: str
    hint: str = ""
    at_key: bool = False
    is_general: bool = False


@dataclass(frozen=True, slots=True)
class Keys:
    """A file's keys as far as they are well formed. Templates that are not `sound` can't be laid out."""

    defaults: TemplateKeys
    templates: Mapping[int, TemplateKeys]
    sound: Container[int]


def read(document: Document) -> Keys:
    """The keys of a task file; faults go to `document`."""
    data = document.data
    if not isinstance(data, dict):
        empty = document.data is None
        message, hint = ("the file is empty", "it needs") if empty else ("a task file is a mapping", "it begins with")
        document.faults.append(document.fault((), message, f"{hint} 'tasks:'"))
        return Keys(TemplateKeys(), {}, ())
    found: list[Complaint] = list(islice(_without_command(data), MOST_FAULTS))
    read: list[FileKeys] = []
    for first, some in _in_parts(data):
        try:
            read.append(FileKeys.model_validate(some))
        except ValidationError as error:
            found += (_moved(each, first) for each in _plain(error, some))
        if len(found) >= MOST_FAULTS:
            break
    if not found:
        templates = [template for part in read for template in part.tasks]
        return Keys(read[0].defaults, dict(enumerate(templates)), range(len(templates)))
    for each in found:
        document.faults.append(document.fault(each.path, each.message, each.hint, at_key=each.at_key))
    return _partly(data) if len(found) < MOST_FAULTS else Keys(TemplateKeys(), {}, ())


def _in_parts(data: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Some of the tasks at a time, with the index of the first: all that is wrong at once might fill the memory."""
    listed = data.get("tasks")
    if not isinstance(listed, list) or not listed:
        yield 0, _with_few_keys(data)
        return
    for first in range(0, len(listed), _AT_ONCE):
        some = [_with_few_keys(entry) for entry in listed[first : first + _AT_ONCE]]
        yield first, {**({} if first else _with_few_keys(data)), "tasks": some}


def _with_few_keys(entry: Any) -> Any:
    if not isinstance(entry, dict) or len(entry) < _MOST_KEYS:
        return entry
    unknown = islice((key for key in entry if key not in _WORDS), _MOST_KEYS)
    return {key: entry[key] for key in (*(key for key in _WORDS if key in entry), *unknown)}


def _moved(complaint: Complaint, first: int) -> Complaint:
    path = complaint.path
    return replace(complaint, path=(path[0], int(path[1]) + first, *path[2:])) if first and len(path) > 1 else complaint


def _partly(data: Mapping[str, Any]) -> Keys:
    """What is left without the keys that are wrong, so that the other faults are found in the same go."""
    listed = data.get("tasks")
    parts = {index: _part(entry) for index, entry in enumerate(listed if isinstance(listed, list) else ())}
    defaults, is_sound = _part(data.get("defaults", {}))
    sound = {index for index, (_, its) in parts.items() if its and is_sound}
    return Keys(defaults, {index: keys for index, (keys, _) in parts.items()}, sound)


def _part(entry: Any) -> tuple[TemplateKeys, bool]:
    if not isinstance(entry, dict):
        return TemplateKeys(), False
    try:
        return TemplateKeys.model_validate(entry), True
    except ValidationError as error:
        wrong = {str(one["loc"][0]) for one in error.errors(include_url=False)}
    left = {key: value for key, value in entry.items() if key not in wrong}
    meant = {nearest(key, _WORDS) for key in wrong}
    return TemplateKeys.model_validate(left), meant.isdisjoint(_LOOKED_UP)


def _without_command(data: Mapping[str, Any]) -> Iterator[Complaint]:
    defaults, tasks = data.get("defaults"), data.get("tasks")
    if isinstance(defaults, dict) and (defaults.get("command") is not None or _means("command", defaults)):
        return
    for index, entry in enumerate(tasks if isinstance(tasks, list) else ()):
        if isinstance(entry, dict) and entry.get("command") is None and not _means("command", entry):
            yield Complaint(path=("tasks", index), message="'command' is missing")


def _means(key: str, mapping: Mapping[str, Any]) -> bool:
    """Whether an unknown key in `mapping` was probably meant to be `key`: one fault is enough."""
    return any(nearest(other, _WORDS) == key for other in mapping if other not in _WORDS)


def _plain(error: ValidationError, data: Any) -> list[Complaint]:
    found: list[Complaint] = []
    for one in error.errors(include_url=False, include_input=False, include_context=False)[: 2 * MOST_FAULTS]:
        path, value = _walk(one["loc"], data)
        last = str(one["loc"][-1])
        if one["type"] == "extra_forbidden":
            plain = (f"unknown key '{last}'", did_you_mean(last, _known_at(path)))
            message, hint = _NO_KEYS.get(last, plain)
            found.append(Complaint(path=path, message=message, hint=hint, at_key=True))
        elif one["type"] == "missing":
            if not _means(last, value):
                found.append(Complaint(path=path, message=f"'{last}' is missing"))
        else:
            found.append(Complaint(path=path, message=_must_be(path), is_general=True))
    return _without_repetition(found)


def _walk(loc: Path, data: Any) -> tuple[tuple[str | int, ...], Any]:
    """`loc` without the names that pydantic gives the members of a union, and the value there."""
    path: list[str | int] = []
    for part in loc:
        is_there = part in data if isinstance(data, dict) else isinstance(data, list) and isinstance(part, int)
        if is_there:
            data = data[part]
            path.append(part)
    return tuple(path), data


def _known_at(path: Path) -> list[str]:
    parent = next((part for part in reversed(path[:-1]) if isinstance(part, str)), "")
    models: dict[str, type[BaseModel]] = {
        "": FileKeys,
        "done_when": DoneWhenKeys,
        "metrics": MetricKeys,
        "search": SearchKeys,
    }
    return list(models.get(parent, TemplateKeys).model_fields)


def _must_be(path: Path) -> str:
    if len(path) == 2 and path[0] == "tasks":
        return "a task must be a mapping with 'command'"
    names = [part for part in path if isinstance(part, str)]
    if len(names) > 1 and names[-2] in _INSIDE and names[-1] not in {"include", "exclude"}:
        return f"'{names[-1]}' of {names[-2]} must be {_INSIDE[names[-2]]}"
    name = next((part for part in reversed(names) if part in _WORDS), "tasks")
    return f"{name} must be {_WORDS[name]}"


def _without_repetition(found: list[Complaint]) -> list[Complaint]:
    """Each member of a union complains: what stands deepest, or is not general, says it best."""
    deeper = {each.path[:n] for each in found for n in range(len(each.path) + (not each.is_general))}
    kept = [each for each in found if not (each.is_general and each.path in deeper)]
    return list({(each.path, each.message): each for each in kept}.values())
