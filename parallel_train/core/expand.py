"""A template -> its tasks: each text cut once, then filled for every point."""

from __future__ import annotations

import glob
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from parallel_train.core import outputs, points
from parallel_train.core.graph import did_you_mean
from parallel_train.core.placeholders import LATE, RESERVED, Text, arguments, cut, written
from parallel_train.core.task import DoneWhen, Json, Metric, Task, late
from parallel_train.core.template import Findings, Path, Setting, Template

_SHELL_WORDS = frozenset({"&&", "||", "|", ";", "&", ">", ">>", "<", "2>", "2>&1", "&>"})
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_SCRIPT = re.compile(r"(?:.*/)?([^/]+)\.(?:py|sh)")


@dataclass(frozen=True, slots=True)
class Draft:
    """A task that lacks its id, its needs and, where `name` is empty, its name, which begins with `base`."""

    task: Task
    template: int
    needs: tuple[Need, ...]
    base: str
    named: bool


@dataclass(frozen=True, slots=True)
class Need:
    """What a task needs, filled: a name or a stage, or where `pattern` is given a glob over names."""

    text: str
    pattern: str | None = None


@dataclass(slots=True)
class _Cut:
    """A template with all its texts cut. `used` says where each param is first used."""

    template: Template
    number: int
    command: tuple[Text, ...] = ()
    env: Mapping[str, Text] = field(default_factory=dict)
    cwd: Text = Text((".",))
    name: Text | None = None
    stage: Text | None = None
    output: Text | None = None
    done_when: tuple[Text, ...] = ()
    contains: Text | None = None
    metrics: tuple[tuple[Text, Text | None, Text | None], ...] = ()
    inputs: tuple[Text, ...] = ()
    needs: tuple[Text, ...] = ()
    used: dict[str, Path] = field(default_factory=dict)


ARGS = Text(("", ""), ("args",))


class _Cutter:
    """Cuts the texts of one template and finds the placeholders that mean nothing."""

    def __init__(self, template: Template, number: int, findings: Findings) -> None:
        self.template, self.number, self.findings = template, number, findings
        self.params = points.params_of(template)
        self.done = _Cut(template, number)

    def cut(self) -> _Cut:
        t, done = self.template, self.done
        done.name = self._maybe(t.name, ("name",))
        done.stage = self._maybe(t.stage, ("stage",))
        done.output = self._maybe(t.output, ("output",))
        done.cwd = self._home(t.cwd, ("cwd",))
        done.command = tuple(self._command(t.command))
        done.env = {
            key: self._text(text, ("env", key), output=True, launch=True) for key, text in t.env.items()
        }
        done.inputs = self._each(t.inputs, "inputs", output=True)
        done.needs = self._each(t.needs, "needs")
        if t.done_when:
            done.done_when = tuple(self._text(f, ("done_when",), output=True) for f in t.done_when.files)
            done.contains = self._maybe(t.done_when.contains, ("done_when", "contains"), output=True)
        done.metrics = tuple(self._metric(metric) for metric in t.metrics)
        return done

    def _each(self, texts: Iterable[str], key: str, *, output: bool = False) -> tuple[Text, ...]:
        return tuple(self._text(text, (key, i), output=output) for i, text in enumerate(texts))

    def _metric(self, metric: Metric) -> tuple[Text, Text | None, Text | None]:
        path = ("metrics",)
        file = self._maybe(metric.file, path, output=True)
        return self._text(metric.name, path), file, self._maybe(metric.regex, path)

    def _command(self, command: str | tuple[str, ...]) -> Iterator[Text]:
        if isinstance(command, tuple):
            for i, word in enumerate(command):
                yield self._word(word, ("command", i))
        elif self.template.shell:
            yield self._text(command, ("command",), output=True, launch=True, shell=True)
        else:
            yield from self._split(command)

    def _split(self, command: str) -> Iterator[Text]:
        # A shell joins lines that end in a backslash; shlex keeps the line break.
        joined = _ESCAPED.sub(lambda found: "" if found[1] == "\n" else found[0], command)
        try:
            words = shlex.split(joined)
        except ValueError:
            self.findings.add(self.number, ("command",), "a quote in the command is never closed")
            return
        if not words:
            self.findings.add(self.number, ("command",), "the command is empty")
        for word in words:
            if word in _SHELL_WORDS:
                self.findings.note(f"'{word}' is passed on as an argument: no shell runs '{command.strip()}'")
            yield self._home(word, ("command",))

    def _home(self, word: str, path: Path) -> Text:
        if word != "~" and not word.startswith("~/"):
            return self._word(word, path)
        rest = self._word(word[1:], path)
        return Text((late("home") + rest.literals[0], *rest.literals[1:]), rest.names)

    def _word(self, word: str, path: Path) -> Text:
        in_command = path[0] == "command"
        if in_command and word == "{args}":
            return ARGS
        return self._text(word, path, output=in_command, launch=True)

    def _maybe(self, text: str | None, path: Path, *, output: bool = False) -> Text | None:
        return None if text is None else self._text(text, path, output=output)

    def _text(
        self, text: str, path: Path, *, output: bool = False, launch: bool = False, shell: bool = False
    ) -> Text:
        done = cut(text, late_allowed=launch, shell=shell)
        for name in done.names:
            if name in self.params:
                self.done.used.setdefault(name, path)
            elif name != "output_base" and not (name == "args" and shell):
                self._unknown(name, path, output=output)
        return done

    def _unknown(self, name: str, path: Path, *, output: bool) -> None:
        message, hint = f"{{{name}}} can't stand here", ""
        if name == "output":
            if output and self.template.output is not None:
                return
            if output:
                message, hint = "{output} is used, but the task has no output", "add 'output:'"
        elif name == "args":
            hint = "it is several words: a word of its own in a command"
        elif name in LATE:
            hint = "it is only known at launch: in command, env and cwd"
        else:
            message = f"unknown placeholder {{{name}}}"
            hint = (
                did_you_mean(name, [*self.params, *RESERVED]) or f"{{{{{name}}}}} means the text {{{name}}}"
            )
        self.findings.add(self.number, path, message, hint)


def drafts(template: Template, number: int, setting: Setting, findings: Findings) -> list[Draft]:
    """The tasks of the `number`th template; what is wrong with it goes to `findings`."""
    if not points.check(template, number, findings):
        return []
    before = len(findings.wrong)
    plan = _Cutter(template, number, findings).cut()
    if len(findings.wrong) > before:
        return []
    for index in points.idle_excludes(template):
        findings.note(f"entry {index + 1} of a matrix's exclude fits no combination")
    filler = _Filler(plan, setting, findings)
    laid = [draft for point in points.points(template, setting.overrides) if (draft := filler.draft(point))]
    if not laid and len(findings.wrong) == before:
        findings.add(number, ("matrix",), "exclude leaves no combination")
    return laid


class _Filler:
    """Fills one cut template, point by point."""

    def __init__(self, plan: _Cut, setting: Setting, findings: Findings) -> None:
        self.plan, self.setting, self.findings = plan, setting, findings

    def draft(self, point: dict[str, Json]) -> Draft | None:
        plan, t = self.plan, self.plan.template
        if not plan.used.keys() <= point.keys():
            for name in plan.used.keys() - point.keys():
                message = f"a combination has no value for {{{name}}}"
                self.findings.add(plan.number, plan.used[name], message)
            return None
        values = {name: written(value) for name, value in point.items()}
        values["output_base"] = self.setting.output_base
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
        return Draft(
            task, plan.number, self._needs(values), stage or script_stem(command), plan.name is not None
        )

    def _output(self, values: Mapping[str, str]) -> str | None:
        promised = self.plan.output
        return None if promised is None else outputs.settle(promised, promised.fill(values))

    def _command(self, point: dict[str, Json], values: Mapping[str, str]) -> tuple[str, ...]:
        if self.plan.template.shell:
            quoted = _each(shlex.quote, values)
            return (self.plan.command[0].fill({**quoted, "args": shlex.join(arguments(point))}),)
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
        return DoneWhen(tuple(text.fill(plain) for text in self.plan.done_when), contains)

    def _metrics(self, values: Mapping[str, str]) -> Iterator[Metric]:
        for metric, (name, file, regex) in zip(self.plan.template.metrics, self.plan.metrics, strict=True):
            yield Metric(
                name.fill(values),
                metric.mode,
                file.fill(values) if file else None,
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
