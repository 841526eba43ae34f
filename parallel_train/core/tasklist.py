"""The drafts of a whole file -> its tasks: names, needs and ids, and what the tasks do to each other."""

from __future__ import annotations

import fnmatch
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from parallel_train.core import outputs
from parallel_train.core.cutter import NEEDS
from parallel_train.core.expand import Draft, Need
from parallel_train.core.graph import CycleError, did_you_mean, order
from parallel_train.core.placeholders import written
from parallel_train.core.task import Json, Task, task_id
from parallel_train.core.template import Findings

_LONGEST_NAME = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_AWKWARD = re.compile(r"[^A-Za-z0-9_.+=-]+")
_LONGEST_AUTOMATIC = 180


def finish(drafts: Sequence[Draft], project: str, findings: Findings, *, complete: bool) -> tuple[Task, ...]:
    """The tasks in the order of `drafts`; none where anything is wrong.

    `complete` is false where some templates gave no drafts: then a need may only seem to match nothing.
    """
    _check_names(drafts, findings)
    _check_outputs(drafts, project, findings)
    if not complete or findings.wrong:
        return ()
    names = _names(drafts)
    needs = dict(enumerate(_Matcher(drafts, names, findings).needs()))
    if findings.wrong:
        return ()
    try:
        turn = order(needs)
    except CycleError as error:
        path = [int(str(index)) for index in error.path]
        said = " -> ".join(names[index] for index in path)
        findings.add(drafts[path[0]].template, ("needs",), f"the needs go round in a circle: {said}")
        return ()
    _check_need_outputs(drafts, names, needs, findings)
    drafts = _with_outputs_of_needs(drafts, needs, project)
    tasks = _with_ids(drafts, names, {index: needs[index] for index in turn})
    _check_ids(tasks, drafts, findings)
    return tasks


def _with_ids(drafts: Sequence[Draft], names: Sequence[str], needs: Mapping[int, Sequence[int]]) -> tuple[Task, ...]:
    """`needs` stands in an order that puts needs first: an id may depend on theirs."""
    done: dict[int, Task] = {}
    # Many tasks often need the same many: they share one tuple.
    shared: dict[tuple[int, ...], tuple[str, ...]] = {}
    for index, its in needs.items():
        key = tuple(its)
        if key not in shared:
            shared[key] = tuple(done[need].id for need in key)
        task = drafts[index].task
        own_id = task_id(task if task.output is not None else replace(task, needs=shared[key]))
        done[index] = replace(task, name=names[index], needs=shared[key], id=own_id)
    return tuple(done[index] for index in range(len(drafts)))


def _with_outputs_of_needs(drafts: Sequence[Draft], needs: Mapping[int, Sequence[int]], project: str) -> list[Draft]:
    """The drafts with what `{needs}` stands for in their commands: the output of each need, as a word."""
    done = list(drafts)
    for index, draft in enumerate(drafts):
        if _uses_needs(draft):
            task = draft.task
            made = (drafts[need].task.output for need in needs[index])
            paths = [outputs.seen_from(task.cwd, path, project) for path in made if path is not None]
            done[index] = replace(draft, task=replace(task, command=_put_in(task, paths)))
    return done


def _uses_needs(draft: Draft) -> bool:
    return bool(draft.needs) and any(NEEDS in word for word in draft.task.command)


def _put_in(task: Task, paths: Sequence[str]) -> tuple[str, ...]:
    if task.shell:
        return (task.command[0].replace(NEEDS, shlex.join(paths)),)
    return tuple(word for part in task.command for word in (paths if part == NEEDS else [part]))


def _check_ids(tasks: Sequence[Task], drafts: Sequence[Draft], findings: Findings) -> None:
    first: dict[str, Task] = {}
    for task, draft in zip(tasks, drafts, strict=True):
        other = first.setdefault(task.id, task)
        if other is not task:
            message = f"'{other.name}' and '{task.name}' are the same command without an output"
            findings.add(draft.template, ("command",), message, "give each an 'output:'")


def _check_need_outputs(
    drafts: Sequence[Draft], names: Sequence[str], needs: Mapping[int, Sequence[int]], findings: Findings
) -> None:
    for index, draft in enumerate(drafts):
        for need in needs[index] if _uses_needs(draft) else ():
            if drafts[need].task.output is None:
                message = f"{{needs}} stands for the outputs of what it needs, and '{names[need]}' has none"
                findings.add(draft.template, ("command",), message, "give it an 'output:'", kind="needs")


def _check_names(drafts: Sequence[Draft], findings: Findings) -> None:
    seen: set[str] = set()
    for draft in drafts:
        name = draft.task.name
        if not name and draft.named:
            findings.add(draft.template, ("name",), "a name is empty")
        if _CONTROL.search(name):
            findings.add(draft.template, ("name",), f"a name holds a control character: {name!r}")
        if len(name.encode(errors="replace")) > _LONGEST_NAME:
            findings.add(draft.template, ("name",), f"a name is longer than {_LONGEST_NAME} bytes: '{name[:40]}…'")
        if name and name in seen:
            hint = "names are unique in a file: add a param such as {seed}, or leave the name out"
            findings.add(draft.template, ("name",), f"two tasks are named '{name}'", hint)
        seen.add(name)


def _check_outputs(drafts: Sequence[Draft], project: str, findings: Findings) -> None:
    promised = [(i, draft.task.output) for i, draft in enumerate(drafts) if draft.task.output is not None]
    pairs = list(outputs.clashes(promised, project))
    if not pairs:
        return
    names = _names(drafts)
    for later, earlier in sorted(pairs):
        mine, other = drafts[later].task.output, drafts[earlier].task.output
        both = f"'{names[earlier]}' and '{names[later]}'"
        if mine == other:
            message = f"{both} have the same output, {mine}"
        else:
            message = f"{both} have one output inside the other: {other}, {mine}"
        findings.add(drafts[later].template, ("output",), message, "each task needs an output of its own")


def _names(drafts: Sequence[Draft]) -> list[str]:
    """Each task's name: as written, or what it is called after with the params that vary among its like."""
    varying = _varying(drafts)
    wanted = [draft.task.name or _automatic(draft, varying[draft.base]) for draft in drafts]
    taken = {draft.task.name for draft in drafts}
    shared = {name for name, times in Counter(wanted).items() if times > 1 or name in taken} - {""}
    taken.update(wanted)
    numbers: Counter[str] = Counter()
    for index, name in enumerate(wanted):
        if drafts[index].task.name or name not in shared:
            continue
        while wanted[index] in taken:
            numbers[name] += 1
            wanted[index] = f"{name}-{numbers[name]}"
        taken.add(wanted[index])
    return wanted


def _varying(drafts: Sequence[Draft]) -> dict[str, list[str]]:
    values: dict[str, dict[str, set[str]]] = {}
    tasks: Counter[str] = Counter()
    seen: Counter[tuple[str, str]] = Counter()
    for draft in drafts:
        if draft.task.name:
            continue
        tasks[draft.base] += 1
        of_base = values.setdefault(draft.base, {})
        for name, value in draft.task.params.items():
            of_base.setdefault(name, set()).add(written(value))
            seen[draft.base, name] += 1
    return {
        base: [name for name, v in of_base.items() if len(v) > 1 or seen[base, name] < tasks[base]]
        for base, of_base in values.items()
    }


def _automatic(draft: Draft, varying: Sequence[str]) -> str:
    params, drawn = draft.task.params, draft.drawn
    told = [name for name in varying if name in params]
    if drawn:
        others = [name for name in told if name not in drawn.params]
        told = [*(n for n in others if n != "seed"), *drawn.telling, *(n for n in others if n == "seed")]
    name = _AWKWARD.sub("_", "-".join([draft.base, *(_part(name, params[name]) for name in told)]))
    if drawn and len(name) > _LONGEST_AUTOMATIC:
        return f"{name[: _LONGEST_AUTOMATIC - len(drawn.point) - 1]}-{drawn.point}"
    return name[:_LONGEST_AUTOMATIC]


def _part(name: str, value: Json) -> str:
    # Text speaks for itself; a bare number or truth value does not.
    return value[:40] if isinstance(value, str) else name + written(value)[:40]


class _Matcher:
    """The tasks that a need means: those of that name or stage, else those that a glob fits."""

    def __init__(self, drafts: Sequence[Draft], names: Sequence[str], findings: Findings) -> None:
        self.drafts, self.findings = drafts, findings
        self.by_name = {name: index for index, name in enumerate(names)}
        self.by_stage: dict[str, list[int]] = {}
        for index, draft in enumerate(drafts):
            if draft.task.stage:
                self.by_stage.setdefault(draft.task.stage, []).append(index)
        self.by_pattern: dict[str, list[int]] = {}

    def needs(self) -> list[list[int]]:
        """The needs of every task, each once, as indexes."""
        return [self._of(index, draft) for index, draft in enumerate(self.drafts)]

    def _of(self, index: int, draft: Draft) -> list[int]:
        found: dict[int, None] = {}
        for position, need in enumerate(draft.needs):
            matches = self._match(need)
            # A stage or a glob that takes in the task itself means the others; its own name means a circle.
            is_own_name = need.text in self.by_name and need.text not in self.by_stage
            others = matches if is_own_name else [i for i in matches if i != index]
            if not others:
                hint = "" if self.findings.are_many else did_you_mean(need.text, [*self.by_stage, *self.by_name])
                path = ("needs", position)
                self.findings.add(draft.template, path, f"need '{need.text}' matches no other task", hint)
            found.update(dict.fromkeys(others))
        return list(found)

    def _match(self, need: Need) -> list[int]:
        of_name = [self.by_name[need.text]] if need.text in self.by_name else []
        of_stage = self.by_stage.get(need.text, [])
        if of_name or of_stage or need.pattern is None:
            return of_name + of_stage
        if need.pattern not in self.by_pattern:
            fits = re.compile(fnmatch.translate(need.pattern)).fullmatch
            self.by_pattern[need.pattern] = [i for name, i in self.by_name.items() if fits(name)]
        return self.by_pattern[need.pattern]
