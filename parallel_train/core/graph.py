"""What needs what: an order that puts needs first, circles by name, a selection's needs; nearest names."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import islice
from typing import TypeVar

Node = TypeVar("Node", bound=Hashable)

# difflib costs by the number of names: a suggestion is not worth a pause.
_MOST_NAMES = 10_000


class CycleError(ValueError):
    """Things that need each other. `path` begins and ends with the same one: each needs the next."""

    def __init__(self, path: Sequence[Hashable]) -> None:
        self.path = tuple(path)
        super().__init__(" -> ".join(str(node) for node in path))


def order(needs: Mapping[Node, Sequence[Node]]) -> list[Node]:
    """All nodes of `needs`, each after what it needs, otherwise as they stand. Raises CycleError."""
    done: dict[Node, None] = {}
    for start in needs:
        if start not in done:
            _visit(start, needs, done)
    return list(done)


def _visit(start: Node, needs: Mapping[Node, Sequence[Node]], done: dict[Node, None]) -> None:
    # No recursion: a chain of needs may be longer than Python's stack.
    path: dict[Node, None] = {start: None}
    pending = [iter(needs[start])]
    while pending:
        node = next((need for need in pending[-1] if need not in done), None)
        if node is None:
            pending.pop()
            done[path.popitem()[0]] = None
        elif node in path:
            names = list(path)
            raise CycleError([*names[names.index(node) :], node])
        else:
            path[node] = None
            pending.append(iter(needs[node]))


def closure(selection: Iterable[Node], needs: Mapping[Node, Sequence[Node]]) -> set[Node]:
    """`selection` and everything it needs, directly or not."""
    found = set(selection)
    pending = list(found)
    while pending:
        new = [need for need in needs[pending.pop()] if need not in found]
        found.update(new)
        pending.extend(new)
    return found


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The name that `word` was probably meant to be, or None."""
    known = list(islice(names, _MOST_NAMES))
    folded = {name.lower(): name for name in reversed(known)}
    matches = difflib.get_close_matches(word.lower(), folded, n=1)
    return folded[matches[0]] if matches else None


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """The hint for an unknown `word`; empty where no name is near."""
    name = nearest(word, names)
    return f"did you mean '{name}'?" if name is not None else ""
