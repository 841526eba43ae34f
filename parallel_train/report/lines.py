"""What happened, as lines: one event gives at most one `Said`. Pure but for what it remembers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from parallel_train.core.events import (
    Claimed,
    ClusterSilent,
    ElementsSeen,
    Ended,
    Enlisted,
    Event,
    HungUp,
    Interrupted,
    NotEnlisted,
    Refused,
    Requested,
    RoundOpened,
    Silent,
    SlotPutAside,
    Submitted,
    TimeLeft,
    Warned,
)
from parallel_train.core.facts import Claim, End, NotStarted, Request, verdict
from parallel_train.core.limit import cut_off
from parallel_train.core.situation import Situation, name_of
from parallel_train.core.state import Ended as EndedState
from parallel_train.core.state import Line, Waiting
from parallel_train.report import elements, paste, words
from parallel_train.report.elements import Rollcall
from parallel_train.report.memory import Memory, Moment, Said, Tail

MOST_LISTED = 20  # of things that come in hundreds


@dataclass(slots=True)
class Narrator:
    """Turns events into words.

    `tail` reads the end of a log, `journal` is where lines go without a terminal.
    """

    memory: Memory
    tail: Tail
    journal: str = ""
    queue: str = ""  # the folder of our own
    busy: set[str] = field(default_factory=set)  # slots of which it was said
    rounds: int = 0
    named: dict[str, frozenset[str]] = field(default_factory=dict)
    heard: int = 0  # the last request of which it was said
    rollcall: Rollcall = field(init=False)
    warned: str = ""  # the last warning: one that comes each second is said once

    def __post_init__(self) -> None:
        self.rollcall = Rollcall(self.tail)

    def tell(  # noqa: C901, PLR0911  one case per event, no logic of its own
        self, event: Event, s: Situation, moment: Moment
    ) -> Said | None:
        """What to say of `event`, after it was applied to `s`; None where there is nothing to say."""
        match event:
            case Claimed(claim):
                return self._claimed(claim, s, moment)
            case Ended(end):
                return self._ended(end, s, moment)
            case Refused():
                return self._refused(event, s)
            case RoundOpened():
                return self._round(event, s)
            case Submitted():
                return self._submitted(event)
            case Requested(request) if request.number > self.heard:
                self.heard = request.number
                return requested(request, s)
            case SlotPutAside(slot, tasks):
                return _put_aside(slot, tasks, s)
            case Silent():
                return _silent(event, s)
            case Enlisted() | NotEnlisted() | ElementsSeen() | ClusterSilent():
                return self.rollcall.tell(event, s)
            case Warned(text, task):
                return self._warn(f"{words.name(s.lines[task].task)}: {text}" if task in s.lines else text)
            case _:
                return _of_this_process(event, s, self.journal)

    # ---- attempts ----

    def _claimed(self, claim: Claim, s: Situation, moment: Moment) -> Said | None:
        line = s.lines.get(claim.task)
        is_ours = claim.owner.worker == s.wishes.worker
        if line is None or not self.memory.start(claim, moment, just_now=is_ours):
            return None
        self.busy.difference_update(claim.slots)
        if is_ours:
            self.warned = ""
            return launched(claim, line, moment)
        if s.roster is not None:  # whoever it was, it works for this run
            return launched(claim, line, moment, elements.place(claim, s))
        return Said(f"[{words.slot(claim.gpus)}] Started by {_other(claim)}: {words.name(line.task)}", "note")

    def _ended(self, end: End, s: Situation, moment: Moment) -> Said | None:
        line = s.lines.get(end.task)
        active = self.memory.active.get((end.task, end.attempt))
        if line is None or not self.memory.finish(line.task.id, end.attempt):
            return None
        claim = active.claim if active else None
        where = f"[{elements.place(claim, s)}]" if claim else "[?]"
        self.memory.pace.note(line.task, end)
        name = words.name(line.task)
        match verdict(end):
            case "succeeded":
                time_ = f"  Time: {words.clock(end.seconds)}"
                return Said(f"✓ {where} Task completed: {name}", "good", (time_,))
            case "free" if isinstance(end.outcome, NotStarted):
                return Said(f"{where} Not started after all: {name} ({words.clean(end.outcome.why)})", "note")
            case "free" if line.is_cancelled:
                return Said(f"{where} Task cancelled: {name} ({words.end(end, line.task)})", "note")
            case "free":
                long = tuple(f"  {text[0].upper()}{text[1:]}" for text in words.too_long(cut_off(line)))
                text = f"{where} Task stopped: {name} ({words.end(end, line.task)}); it costs no attempt"
                return Said(text, "note", long)
            case found:
                text = f"✗ {where} Task {found}: {name} ({words.end(end, line.task)})"
                return Said(text, "bad", tuple(self._about_failure(end, line, s, moment)))

    def _about_failure(self, end: End, line: Line, s: Situation, moment: Moment) -> list[str]:
        claim = next((a.claim for a in line.attempts if a.number == end.attempt), None)
        more = [f"  Time: {words.clock(end.seconds)}"] if end.seconds else []  # nobody knows when a lost one ended
        if claim and claim.log:
            more.append(f"  Log: {words.clean(paste.path(claim.log))}")
            # Python's own last words go to the second file.
            for path in (claim.err, claim.log):
                last = self.tail(path) if path else []
                if last:
                    which = "Its last lines" if path == claim.log else f"Last lines of {words.clean(paste.path(path))}"
                    more += [f"  {which}:", *(f"  | {text}" for text in last)]
                    break
        more += _what_follows(line, s, moment)
        return [*more, f"  See: {paste.command('logs', words.spoken(line.task))}"]

    def _refused(self, event: Refused, s: Situation) -> Said | None:
        if event.why == "behind":
            return None
        if event.why == "busy":
            if event.text == self.queue:
                return None  # somebody who works here too: the two share their slots
            fresh = [name for name in event.slots if name not in self.busy]
            self.busy.update(fresh)
            if not fresh:
                return None
            who = f"a task of {words.clean(event.text)}" if event.text else "somebody else"
            return Said(f"[{words.slots_of(s, fresh)}] Held by {who}; trying again each second", "note")
        line = s.lines.get(event.task)
        name = words.name(line.task) if line else event.task
        return self._warn(f"{name} can't be started: {event.text}; trying again")

    # ---- what is asked for ----

    def _round(self, event: RoundOpened, s: Situation) -> Said | None:
        line = s.lines.get(event.round.task)
        if line is None or line.round != event.round.number:
            return None
        self.rounds += 1
        if self.rounds > MOST_LISTED:
            return Said("… more tasks run again", "note") if self.rounds == MOST_LISTED + 1 else None
        kept = "the old output is put aside" if event.round.aside else "its folder is kept"
        who = "" if event.ours else ", by another worker"
        return Said(f"Runs again: {words.name(line.task)} ({event.round.why}{who}; {kept})", "note")

    def _submitted(self, event: Submitted) -> Said | None:
        now = frozenset(task.id for task in event.tasks)
        before = self.named.get(event.source)
        for task in event.tasks:
            self.memory.pace.note(task)
        self.named[event.source] = now
        if before is None or before == now:
            return None
        added, withdrawn = words.plural(len(now - before), "task"), len(before - now)
        return Said(f"{words.clean(event.source)} was edited: {added} added, {withdrawn} withdrawn", "note")

    def _warn(self, text: str) -> Said | None:
        if text == self.warned:
            return None
        self.warned = text
        return Said(f"! {words.clean(text)}", "note")


def launched(claim: Claim, line: Line, moment: Moment, place: str = "") -> Said:
    """An attempt of this worker has begun: the guide's three lines."""
    where = f"[{place or words.slot(claim.gpus)}]"
    at = time.strftime("%H:%M:%S", time.localtime(moment.wall))
    attempt = f"attempt {claim.attempt}, " if claim.attempt > 1 else ""
    more = [f"{where} Output dir: {words.clean(paste.path(line.task.output))}"] if line.task.output else []
    more.append(f"{where} Log file: {words.clean(paste.path(claim.log))}")
    return Said(f"{where} Launching task: {words.name(line.task)} ({attempt}{at})", more=tuple(more))


def adopted(claim: Claim, line: Line, s: Situation) -> Said:
    """An attempt that ran before this worker came."""
    name, where = words.name(line.task), words.slot(claim.gpus)
    is_ours = (claim.task, claim.attempt) in s.mine
    whose = "Still running from before" if is_ours else f"Running for {_other(claim)}"
    since = claim.at.replace("T", " ").replace("Z", " UTC")
    return Said(f"[{where}] {whose}: {name} (attempt {claim.attempt}, since {since})", "note")


def requested(request: Request, s: Situation) -> Said | None:
    """A person asked this from elsewhere."""
    who = words.asked(request)
    named = [name for name in request.tasks if name in s.lines]
    if (request.tasks and not named) or request.kind == "excuse":
        return None  # others' tasks
    which = words.names(named, s)
    match request.kind:
        case "pause" | "resume" if not request.tasks:
            what = "Paused: nothing new is started" if request.kind == "pause" else "Resumed"
            return Said(f"{what} ({who.strip()})", "note")
        case "priority":
            return Said(f"Priority {request.tasks[named[0]]}: {which} ({who.strip()})", "note")
        case "add":
            return Said(f"Tasks were added ({who.strip()})", "note")
        case kind:
            done = {"cancel": "Cancelled", "pause": "Paused", "resume": "Resumed", "retry": "To run again"}
            return Said(f"{done.get(kind, kind)}: {which} ({who.strip()})", "note")


def _put_aside(slot: str, tasks: Mapping[str, int], s: Situation) -> Said:
    which = words.names(list(tasks), s)
    text = f"[{words.slots_of(s, [slot])}] Put aside: {which} failed on it at once, while others succeed elsewhere"
    return Said(text, "bad", ("  They run again elsewhere at no cost; the slot is used again by the next run",))


def _silent(event: Silent, s: Situation) -> Said | None:
    line = s.lines.get(event.task)
    claim = next((a.claim for a in line.attempts if a.number == event.attempt), None) if line else None
    if line is None or claim is None:
        return None
    where = f"{words.name(line.task)} (attempt {claim.attempt} on {words.clean(claim.owner.host) or 'an unknown host'})"
    if event.is_back:
        return Said(f"Heard again: {where}", "note")
    return Said(f"Lost contact: {where}; after {words.span(claim.lease)} of silence it is run again", "note")


def _other(claim: Claim) -> str:
    return f"worker {words.clean(claim.owner.worker)}"


def _what_follows(line: Line, s: Situation, moment: Moment) -> list[str]:
    """What the failure brings about: another attempt, or tasks that are not run."""
    state = line.state
    if isinstance(state, Waiting) and state.why == "back-off":
        failures = sum(1 for a in line.tries if a.end and verdict(a.end) == "failed")
        wait = words.span(max(0.0, state.until - moment.now))
        return [f"  Retry {failures} of {line.task.retries} in {wait}"]
    if not isinstance(state, EndedState):
        return ["  The next run starts it again" if s.stopping else "  It starts again"]
    number = _aborted(line.task.id, s)
    return [f"  Not run: {words.plural(number, 'task')} that needed it"] if number else []


def _aborted(task: str, s: Situation) -> int:
    """How many tasks are not run because of this one, directly or by way of others."""
    found: dict[str, None] = {task: None}
    queue = [task]
    for name in queue:  # grows while it is walked
        for dependent in s.dependents.get(name, ()):
            if dependent not in found and name_of(s.lines[dependent].state) == "aborted":
                found[dependent] = None
                queue.append(dependent)
    return len(found) - 1


def _of_this_process(event: Event, s: Situation, journal: str) -> Said | None:  # noqa: PLR0911  one case per event
    number, running = elements.answered_for(s)
    match event:
        case HungUp():
            where = f", lines in {words.clean(journal)}" if journal else ""
            return Said(f"The terminal is gone; going on{where}", "note")
        case TimeLeft(is_near=True):
            when = f" in {words.span(s.limit.ends_at - event.at)}" if s.limit.is_known else ""
            going = f"; {running} {'runs' if number == 1 else 'run'} on until shortly before" if number else ""
            return Said(f"The allocation ends{when}: nothing more is started{going}", "note")
        case Interrupted() if not number:
            return Said("Interrupted: nothing of ours runs; leaving", "note")
        case Interrupted(1):
            return Said(elements.draining(s), "note")
        case Interrupted(2):
            return Said(f"Stopping {running} (INT, TERM, KILL, 10 s apart); Ctrl-C again kills them", "note")
        case Interrupted(level):
            verb = "dies" if number == 1 else "die"
            return Said(
                f"Killing {running}" if level == 3 else f"Leaving without waiting: {running} {verb} unseen", "note"
            )
        case _:
            return None
