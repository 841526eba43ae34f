"""The tree of a search space: each choice counts what lies below it, so that any point is found by arithmetic."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from parallel_train.core import graph
from parallel_train.core.axis import Axis, Listed
from parallel_train.core.task import Json


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Choice:
    """A value for `key` out of `axis`; then the branch of that value's position, or `default`.

    A branch is the next choice, or None where the point ends. Branches may be shared: the tree is laid out nowhere.
    """

    key: str
    axis: Axis
    default: Tree = None
    cases: Mapping[int, Tree] = field(default_factory=dict)
    count: int = field(init=False)  # of the points from here on
    params: tuple[str, ...] = field(init=False)  # of the points from here on, as first met
    everywhere: frozenset[str] = field(init=False)  # those of them that every point has
    _places: tuple[int, ...] = field(init=False)  # positions with a branch of their own, in order
    _starts: tuple[int, ...] = field(init=False)  # the index of the first point of each

    def __post_init__(self) -> None:
        places = tuple(sorted(self.cases))
        starts, passed = [], 0
        for nth, place in enumerate(places):
            starts.append(passed + (place - nth) * count(self.default))
            passed += count(self.cases[place])
        params: dict[str, None] = {self.key: None}
        everywhere: frozenset[str] | None = None
        for branch in self.branches():
            if count(branch) == 0:
                continue
            its = frozenset() if branch is None else branch.everywhere
            params.update(dict.fromkeys(() if branch is None else branch.params))
            everywhere = its if everywhere is None else everywhere & its
        for name, value in (
            ("count", passed + (len(self.axis) - len(places)) * count(self.default)),
            ("params", tuple(params)),
            ("everywhere", frozenset({self.key}) | (everywhere or frozenset())),
            ("_places", places),
            ("_starts", tuple(starts)),
        ):
            object.__setattr__(self, name, value)

    def branches(self) -> Iterator[Tree]:
        """Each branch that some value takes."""
        yield from self.cases.values()
        if len(self.axis) > len(self.cases):
            yield self.default

    def branch(self, position: int) -> Tree:
        return self.cases.get(position, self.default)

    def start(self, position: int) -> int:
        """The index of the first point with the value at `position`."""
        nth = bisect_left(self._places, position)
        if nth == 0:
            return position * count(self.default)
        place = self._places[nth - 1]
        after = self._starts[nth - 1] + count(self.cases[place])
        return after + (position - place - 1) * count(self.default)

    def find(self, index: int) -> tuple[int, int]:
        """The position of the value that the point at `index` has, and the point's index within that branch."""
        nth = bisect_right(self._starts, index)
        place, left = -1, index
        if nth:
            place = self._places[nth - 1]
            left = index - self._starts[nth - 1]
            if left < (own := count(self.cases[place])):
                return place, left
            left -= own
        skipped, within = divmod(left, count(self.default))
        return place + 1 + skipped, within


Tree = Choice | None


def count(tree: Tree) -> int:
    return 1 if tree is None else tree.count


def nodes(tree: Tree) -> list[Choice]:
    """Every choice once, though branches be shared; each before those below it that were not met yet."""
    found: dict[int, Choice] = {}
    pending = [tree]
    while pending:
        node = pending.pop()
        if node is not None and id(node) not in found:
            found[id(node)] = node
            pending += reversed([*node.cases.values(), node.default])
    return list(found.values())


def varying(tree: Tree) -> frozenset[str]:
    """The params that not every point has with the same value."""
    values: dict[str, set[str]] = {}
    for node in nodes(tree):
        several = [node.axis.value(position) for position in range(min(2, len(node.axis)))]
        values.setdefault(node.key, set()).update(map(repr, several))
    everywhere = frozenset[str]() if tree is None else tree.everywhere
    return frozenset(name for name, its in values.items() if len(its) > 1 or name not in everywhere)


def chain(axes: Mapping[str, Axis], end: Tree = None) -> Tree:
    """Every combination of `axes`, the first slowest."""
    for key in reversed(list(axes)):
        end = Choice(key, axes[key], end)
    return end


def narrowed(tree: Tree, fixed: Mapping[str, Json]) -> Tree:
    """The tree where each param of `fixed` has that value alone, also one that is not among its values."""
    known = {id(node): node for node in nodes(tree)}
    needs = {
        name: [id(branch) for branch in (*node.cases.values(), node.default) if branch] for name, node in known.items()
    }
    done: dict[int, Tree] = {id(None): None}
    for name in graph.order(needs):
        node = known[name]
        cases = {position: done[id(branch)] for position, branch in node.cases.items()}
        default = done[id(node.default)]
        if node.key in fixed:
            position = node.axis.position(fixed[node.key])
            value = fixed[node.key] if position is None else node.axis.value(position)
            done[name] = Choice(
                node.key, Listed((value,)), default if position is None else cases.get(position, default)
            )
        else:
            done[name] = Choice(node.key, node.axis, default, cases)
    return done[id(tree)]
