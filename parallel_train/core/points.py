"""The points of a template: one assignment of values to its params for each task."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from parallel_train.core.graph import did_you_mean
from parallel_train.core.placeholders import POINT, RESERVED, is_name
from parallel_train.core.task import Json
from parallel_train.core.template import Findings, Path, Template

Point = dict[str, Json]

_BRACKETS = "a name begins with a letter and goes on with letters, digits, '_', '-' and '.'"


def params_of(template: Template) -> dict[str, Path]:
    """Every param's name and where it is given, in the order in which `{args}` writes them."""
    found: dict[str, Path] = {name: ("params", name) for name in template.params}
    if template.matrix:
        found |= {name: ("matrix", name) for name in template.matrix.axes}
        for index, entry in enumerate(template.matrix.include):
            for name in entry:
                found.setdefault(name, ("matrix", "include", index, name))
    found |= {name: ("zip", name) for name in template.zipped}
    if template.search:
        found |= dict.fromkeys(template.search.space.params, ("search", "space"))
    if template.seeds is not None:
        found["seed"] = ("seeds",)
    return found


def count(template: Template) -> int:
    """How many points there are at most (`exclude` takes some away), without laying them out."""
    rows = 1
    if template.matrix:
        axes = template.matrix.axes.values()
        rows = (math.prod(len(axis) for axis in axes) if axes else 0) + len(template.matrix.include)
    zipped = max((len(values) for values in template.zipped.values()), default=1)
    searched = template.search.count() if template.search else 1
    return rows * zipped * searched * (1 if template.seeds is None else len(template.seeds))


def check(template: Template, number: int, findings: Findings) -> bool:
    """Whether the points can be laid out; what is wrong goes to `findings`."""
    before = len(findings.wrong)
    for name, path in params_of(template).items():
        if name in RESERVED or (name == POINT and template.search):
            findings.add(number, path, f"'{name}' is a name of ours, it can't be a param", kind=name)
        elif not is_name(name):
            findings.add(number, path, f"'{name}' can't be the name of a param", _BRACKETS, kind=name)
    _check_lists(template, number, findings)
    return len(findings.wrong) == before


def _check_lists(template: Template, number: int, findings: Findings) -> None:
    axes = template.matrix.axes if template.matrix else {}
    _check_given_twice(template, number, findings)
    for key, lists in (("matrix", axes), ("zip", template.zipped)):
        for name, values in lists.items():
            if not values:
                findings.add(number, (key, name), f"'{name}' has no values")
    for index, entry in enumerate(template.matrix.exclude if template.matrix else ()):
        for name in entry:
            if name not in axes:
                path = ("matrix", "exclude", index, name)
                findings.add(number, path, f"'{name}' is not in the matrix", did_you_mean(name, axes))


def _check_given_twice(template: Template, number: int, findings: Findings) -> None:
    axes = template.matrix.axes if template.matrix else {}
    searched = template.search.space.params if template.search else ()
    for name in axes.keys() & template.zipped.keys():
        findings.add(number, ("zip", name), f"'{name}' is in matrix and in zip")
    for name in searched:
        if name in axes or name in template.zipped:
            other = "matrix" if name in axes else "zip"
            findings.add(number, (other, name), f"'{name}' is in {other} and in search")
    if template.seeds is not None and ("seed" in axes or "seed" in template.zipped or "seed" in searched):
        findings.add(number, ("seeds",), "'seed' is given by seeds and by matrix, zip or search")
    lengths = {name: len(values) for name, values in template.zipped.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        findings.add(number, ("zip",), f"the lists of zip differ in length: {said}")


def points(template: Template) -> Iterator[tuple[Point, Point]]:
    """The points of a template that passed `check`, and what of each a search has drawn: first key slowest, seeds
    fastest.
    """
    zipped = [dict(zip(template.zipped, row, strict=True)) for row in zip(*template.zipped.values(), strict=True)]
    seeds = [{"seed": seed} for seed in template.seeds or ()]
    searched = template.search.points() if template.search else [{}]
    rows = _rows(template)
    return (
        ({**template.params, **a, **b, **c, **d}, c)
        for a, b, c, d in product(rows, zipped or [{}], searched, seeds or [{}])
    )


def _rows(template: Template) -> Sequence[Point]:
    matrix = template.matrix
    if matrix is None:
        return [{}]
    rows: list[Point] = []
    if matrix.axes:
        rows = [dict(zip(matrix.axes, values, strict=True)) for values in product(*matrix.axes.values())]
    for entry in matrix.exclude:
        rows = [row for row in rows if not _fits(entry, row)]
    grown = [dict(row) for row in rows]
    for entry in matrix.include:
        fixed = {name: value for name, value in entry.items() if name in matrix.axes}
        fitting = [grown[i] for i, row in enumerate(rows) if _fits(fixed, row)]
        for row in fitting:
            row.update(entry)
        if not fitting:
            grown.append(dict(entry))
    return grown


def idle_excludes(template: Template) -> list[int]:
    """Which entries of `exclude` take nothing away: most likely a value was mistyped."""
    matrix = template.matrix
    if matrix is None:
        return []
    return [
        index
        for index, entry in enumerate(matrix.exclude)
        if not all(any(same(value, v) for v in matrix.axes[name]) for name, value in entry.items())
    ]


def _fits(entry: Mapping[str, Json], row: Point) -> bool:
    return all(same(value, row[name]) for name, value in entry.items())


def same(one: Json, other: Json) -> bool:
    # Python holds True and 1 for equal; a task file does not.
    return isinstance(one, bool) == isinstance(other, bool) and one == other
