"""What should happen now. Costs by the free slots, not by the tasks; changes nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby, islice

from parallel_train.core import contact, enlist, policy, sick
from parallel_train.core.events import (
    Company,
    Decision,
    Launch,
    Leave,
    Look,
    NeedSeen,
    PutSlotAside,
    Reclaim,
    Stop,
    Watch,
)
from parallel_train.core.facts import Claim, Lost, LostBy
from parallel_train.core.lent import carried, has_work, in_time, is_of_use
from parallel_train.core.situation import Key, Situation
from parallel_train.core.state import Ended, Line, Running, State, Waiting, is_satisfied

# What the second and the later Ctrl-C ask for; the first starts nothing more, the last one waits for nothing.
STOP, KILL, LEAVE = 2, 3, 4


def decide(s: Situation, now: float) -> list[Decision]:
    """Everything that should happen now, in order."""
    decisions: list[Decision] = [Watch(claim) for claim in s.unwatched.values()]
    decisions += [Reclaim(claim, why) for claim, why in _dead(s)]
    if s.stopping >= STOP or now >= s.limit.stops_at:
        level = min(max(s.stopping, STOP), KILL)
        decisions += [Stop(t, n, kill=level == KILL) for t, n in s.mine if s.told.get((t, n), 0) < level]
    decisions += [Stop(t, n, kill=False) for t, n in s.mine if s.lines[t].is_cancelled and (t, n) not in s.told]
    decisions += [PutSlotAside(name, tasks) for name, tasks in sick.found(s.pool)]
    if s.is_behind:
        return [*decisions, Look()]
    if not is_holding_back(s, now):
        decisions += islice(s.to_open.values(), policy.ROUNDS_AT_ONCE)
        if now >= s.paused_until and not s.is_paused:
            decisions += _launches(s, now)
    if not decisions and s.roster is not None:
        decisions += enlist.orders(s, s.roster, now, is_leaving=is_holding_back(s, now))
    if not decisions:
        decisions += _leave(s, now)
    return decisions


def is_holding_back(s: Situation, now: float) -> bool:
    """Whether nothing more is started: told to leave, as many failures as are allowed, or no time left."""
    return bool(s.stopping) or has_too_many_failures(s) or s.limit.is_over(now)


def has_too_many_failures(s: Situation) -> bool:
    return 0 < s.wishes.max_failures <= s.failures


def wake_at(s: Situation, now: float) -> float | None:
    """When `decide` may give something new without an event (monotonic seconds); None: never."""
    times = [slot.avoid_until for slot in (*s.pool.slots.values(), *s.pool.extra.values())]
    times += [s.paused_until, s.limit.stops_at, s.wishes.patient_until]
    if s.delayed:
        times.append(s.delayed[0][0])
    if s.roster is not None:
        times.append(enlist.ask_at(s.roster, is_leaving=is_holding_back(s, now)))
    return min((t for t in times if now < t < math.inf), default=None)


def _dead(s: Situation) -> Iterator[tuple[Claim, LostBy]]:
    for (task, attempt), why in s.vanished.items():
        for known in s.lines[task].attempts[-1:]:
            if known.number == attempt:
                yield known.claim, why


def _launches(s: Situation, now: float) -> Iterator[Launch]:
    room = s.wishes.at_once - len(s.mine) if s.wishes.at_once else len(s.lines)
    free = s.pool.free(now)
    for line in islice(_worth_starting(s, s.ready, now, is_cpu=False), len(free)):
        if room < 1 or line.task.gpus > len(free):
            break  # a wide task comes first: slots that come free are kept for it
        taken, free = free[: line.task.gpus], free[line.task.gpus :]
        room -= 1
        yield _launch(s, line, taken)
    free_cpu = s.pool.free_cpu(now)
    for name, line in zip(free_cpu, _worth_starting(s, s.ready_cpu, now, is_cpu=True), strict=False):
        if room < 1:
            break
        room -= 1
        yield _launch(s, line, [name])


def _worth_starting(s: Situation, ready: list[Key], now: float, *, is_cpu: bool) -> Iterator[Line]:
    """What is ready, in the order in which this worker tries to start it, as far as it has slots for it, and time."""
    fitting = carried(s, _in_order(s, ready, now, is_cpu=is_cpu))
    return in_time(s, _ours_first(fitting, s.company), now)


def _in_order(s: Situation, ready: list[Key], now: float, *, is_cpu: bool) -> Iterator[Line]:
    """Ready lines, and those whose back-off is over, the most urgent first."""
    due: list[Key] = []
    for until, name in s.delayed:
        if until > now:
            break
        line = s.lines[name]
        if (line.task.gpus == 0) == is_cpu:
            due.append((-line.priority, line.task.number, name))
    due.sort()
    waiting = iter(ready)
    upcoming = next(waiting, None)
    for key in due:
        while upcoming is not None and upcoming < key:
            yield s.lines[upcoming[2]]
            upcoming = next(waiting, None)
        yield s.lines[key[2]]
    while upcoming is not None:
        yield s.lines[upcoming[2]]
        upcoming = next(waiting, None)


def _ours_first(lines: Iterator[Line], company: Company) -> Iterator[Line]:
    """Of equally urgent lines our share first, so that workers don't race for each task; then the others', from their
    far end, where they themselves come last. A wide task is everybody's: slots are kept for it.
    """
    if company.size == 1:
        yield from lines
        return
    for _, equals in groupby(lines, key=lambda line: line.priority):
        others = []
        for line in islice(equals, policy.SHARED_AT_ONCE):
            if line.task.gpus > 1 or line.task.number % company.size == company.place:
                yield line
            else:
                others.append(line)
        yield from reversed(others)


def _launch(s: Situation, line: Line, slots: list[str]) -> Launch:
    needs = {}
    for name in line.task.needs:
        need = s.lines[name]
        deciding = need.state.attempt if isinstance(need.state, Ended) else 0
        needs[name] = NeedSeen(need.round, deciding, need.next_attempt - 1)
    return Launch(
        line.task,
        line.next_attempt,
        line.round,
        needs,
        tuple(slots),
        line.aside_due,
        heard=s.heard,
        asked_round=line.asked_round,
        wait=_wait(line),
        resumes=line.is_interrupted,
        stops_at=s.limit.stops_at,
    )


def _wait(line: Line) -> float:
    """Seconds until the owners of attempts that were taken over have halted, counted from the claim.

    An attempt that has run since has waited for them; one that was claimed and ended otherwise may not have.
    """
    seconds = 0.0
    for attempt in reversed(line.attempts):
        if attempt.has_run:
            break
        if attempt.end is not None and attempt.end.outcome == Lost("expired"):
            seconds = max(seconds, contact.halted_after(attempt.claim.lease))
    return seconds


def _leave(s: Situation, now: float) -> list[Decision]:
    """Leave once nothing is left to do here; `decide` has found nothing else."""
    if is_holding_back(s, now) and s.stopping < LEAVE and (s.mine or (s.roster and enlist.is_awaited(s, s.roster))):
        return []
    if is_holding_back(s, now) or not s.open:
        return [Leave(s.exit_code if s.stopping else exit_code(s))]
    if s.wishes.is_lent:
        return [] if is_of_use(s, now) else [Leave(exit_code(s))]
    if s.roster is not None and (code := enlist.leaves_with(s, s.roster)) is not None:
        return [Leave(code)]
    if s.is_paused or not _is_stuck(s, now):
        return []
    # What is stuck otherwise can only be a bug.
    has_other_reasons = s.ready or s.ready_cpu or s.delayed  # too wide for this worker, or too long
    is_known = has_other_reasons or any(_waits_for_canary(s.lines[name].state) for name in s.open)
    return [Leave(exit_code(s), stuck=() if is_known else tuple(sorted(s.open)))]


def exit_code(s: Situation) -> int:
    """0 where every task of the selection is satisfied, else 1; of a lent worker the open ones are others' to end."""
    left = s.open & s.wishes.selection
    if left and not s.wishes.is_lent:
        return 1
    if s.wishes.ignore_failures:
        return 0
    return 0 if all(is_satisfied(s.lines[name].state) for name in s.wishes.selection - left if s.works_on(name)) else 1


def _is_stuck(s: Situation, now: float) -> bool:
    """Open tasks, but nothing runs, is ready for this worker, or comes due."""
    if s.mine or has_work(s, now):
        return False
    return not any(_can_move(s.lines[name].state) for name in s.open)


def _can_move(state: State) -> bool:
    """Whether something that runs now, here or elsewhere, or a person will change it."""
    return isinstance(state, Running) or (isinstance(state, Waiting) and state.why in {"readers", "paused"})


def too_wide(s: Situation) -> list[str]:
    """Ready tasks that want more than this worker has: they joined later, or their file was edited."""
    ready = (name for *_, name in (*s.ready, *s.ready_cpu))
    return [name for name in ready if not s.carries(s.lines[name].task.gpus)]


def _waits_for_canary(state: State) -> bool:
    return isinstance(state, Waiting) and state.why == "canary"
