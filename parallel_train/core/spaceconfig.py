"""A config of nested choices -> the tree of a search space, or everything that is wrong with it.

The shape is that of DAHPS: a choice is {'key', 'values', 'default', <value>: branch, …}; a whole config has one as
`root`, and may have `common`, `check_unique` and `repetitions`. Branches are often shared by name, so each is read
once, along the shortest path to it: what is wrong with it is one fault, however many paths lead there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from parallel_train.core import graph
from parallel_train.core.axis import Axis, Listed, Range, listed, span, stepped, value_of
from parallel_train.core.branches import Choice, Tree
from parallel_train.core.spacefaults import Fault, shown
from parallel_train.core.task import Json
from parallel_train.errors import MOST_FAULTS

Steps = tuple[object, ...]

_OF_A_CHOICE = ("key", "values", "default")
_OF_A_CONFIG = ("root", "common", "check_unique", "repetitions")
_OF_A_RANGE = ("from", "to", "count", "step", "log")
_LOOKED_AT = 100  # values, for one that was meant
_A_RANGE = "write for example {'from': 0.0001, 'to': 0.1, 'count': 4, 'log': true}"


@dataclass(slots=True)
class Reading:
    """How a config is to be read, and what came out: `faults`, and `notes` on what was repaired or taken as read.

    `read_case` is what a case's text may stand for in a file, where keys are text: 64 for "64".
    """

    lenient: bool = False
    empty_is_dead: bool = False
    read_case: Callable[[str], Json] | None = None
    check_unique: bool = False
    lists_are_values: bool = False
    faults: list[Fault] = field(default_factory=list)
    notes: list[Fault] = field(default_factory=list)
    found: int = 0  # faults, with those that nobody would read any more

    def wrong(self, at: Steps, what: str, repair: str, *, mendable: bool = False) -> None:
        """A fault; where it can be mended and is to be, a note."""
        if mendable and self.lenient:
            self.note(at, what, repair)
            return
        self.found += 1
        if self.found <= MOST_FAULTS:
            self.faults.append(Fault(shown(at), what, repair, at))

    def note(self, at: Steps, what: str, repair: str) -> None:
        if len(self.notes) < MOST_FAULTS:
            self.notes.append(Fault(shown(at), what, repair, at))


@dataclass(slots=True)
class _Branch:
    """A choice as it stands in the config. `key` is None where the branch is left out, for its default."""

    at: Steps
    key: str | None = None
    axis: Axis = field(default_factory=lambda: Listed(()))
    default: object = None
    cases: dict[int, object] = field(default_factory=dict)

    def below(self) -> list[tuple[object, object]]:
        """(step, branch) of each branch, the default last."""
        return [*self.cases.items(), ("default", self.default)]


def read_tree(root: object, at: Steps, reading: Reading) -> Tree:
    """The tree under `root`; None where nothing could be made of it, or where it is empty."""
    found: dict[int, _Branch] = {}
    pending: deque[tuple[object, Steps]] = deque([(root, at)])
    while pending:
        raw, steps = pending.popleft()
        if raw is None or id(raw) in found:
            continue
        node, steps = _mapping(raw, steps, reading)
        found[id(raw)] = branch = _Branch(steps)
        if node is not None:
            pending += _Node(node, branch, reading).read()
    needs = {name: [id(raw) for _, raw in branch.below() if raw is not None] for name, branch in found.items()}
    try:
        turn = graph.order(needs)
    except graph.CycleError as error:
        again = found[int(str(error.path[-1]))]
        reading.wrong(again.at, "the branches go round in a circle", "a branch can't stand inside itself")
        return None
    return _built(root, [(name, found[name]) for name in turn], reading)


def _built(root: object, turn: Sequence[tuple[int, _Branch]], reading: Reading) -> Tree:
    """The tree of branches that stand in an order that puts deeper ones first."""
    done: dict[int, Tree] = {id(None): None}
    for name, branch in turn:
        default = done[id(branch.default)]
        if branch.key is None:
            done[name] = default
            continue
        cases = {position: done[id(raw)] for position, raw in branch.cases.items()}
        made = Choice(branch.key, branch.axis, default, cases)
        if any(below is not None and branch.key in below.params for below in made.branches()):
            what = f"'{branch.key}' is chosen a second time on a path that begins here"
            reading.wrong((*branch.at, "key"), what, "a key stands once on each path: rename one, or take one away")
        done[name] = made
    return done[id(root)]


def _mapping(raw: object, at: Steps, reading: Reading) -> tuple[Mapping[object, object] | None, Steps]:
    """A branch as it stands in the config, and where."""
    if isinstance(raw, list | tuple) and len(raw) == 1 and isinstance(raw[0], Mapping):
        kind = "tuple" if isinstance(raw, tuple) else "list"
        repair = "remove the comma behind its closing brace" if kind == "tuple" else "remove the brackets round it"
        reading.wrong(
            at, f"a {kind} with a branch in it stands where the branch itself is expected", repair, mendable=True
        )
        raw, at = raw[0], (*at, 0)
    if isinstance(raw, Mapping):
        return raw, at
    reading.wrong(at, "this is no branch", "write one with 'key' and 'values', or nothing")
    return None, at


class _Node:
    """Reads one choice of the config into `branch`."""

    def __init__(self, node: Mapping[object, object], branch: _Branch, reading: Reading) -> None:
        self.node, self.branch, self.reading = node, branch, reading

    def read(self) -> list[tuple[object, Steps]]:
        """What stands below it, and where."""
        node, branch = self.node, self.branch
        key, named = node.get("key"), self._values_key()
        if not isinstance(key, str) or not key:
            what = "the name of what is chosen here must be text" if "key" in node else "'key' is missing"
            self._wrong(("key",) if "key" in node else (), what, "write its name: 'key': 'learning_rate'")
            key = "?"
        branch.key, branch.default = key, node.get("default")
        steps: dict[int, object] = {}
        if named is not None:
            branch.axis = self._axis(named, key)
            steps = self._cases(named)
        is_plain = self.reading.read_case is not None and not branch.cases  # in a file most leaves have none
        if "default" not in node and len(branch.axis) > len(branch.cases) and not is_plain:
            what = f"'{key}' has no 'default': a value without a branch of its own ends the point"
            repair = "write 'default' with a branch, or with None where that is meant"
            self.reading.note(branch.at, what, repair)
        if not len(branch.axis) and named is not None and not self.reading.empty_is_dead:
            branch.key = None
        below = [(raw, (*branch.at, steps[position])) for position, raw in branch.cases.items()]
        return [*below, (branch.default, (*branch.at, "default"))]

    def _wrong(self, steps: Steps, what: str, repair: str, *, mendable: bool = False) -> None:
        self.reading.wrong((*self.branch.at, *steps), what, repair, mendable=mendable)

    def _values_key(self) -> str | None:
        """Under which key the values stand."""
        if "values" in self.node:
            return "values"
        if "value" in self.node:
            self._wrong(("value",), "'value' stands where 'values' is expected", "rename it to 'values'", mendable=True)
            return "value"
        self._wrong((), "'values' is missing", "write the values to choose from: 'values': [64, 128]")
        return None

    def _axis(self, named: str, key: str) -> Axis:
        found = read_axis(self.node[named], (*self.branch.at, named), self.reading)
        if found is not None and not len(found):
            repair = "write at least one, or put the default of this branch in its place"
            self._wrong((named,), f"'{key}' has no values", repair, mendable=True)
        return Listed(()) if found is None else found

    def _cases(self, named: str) -> dict[int, object]:
        """Fills in the cases; the step of each, by position."""
        steps: dict[int, object] = {}
        if not len(self.branch.axis):
            return steps  # said already, or every case would be one more fault
        for case, raw in self.node.items():
            if case in _OF_A_CHOICE or case == named:
                continue
            position = self._position(case)
            if position is None or position in steps:
                what = f"no value of '{self.branch.key}' is left for the branch {case!r}"
                self._wrong((case,), what, self._near(case), mendable=True)
            else:
                steps[position], self.branch.cases[position] = case, raw
        return steps

    def _position(self, case: object) -> int | None:
        try:
            value = value_of(case)
        except TypeError:
            return None
        position = self.branch.axis.position(value)
        if position is None and isinstance(value, str) and self.reading.read_case is not None:
            position = self.branch.axis.position(self.reading.read_case(value))
        return position

    def _near(self, case: object) -> str:
        axis = self.branch.axis
        texts = {str(value): value for value in axis.values[:_LOOKED_AT]} if isinstance(axis, Listed) else {}
        if (meant := texts.get(str(case))) is not None and not isinstance(meant, str) and isinstance(case, str):
            return f"the value is a number or a truth value: write {meant!r} without quotes"
        return graph.did_you_mean(str(case), [*texts, *_OF_A_CHOICE]) or "add it to the values, or take the branch away"


def read_axis(raw: object, at: Steps, reading: Reading) -> Axis | None:
    """The values of a list or of a range; None where it is neither. What is wrong goes to `reading`."""
    if isinstance(raw, Mapping):
        return _read_range(raw, at, reading)
    to_list = getattr(raw, "tolist", None)  # an array of numpy
    if to_list is not None:
        raw = to_list()
    if not isinstance(raw, list | tuple | range):
        what = "a set has no order" if isinstance(raw, set | frozenset) else "the values must be a list or a range"
        alone = isinstance(raw, str | int | float)
        reading.wrong(at, what, f"write [{raw}]" if alone else "write a list: [64, 128]")
        return None
    values = _read_list(raw, at, reading)
    return None if values is None else _without_repeated(values, at, reading)


def _read_list(raw: Sequence[object], at: Steps, reading: Reading) -> Axis | None:
    if isinstance(raw, range):
        return listed(raw)
    kept: list[Json] = []
    before = reading.found
    for index, value in enumerate(raw):
        if not reading.lists_are_values and isinstance(value, list | dict | set):
            what = f"the value {value!r} can't have a branch, since it can't be hashed"
            reading.wrong((*at, index), what, "write a tuple, or text", mendable=True)
        try:
            kept.append(value_of(value))
        except TypeError as error:
            reading.wrong((*at, index), str(error), "write text, a number, true, false or nothing")
    return Listed(tuple(kept)) if reading.found == before else None


def _without_repeated(axis: Axis, at: Steps, reading: Reading) -> Axis:
    if not reading.check_unique or isinstance(axis, Range):
        return axis
    repeated = {index: None for index, value in enumerate(axis.values) if axis.position(value) != index}
    for index in repeated:
        what = f"the value {axis.values[index]!r} is listed a second time"
        reading.wrong((*at, index), what, "take one of them away", mendable=True)
    return Listed(tuple(value for index, value in enumerate(axis.values) if index not in repeated))


def _read_range(raw: Mapping[object, object], at: Steps, reading: Reading) -> Axis | None:
    before = reading.found
    size = "step" if "step" in raw else "count"
    for key in raw:
        if key not in _OF_A_RANGE:
            hint = graph.did_you_mean(str(key), _OF_A_RANGE) or _A_RANGE
            reading.wrong((*at, key), f"unknown key '{key}' in a range", hint)
    is_log = raw.get("log", False)
    if not isinstance(is_log, bool):
        reading.wrong((*at, "log"), "'log' must be true or false", _A_RANGE)
    if size == "step" and ("count" in raw or is_log):
        other = "'count'" if "count" in raw else "'log'"
        reading.wrong((*at, size), f"a range has 'step' or {other}, not both", _A_RANGE)
    first, last, by = (_number(raw, key, at, reading) for key in ("from", "to", size))
    if reading.found > before:
        return None
    try:
        return stepped(first, last, by) if size == "step" else span(first, last, by, is_log=bool(is_log))
    except ValueError as error:
        what, repair = error.args
        reading.wrong(at, what, repair)
        return None


def _number(raw: Mapping[object, object], key: str, at: Steps, reading: Reading) -> Any:
    value, wanted = raw.get(key), (int,) if key == "count" else (int, float)
    if key not in raw:
        reading.wrong(at, f"'{key}' is missing in a range", _A_RANGE)
    elif not isinstance(value, wanted) or isinstance(value, bool) or not -1e300 < value < 1e300:
        reading.wrong((*at, key), f"'{key}' must be a {'whole ' if wanted == (int,) else ''}number", _A_RANGE)
    return value


def unknown_keys(config: Mapping[object, object], reading: Reading) -> None:
    """Keys of a whole config that mean nothing."""
    for key in config:
        if key not in _OF_A_CONFIG:
            hint = graph.did_you_mean(str(key), _OF_A_CONFIG) or f"there are {', '.join(_OF_A_CONFIG)}"
            reading.wrong((key,), f"unknown key '{key}'", hint, mendable=True)
