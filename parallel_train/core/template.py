"""One entry of a task file's `tasks`, before it is laid out, and what may be wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from parallel_train.core.space import Point, Space
from parallel_train.core.task import DoneWhen, Json, Metric

Path = tuple["str | int", ...]

_MANY = 50


@dataclass(frozen=True, slots=True)
class Matrix:
    """Every combination of `axes`, less `exclude`, plus `include`: as in GitHub Actions."""

    axes: Mapping[str, Sequence[Json]]
    include: Sequence[Mapping[str, Json]] = ()
    exclude: Sequence[Mapping[str, Json]] = ()


@dataclass(frozen=True, slots=True)
class Search:
    """The points of `space`: all of them in order, or `samples` drawn with `seed`."""

    space: Space
    samples: int | None = None
    seed: int = 0

    def count(self) -> int:
        return self.space.count() if self.samples is None else min(self.samples, self.space.count())

    def points(self) -> Iterable[Point]:
        return self.space if self.samples is None else map(self.space.point, self.space.sample(self.samples, self.seed))

    def __str__(self) -> str:
        there = self.space.count()
        several = f"{there:,} points"
        if self.samples is None:
            return several
        more = f"; {self.samples:,} were asked for, and there are no more" if self.samples > there else ""
        return f"{self.count():,} of {several}, drawn with seed {self.seed}{more}"


@dataclass(frozen=True, slots=True)
class Template:
    """What many tasks have in common. Every text may hold placeholders."""

    command: str | tuple[str, ...]
    name: str | None = None
    stage: str | None = None
    params: Mapping[str, Json] = field(default_factory=dict)
    matrix: Matrix | None = None
    zipped: Mapping[str, Sequence[Json]] = field(default_factory=dict)
    search: Search | None = None
    seeds: Sequence[Json] | None = None
    output: str | None = None
    done_when: DoneWhen | None = None
    metrics: tuple[Metric, ...] = ()
    inputs: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    gpus: int = 1
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "."
    timeout: float | None = None
    retries: int = 0
    priority: int = 0
    shell: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    """What the command line says about every template. `project` is an absolute path."""

    project: str
    output_base: str = "output"
    overrides: Mapping[str, Json] = field(default_factory=dict)
    source: str = ""


@dataclass(slots=True)
class Finding:
    """One thing that is wrong: in which template, at which keys. `more` tasks have the same there."""

    template: int
    path: Path
    message: str
    hint: str = ""
    more: int = 0


@dataclass(slots=True)
class Findings:
    """What is wrong with a file's templates, one sentence per key and kind, and what is worth a note."""

    wrong: dict[tuple[int, Path, str], Finding] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    searches: list[str] = field(default_factory=list)

    def add(self, template: int, path: Path, message: str, hint: str = "", *, kind: str = "") -> None:
        """Of a template's many tasks the first says it; the others are counted."""
        found = self.wrong.setdefault((template, path, kind), Finding(template, path, message, hint, -1))
        found.more += 1

    @property
    def are_many(self) -> bool:
        """Whether more are of no use to anybody: looking for the nearest name of each would take long."""
        return len(self.wrong) >= _MANY

    def note(self, text: str) -> None:
        self.notes[text] = None
