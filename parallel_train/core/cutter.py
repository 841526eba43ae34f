"""A template with all its texts cut, and the placeholders in them that mean nothing."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from parallel_train.core import points
from parallel_train.core.graph import did_you_mean
from parallel_train.core.placeholders import LATE, POINT, RESERVED, SEVERAL, Text, cut, loose
from parallel_train.core.task import Metric, late
from parallel_train.core.template import Findings, Path, Template

ARGS = Text(("", ""), ("args",))
NEEDS = late("needs")  # in a command until the tasks that it needs are known
PROJECT = Text((".",))

_SHELL_WORDS = frozenset({"&&", "||", "|", ";", "&", ">", ">>", "<", "2>", "2>&1", "&>"})
# A param behind a brace, unclosed or with a format. In a command it may be JSON's, awk's or a dictionary's.
_OUR_PATHS: frozenset[Path] = frozenset({("name",), ("stage",), ("output",), ("done_when",)})
_MEANT = re.compile(r"(?<!\$)\{\s*([A-Za-z_][\w.-]*)[^{}\s]*\s*\}?")
_TILDE = re.compile(r"(?<!\S)~(?=/|\s|$)")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def cut_template(template: Template, number: int, findings: Findings) -> Cut:
    """The texts of the `number`th template, cut; what is wrong with them goes to `findings`."""
    return _Cutter(template, number, findings).cut()


@dataclass(slots=True)
class Cut:
    """A template with all its texts cut. `used` says where each param is first used."""

    template: Template
    number: int
    command: tuple[Text, ...] = ()
    env: Mapping[str, Text] = field(default_factory=dict)
    cwd: Text = PROJECT
    name: Text | None = None
    stage: Text | None = None
    output: Text | None = None
    done_when: tuple[Text, ...] = ()
    contains: Text | None = None
    metrics: tuple[tuple[Text, Text | None, Text | None], ...] = ()
    inputs: tuple[Text, ...] = ()
    needs: tuple[Text, ...] = ()
    used: dict[str, Path] = field(default_factory=dict)


class _Cutter:
    """Cuts the texts of one template and finds the placeholders that mean nothing."""

    def __init__(self, template: Template, number: int, findings: Findings) -> None:
        self.template, self.number, self.findings = template, number, findings
        self.params = points.params_of(template)
        self.done = Cut(template, number)

    def cut(self) -> Cut:
        t, done = self.template, self.done
        done.name = self._maybe(t.name, ("name",))
        done.stage = self._maybe(t.stage, ("stage",))
        done.output = self._maybe(t.output, ("output",))
        done.cwd = self._home(t.cwd, ("cwd",))
        done.command = tuple(self._command(t.command))
        done.env = {key: self._text(text, ("env", key), output=True, launch=True) for key, text in t.env.items()}
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
            yield self._text(command, ("command",), output=True, launch=True, shell=True)  # noqa: S604 - nothing runs here
        else:
            yield from self._split(command)

    def _split(self, command: str) -> Iterator[Text]:
        # A shell joins lines that end in a backslash; shlex keeps the line break.
        joined = _ESCAPED.sub(lambda found: "" if found[1] == "\n" else found[0], command)
        # A quoted ~ is a ~: splitting takes the quotes away, so those without are marked before.
        joined = _TILDE.sub("\0~", joined)
        try:
            words = shlex.split(joined)
        except ValueError:
            self.findings.add(self.number, ("command",), "a quote in the command is never closed")
            return
        for word in words:
            if word in _SHELL_WORDS:
                self.findings.note(f"'{word}' is passed on as an argument: no shell runs '{command.strip()}'")
            plain = word.replace("\0~", "~")
            yield self._home(plain, ("command",)) if word.startswith("\0~") else self._word(plain, ("command",))

    def _home(self, word: str, path: Path) -> Text:
        if word != "~" and not word.startswith("~/"):
            return self._word(word, path)
        rest = self._word(word[1:], path)
        return Text((late("home") + rest.literals[0], *rest.literals[1:]), rest.names)

    def _word(self, word: str, path: Path) -> Text:
        in_command = path[0] == "command"
        if in_command and word == "{args}":
            return ARGS
        if in_command and word == "{needs}" and self.template.needs:
            return Text((NEEDS,))
        return self._text(word, path, output=in_command, launch=True)

    def _maybe(self, text: str | None, path: Path, *, output: bool = False) -> Text | None:
        return None if text is None else self._text(text, path, output=output)

    def _text(self, text: str, path: Path, *, output: bool = False, launch: bool = False, shell: bool = False) -> Text:
        done = cut(text, late_allowed=launch, shell=shell)
        self._look_for_braces(text, path)
        for name in done.names:
            if name in self.params:
                self.done.used.setdefault(name, path)
            elif name != "output_base" and not (name == POINT and self.template.search):
                self._unknown(name, path, output=output, shell=shell)
        return done

    def _look_for_braces(self, text: str, path: Path) -> None:
        for found in _MEANT.finditer(loose(text)) if "{" in text else ():
            if found[1] not in self.params:
                continue
            if path in _OUR_PATHS:
                message = f"'{found[0]}' is no placeholder"
                self.findings.add(self.number, path, message, f"write {{{found[1]}}}", kind="{")
            elif path[0] in {"command", "env"}:
                self.findings.note(f"'{found[0]}' is passed on as it is: a placeholder is {{{found[1]}}}")

    def _unknown(self, name: str, path: Path, *, output: bool, shell: bool) -> None:
        message, hint = f"{{{name}}} can't stand here", ""
        if name == "output":
            if output and self.template.output is not None:
                return
            if output:
                message, hint = "{output} is used, but the task has no output", "add 'output:'"
        elif name == "needs" and path[0] == "command" and not self.template.needs:
            message, hint = "{needs} is used, but the task needs nothing", "add 'needs:'"
        elif name in SEVERAL:
            if shell:
                return
            hint = "it is several words: a word of its own in a command"
        elif name in LATE:
            hint = "it is only known at launch: in command, env and cwd"
        else:
            message = f"unknown placeholder {{{name}}}"
            hint = did_you_mean(name, [*self.params, *RESERVED]) or f"{{{{{name}}}}} means the text {{{name}}}"
        self.findings.add(self.number, path, message, hint, kind=name)
