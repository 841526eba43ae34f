"""The words that people read: durations, slots, endings and reasons as short sentences. Pure."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import groupby

from parallel_train.core import explain, policy
from parallel_train.core.explain import Reason
from parallel_train.core.facts import (
    GIVEN_BACK,
    TIME_UP,
    End,
    Exited,
    Lost,
    NotStarted,
    Outcome,
    Request,
    Signalled,
    TimedOut,
    verdict,
)
from parallel_train.core.situation import Situation
from parallel_train.core.task import Task
from parallel_train.report import paste

# Escape sequences whole, then every other control or direction-changing character.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
_STRAY = re.compile("[\ud800-\udfff]")  # how Python holds a byte that is no UTF-8
_LONGEST = 4000  # characters of a remark: a path has at most 4,096 bytes
_SPACE = re.compile(r"[\t\n\r]+")


def clean(text: str) -> str:
    """`text` on one line, without anything that a terminal would obey; a byte that is no text as its number."""
    plain = _ESCAPES.sub("", _SPACE.sub(" ", text))
    return plain if plain.isascii() else _STRAY.sub(lambda byte: f"\\x{ord(byte[0]) & 0xFF:02x}", plain)


def remark(text: str) -> str:
    """A line beside the answer."""
    plain = clean(text)
    return f"note: {plain if len(plain) <= _LONGEST else f'{plain[:_LONGEST]}…'}"


def name(task: Task) -> str:
    return clean(task.name) or task.id


def spoken(task: Task) -> str:
    """What to type for it."""
    return str(task.number or task.name)


def plural(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def clock(seconds: float) -> str:
    """01:23:45, as long as it takes: 100 hours are 100:00:00."""
    whole = max(0, int(seconds))
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"


def span(seconds: float) -> str:
    """A duration in one or two units: 45s, 1h, 1h 30m, 2d 3h."""
    rest = round(seconds)
    if rest < 1:
        return f"{seconds:.1f}s"
    parts: list[str] = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        number, rest = divmod(rest, size)
        if number or parts:
            parts.append(f"{number}{unit}" if number else "")
    return " ".join(part for part in parts[:2] if part)


# ---- slots ----


def slot(gpus: Sequence[str]) -> str:
    """The slots of one attempt: GPU 0, GPU 0-1, GPU 0,2, CPU 0."""
    return _slot(tuple(gpus))


@lru_cache(maxsize=256)
def _slot(gpus: tuple[str, ...]) -> str:
    if not gpus:
        return "no GPU"
    kind = "CPU" if all(label.startswith("cpu") for label in gpus) else "GPU"
    return f"{kind} {ranges(label.removeprefix('cpu') for label in gpus)}"


def slots_of(situation: Situation, names: Iterable[str]) -> str:
    """The same, from the names of slots in this worker's pool."""
    devices = situation.pool.devices(names)
    return slot([d.label if d.kind == "gpu" else f"cpu{d.label}" for d in devices])


def ranges(labels: Iterable[str]) -> str:
    """0-3,5 for 0 1 2 3 5; labels that are no numbers follow as they are."""
    every = [clean(label) for label in labels]
    numbers = sorted({int(label) for label in every if label.isdecimal()})
    parts = []
    for _, group in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        parts.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    return ",".join(parts + [label for label in every if not label.isdecimal()])


# ---- how an attempt ended ----


def outcome(found: Outcome, task: Task | None = None) -> str:  # noqa: C901, PLR0911  one text per kind
    match found:
        case Exited(code):
            return f"exit code {code}"
        case Signalled(number):
            return f"killed by {_signal_name(number)}"
        case TimedOut():
            after = f" after {span(task.timeout)}" if task and task.timeout else ""
            return f"timed out{after}"
        case NotStarted(why):
            return f"not started: {clean(why)}"
        case Lost("rebooted"):
            return "lost: its machine was restarted"
        case Lost("expired"):
            return "lost: no sign of life from its host"
        case Lost("damaged"):
            return "lost: its record is damaged"
        case Lost():
            return "lost: its process died without an end"


def _signal_name(number: int) -> str:
    try:
        return f"{signal.Signals(number).name} ({number})"
    except ValueError:
        return f"signal {number}"


def end(ended: End, task: Task | None = None) -> str:
    """Why an attempt ended as it did, such as `exit code 3` or `output missing`."""
    text = outcome(ended.outcome, task)
    if isinstance(ended.outcome, NotStarted | Lost | TimedOut):
        return text
    if ended.stopped == GIVEN_BACK:
        return f"given back: {clean(ended.note)}"
    if ended.stopped == TIME_UP:
        text = "its allocation's time was up"
    elif ended.stopped:
        text = f"stopped by {clean(ended.stopped)}, {text}"
    elif ended.outcome == Exited(0) and verdict(ended) == "failed":
        lacks = {"missing": "output missing", "empty": "output empty", "not done": "done_when does not hold"}
        text = f"{lacks.get(ended.output, 'output missing')}, though exit code 0"
    return f"{text}: {clean(ended.note)}" if ended.note else text


def too_long(times: int) -> list[str]:
    """What to say and do of a task that so many allocations in a row were too short for."""
    if times < policy.TIME_UP_SAID:
        return []
    return [
        f"it does not fit into the time limit: stopped {times} times in a row",
        "ask for more (--time), or let it write checkpoints and go on from them where PARALLEL_TRAIN_RESUME is set",
    ]


# ---- why ----


def reason(found: Reason, situation: Situation, now: float | None = None) -> str:
    """One sentence. `now` (monotonic seconds) says how long a back-off still takes."""
    why = found.why
    match found.decision:
        case "run":
            return _runs(why, situation)
        case "wait":
            return _waits(why, situation, now)
        case _:
            return _stays(why, situation)


def short_reason(found: Reason, situation: Situation) -> str:
    """The same beside columns that tell the state, the slot and the time."""
    match found.why:
        case explain.RunsNow(_, claim) if claim is not None:
            return f"on {clean(claim.owner.host)} by {clean(claim.owner.worker)}"
        case explain.DoneByUs(ended, changed) if ended.ended:
            return _minute(ended.ended) + _changed(changed)
        case explain.Failed():
            return reason(found, situation).removeprefix("failed: ")
        case _:
            return reason(found, situation)


def _minute(at: str) -> str:
    return f"{at[:16].replace('T', ' ')} UTC"


def _changed(names_: Sequence[str]) -> str:
    return f"; changed since: {', '.join(map(clean, names_))} (-B runs it again)" if names_ else ""


def _runs(why: explain.Cause, s: Situation) -> str:  # noqa: PLR0911  one sentence per cause
    match why:
        case explain.AskedFor():
            return "asked for again"
        case explain.FailedBefore(ended):
            return f"failed before: {end(ended)}" if ended else "failed before"
        case explain.Changed(found):
            return f"changed: {clean('; '.join(found))}" if found else "changed since its last attempt"
        case explain.NeedChanged(needs):
            return f"made from an older {names(needs, s)}" if needs else "a need changed"
        case explain.OutputGone(output):
            return f"its output is gone: {clean(output)}"
        case explain.GoesOn(ended, lost, times):
            count = f", {lost} of {policy.LOST_LIMIT}" if verdict(ended) == "lost" else ""
            long = "".join(f"; {sentence}" for sentence in too_long(times))
            return f"attempt {ended.attempt} did not count ({end(ended)}{count}){long}"
        case _:
            return "first run"


def _waits(why: explain.Cause, s: Situation, now: float | None) -> str:  # noqa: PLR0911  one sentence per cause
    match why:
        case explain.NeedOpen(need, others):
            return f"waits for {names([need], s)}" + (f" and {others} more" if others else "")
        case explain.HasReaders(tasks):
            return f"waits until {names(tasks, s)} no longer reads its old output"
        case explain.BackOff(until, retry, retries, ended):
            when = "" if now is None else f" in {span(max(0.0, until - now))}"
            return f"{end(ended)}; retry {retry} of {retries}{when}"
        case explain.Paused(request):
            what = "this task" if request.tasks else "the queue"
            held = [spoken(s.lines[task].task) for task in request.tasks if len(request.tasks) == 1]
            return f"{what} is paused{asked(request)}: {paste.command('resume', *held)}"
        case explain.BehindCanary(canary, ending):
            which = names([canary], s)
            return f"waits for {which}, which runs first" if ending == "open" else f"{which}, which ran first, {ending}"
        case explain.RunsNow(_, claim) if claim is not None:
            where = f"{slot(claim.gpus)} of {clean(claim.owner.host)}"
            return f"runs now: attempt {claim.attempt} on {where}, by worker {clean(claim.owner.worker)}"
        case explain.RunsNow(attempt):
            return f"attempt {attempt} is starting"
        case _:
            return "waits"


def _stays(why: explain.Cause, s: Situation) -> str:  # noqa: C901, PLR0911  one sentence per cause
    match why:
        case explain.DoneByUs(ended, changed):
            when = f", {_minute(ended.ended)}" if ended.ended else ""
            return f"done: attempt {ended.attempt}{when}, took {clock(ended.seconds)}{_changed(changed)}"
        case explain.OutputExists(_, is_verified):
            return f"output exists ({'done_when holds' if is_verified else 'not verified'})"
        case explain.Stale(ending, why_again):
            return f"{ending}, but no longer true: {_SINCE[why_again]}"
        case explain.Failed(_, _, lost) if lost >= policy.LOST_LIMIT:
            return f"failed: lost {lost} times"
        case explain.Failed(ended, failures, _):
            return f"failed: {end(ended)}" + (f" ({failures} attempts)" if failures > 1 else "")
        case explain.NeedFailed(need, ending):
            return f"needs {names([need], s)}, which {_ENDED.get(ending, f'was {ending}')}"
        case explain.Superseded():
            return "superseded: its newest round is for another wording"
        case explain.Cancelled(request):
            return f"cancelled{asked(request)}"
        case _:
            return "ended"


_ENDED = {"failed": "failed", "stale": "would have to run again first"}
_SINCE = {
    "asked for": "it was asked for again",
    "failed before": "it failed before",
    "changed": "it changed since",
    "a need changed": "a need changed since",
    "output gone": "its output is gone",
}


def asked(request: Request) -> str:
    """Who asked for it, and when: ` by anna@gpu1, 2026-01-02 03:04 UTC`."""
    who = f" by {clean(request.by)}" if request.by else ""
    return who + (f", {_minute(request.at)}" if request.at else "")


def names(tasks: Sequence[str], s: Situation, most: int = 3) -> str:
    """The names of up to `most` tasks, and how many more."""
    shown = [name(s.lines[t].task) if t in s.lines else clean(t) for t in tasks[:most]]
    more = [f"{len(tasks) - most} more"] if len(tasks) > most else []
    return ", ".join(shown + more)
