"""Slurm, through the commands that every cluster has: sbatch, squeue, scancel, scontrol. Each under a time limit."""

from __future__ import annotations

import calendar
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from parallel_train.cluster import states
from parallel_train.cluster.script import Plan, script, words
from parallel_train.core.cluster import DRAIN, KILL, LATER, STOP, Element
from parallel_train.core.facts import Array
from parallel_train.errors import ClusterError
from parallel_train.procs import aside, bounded
from parallel_train.report.words import ranges

LIMIT = 5.0  # seconds for a question; a dead controller would hold it for a minute
SUBMIT_LIMIT = 30.0
# scancel repeats after 5 s what was refused for the moment, also where it was done: a second SIGINT means more.
SIGNAL_LIMIT = 4.5
USUAL_ARRAY = 1001  # MaxArraySize as Slurm has it where nobody set it
AGAIN = 5  # seconds until an element that asked for another turn may get it; with 0 Slurm was seen to fail some

_ABSENT = "{} is not installed here: Slurm is used from a machine that has its commands"
_FIELDS = "%i|%T|%N|%r|%M|%j"
_OF_ACCOUNTS = "JobID,State,NodeList,Reason,Elapsed,JobName"  # the same
_CLOCKS = 3600.0  # seconds that the clocks of two machines may differ by
_JOB = re.compile(r"(\d+)_(\d+)")
_LEFT = re.compile(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)")
_PREFIX = re.compile(r"^\w+: (?:error: |fatal: )?")
_TROUBLE = re.compile(
    r"Unable to contact|timed out|temporarily|Zero Bytes|[Cc]ommunication|[Cc]onnection|standby|[Mm]unge|authenticat"
)
_GONE = re.compile(r"Invalid job id|already complet")
# To the worker alone, which ends its tasks in order; what Slurm finds of an element without a worker it kills at once.
_SIGNALS = {DRAIN: "INT", STOP: "TERM", KILL: "KILL"}
# What sbatch would read from the environment first, before the script.
_OVERRULES = {
    "--account": "SBATCH_ACCOUNT",
    "--array": "SBATCH_ARRAY_INX",
    "--chdir": "SBATCH_WORK_DIR",
    "--constraint": "SBATCH_CONSTRAINT",
    "--cpus-per-task": "SBATCH_CPUS_PER_TASK",
    "--gres": "SBATCH_GRES",
    "--job-name": "SBATCH_JOB_NAME",
    "--open-mode": "SBATCH_OPEN_MODE",
    "--output": "SBATCH_OUTPUT",
    "--partition": "SBATCH_PARTITION",
    "--qos": "SBATCH_QOS",
    "--requeue": "SBATCH_NO_REQUEUE",
    "--signal": "SBATCH_SIGNAL",
    "--time": "SBATCH_TIMELIMIT",
}


def names_of(queue: Path) -> str:
    """How the jobs of the queue `queue` are called, up to the number of the array: so they are found again by name.

    Raises OSError where the queue's id can't be read.
    """
    return f"parallel-train-{aside.queue_id(str(queue))}"


@dataclass(frozen=True, slots=True)
class Slurm:
    """A `Cluster` (see ports). Without a plan it only looks, and dismisses."""

    queue: Path
    plan: Plan | None = None
    limit: float = LIMIT

    def submit(self, array: Array, delay: float) -> None:
        if self.plan is None:
            raise AssertionError("nothing was planned")
        plan = replace(self.plan, name=names_of(self.queue))  # the queue was made after the plan
        text = script(array, plan)
        Path(self.plan.log_dir).mkdir(parents=True, exist_ok=True)  # Slurm fails a job whose log can't be opened
        later = (f"--begin=now+{max(1, round(delay))}",) if delay > 0 else ()
        options = [word.partition("=")[0] for option in words(array, plan) for word in option]
        overruled = {_OVERRULES.get(option) for option in options}
        environ = {name: value for name, value in os.environ.items() if name not in overruled}
        with tempfile.TemporaryFile() as file:
            file.write(os.fsencode(text))
            file.seek(0)
            _ask(["sbatch", "--parsable", *later], SUBMIT_LIMIT, environ=environ, stdin=file)

    def elements(self) -> tuple[Element, ...]:
        command = ["squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}", f"--format={_FIELDS}"]
        found = _elements(_ask(command, self.limit).splitlines(), names_of(self.queue))
        if self.plan is None:
            return tuple(found)
        log_dir = self.plan.log_dir
        return tuple(
            replace(e, log=f"{log_dir}/slurm-{e.job}.log") if e.state == states.FAILED and e.host else e for e in found
        )

    def forgotten(self, numbers: Iterable[int], since: str) -> tuple[Element, ...]:
        """What the accounts tell of arrays that Slurm's queue has forgotten, the first of which was asked for at
        `since` (ISO 8601 UTC). Raises as `elements` does; many sites keep no accounts.
        """
        name = names_of(self.queue)
        named = ",".join(f"{name}-{number}" for number in numbers)
        command = ["sacct", "--noheader", "--parsable2", "--allocations", f"--name={named}", f"--format={_OF_ACCOUNTS}"]
        said = _ask([*command, f"--starttime={_earlier(since)}"], self.limit)
        return tuple(_elements(said.splitlines(), name))

    def dismiss(self, jobs: Sequence[str], level: int) -> None:
        """See ports. Those that wait are cancelled first: while an array has such, scancel takes a signal for refused
        that it has sent.
        """
        named = compact(jobs)
        _cancel(["--state=PENDING", *named], self.limit)
        if level in _SIGNALS:
            _cancel(["--state=RUNNING", "--batch", f"--signal={_SIGNALS[level]}", *named], SIGNAL_LIMIT)


def check_installed() -> None:
    """Raises ClusterError where Slurm can't be asked for anything."""
    if shutil.which("sbatch") is None:
        raise ClusterError(_ABSENT.format("sbatch"))


def _earlier(moment: str) -> str:
    """A local time, as the accounts have it."""
    at = 0.0
    with suppress(ValueError):
        at = calendar.timegm(time.strptime(moment, "%Y-%m-%dT%H:%M:%SZ")) - _CLOCKS
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(at))


def most_elements() -> int:
    """How many elements an array may have here."""
    try:
        said = _ask(["scontrol", "show", "config"], LIMIT)
    except (OSError, ClusterError):
        return USUAL_ARRAY
    found = re.search(r"^MaxArraySize\s*=\s*([1-9]\d*)\s*$", said, re.MULTILINE)
    return int(found[1]) if found else USUAL_ARRAY


def time_left(job: str) -> float | None:
    """Seconds that are left of an allocation; None where it has no limit, or Slurm doesn't say."""
    try:
        said = _ask(["squeue", "--noheader", f"--jobs={job}", "--format=%L"], LIMIT).strip()
    except (OSError, ClusterError):
        return None
    found = _LEFT.fullmatch(said)
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def requeue(job: str) -> None:
    """Ask for another turn of an element, by itself. Slurm ends it then. Raises ClusterError or OSError."""
    with _deaf():
        _ask(["scontrol", "requeue", job], LIMIT)
        with suppress(OSError, ClusterError):  # it only comes later then: two minutes, unless a site says otherwise
            _ask(["scontrol", "update", f"JobId={job}", f"StartTime=now+{AGAIN}"], LIMIT)


@contextmanager
def _deaf() -> Iterator[None]:
    """What is started now outlives the TERM that Slurm sends to a whole element."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def compact(jobs: Iterable[str]) -> list[str]:
    """123_[0-2,7] for 123_0 123_1 123_2 123_7."""
    arrays: dict[str, list[str]] = {}
    alone = []
    for job in jobs:
        if found := _JOB.fullmatch(job):
            arrays.setdefault(found[1], []).append(found[2])
        else:
            alone.append(job)
    return [*alone, *(f"{array}_[{ranges(indexes)}]" for array, indexes in arrays.items())]


def _elements(lines: Iterable[str], name: str) -> Iterator[Element]:
    for line in lines:
        job, state, host, *reason, used, its_name = line.split("|") if line.count("|") >= 5 else [""] * 6
        number = its_name.removeprefix(f"{name}-")
        found = _JOB.fullmatch(job)  # what was cancelled before it had a turn has no index
        if found and number != its_name and number.isascii() and number.isdigit():
            word = states.told("|".join(reason))
            if state == states.CLEANED and word in {"", LATER} and used and not used.strip("0:"):
                state = states.BACK  # cleaned up behind as well, but only one that waits has used no time
            phase, meaning = states.phase(state, host), states.meaning(state, host, word)
            why = states.reason_in_words(word) if phase == "waiting" else ""
            yield Element(
                job, int(number), int(found[2]), phase, state, word, meaning, host, why, has_left=state == states.LEFT
            )


def _cancel(arguments: Sequence[str], limit: float) -> None:
    said = _run(["scancel", *arguments], limit)
    wrong = [line for line in said.complaint.splitlines() if line.strip() and not _GONE.search(line)]
    if wrong:
        raise OSError(_plainly(wrong))


def _ask(
    command: Sequence[str],
    limit: float,
    *,
    environ: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
) -> str:
    """What a command said. Raises ClusterError where it refuses for good, OSError where that may pass."""
    said = _run(command, limit, environ=environ, stdin=stdin)
    if said.code == 0:
        return said.output
    text = _plainly(said.complaint.splitlines()) or f"exit code {said.code}"
    if _TROUBLE.search(text):
        raise OSError(f"{command[0]}: {text}")
    raise ClusterError(f"{command[0]}: {text}")


def _run(
    command: Sequence[str],
    limit: float,
    *,
    environ: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
) -> bounded.Said:
    try:
        return bounded.run(command, limit, environ=environ, stdin=stdin)
    except FileNotFoundError:
        raise ClusterError(_ABSENT.format(command[0])) from None
    except TimeoutError:
        raise TimeoutError(f"{command[0]} did not answer within {limit:g} s") from None


def _plainly(lines: Iterable[str]) -> str:
    return "; ".join(_PREFIX.sub("", line).strip() for line in lines if line.strip())
