"""`NAME=VALUE` from the command line, put into a template before it is laid out.

A list of values becomes the one value. Where a value is tied to others, in a row of `zip` or an entry of
`include`, the rows that hold it are chosen; a value that no row holds is put into all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from parallel_train.core.points import Point, params_of, same
from parallel_train.core.task import Json
from parallel_train.core.template import Matrix, Template


def override(template: Template, values: Mapping[str, Json]) -> Template:
    """The template with `values` for those of its params that they name."""
    mine = {name: value for name, value in values.items() if name in params_of(template)}
    if not mine:
        return template
    return replace(
        template,
        params={name: _as_listed(mine.get(name, value), [value]) for name, value in template.params.items()},
        matrix=_matrix(template.matrix, mine) if template.matrix else None,
        zipped=_zipped(template.zipped, mine),
        search=replace(template.search, space=template.search.space.where(mine)) if template.search else None,
        seeds=[mine["seed"]] if template.seeds is not None and "seed" in mine else template.seeds,
    )


def _matrix(matrix: Matrix, mine: Mapping[str, Json]) -> Matrix:
    axes = {name: [_as_listed(mine[name], values)] if name in mine else values for name, values in matrix.axes.items()}
    include: Sequence[Mapping[str, Json]] = matrix.include
    for name, value in mine.items():
        include = _chosen(include, name, value, must_hold=name in axes)
    # A param that only entries of `include` give has its new value in every combination.
    added = {name for entry in matrix.include for name in entry} & mine.keys() - axes.keys()
    everywhere = [{name: mine[name] for name in mine if name in added}] if axes and added else []
    return Matrix(axes, [*include, *everywhere], matrix.exclude)


def _as_listed(value: Json, listed: Sequence[Json]) -> Json:
    # 1 for a listed 1.0 means that one: the same command, so the same task.
    return next((other for other in listed if same(value, other)), value)


def _zipped(zipped: Mapping[str, Sequence[Json]], mine: Mapping[str, Json]) -> dict[str, Sequence[Json]]:
    rows: Sequence[Mapping[str, Json]] = [
        dict(zip(zipped, row, strict=True)) for row in zip(*zipped.values(), strict=True)
    ]
    for name in zipped.keys() & mine.keys():
        rows = _chosen(rows, name, mine[name], must_hold=False)
    different: list[Mapping[str, Json]] = []
    for row in rows:
        if row not in different:
            different.append(row)
    return {name: [row[name] for row in different] for name in zipped}


def _chosen(rows: Sequence[Mapping[str, Json]], name: str, value: Json, *, must_hold: bool) -> list[Mapping[str, Json]]:
    holding: list[Mapping[str, Json]] = [row for row in rows if name not in row or same(row[name], value)]
    if must_hold or any(name in row for row in holding):
        return holding
    return [Point({**row, name: value}) if name in row else row for row in rows]
