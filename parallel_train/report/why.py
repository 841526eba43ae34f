"""Why a task stands as it does, what changed, and what a person can do about it, in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from parallel_train.core import explain, policy
from parallel_train.core.causes import Place, Step
from parallel_train.core.situation import Situation
from parallel_train.core.state import Ended, Line
from parallel_train.report import muster, paste, words
from parallel_train.report.story import MOST, Rows, Story, labelled, numbered, short, shortened, where


def why(story: Story) -> Rows:
    s, found, links = story.situation, story.found, story.links
    yield from labelled(
        "because", shortened([f"{numbered(s, x.task)}: {words.reason(x.reason, s)}" for x in links[1:]])
    )
    root = links[-1].reason
    if isinstance(root.why, explain.BackOff):
        yield "again", _back_off(root.why, s.lines[links[-1].task], found.now)
    if story.place is not None:
        yield from _place(s, story.place, story.line, found.elsewhere)
    if root.decision in {"run", "wait"}:
        yield from _who_acts(story)
    if not found.source and links[0].reason.decision != "skip":
        yield "file", f"{words.clean(story.line.task.source)} names it no more: nothing starts it"


def _back_off(why: explain.BackOff, line: Line, now: datetime) -> str:
    ended = _moment(why.end.ended)
    if ended is None:
        return "after a pause"
    # Each worker counts from when it learnt of the end.
    due = ended + timedelta(seconds=policy.backoff(line.task.id, why.retry))
    left = (due - now).total_seconds()
    return f"not before {due:%H:%M:%S} UTC, " + (f"in {words.span(left)}" if left > 0 else "which has passed")


def _place(s: Situation, place: Place, line: Line, elsewhere: Sequence[str]) -> Rows:
    if place.ahead:
        count = words.plural(len(place.ahead), "ready task")
        yield "order", f"{count} before it, by priority and number: {_numbers(s, place.ahead)}"
    else:
        yield "order", "no ready task is before it"
    if line.task.gpus > 1:
        yield "slots", f"it takes {line.task.gpus} at once, and those that come free are kept for it"
    yield from labelled("on slots", shortened([_runs(s, name) for name in place.running]))
    yield from labelled("elsewhere", elsewhere)


def _runs(s: Situation, name: str) -> str:
    live = [attempt for attempt in s.lines[name].attempts if attempt.end is None]
    return numbered(s, name) + "".join(f" on {where(attempt)}" for attempt in live)


def _who_acts(story: Story) -> Rows:
    s, line, found = story.situation, story.line, story.found
    if not isinstance(story.links[-1].reason.why, explain.Paused):
        if s.is_paused and s.pause is not None:
            yield "paused", f"the queue{words.asked(s.pause)}: nothing is started"
        if line.is_paused and line.hold is not None:
            yield "paused", f"this task{words.asked(line.hold)}"
    seen = [f"{w.seen}{'' if w.asks else f' on {words.slot(w.slots)}'}: {w.seen.command}" for w in found.workers]
    yield from labelled("worker", shortened(seen))
    takers = [worker for worker in found.workers if worker.takes]
    if found.muster is not None:
        yield from labelled("slurm", muster.told(found.muster, [line.task.id]) or [muster.counted(found.muster)])
    if not takers and not (found.muster and found.muster.present):
        yield (
            "" if found.workers else "worker",
            "none of them works on this task" if found.workers else "none works here now",
        )
    elif takers and not line.task.is_call and not any(w.asks or len(w.slots) >= max(1, line.task.gpus) for w in takers):
        yield "", f"none of them has {words.plural(max(1, line.task.gpus), 'slot')} for it"


# ---- what changed ----


def changed(story: Story) -> Rows:
    s, task, found = story.situation, story.line.task, story.found
    for change in found.changed[:MOST]:
        of = "" if change.task == task.id else f"{numbered(s, change.task)}: "
        for said in change.wording:
            yield "wording", of + said
        if not change.wording:
            inputs = ", ".join(change.inputs)
            yield "input", f"{of}the content of {inputs}" if inputs else f"{of}more than its wording"
    if len(found.changed) > MOST:
        yield "", f"and {words.plural(len(found.changed) - MOST, 'more need')}"
    for path, when in found.touched:
        yield "", f"{paste.path(path)} was written {short(when)}, after the last attempt began"
    again = [said for name in task.needs if (said := _need_again(s, story.line, name))]
    yield from labelled("need", shortened(again))
    if found.changed_since:
        yield "made with", f"{', '.join(found.changed_since)}, which changed since"


def _need_again(s: Situation, line: Line, need: str) -> str:
    """What an attempt was made from, where that is not the need's deciding attempt any more."""
    last = line.last_started
    state = s.lines[need].state if need in s.lines else None
    if last is None or not isinstance(state, Ended) or last.claim.needs.get(need) == state.attempt:
        return ""
    before = last.claim.needs.get(need)
    was = f"its attempt {before}" if before else "an output that was not ours" if before == 0 else "nothing of it"
    now = f"its attempt {state.attempt}" if state.attempt else "an output that is not ours"
    return f"{numbered(s, need)}: attempt {last.number} was made from {was}; now {now} decides"


# ---- what would change it ----


def commands(story: Story) -> list[tuple[str, str]]:
    """What to type, and what it does."""
    return [_command(story, step) for step in story.steps]


def _command(story: Story, step: Step) -> tuple[str, str]:  # noqa: C901, PLR0911  one text per step
    s = story.situation
    task = s.lines[step.task].task
    is_other = step.task != story.line.task.id
    it = numbered(s, step.task) if is_other else "it"
    of_file = paste.of_source(story.found.source)
    match step.do:
        case "follow":
            return paste.command("logs", task.number, "-f"), f"shows what {it} says"
        case "logs":
            return paste.command("logs", task.number), f"shows what {it} said last"
        case "cancel":
            return paste.command("cancel", task.number), f"stops {it}"
        case "retry" if len(story.links) > 1 and not is_other:
            return (
                paste.command("retry", task.number),
                f"runs {numbered(s, story.links[-1].task)} again, then this one",
            )
        case "retry":
            kept = "; what is in its output stays there" if not is_other and story.found.output == "there" else ""
            return paste.command("retry", task.number), f"runs {it} again{kept}"
        case "run":
            aside = "; the old output is put aside" if task.output else ""
            return paste.command(*of_file, task.number, *story.found.options), f"runs it{aside}"
        case "again":
            what = "it and what it needs" if task.needs else "it"
            aside = "; old outputs are put aside" if task.output else ""
            return paste.command(*of_file, "-B", task.number, *story.found.options), f"runs {what} again{aside}"
        case "resume":
            return paste.command("resume", task.number), f"lets {it} start"
        case "resume all":
            return paste.command("resume"), "lets the queue go on"
        case "priority":
            return paste.command(
                "priority", task.number, *(["--"] if step.value < 0 else []), step.value
            ), "puts it first"
        case "worker":
            return _hire(story)
        case "call":
            return "its script again", "makes whatever call is open here"


def _hire(story: Story) -> tuple[str, str]:
    """Where Slurm was asked for workers before, it is again."""
    again = muster.command(story.found.muster, [story.line.task]) if story.found.muster else ""
    return (again, "asks Slurm for workers") if again else (paste.command("worker"), "runs whatever is open here")


# ---- parts ----


def _numbers(s: Situation, names: Sequence[str]) -> str:
    more = len(names) - MOST
    return ", ".join([*(numbered(s, name) for name in names[:MOST]), *([f"{more} more"] if more > 0 else [])])


def _moment(at: str) -> datetime | None:
    return datetime.fromisoformat(at.replace("Z", "+00:00")) if at else None
