"""How one event changes a situation: its facts are noted, and what follows from them is derived again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from parallel_train.core import graph, policy, sick
from parallel_train.core.events import (
    Claimed,
    Company,
    Ended,
    Event,
    Interrupted,
    Joined,
    Launched,
    Looked,
    OutputFound,
    Refused,
    Requested,
    RoundOpened,
    Silent,
    SlotPutAside,
    Submitted,
    TimeLeft,
    Told,
    Vanished,
    Watched,
)
from parallel_train.core.facts import Attempt, NotStarted, Request, Round, claim_in, verdict
from parallel_train.core.situation import Situation, join, load, rebuild, refresh
from parallel_train.core.state import Line, Running


def apply(situation: Situation, event: Event) -> None:
    """Bring `situation` up to date in place."""
    affected = _record(situation, event)
    if isinstance(event, Submitted):
        rebuild(situation)
    else:
        refresh(situation, affected)


def absorb(situation: Situation, events: Iterable[Event]) -> None:
    """Take in many events at once, such as all records at the start: what `apply` of each would give."""
    note(situation, events)
    rebuild(situation)


def note(situation: Situation, events: Iterable[Event]) -> None:
    """Note the facts of `events` alone: the caller takes in more, or rebuilds."""
    for event in events:
        _record(situation, event)


def _record(s: Situation, event: Event) -> Iterable[str]:  # noqa: C901, PLR0911, PLR0912  one case per event, no logic of its own
    """Note the facts of `event`; the tasks whose state may hang on them."""
    if s.roster is not None:
        s.roster.note(event)
    match event:
        case Submitted():
            return _on_submitted(s, event)
        case Requested(request):
            return _on_requested(s, request)
        case SlotPutAside(slot):
            s.pool.slots[slot].is_sick = True
        case Joined(tasks):
            return join(s, graph.closure(tasks & s.lines.keys(), {n: line.task.needs for n, line in s.lines.items()}))
        case Company():
            s.company = event
        case RoundOpened(round_, ours):
            return _on_round_opened(s, round_, ours)
        case Launched():
            return _on_launched(s, event)
        case Claimed():
            return _on_claimed(s, event)
        case Refused():
            return _on_refused(s, event)
        case Ended():
            return _on_ended(s, event)
        case OutputFound(task, output, changed_since):
            s.lines[task].output = output
            s.lines[task].changed_since = changed_since
            return [task]
        case Watched(task, attempt):
            s.unwatched.pop((task, attempt), None)
        case Told(task, attempt, level):
            s.told[task, attempt] = level
        case Vanished(task, attempt, why):
            s.vanished[task, attempt] = why
        case Silent(task, attempt, is_back=True) if s.vanished.get((task, attempt)) == "expired":
            del s.vanished[task, attempt]
        case Looked():
            s.is_behind = False
        case Interrupted(level, code, _):
            s.stopping = max(s.stopping, level)
            s.exit_code = code
        case TimeLeft():
            _on_time_left(s, event)
        case _:  # HungUp, Warned: for people
            pass
    return ()


def _on_submitted(s: Situation, event: Submitted) -> Iterable[str]:
    """The file now names these tasks; what it named before and has not started is withdrawn."""
    now = frozenset(task.id for task in event.tasks)
    before = s.named.get(event.source, frozenset())
    s.named[event.source] = now
    load(s, event.tasks)
    named = frozenset[str]().union(*s.named.values())
    withdrawn = {i for i in before - named if not isinstance(s.lines[i].state, Running)}
    selection = s.wishes.selection - withdrawn
    s.joined -= withdrawn
    if s.wishes.everything or (before and before <= s.wishes.selection):
        selection |= now  # a run of the whole file follows it
    needs = {name: line.task.needs for name, line in s.lines.items()}
    s.wishes = replace(s.wishes, selection=frozenset(graph.closure(selection, needs)))
    return ()


def _on_requested(s: Situation, request: Request) -> Iterable[str]:
    """The highest number on a subject holds, in whichever order they are read."""
    s.heard = max(s.heard, request.number)
    if request.kind in {"pause", "resume"} and not request.tasks:
        s.pause = _newer(s.pause, request)
    named = [name for name in request.tasks if name in s.lines]
    for line in (s.lines[name] for name in named):
        match request.kind:
            case "cancel":
                line.cancel = _further(line.cancel, request, line.task.id)
            case "pause" | "resume":
                line.hold = _newer(line.hold, request)
            case "priority":
                line.urgency = _newer(line.urgency, request)
            case "excuse":
                line.excused |= {request.tasks[line.task.id]}
            case _:  # retry and add: their rounds and submissions are records of their own
                pass
    return named


def _further(known: Request | None, request: Request, task: str) -> Request:
    """Of two cancels the one of the later round: whoever asked last may have seen less than the one before."""
    if known is None or known.tasks[task] == request.tasks[task]:
        return _newer(known, request)
    return max(known, request, key=lambda cancel: cancel.tasks[task])


def _newer(known: Request | None, request: Request) -> Request:
    return known if known is not None and known.number > request.number else request


def _on_round_opened(s: Situation, opened: Round, ours: bool) -> Iterable[str]:
    line = s.lines.get(opened.task)
    if line is None:
        return ()
    if opened.number > line.round:
        line.rounds += (opened,)
        # Whoever reads the old output may have claimed just before: look at the claims before it is moved.
        s.is_behind |= opened.aside and bool(s.dependents.get(opened.task))
    if ours:
        s.opened.add(opened.task)
    elif s.asked.get(opened.task) == opened.number and not (opened.aside and opened.identity == line.task.identity):
        s.asked[opened.task] += 1  # somebody else's round, of another kind: ask for the next
    return [opened.task]


def _on_launched(s: Situation, event: Launched) -> Iterable[str]:
    s.lines[event.task].launching = event.attempt
    s.mine[event.task, event.attempt] = None
    s.pool.hold(event.slots, (event.task, event.attempt))
    return [event.task]


def _on_claimed(s: Situation, event: Claimed) -> Iterable[str]:
    claim = event.claim
    line = s.lines.get(claim.task)
    if line is None or claim.attempt < line.next_attempt:
        return ()
    key = (claim.task, claim.attempt)
    line.attempts += (Attempt(claim),)
    line.launching = 0
    is_ours = claim.owner.worker == s.wishes.worker
    s.limit.has_served |= is_ours
    if key in s.mine and not is_ours:  # another worker was faster: our shim will be refused
        del s.mine[key]
        s.pool.release(key)
    if event.is_here:
        s.pool.hold(claim.slots, key)
    if key not in s.mine:
        s.unwatched[key] = claim
    if is_ours or event.orphan:
        s.mine[key] = claim
    return [claim.task]


def _on_refused(s: Situation, event: Refused) -> Iterable[str]:
    key = (event.task, event.attempt)
    line = s.lines[event.task]
    claim = s.mine.get(key)
    if line.launching == event.attempt:
        s.mine.pop(key, None)
        s.pool.release(key)
        line.launching = 0
    elif claim is not None:  # it has claimed, and died before it said so
        s.unwatched[key] = claim
    match event.why:
        case "busy":
            s.pool.avoid(event.slots, event.at + policy.SLOT_PROBE)
        case "behind":
            s.is_behind = True
            s.paused_until = max(s.paused_until, event.at + policy.BEHIND_PAUSE)
        case "trouble":  # pragma: no branch
            s.paused_until = event.at + policy.TROUBLE_PAUSE
    return [event.task]


def _on_ended(s: Situation, event: Ended) -> Iterable[str]:
    end = event.end
    key = (end.task, end.attempt)
    line = s.lines.get(end.task)
    if key in s.mine and isinstance(end.outcome, NotStarted):
        s.is_behind = True  # its shim saw something that we did not, or the machine was in trouble
        s.not_started += 1
        s.paused_until = max(s.paused_until, event.at + policy.not_started_pause(s.not_started))
    elif key in s.mine:
        s.not_started = 0
    for known in (s.mine, s.unwatched, s.vanished, s.told):
        known.pop(key, None)
    was_here = s.pool.release(key)
    # By its number, not its place: the records of earlier attempts may be gone.
    claimed = next((a for a in line.attempts if a.number == end.attempt), None) if line is not None else None
    if line is None or claimed is None or claimed.end is not None:
        return ()
    is_success = verdict(end) == "succeeded"
    # A claim that could not be read is that of nobody. What has succeeded since is not run again for that.
    told = claim_in(end) if is_success and not claimed.claim.owner.worker else None
    attempt = replace(claimed, claim=told or claimed.claim, end=end, seen=event.at)
    if was_here:  # another host's slots may have the same names
        sick.learn(s.pool, attempt.claim, end)
    line.attempts = tuple(attempt if a is claimed else a for a in line.attempts)
    _learn_length(s, line)
    if attempt is line.attempts[-1] and is_success:
        line.output = end.output
    if s.is_brief:
        line.forget()
    return [end.task]


def _on_time_left(s: Situation, event: TimeLeft) -> None:
    s.limit.learn(event.seconds, event.at, is_near=event.is_near)
    for line in s.lines.values():
        _learn_length(s, line)


def _learn_length(s: Situation, line: Line) -> None:
    """Not from an attempt that may have gone on from one before: it says nothing of how long the whole takes."""
    if s.limit.is_known and len(line.tries) == 1:
        (attempt,) = line.tries
        if attempt.end is not None:
            s.limit.note(line.task, attempt.end)
