"""The JSON that other programs read: a promise, kept as the README lists it. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from parallel_train.core.causes import standing
from parallel_train.core.explain import Reason
from parallel_train.core.facts import Attempt, Exited, NotStarted, Outcome, Request, Round, Signalled
from parallel_train.core.situation import Situation, name_of
from parallel_train.core.state import Ended, Line, Running
from parallel_train.core.task import Json, is_secret, show
from parallel_train.report import why, words
from parallel_train.report.muster import muster_json
from parallel_train.report.story import Story, Worker


def task_json(line: Line) -> dict[str, Any]:
    """One of the `tasks` of `status --json` and `results --json`.

    gpu, started and log are the running attempt's while one runs, else the deciding attempt's.
    """
    task, state = line.task, line.state
    shown = line.attempts[-1] if isinstance(state, Running) and line.attempts else line.deciding
    is_live = shown is not None and shown.end is None
    if isinstance(state, Running) and not is_live:
        shown = None  # its shim is starting: nothing is known yet
    end = shown.end if shown else None
    return {
        "id": task.id,
        "name": task.name,
        "params": to_json(task.params),
        "state": type(state).__name__.lower(),
        "ending": state.ending if isinstance(state, Ended) else None,
        "attempts": line.attempts_of_round,
        "exit_code": exit_code(end.outcome) if end else None,
        "gpu": list(shown.claim.gpus) if shown else [],
        "started": _started(shown),
        "ended": (end.ended or None) if end else None,
        "output": task.output,
        "log": shown.claim.log if shown else None,
    }


def plan_json(
    situation: Situation, line: Line, reason: Reason, *, command: Sequence[str], env: Mapping[str, str]
) -> dict[str, Any]:
    """One of the `tasks` of `-n --json`. `command` and `env` are what the task would get."""
    task = line.task
    return {
        "id": task.id,
        "name": task.name,
        "params": to_json(task.params),
        "command": list(command),
        "env": {name: _shown(name, value) for name, value in env.items()},
        "output": task.output,
        "needs": list(task.needs),
        "gpus": task.gpus,
        "decision": reason.decision,
        "reason": words.reason(reason, situation),
    }


def exit_code(outcome: Outcome) -> int | None:
    """-N for signal N; None where there is none: never started, timed out, lost."""
    match outcome:
        case Exited(code):
            return code
        case Signalled(number):
            return -number
        case _:
            return None


def to_json(value: Json) -> Any:
    """`value` for strict JSON: NaN and infinities, which it has no words for, become null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [to_json(item) for item in value]
    return value


def _started(shown: Attempt | None) -> str | None:
    if shown is None or (shown.end and isinstance(shown.end.outcome, NotStarted)):
        return None
    return (shown.end.started if shown.end else "") or shown.claim.at or None


def _shown(name: str, value: str) -> str:
    return "***" if is_secret(name) and not value.startswith("secret:") else value


# ---- explain ----


def story_json(story: Story) -> dict[str, Any]:
    """One of the `tasks` of `explain --json`."""
    s, line, found = story.situation, story.line, story.found
    task, state, reason = line.task, line.state, story.links[0].reason
    return {
        "id": task.id,
        "number": task.number,
        "name": task.name,
        "state": type(state).__name__.lower(),
        "ending": state.ending if isinstance(state, Ended) else None,
        "stale": state.stale if isinstance(state, Ended) else None,
        "decision": reason.decision,
        "reason": words.reason(reason, s),
        "because": [
            {**_named(s, link.task), "decision": link.reason.decision, "reason": words.reason(link.reason, s)}
            for link in story.links[1:]
        ],
        "before": len(story.place.ahead) if story.place else None,
        "on_slots": [_named(s, name) for name in story.place.running] if story.place else [],
        "elsewhere": list(found.elsewhere) if story.place else [],
        "workers": [_worker_json(worker) for worker in found.workers],
        **({"cluster": muster_json(found.muster)} if found.muster else {}),
        "changed": [{**_named(s, c.task), "wording": list(c.wording), "inputs": list(c.inputs)} for c in found.changed],
        "changed_since": list(found.changed_since),
        "written_since": [path for path, _ in found.touched],
        "steps": [{"command": command, "what": what} for command, what in why.commands(story)],
        **_task_in_full(story),
        "rounds": [_round_json(round_, found.aside) for round_ in line.rounds],
        "attempts": [_attempt_json(line, attempt) for attempt in line.attempts],
        "requests": [_request_json(request, task.id) for request in found.requests],
        "records": [path for paths in found.records.values() for path in paths],
        "damaged": list(found.damaged),
    }


def _task_in_full(story: Story) -> dict[str, Any]:
    s, task, found = story.situation, story.line.task, story.found
    states = {name: s.lines[name].state for name in task.needs}
    done_when = task.done_when and {
        "files": list(task.done_when.files),
        "contains": task.done_when.contains,
        "holds": found.is_done,
    }
    return {
        "command": list(found.command),
        "cwd": show(task.cwd),
        "params": to_json(task.params),
        "env": {name: _shown(name, show(value)) for name, value in task.env.items()},
        "output": task.output,
        "output_state": found.output,
        "done_when": done_when,
        "gpus": task.gpus,
        "needs": [{**_named(s, name), "state": name_of(state)} for name, state in states.items()],
        "source": found.source or None,
        "priority": story.line.priority,
        "timeout": task.timeout,
        "retries": task.retries,
    }


def _named(s: Situation, name: str) -> dict[str, Any]:
    task = s.lines[name].task
    return {"id": task.id, "number": task.number, "name": task.name}


def _worker_json(worker: Worker) -> dict[str, Any]:
    seen = worker.seen
    return {
        "worker": seen.name,
        "host": seen.host,
        "pid": seen.pid,
        "words": list(seen.words),
        "slots": list(worker.slots),
        "takes_it": worker.takes,
    }


def _round_json(round_: Round, aside: Mapping[int, str]) -> dict[str, Any]:
    return {
        "round": round_.number,
        "why": round_.why,
        "by": round_.by or None,
        "puts_aside": round_.aside,
        "aside": aside.get(round_.number) or None,
    }


def _attempt_json(line: Line, attempt: Attempt) -> dict[str, Any]:
    claim, end = attempt.claim, attempt.end
    return {
        "attempt": attempt.number,
        "round": claim.round,
        "standing": standing(line, attempt),
        "how": words.end(end, line.task) if end else None,
        "exit_code": exit_code(end.outcome) if end else None,
        "host": claim.owner.host or None,
        "gpu": list(claim.gpus),
        "worker": claim.owner.worker or None,
        "claimed": claim.at or None,
        "started": _started(attempt),
        "ended": (end.ended or None) if end else None,
        "seconds": end.seconds if end else None,
        "memory_kib": (end.max_rss_kib or None) if end else None,
        "needs": dict(claim.needs),
        "log": claim.log or None,
        "err": claim.err or None,
    }


def _request_json(request: Request, task: str) -> dict[str, Any]:
    return {
        "request": request.number,
        "kind": request.kind,
        "value": request.tasks.get(task),
        "by": request.by or None,
        "at": request.at or None,
    }
