"""Slurm's words for its jobs: which phase each means, and what is said of it. A word that is not known is shown as is.

No state is a success: an element holds a worker, and only the records say how its tasks ended.
Source: job_state_codes and job_reason_codes of Slurm's documentation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from parallel_train.core.cluster import Phase

FAILED, LEFT = "FAILED", "COMPLETED"
CLEANED, BACK = "COMPLETING", "REQUEUED"
_NOWHERE = {"", "None assigned"}
_STATES: Mapping[str, tuple[Phase, str]] = {
    "PENDING": ("waiting", "waits in Slurm's queue"),
    "EXPEDITING": ("waiting", "waits in Slurm's queue, before all others"),
    "CONFIGURING": ("waiting", "its machine is made ready"),
    "POWER_UP_NODE": ("waiting", "its machine is switched on"),
    BACK: ("waiting", "goes back into Slurm's queue"),
    "REQUEUE_FED": ("waiting", "goes back into the queue of another cluster"),
    "REQUEUE_HOLD": ("waiting", "went back into Slurm's queue and is held there: scontrol release lets it go"),
    "SPECIAL_EXIT": ("waiting", "went back into Slurm's queue and is held there: scontrol release lets it go"),
    "RESV_DEL_HOLD": ("waiting", "is held: its reservation was deleted"),
    "RUNNING": ("running", "runs"),
    "SUSPENDED": ("running", "stands still: Slurm suspended it"),
    "STOPPED": ("running", "stands still: Slurm stopped it"),
    "RESIZING": ("running", "changes its size"),
    "SIGNALING": ("running", "is being signalled"),
    "UPDATE_DB": ("running", "is being written into Slurm's database"),
    CLEANED: ("over", "is over; Slurm cleans up behind it"),
    "STAGE_OUT": ("over", "is over; Slurm moves its files"),
    LEFT: ("over", "its worker left"),
    FAILED: ("over", "its worker failed: the end of its log says why"),
    "CANCELLED": ("over", "was cancelled in Slurm"),
    "TIMEOUT": ("over", "was ended at its time limit"),
    "PREEMPTED": ("over", "was ended to make room for another job (preempted)"),
    "OUT_OF_MEMORY": ("over", "was killed: it took more memory than was asked for (--sbatch --mem=…)"),
    "NODE_FAIL": ("over", "its machine failed"),
    "BOOT_FAIL": ("over", "its machine did not start"),
    "LAUNCH_FAILED": ("over", "could not be started on its machine"),
    "RECONFIG_FAIL": ("over", "its machine could not be set up"),
    "DEADLINE": ("over", "was ended: it could not have met its deadline"),
    "REVOKED": ("over", "was taken over by another cluster"),
}

_REASONS: Mapping[str, str] = {
    "Priority": "others come first",
    "Resources": "no machine has what it asks for free",
    "Licenses": "a licence is in use",
    "BeginTime": "it may not start yet",
    "JobArrayTaskLimit": "as many as allowed of its array run",
    "Dependency": "it waits for another job",
    "DependencyNeverSatisfied": "it waits for another job that failed: it will never start",
    "JobHeldUser": "you hold it: scontrol release lets it go",
    "JobHeldAdmin": "an administrator holds it",
    "JobHoldMaxRequeue": "it went back into the queue too often, and is held",
    "launch failed requeued held": "its machine could not start it, and it is held: scontrol release lets it go",
    "ReqNodeNotAvail": "a machine that it needs is down, reserved or drained",
    "NodeDown": "a machine that it needs is down",
    "Reservation": "its reservation has not begun",
    "ReservationDeleted": "its reservation was deleted",
    "PartitionDown": "its partition is down",
    "PartitionInactive": "its partition starts nothing now",
    "PartitionTimeLimit": "it asks for more time than its partition allows: it will not start so",
    "PartitionNodeLimit": "its partition has no such machine, or it is down",
    "PartitionConfig": "its partition does not allow it",
    "AccountNotAllowed": "its account may not use this partition",
    "AccountingPolicy": "a limit of your account",
    "AssociationJobLimit": "as many jobs of your account as allowed run",
    "InvalidAccount": "there is no such account: it will not start so",
    "InvalidQOS": "there is no such QOS: it will not start so",
    "QOSNotAllowed": "its account may not use this QOS",
    "QOSJobLimit": "as many jobs of its QOS as allowed run",
    "BadConstraints": "no machine is as it asks for: it will never start",
    "Constraints": "no machine is as it asks for now",
    "Cleaning": "Slurm cleans up behind its last turn",
    "Prolog": "its machine is made ready",
    "OutOfMemory": "it took more memory than was asked for",
    "NonZeroExitCode": "its worker failed",
    "JobLaunchFailure": "its machine could not start it",
    "TimeLimit": "its time was up",
    "SystemFailure": "Slurm or a disk failed",
}
_SILENT = {"None", "(null)"}
_WHOSE = {"QOS": "its QOS", "Assoc": "your account", "Max": "your account"}
_LIMIT = re.compile(r"(QOS|Assoc|Max(?=\w*PerAccount))(Grp|Max|Min|(?=\w*PerAccount))(\w*)")


def phase(state: str, host: str = "") -> Phase:
    """What `state` comes to. A word that is not known is taken for no end: Slurm lists those only for a while."""
    return _STATES.get(_base(state), ("running" if host else "waiting", ""))[0]


def meaning(state: str, host: str = "", reason: str = "") -> str:
    """The state in words that follow the element's name."""
    if _base(state) == FAILED and host in _NOWHERE:
        return f"never ran: {reason_in_words(reason)}" if reason else "never ran: Slurm does not say why"
    known = _STATES.get(_base(state))
    return known[1] if known else f"Slurm says {state}"


def told(reason: str) -> str:
    """A reason that Slurm gives; empty where it says that there is none."""
    return "" if reason in _SILENT else reason


def reason_in_words(reason: str) -> str:
    """Why a job waits, with Slurm's own word for who wants to look it up."""
    word = re.split(r"[,(]", reason, maxsplit=1)[0].strip()  # ReqNodeNotAvail, UnavailableNodes:pt2
    said = _REASONS.get(word) or _of_limit(word)
    return f"{said} ({reason})" if said else reason


def _of_limit(word: str) -> str:
    """QOSMaxGRESPerUser, AssocGrpCpuLimit and more than a hundred others of this kind."""
    found = _LIMIT.fullmatch(word)
    if found is None:
        return ""
    whose, kind, what = found.groups()
    if kind == "Min":
        return f"it asks for less than {_WHOSE[whose]} demands: it will not start so"
    if kind == "Max" and "PerUser" not in what and "Jobs" not in what and "SubmitJob" not in what:
        return f"it asks for more than {_WHOSE[whose]} allows: it will not start so"
    return f"a limit of {_WHOSE[whose]} is reached"


def _base(state: str) -> str:
    """CANCELLED of `CANCELLED by 1000` and `CANCELLED+`."""
    return state.partition(" ")[0].rstrip("+")
