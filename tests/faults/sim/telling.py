"""A step and what came of it, for people."""

from __future__ import annotations

from typing import Any

from parallel_train.core.facts import Claim
from parallel_train.core.task import Task
from tests.faults.sim.disk import Key
from tests.faults.sim.shim import Order, Step

SILENT = {
    "top",
    "looked_for",
    "names",
    "sleep",
    "submissions",
    "last_request",
    "works",
    "listdir",
    "no_beat",
    "prepare",
}


def is_telling(op: Step, result: Any, error: BaseException | None) -> bool:
    """Whether a reader wants to see this step: not what only looked and found nothing."""
    return error is not None or not (
        op[0] in SILENT or (op[0] == "await" and not result) or (op[0] == "wait" and not result[0])
    )


def said(key: Key) -> str:
    return f"{key[0]}.{key[1]}"


def called(order: Order) -> str:
    """The shim that has this order."""
    return f"shim {said(order.key)} of {order.worker}"


def described(what: Any) -> str:  # noqa: C901, PLR0911  one case per kind
    """A step or what came of it, for people."""
    match what:
        case ("link", kind, key, record):
            return f"link {kind}/{said(key)} {described(record)}"
        case ("wait" | "requests", *_):
            return str(what[0])
        case ("left", code, _):
            return f"left {code}"
        case ("exists" | "read", kind, key):
            return f"{what[0]} {kind}/{said(key)}"
        case Claim():
            needs = " ".join(f"{need}.{attempt}" for need, attempt in what.needs.items())
            return f"[round {what.round} identity {what.identity} from {needs or 'nothing'} on {' '.join(what.slots)}]"
        case Order(launch, worker):
            return f"{said(what.key)} round {launch.round} aside {launch.aside} for {worker} {dict(launch.needs)}"
        case Task():
            return what.id
        case tuple():
            return " ".join(described(each) for each in what)
        case list():
            return f"[{', '.join(described(each) for each in what)}]"
        case _:
            text = str(what)
            return text if len(text) < 160 else text[:157] + "..."
