"""A task file -> its tasks, or everything that is wrong with it."""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from parallel_train.core import expand, points, tasklist
from parallel_train.core.graph import did_you_mean
from parallel_train.core.placeholders import is_unicode
from parallel_train.core.task import Json, Task, assigned
from parallel_train.core.template import Finding, Findings, Setting, Template
from parallel_train.errors import Fault, TaskFileError, UsageError
from parallel_train.store import pyfile, schema, templates, yamlfile
from parallel_train.store.document import Document
from parallel_train.store.keys import MOST_TASKS
from parallel_train.store.yamlscalar import scalar


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """What the command line says about a task file. All relative paths are relative to `project`."""

    project: Path
    output_base: str = "output"
    trainer: str | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    python: str = sys.executable


@dataclass(frozen=True, slots=True)
class TaskFile:
    """A task file as read: `path` as given, tasks in file order, and notes for its user."""

    path: str
    tasks: tuple[Task, ...]
    notes: tuple[str, ...]
    searches: tuple[str, ...] = ()  # of each search, in file order: which points were drawn, and how


def load(path: Path, settings: LoadSettings) -> TaskFile:
    """The tasks of the file at `path`, with ids and needs. Raises TaskFileError or UsageError."""
    overrides = _overrides(settings)
    setting = Setting(
        project=str(settings.project.absolute()),
        output_base=_output_base(settings.output_base),
        overrides=overrides,
        source=str(path),
    )
    document = _document(path, settings, overrides)
    findings = Findings()
    tasks = _tasks(document, setting, findings)
    faults = [*document.faults, *(_fault(document, finding) for finding in findings.wrong.values())]
    if faults:
        raise TaskFileError(sorted(dict.fromkeys(faults), key=lambda fault: (fault.line, fault.column)))
    if path.suffix == ".py":  # what its function returns was laid out by one loop: one template
        tasks = tuple(replace(task, template=0) for task in tasks)
    notes = (*(f"search: {drawn}" for drawn in dict.fromkeys(findings.searches)), *findings.notes, *_unseeded(tasks))
    return TaskFile(str(path), tasks, notes, tuple(findings.searches))


def _overrides(settings: LoadSettings) -> dict[str, Json]:
    given = dict(settings.overrides)
    if settings.trainer is not None:
        given.setdefault("trainer", settings.trainer)
    if any("\0" in text for text in (*given.values(), settings.output_base)):
        raise UsageError("a NUL character can't stand in an option")
    for name, text in given.items():
        if not is_unicode(name + text):
            raise UsageError(f"{assigned(name, text)}: a param is UTF-8 text")
    # NAME= means empty text, as in make; null must be asked for.
    return {name: scalar(text) if text else "" for name, text in given.items()}


def _output_base(given: str) -> str:
    base = posixpath.normpath(given) if given else ""
    if not base or base == ".." or base.startswith("../"):
        raise UsageError(f"--output-base '{given}' lies outside of the project; write it as an absolute path")
    return base


def _document(path: Path, settings: LoadSettings, overrides: Mapping[str, Json]) -> Document:
    file = settings.project / path
    try:
        content = yamlfile.content(file)
    except OSError as error:
        raise UsageError(f"can't read the task file {path}: {error.strerror}") from None
    if path.suffix == ".py":
        source = pyfile.Source(str(path), file, content)
        return pyfile.read(source, settings.python, settings.project, overrides)
    return yamlfile.read(str(path), content)


def _tasks(document: Document, setting: Setting, findings: Findings) -> tuple[Task, ...]:
    built = templates.build(schema.read(document), findings)
    if sum(map(points.count, built.values())) > MOST_TASKS:
        _refuse_so_many(document, built, findings)
        return ()
    is_whole = not document.faults and not findings.wrong
    if is_whole:
        _check_overrides(built.values(), setting.overrides)
    laid: list[expand.Draft] = []
    for index, template in built.items():
        if not findings.are_many:
            laid += expand.drafts(template, index, setting, findings)
    return tasklist.finish(laid, setting.project, findings, complete=is_whole and not findings.wrong)


def _refuse_so_many(document: Document, built: Mapping[int, Template], findings: Findings) -> None:
    """At the spaces that alone make too many, else at the whole list."""
    counts = {index: points.count(template) for index, template in built.items()}
    said = f"a task file makes at most {MOST_TASKS:,}"
    for index, template in built.items():
        if template.search and counts[index] > MOST_TASKS:
            message, hint = f"this makes {counts[index]:,} tasks; {said}", "'samples: 100' draws so many of its points"
            findings.add(index, ("search", "space"), message, hint)
    if not findings.wrong:
        message = f"this makes {sum(counts.values()):,} tasks; {said}"
        document.faults.append(document.fault(("tasks",), message, at_key=True))


def _check_overrides(built: Iterable[Template], overrides: Mapping[str, Json]) -> None:
    known = {name for template in built for name in points.params_of(template)}
    for name, value in overrides.items():
        if name not in known:
            hint = did_you_mean(name, known) or f"there are: {', '.join(sorted(known)) or 'none'}"
            raise UsageError(f"{assigned(name, value)}: no task has a param '{name}' ({hint})")


def _fault(document: Document, finding: Finding) -> Fault:
    path = ("tasks", finding.template, *finding.path)
    own, defaults = document.data["tasks"][finding.template], document.data.get("defaults")
    is_given = isinstance(own, dict) and finding.path[0] in own
    if not is_given and isinstance(defaults, dict) and finding.path[0] in defaults:
        path = ("defaults", *finding.path)
    message = finding.message + (f", and {finding.more} more like this" if finding.more else "")
    return document.fault(path, message, finding.hint, at_key=True)


def _unseeded(tasks: Sequence[Task]) -> list[str]:
    """NLPrompt and its kin seed nothing for `--seed 0`."""
    found = [task.name for task in tasks if _is_unseeded(task.command)]
    if not found:
        return []
    others = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return [f"--seed 0 means unseeded to this trainer, so results differ from run to run: {found[0]}{others}"]


def _is_unseeded(command: Sequence[str]) -> bool:
    return "train.py" in command and "--trainer" in command and ("--seed", "0") in pairwise(command)
