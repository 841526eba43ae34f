"""A search space: every shape of it is one value that is counted, indexed and drawn from without being laid out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from parallel_train.core.axis import Axis, Listed, value_of
from parallel_train.core.branches import Tree, chain, count, narrowed, varying
from parallel_train.core.permutation import order
from parallel_train.core.spaceconfig import Reading, Steps, read_axis, read_tree, unknown_keys
from parallel_train.core.spacefaults import Fault, SpaceError, shown
from parallel_train.core.task import Json

__all__ = ("Fault", "Space", "SpaceError", "from_lists", "from_matrix", "from_tree", "order")

Point = dict[str, Json]

_MOST_PARAMS = 1000


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Space:
    """All points of a search. Immutable; made by `from_tree`, `from_lists` or `from_matrix`.

    A point maps params to JSON values. Points have indexes from 0 in the document's order: the first choice changes
    slowest. `constants` are part of every point. `notes` say what was repaired or taken as read.
    """

    tree: Tree
    constants: Mapping[str, Json] = field(default_factory=dict)
    repetitions: int = 1  # how often each point is to be run: it counts for nothing here
    notes: tuple[Fault, ...] = ()

    def count(self) -> int:
        """How many points there are."""
        return count(self.tree)

    @property
    def params(self) -> tuple[str, ...]:
        """Every param that some point has, as first met."""
        return (*(() if self.tree is None else self.tree.params), *self.constants)

    @property
    def everywhere(self) -> frozenset[str]:
        """The params that every point has."""
        return (frozenset() if self.tree is None else self.tree.everywhere) | self.constants.keys()

    @property
    def varying(self) -> tuple[str, ...]:
        """Those of `params` that tell points apart."""
        differing = varying(self.tree)
        return tuple(name for name in self.params if name in differing)

    def point(self, index: int) -> Point:
        """The point at `index`, its params in order along the path. Raises IndexError."""
        if not 0 <= index < self.count():
            raise IndexError(f"there is no point {index}: the space has {self.count():,}")
        point: Point = {}
        node = self.tree
        while node is not None:
            position, index = node.find(index)
            point[node.key] = node.axis.value(position)
            node = node.branch(position)
        return {**point, **self.constants}

    def index(self, point: Mapping[str, Json]) -> int:
        """Where `point` is. Raises KeyError for a param that it lacks, ValueError for one that can't stand there."""
        index, left = 0, dict(point)
        node = self.tree
        while node is not None:
            if node.key not in left:
                raise KeyError(f"the point has no '{node.key}'")
            value = left.pop(node.key)
            position = node.axis.position(value)
            if position is None:
                raise ValueError(f"{value!r} is no value of '{node.key}' here")
            index += node.start(position)
            node = node.branch(position)
        for name, value in self.constants.items():
            if name not in left:
                raise KeyError(f"the point has no '{name}'")
            if left.pop(name) != value:
                raise ValueError(f"'{name}' is {value!r} in every point")
        if left:
            raise ValueError(f"a point with these values has no '{next(iter(left))}'")
        return index

    def sample(self, k: int, seed: int) -> list[int]:
        """The indexes of `k` points drawn without repetition; all of them, in another order, where there are fewer.

        The same seed draws the same points on every machine, and the first of them for a smaller `k`.
        """
        drawn = order(self.count(), seed)
        return [drawn(position) for position in range(min(k, self.count()))]

    def where(self, fixed: Mapping[str, Json]) -> Space:
        """The space in which each param of `fixed` has that one value, be it listed or not; the others stay."""
        constants = {name: fixed.get(name, value) for name, value in self.constants.items()}
        return Space(narrowed(self.tree, fixed), constants, self.repetitions, self.notes)

    def __iter__(self) -> Iterator[Point]:
        return map(self.point, range(self.count()))

    def __repr__(self) -> str:
        return f"<Space of {self.count():,} points: {', '.join(self.params)}>"


def from_tree(
    config: object,
    *,
    lenient: bool = False,
    empty_is_dead: bool = False,
    read_case: Callable[[str], Json] | None = None,
) -> Space:
    """The space of a DAHPS config: {'root': choice, 'common': constants, 'check_unique': bool, 'repetitions': int}.

    A choice is {'key': name, 'values': list or range, 'default': choice or None, <value>: choice, …}; a config may also
    be a choice itself. `check_unique` refuses values that are listed twice.

    `lenient` repairs what has one likely meaning and says so in `notes`: 'value' for 'values', a branch within a tuple,
    a key without values (its default takes its place; with `empty_is_dead` no point goes that way).
    `read_case` tells what the text of a case stands for, where a file has only text for keys.

    Raises SpaceError with all that is wrong.
    """
    is_file = read_case is not None
    reading = Reading(lenient, empty_is_dead, read_case, check_unique=is_file, lists_are_values=is_file)
    if not isinstance(config, Mapping):
        raise SpaceError([Fault(shown(()), "this is no search space", "write a mapping with 'root'")])
    if "root" not in config and ("key" in config or "values" in config):
        return _finished(read_tree(config, (), reading), {}, 1, reading)
    unknown_keys(config, reading)
    if config.get("root") is None:
        reading.wrong((), "'root' is missing", "write the first choice there: 'root': {'key': …, 'values': […]}")
    check_unique, repetitions = config.get("check_unique", is_file), config.get("repetitions", 1)
    if not isinstance(check_unique, bool):
        reading.wrong(("check_unique",), "'check_unique' is neither true nor false", "write one of them")
    if not isinstance(repetitions, int) or isinstance(repetitions, bool) or repetitions < 1:
        reading.wrong(("repetitions",), "'repetitions' is no whole number from 1", "write how often each point is run")
    reading.check_unique = check_unique is True
    tree = read_tree(config.get("root"), ("root",), reading)
    constants = _constants(config.get("common"), tree, reading)
    return _finished(tree, constants, repetitions, reading)


def _constants(common: object, tree: Tree, reading: Reading) -> Point:
    if common is None:
        return {}
    if not isinstance(common, Mapping):
        reading.wrong(("common",), "'common' must map names to values", "write {'epochs': 20}")
        return {}
    made: Point = {}
    for name, value in common.items():
        at: Steps = ("common", name)
        if not isinstance(name, str):
            reading.wrong(at, f"the name {name!r} is no text", "write it in quotes")
        elif tree is not None and name in tree.params:
            what = f"'{name}' is searched for, so it is not common to all points"
            reading.wrong(at, what, "take it away here or in the tree", mendable=True)
        else:
            try:
                made[name] = value_of(value)
            except TypeError as error:
                reading.wrong(at, str(error), "write text, a number, true, false or nothing")
    return made


def _finished(tree: Tree, constants: Mapping[str, Json], repetitions: int, reading: Reading) -> Space:
    if not reading.faults and count(tree) == 0:
        reading.wrong((), "no point is left", "give every key at least one value")
    if reading.faults:
        raise SpaceError(reading.faults)
    return Space(tree, constants, repetitions, tuple(reading.notes))


def from_lists(lists: Sequence[object], names: Sequence[str] | None = None) -> Space:
    """Every combination of one value of each list, the last list fastest: as nested loops.

    The params are `names`, or arg0, arg1, …; `tuple(point.values())` are the arguments. Raises SpaceError.
    """
    given = [f"arg{position}" for position in range(len(lists))] if names is None else names
    return _grid(
        [((position,), name, values) for position, (name, values) in enumerate(zip(given, lists, strict=True))]
    )


def from_matrix(axes: Mapping[str, object], *, check_unique: bool = False) -> Space:
    """Every combination of `axes`, name -> list or range, the last fastest. Raises SpaceError."""
    return _grid([((name,), name, values) for name, values in axes.items()], check_unique=check_unique)


def _grid(given: Sequence[tuple[Steps, str, object]], *, check_unique: bool = False) -> Space:
    reading = Reading(lists_are_values=True, check_unique=check_unique)
    axes: dict[str, Axis] = {}
    if len(given) > _MOST_PARAMS:
        reading.wrong((), f"{len(given):,} params are too many", f"a space has at most {_MOST_PARAMS:,}")
        given = ()
    for at, name, values in given:
        axis = read_axis(values, at, reading)
        if axis is not None and not len(axis):
            reading.wrong(at, f"'{name}' has no values", "write at least one")
        axes[name] = Listed(()) if axis is None else axis
    return _finished(chain(axes), {}, 1, reading)
