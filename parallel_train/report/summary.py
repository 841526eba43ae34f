"""The first and the last words of a run. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from parallel_train.core.explain import reason
from parallel_train.core.situation import Situation, name_of
from parallel_train.core.state import Ended, Line
from parallel_train.report import elements, paste, words
from parallel_train.report.lines import MOST_LISTED, adopted
from parallel_train.report.memory import Memory, Said, live_claim
from parallel_train.report.view import counts, notice


def opening(s: Situation) -> list[Said]:
    """What is to do, what is skipped, and what runs already."""
    closed = [line for line in _selected(s) if line.task.id not in s.open]
    slots = words.slots_of(s, s.pool.slots)
    where = f" on {slots}" if s.pool.slots and s.open else ""
    if s.roster is not None and s.open:
        where = f" {elements.asked(s.roster.terms)}"
    ended = Counter(name_of(line.state) for line in closed)
    parts = [f"{len(s.open)} to do{where}", *(f"{number} {name}" for name, number in ended.items())]
    said = [Said(f"{words.plural(s.counts.total(), 'task')}: {', '.join(parts)}")]
    said += [Said(text) for text in _listed(closed, lambda line: _closed(line, s))]
    running = [(claim, line) for line in s.lines.values() if (claim := live_claim(line))]
    return [*said, *(adopted(claim, line, s) for claim, line in running)]


def _closed(line: Line, s: Situation) -> str:
    is_satisfied = isinstance(line.state, Ended) and line.state.is_satisfied
    output = f"  {words.clean(paste.path(line.task.output))}" if line.task.output else ""
    verb = "Skipped" if is_satisfied else "Not run"
    return f"{verb}: {words.name(line.task)} ({words.reason(reason(s, line.task.id), s)}){output}"


def closing(s: Situation, memory: Memory, exit_code: int, now: float) -> list[Said]:
    """Counts, what failed and why, and what to do next."""
    number = words.plural(s.counts.total(), "task")
    every = ", ".join(f"{n} {name}" for name, n in counts(s))
    is_sent = _is_sent(s, exit_code)
    head = _sent(s, now) if is_sent else f"{number} in {words.clock(now - memory.since)}: {every or 'none'}"
    said = [Said(head)]
    failed = [line for line in _selected(s) if name_of(line.state) == "failed"]
    others = [line for line in _selected(s) if name_of(line.state) in {"aborted", "stale", "cancelled"}]
    if failed:
        said.append(Said("Failed:", "bad", tuple(_listed(failed, lambda line: _failed(line, s)))))
    if others:
        said.append(Said("Not run:", "note", tuple(_listed(others, lambda line: _not_run(line, s)))))
    if s.open and not is_sent:
        why = "" if s.stopping else notice(s, now)
        said.append(Said(f"Not ended: {words.plural(len(s.open), 'task')}" + (f". {why}" if why else ""), "note"))
    steps = list(_next_steps(s, exit_code, has_failed=bool(failed)))
    return [*said, *([Said("Next:", more=tuple(steps))] if steps else [])]


def _is_sent(s: Situation, exit_code: int) -> bool:
    """Whether others go on with what is open: --detach on a cluster."""
    return s.roster is not None and s.roster.terms.is_detached and bool(s.open) and not exit_code


def _sent(s: Situation, now: float) -> str:
    verb, why = "Sent" if s.roster and s.roster.sent else "Left", notice(s, now)
    return f"{verb} to the cluster: {words.plural(len(s.open), 'task')}" + (f". {why}" if why else "")


def _failed(line: Line, s: Situation) -> str:
    claim = next((a.claim for a in reversed(line.tries)), None)
    log = f"  {words.clean(paste.path(claim.log))}" if claim and claim.log else ""
    why = words.reason(reason(s, line.task.id), s).removeprefix("failed: ")
    return f"  {_number(line)}{words.name(line.task)}: {why}{log}"


def _not_run(line: Line, s: Situation) -> str:
    return f"  {_number(line)}{words.name(line.task)}: {words.reason(reason(s, line.task.id), s)}"


def _next_steps(s: Situation, exit_code: int, *, has_failed: bool) -> Iterator[str]:
    steps = []
    if s.counts["succeeded"]:
        steps.append((paste.command("results"), "the table of results"))
    if has_failed:
        sources = [source for source in s.named if source]
        again = ["retry"] if len(sources) > 1 else [word for source in sources for word in paste.of_source(source)]
        there = () if len(sources) > 1 else s.wishes.options
        steps.append((paste.command("logs", "--failed"), "what the failed ones said"))
        steps.append((paste.command(*again, "--failed", *there), "run only those again"))
    if _is_sent(s, exit_code):
        steps.append(("the same command without --detach", "shows their run, and waits for its end"))
        steps.append((paste.command("status"), "where every task stands"))
    if exit_code in {130, 143} and s.open:
        steps.append(("the same command again", "goes on where this run stopped"))
    width = max((len(command) for command, _ in steps), default=0)
    return (f"  {command:{width}}  {what}" for command, what in steps)


def _selected(s: Situation) -> list[Line]:
    found = (s.lines[name] for name in s.wishes.selection | s.joined if name in s.lines)
    return sorted(found, key=lambda line: (line.task.number, line.task.name))


def _number(line: Line) -> str:
    return f"#{line.task.number} " if line.task.number else ""


def _listed(lines: list[Line], tell: Callable[[Line], str]) -> Iterable[str]:
    yield from (tell(line) for line in lines[:MOST_LISTED])
    if len(lines) > MOST_LISTED:
        yield f"  … and {len(lines) - MOST_LISTED} more"
