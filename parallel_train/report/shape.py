"""The JSON that other programs read: a promise, kept as the README lists it. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from parallel_train.core.explain import Reason
from parallel_train.core.facts import Attempt, Exited, NotStarted, Outcome, Signalled
from parallel_train.core.situation import Situation
from parallel_train.core.state import Ended, Line, Running
from parallel_train.core.task import Json
from parallel_train.report import words

_SECRET_ENDINGS = ("TOKEN", "KEY", "SECRET", "PASSWORD")


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
    is_secret = name.upper().endswith(_SECRET_ENDINGS) and not value.startswith("secret:")
    return "***" if is_secret else value
