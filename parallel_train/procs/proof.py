"""The process that a claim names: does it live, and is it surely the shim, so that it may be signalled?"""

from __future__ import annotations

import os
import signal

from parallel_train.core.facts import Claim, Owner
from parallel_train.procs import fence, locks, process


def is_alive(owner: Owner) -> bool | None:
    """Whether the process that owns a claim lives; None where that can't be seen from here, or not now."""
    try:
        return lives(owner)
    except OSError:
        return None


def lives(owner: Owner) -> bool | None:
    """The same; raises OSError for what may be seen later."""
    here = process.this_machine()
    if owner.machine != here["machine"]:
        return None
    if owner.boot != here["boot"]:  # copied images share their machine id: one of another name may be another machine
        return False if owner.host == here["host"] else None
    if owner.pidns != here["pidns"]:
        return None
    descriptor = process.open_proven(owner.pid, owner.start)
    if descriptor is None:
        return False
    os.close(descriptor)
    return True


def _is_its_shim(claim: Claim) -> bool:
    """Whether the process that a claim names is the shim of that attempt, which a record alone does not prove: the
    shim itself has signed the slots that it holds, where nobody else can write.
    """
    try:
        signed = locks.holders()
    except OSError:
        return False
    return _names_its_owner(claim) and any(signed.get(name, {}).get("cookie") == claim.cookie for name in claim.slots)


def _names_its_owner(claim: Claim) -> bool:
    owner = claim.owner
    return claim.cookie.endswith(f".{owner.pid}.{owner.start}.{owner.boot}")


def stop(claim: Claim, *, kill: bool = False) -> bool:
    """Tell the shim that owns `claim` to end its attempt; False where it does not live, or not here."""
    if not lives(claim.owner):
        return False
    descriptor = process.open_proven(claim.owner.pid, claim.owner.start)
    if descriptor is None:
        return False
    is_its_shim = _is_its_shim(claim)  # asked as late as can be: it goes on to other attempts
    if is_its_shim:
        process.send(descriptor, signal.SIGQUIT if kill else signal.SIGTERM)
    os.close(descriptor)
    return is_its_shim


def sweep(claim: Claim) -> None:
    """Kill what a dead owner left running: what carries its cookie, and not that of another one that lives."""
    if _names_its_owner(claim) and claim.owner.boot == process.boot_id():
        process.kill_carriers(claim.cookie)
        fence.sweep(claim.group, claim.cookie)
