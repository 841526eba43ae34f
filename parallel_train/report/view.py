"""What the screen shows at one moment, as a value. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from parallel_train.core.decide import KILL, STOP, is_holding_back, too_wide
from parallel_train.core.lent import has_work, is_of_use
from parallel_train.core.situation import Situation
from parallel_train.core.slots import Slot
from parallel_train.core.state import is_satisfied
from parallel_train.report import elements, paste, words
from parallel_train.report.memory import Memory, Said

ORDER = ("running", "ready", "waiting", "succeeded", "skipped", "failed", "stale", "aborted", "cancelled")


@dataclass(frozen=True, slots=True)
class Row:
    """One attempt that runs, or is starting: then `elapsed` is None."""

    slot: str
    task: str
    number: int
    attempt: int
    elapsed: float | None
    log: str


@dataclass(frozen=True, slots=True)
class View:
    rows: tuple[Row, ...]
    idle: str  # slots that nothing runs on
    held: str  # slots that somebody else holds
    done: int
    total: int
    counts: tuple[tuple[str, int], ...]
    elapsed: float
    eta: float | None
    notice: str
    recent: tuple[Said, ...]


def view(s: Situation, memory: Memory, now: float) -> View:
    # A CPU slot that nobody waits for is no news.
    slots = (*s.pool.slots.values(), *(s.pool.extra.values() if s.ready_cpu else ()))
    free = [slot for slot in slots if slot.holder is None and not slot.is_sick]
    return View(
        rows=tuple(_rows(s, memory, now)),
        idle=_labels(slot for slot in free if slot.avoid_until <= now),
        held=_labels(slot for slot in free if slot.avoid_until > now),
        done=done(s),
        total=s.counts.total(),
        counts=counts(s),
        elapsed=now - memory.since,
        eta=_eta(s, memory, now),
        notice=notice(s, now),
        recent=tuple(memory.recent),
    )


def _eta(s: Situation, memory: Memory, now: float) -> float | None:
    """None where nothing more is started: then it says nothing of the rest."""
    return None if s.is_paused or is_holding_back(s, now) else memory.pace.eta(s, now, memory.ages(now))


def done(s: Situation) -> int:
    """Selected tasks that have ended for this run."""
    return s.counts.total() - len(s.open)


def counts(s: Situation) -> tuple[tuple[str, int], ...]:
    """Selected tasks by state or ending, those that live first."""
    return tuple((name, s.counts[name]) for name in ORDER if s.counts[name] > 0)


def notice(s: Situation, now: float) -> str:
    """Why nothing more starts, or not everything, where that is so."""
    if s.stopping:
        return _leaving(s)
    if is_holding_back(s, now):
        failures = "A task failed" if s.failures == 1 else words.plural(s.failures, "failure")
        return f"{'The allocation ends' if s.limit.is_over(now) else failures}: nothing more is started"
    if s.is_paused and s.pause is not None:
        return f"Paused{words.asked(s.pause)}: nothing is started; {paste.command('resume')} goes on"
    if s.wishes.is_lent and not is_of_use(s, now):
        return _too_long(s, now) or "What is left runs elsewhere, or waits for that"
    if s.paused_until > now:
        return f"Nothing can be started here; next try in {words.span(s.paused_until - now)}"
    return elements.notice(s, now) or _behind_canaries(s) or _beyond_this_worker(s) or _too_long(s, now) or _sick(s)


def _leaving(s: Situation) -> str:
    _, running = elements.answered_for(s)
    if s.stopping >= KILL:
        return f"Killing {running}; Ctrl-C again leaves without waiting"
    if s.stopping >= STOP:
        return f"Stopping {running} (INT, TERM, KILL, 10 s apart); Ctrl-C again kills them"
    return f"Draining: {running} left; Ctrl-C again stops them"


def _behind_canaries(s: Situation) -> str:
    """What is held back for the tasks that run first of their templates."""
    unproven = [name for name in s.followers if not is_satisfied(s.lines[name].state)]
    if not unproven:
        return ""
    held = sum(len(s.followers[name]) for name in unproven)
    ended = [name for name in unproven if name not in s.open]
    rest = f"{words.plural(held, 'task')} {'is' if held == 1 else 'are'} held back"
    if ended:
        return f"{words.names(ended, s)} did not succeed, and was to run first: {rest}"
    return f"{words.names(unproven, s)} {'runs' if len(unproven) == 1 else 'run'} first: {rest} until then"


def _sick(s: Situation) -> str:
    slots = [name for name, slot in s.pool.slots.items() if slot.is_sick]
    return f"Put aside, since tasks failed on it at once: {words.slots_of(s, slots)}" if slots else ""


def _beyond_this_worker(s: Situation) -> str:
    """Ready tasks that want more GPUs than this worker has."""
    wide = [] if s.mine else too_wide(s)
    if not wide:
        return ""
    has = words.plural(s.pool.width if s.roster is None else s.roster.terms.slots, "GPU slot")
    return f"{words.names(wide, s)} wants more than this worker has ({has}): left to others"


def _too_long(s: Situation, now: float) -> str:
    """Ready tasks that take longer than this worker's time."""
    if s.mine or not s.limit.is_known or has_work(s, now) or not (s.ready or s.ready_cpu or s.delayed):
        return ""
    return f"What is ready takes longer than what is left of the allocation ({words.span(s.limit.stops_at - now)})"


def _rows(s: Situation, memory: Memory, now: float) -> Iterator[Row]:
    """Attempts on this worker's slots, in the order of the slots, then those on others'."""
    held = dict.fromkeys(slot.holder for slot in (*s.pool.slots.values(), *s.pool.extra.values()))
    for key in (*held, *(key for key in memory.active if key not in held)):
        line = s.lines.get(key[0]) if key else None
        if key is None or line is None:
            continue
        active = memory.active.get(key)
        claim = active.claim if active else None
        yield Row(
            slot=elements.place(claim, s) if claim else _slots_of(s, key),
            task=words.name(line.task),
            number=line.task.number,
            attempt=key[1],
            elapsed=max(0.0, now - active.began) if active else None,
            log=words.clean(paste.path(claim.log)) if claim else "",
        )


def _slots_of(s: Situation, key: tuple[str, int]) -> str:
    return _labels(slot for slot in (*s.pool.slots.values(), *s.pool.extra.values()) if slot.holder == key)


def _labels(slots: Iterator[Slot]) -> str:
    """GPU 0-1, CPU 0 for any mixture of slots."""
    every = [slot.device for slot in slots]
    gpus = [device.label for device in every if device.kind == "gpu"]
    cpus = [device.label for device in every if device.kind == "cpu"]
    kinds = [f"{kind} {words.ranges(labels)}" for kind, labels in (("GPU", gpus), ("CPU", cpus)) if labels]
    return ", ".join(kinds)


def status_line(s: Situation, memory: Memory, now: float) -> str:
    """The guide's line: [00:05:30] Still running: 4 tasks on GPUs [0, 1, 2, 3] (3/12 done, ETA 00:10:00)."""
    labels = [label for active in memory.active.values() for label in active.claim.gpus] if s.roster is None else []
    gpus = sorted({x for x in labels if not x.startswith("cpu")}, key=_by_number)
    cpus = sorted({x.removeprefix("cpu") for x in labels if x.startswith("cpu")}, key=_by_number)
    kinds = [f"{kind} [{', '.join(found)}]" for kind, found in (("GPUs", gpus), ("CPUs", cpus)) if found]
    running = words.plural(len(memory.active), "task")
    text = f"Still running: {running} on {' and '.join(kinds)}" if kinds else f"Still running: {running}"
    eta = _eta(s, memory, now)
    rest = [f"{done(s)}/{s.counts.total()} done", *([f"ETA {words.clock(eta)}"] if eta is not None else [])]
    why = f"; {notice(s, now)}" if notice(s, now) else ""
    return f"[{words.clock(now - memory.since)}] {text} ({', '.join(rest)}){why}"


def _by_number(label: str) -> tuple[int, str]:
    return (int(label) if label.isdecimal() else 1 << 30, label)
