"""All that explains how one task stands, written down: sections of short lines. Pure."""

from __future__ import annotations

import json
import shlex
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from parallel_train.core.causes import Standing, standing
from parallel_train.core.facts import Attempt, Request, Round
from parallel_train.core.situation import name_of
from parallel_train.core.state import Line
from parallel_train.core.task import Json, is_secret, show
from parallel_train.report import paste, why, words
from parallel_train.report.story import Found, Rows, Story, labelled, numbered, short, shortened, where

_MOST_ATTEMPTS = 10
_LABEL = 10  # the width of the column of labels


def text(story: Story, width: int | None) -> str:
    """For people. Lines are broken at `width`; None: never."""
    task = story.line.task
    lines = [f"#{task.number} {words.name(task)}: {name_of(story.line.state)}"]
    lines += _broken("  " + words.reason(story.links[0].reason, story.situation), "  ", width)
    for title, rows in sections(story):
        told = list(rows)
        lines += ["", title] if told else []
        labels = max((len(label) for label, _ in told), default=0)
        column = max(labels, _LABEL) if width is None or labels < width // 2 else _LABEL
        for label, said in told:
            lines += _row(label, words.clean(said), column, width)
    return "\n".join(lines) + "\n"


def _row(label: str, said: str, column: int, width: int | None) -> list[str]:
    """Label and text in two columns; the text below a label that is too long for its own."""
    indent = " " * (column + 4)
    if len(label) > column:
        return [f"  {label}", *_broken(indent + said, indent, width)]
    return _broken(f"  {label:{column}}  {said}", indent, width)


def _broken(line: str, indent: str, width: int | None) -> list[str]:
    """A word that is longer, such as a path, stays whole."""
    if width is None:
        return [line]
    return textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def sections(story: Story) -> Iterator[tuple[str, Rows]]:
    yield "Why", why.why(story)
    yield "What changed", why.changed(story)
    yield "What would change it", iter(why.commands(story))
    yield "What it is", _what(story)
    yield "What happened", _history(story)
    yield "Records", _records(story.found)


# ---- what it is ----


def _what(story: Story) -> Rows:  # noqa: C901  one row per thing
    task, found = story.line.task, story.found
    yield "command", shlex.join(found.command)
    if task.cwd != ".":
        yield "folder", show(task.cwd)
    if task.params:
        yield "params", " ".join(f"{name}={_value(value)}" for name, value in task.params.items())
    if task.env:
        yield "env", " ".join(f"{name}={shlex.quote(_env(name, value))}" for name, value in task.env.items())
    if task.output:
        yield "output", f"{paste.path(task.output)} ({found.output})"
    if task.done_when:
        wanted = "is there" if task.done_when.contains is None else f"holds {shlex.quote(task.done_when.contains)}"
        yield "done when", f"{' or '.join(task.done_when.files)} {wanted}: {'yes' if found.is_done else 'no'}"
    if not task.is_call:
        yield "GPUs", str(task.gpus) if task.gpus else "none: it takes a CPU slot"
    yield from labelled("inputs", shortened(list(task.inputs)))
    yield from labelled("needs", _needs(story))
    yield "file", found.source or f"{task.source}, which names it no more"
    if story.line.priority or story.line.urgency:
        given = f" (its file says {task.priority}){words.asked(story.line.urgency)}" if story.line.urgency else ""
        yield "priority", f"{story.line.priority}{given}"
    if task.timeout:
        yield "timeout", words.span(task.timeout)
    if task.retries:
        yield "retries", str(task.retries)


def _needs(story: Story) -> list[str]:
    lines = story.situation.lines
    said = [f"{numbered(story.situation, n)}: {name_of(lines[n].state)}" for n in story.line.task.needs if n in lines]
    return shortened(said)


def _value(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _env(name: str, value: str) -> str:
    return "***" if is_secret(name) and not value.startswith("secret:") else show(value)


# ---- what happened ----


def _history(story: Story) -> Rows:
    line, found, s = story.line, story.found, story.situation
    if not line.attempts:
        yield "attempts", "none was started"
    older = len(line.attempts) - _MOST_ATTEMPTS
    if older > 0:
        yield "", f"{words.plural(older, 'older attempt')}: see the records"
    shown = line.attempts[max(0, older) :]
    for round_ in line.rounds[-_MOST_ATTEMPTS:]:
        before = [a for a in shown if a.claim.round < round_.number]
        for attempt in before:
            yield from _attempt(line, attempt)
        shown = shown[len(before) :]
        yield f"round {round_.number}", _round(round_, found.aside, line)
    for attempt in shown:
        yield from _attempt(line, attempt)
    holding = [line.cancel if line.is_cancelled else None, line.hold if line.is_paused else None, line.urgency]
    holding += [s.pause] if s.is_paused else []
    for request in found.requests:
        yield request.kind, _request(request, line.task.id) + (" (holds)" if request in holding else "")


def _round(round_: Round, aside: Mapping[int, str], line: Line) -> str:
    who = f", opened by {words.clean(round_.by)}" if round_.by else ""
    if not line.task.output:
        return f"{round_.why}{who}"
    if not round_.aside:
        return f"{round_.why}{who}; the old output was kept"
    place = aside.get(round_.number)
    if place is None:
        return f"{round_.why}{who}; the old output is put aside before it starts"
    return f"{round_.why}{who}; " + (
        f"the old output is now {paste.path(place)}" if place else "no old output was there"
    )


def _attempt(line: Line, attempt: Attempt) -> Rows:
    claim, end = attempt.claim, attempt.end
    parts = [short(end.started if end and end.started else claim.at), where(attempt)]
    if end is not None and end.started:
        parts.append(f"took {words.clock(end.seconds)}")
    if end is not None and end.max_rss_kib:
        parts.append(f"up to {_memory(end.max_rss_kib)} of memory")
    if end is not None and end.swept:
        parts.append(f"{words.plural(end.swept, 'process')} that outlived it ended")
    yield f"attempt {attempt.number}", ", ".join(part for part in parts if part) or "its claim is damaged"
    how = words.end(end, line.task) if end else "has not ended"
    yield "", f"{how}; {_STANDING[standing(line, attempt)]}"
    if claim.log:
        yield "", words.clean(paste.path(claim.log) + (" (and .err)" if claim.err else ""))


_STANDING: dict[Standing, str] = {
    "decides": "this one decides",
    "last": "the last one so far",
    "runs": "this one will decide",
    "not started": "does not count, its command was never started",
    "earlier round": "does not count any more, a newer round was opened",
    "followed": "does not decide, another attempt followed",
}


def _request(request: Request, task: str) -> str:
    what = ""
    if request.kind == "priority":
        what = str(request.tasks.get(task, ""))
    elif request.kind in {"cancel", "retry"}:
        what = f"round {request.tasks.get(task, 1)}"
    elif not request.tasks and request.kind in {"pause", "resume"}:
        what = "the whole queue"
    return f"{what}{words.asked(request)}".strip()


def _records(found: Found) -> Rows:
    for kind, paths in found.records.items():
        yield kind, _braced([paste.path(path) for path in paths])
    yield from labelled("damaged", found.damaged)


def _braced(paths: Sequence[str]) -> str:
    """As a shell lays it out again: claims/3f.{1,2}."""
    heads, tails = zip(*(_cut(path) for path in paths), strict=True)
    if len(paths) == 1 or len(set(heads)) > 1:
        return " ".join(paths)
    return f"{heads[0]}{{{','.join(tails)}}}"


def _cut(path: str) -> tuple[str, str]:
    place = max(path.rfind("/"), path.rfind(".")) + 1
    return path[:place], path[place:]


def _memory(kib: int) -> str:
    return f"{kib / 1024**2:.1f} GiB" if kib >= 1024**2 else f"{kib / 1024:.0f} MiB"
