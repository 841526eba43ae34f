"""A template -> its tasks: each text cut once, then filled for every point."""

from __future__ import annotations

import glob
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from parallel_train.core import outputs, points
from parallel_train.core.cutter import ARGS, NEEDS, Cut, cut_template
from parallel_train.core.override import override
from parallel_train.core.placeholders import POINT, Text, arguments, written
from parallel_train.core.task import DoneWhen, Json, Metric, Task, digest
from parallel_train.core.template import Findings, Setting, Template

_OF_A_POINT = 12  # hex digits: no two among a million points are the same
_SCRIPT = re.compile(r"(?:.*/)?([^/]+)\.(?:py|sh)")


@dataclass(frozen=True, slots=True)
class Drawn:
    """The point of a search that a task is made from: which of its params tell it apart, of all that a point may have,
    and its hash. None of it hangs on which points are drawn, nor on what is laid over the file.
    """

    telling: tuple[str, ...]
    params: frozenset[str]
    point: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A task that lacks its id, its needs and, where `name` is empty, its name, which begins with `base`."""

    task: Task
    template: int
    needs: tuple[Need, ...]
    base: str
    named: bool
    drawn: Drawn | None = None


@dataclass(frozen=True, slots=True)
class Need:
    """What a task needs, filled: a name or a stage, or where `pattern` is given a glob over names."""

    text: str
    pattern: str | None = None


def drafts(template: Template, number: int, setting: Setting, findings: Findings) -> list[Draft]:
    """The tasks of the `number`th template; what is wrong with it goes to `findings`."""
    if not points.check(template, number, findings):
        return []
    before = len(findings.wrong)
    plan = cut_template(template, number, findings)
    if len(findings.wrong) > before:
        return []
    asked = override(template, setting.overrides)
    _check_search(asked, plan, findings)
    if len(findings.wrong) > before:
        return []
    for index in points.idle_excludes(template):
        findings.note(f"entry {index + 1} of a matrix's exclude fits no combination")
    filler = _Filler(plan, setting, findings)
    laid = [draft for point, drawn in points.points(asked) if (draft := filler.draft(point, drawn))]
    if not laid and len(findings.wrong) == before:
        findings.add(number, ("matrix",), "exclude leaves no combination")
    return laid


def _check_search(template: Template, plan: Cut, findings: Findings) -> None:
    if template.search is None:
        return
    space = template.search.space
    findings.searches.append(str(template.search))
    for note in space.notes:
        findings.note(f"search: {note}")
    for name, path in plan.used.items():
        if name in space.params and name not in space.everywhere | template.params.keys():
            hint = "{args} writes what a point has, {point} tells them apart; or give it a value under 'params'"
            findings.add(plan.number, path, f"a point of the search may have no {{{name}}}", hint, kind=name)


class _Filler:
    """Fills one cut template, point by point."""

    def __init__(self, plan: Cut, setting: Setting, findings: Findings) -> None:
        self.plan, self.setting, self.findings = plan, setting, findings
        search = plan.template.search
        self.searched = frozenset(search.space.params) if search else frozenset[str]()
        self.telling = search.space.varying if search else ()

    def draft(self, point: dict[str, Json], drawn: Mapping[str, Json]) -> Draft | None:
        plan, t = self.plan, self.plan.template
        if self._lacks_a_value(point):
            return None
        values = {name: written(value) for name, value in point.items()}
        values["output_base"] = self.setting.output_base
        if self.searched:
            values[POINT] = digest({name: value for name, value in point.items() if name in self.searched})[
                :_OF_A_POINT
            ]
        try:
            output = self._output(values)
        except ValueError as error:
            self.findings.add(plan.number, ("output",), str(error))
            return None
        cwd = plan.cwd.fill(values) or "."
        seen = values
        if output is not None:
            seen = {**values, "output": outputs.seen_from(cwd, output, self.setting.project)}
            values["output"] = output
        command = self._command(point, seen)
        stage = plan.stage.fill(values) if plan.stage else None
        task = Task(
            name=plan.name.fill(values) if plan.name else "",
            command=command,
            source=self.setting.source,
            template=plan.number,
            stage=stage,
            shell=t.shell,
            cwd=cwd,
            env={key: text.fill(seen) for key, text in plan.env.items()},
            params=point,
            output=output,
            inputs=tuple(text.fill(values) for text in plan.inputs),
            gpus=t.gpus,
            timeout=t.timeout,
            retries=t.retries,
            priority=t.priority,
            done_when=self._done_when(values) if t.done_when else None,
            metrics=tuple(self._metrics(values)),
        )
        base = stage or script_stem(command)
        telling = tuple(name for name in self.telling if name in drawn)
        of_search = Drawn(telling, self.searched, values[POINT]) if self.searched else None
        return Draft(task, plan.number, self._needs(values), base, plan.name is not None, of_search)

    def _lacks_a_value(self, point: dict[str, Json]) -> bool:
        # An entry of `include` that fits no combination makes one of its own, perhaps without every param.
        lacking = self.plan.used.keys() - point.keys()
        for name in lacking:
            message = f"a combination has no value for {{{name}}}"
            self.findings.add(self.plan.number, self.plan.used[name], message)
        return bool(lacking)

    def _output(self, values: Mapping[str, str]) -> str | None:
        promised, project = self.plan.output, self.setting.project
        if promised is None:
            return None
        output = outputs.settle(promised, promised.fill(values), project)
        for path in (self.setting.source, *(text.fill({**values, "output": output}) for text in self.plan.inputs)):
            if path and outputs.holds(output, path, project):
                raise ValueError(
                    f"the output '{output}' would hold {path}, which is no result of it: give it a folder of its own"
                )
        return output

    def _command(self, point: dict[str, Json], values: Mapping[str, str]) -> tuple[str, ...]:
        if self.plan.template.shell:
            quoted = _each(shlex.quote, values)
            several = {"args": shlex.join(arguments(point)), "needs": NEEDS}
            return (self.plan.command[0].fill({**quoted, **several}),)
        words: list[str] = []
        for text in self.plan.command:
            if text is ARGS:
                words += arguments(point)
            else:
                words.append(text.fill(values))
        return tuple(words)

    def _done_when(self, values: Mapping[str, str]) -> DoneWhen:
        # A value is no pattern, even where it holds brackets or stars.
        plain = _each(glob.escape, values)
        contains = self.plan.contains.fill(values) if self.plan.contains else None
        files = dict.fromkeys(text.fill(plain) for text in self.plan.done_when)
        return DoneWhen(tuple(files), contains)

    def _metrics(self, values: Mapping[str, str]) -> Iterator[Metric]:
        for metric, (name, file, regex) in zip(self.plan.template.metrics, self.plan.metrics, strict=True):
            usual = f"{values['output']}/metrics.json" if "output" in values and not regex else None
            yield Metric(
                name.fill(values),
                metric.mode,
                file.fill(values) if file else usual,
                regex.fill(_each(re.escape, values)) if regex else None,
            )

    def _needs(self, values: Mapping[str, str]) -> tuple[Need, ...]:
        return tuple(
            Need(text.fill(values), text.fill(_each(glob.escape, values)) if _is_glob(text) else None)
            for text in self.plan.needs
        )


def _each(change: Callable[[str], str], values: Mapping[str, str]) -> dict[str, str]:
    return {name: change(value) for name, value in values.items()}


def _is_glob(text: Text) -> bool:
    return any(glob.has_magic(literal) for literal in text.literals)


def script_stem(command: tuple[str, ...]) -> str:
    """What a command is called after: its script, its module or its program."""
    words = command[0].split() if len(command) == 1 else command
    for word in words:
        if found := _SCRIPT.fullmatch(word):
            return found[1]
    if "-m" in words[1:-1]:
        return words[words.index("-m") + 1]
    program = words[0].strip("\0").rsplit("/", 1)[-1] if words else ""
    return program or "task"
