"""One life of the project of crash_scenario in which something is broken on purpose, and what is wrong at its end.

python -m tests.faults.crash_life FOLDER [CALL FATE ...]

It lists the calls where none is given. The first command meets the first fault, the same command again the second
one, and so on; then the same command again, unharmed, must bring everything to its end. FATE is one of

    KILL                        that process is killed at that call
    EIO ENOSPC EMFILE EINTR     the call gives that error
    ALL                         scheduler, launcher and that shim are killed at once
    STRANGER                    so they are, and the shim's pid belongs to another process afterwards
    UNREAD                      that shim, which waits for an order, is killed as soon as one lies there
    CANCEL                      that shim is held there while somebody cancels the task that succeeds
    RIVAL                       that shim is held there while the same command, started beside it, runs that task
    SEE                         nothing: the calls of this command are to be listed (CALL is any word)
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, cast

from parallel_train.procs import process
from parallel_train.store import records
from tests.faults import ptrace
from tests.faults.checker import history, survivors
from tests.faults.crash_judge import LOCKS, Life, judge, slots_of
from tests.faults.crash_scenario import (
    GOOD,
    ONE_SLOT,
    TWO_SLOTS,
    HungError,
    begun,
    forked,
    is_settled,
    main,
    make,
    outcomes,
    patience,
)
from tests.faults.tracer import END, Fate, Fault, Trace, Tracer, start_time
from tests.support.sweep import QUEUE
from tests.support.sweep import project as project_in

Where = tuple[str, Fate] | None  # None: nothing is broken, its calls are listed
AT_ONCE = 8
_HELD = 2.0  # seconds that a shim is held at most, while somebody does something; more where all takes longer


def live(root: Path, wheres: Sequence[Where]) -> Life:
    """Break these, one after the other, then let it come to its end. What is wrong then is in `faults`."""
    root.mkdir(parents=True, exist_ok=True)
    with project_in(root.resolve()) as project:
        life = Life(project)
        make(project)
        try:
            for where in wheres or (None,):
                traced(life, where)
            if not is_settled(project) or life.killed.intersection(trace.pid for trace in life.traces):
                with patience("the command that was not harmed"):
                    life.codes.append(forked(project, *ONE_SLOT))
            life.faults += judge(life)
        except HungError as error:
            life.faults += [f"{error}:\n{project.said}", *survivors(project.root)]
    return life


def traced(life: Life, where: Where) -> Trace:
    """Run the command under the eyes of the tracer."""
    root = str(life.project.root)
    slots = (LOCKS + END, f"{LOCKS}/{slots_of(life.project)}")  # thousands of others may lie there
    places = (*(f"{root}/{name}" for name in (QUEUE, "logs", "output")), *slots)
    meanwhile = _MEANWHILE.get(where[1] if where else "", Meanwhile)(life)
    fault = Fault(*where, is_held=meanwhile.is_held) if where else None
    with patience("the command that was harmed"):
        trace = Tracer(root, places, fault).run(lambda: main(life.project, *ONE_SLOT))
    life.traces.append(trace)
    life.codes.append(trace.code or 0)
    if trace.hit is not None:
        if fault is not None and fault.fate == "KILL":
            life.killed.add(trace.hit.pid)
            life.shot |= {trace.shim} if trace.shim else set()
            if trace.hit.role.startswith("child-"):
                life.cut_short.add(trace.hit.role.removeprefix("child-"))
        elif trace.hit.name == "unlink":
            life.left.add(trace.hit.pid)
        with patience("what was begun meanwhile"):
            meanwhile.after(trace)
    return trace


# ---- while a shim is held ----


@dataclass
class Meanwhile:
    """What is done while a process is held at a call."""

    life: Life
    pid: int = 0  # of the command that was begun
    until: float = 0.0
    began: float = field(default_factory=time.monotonic)

    def is_held(self, shim: int) -> bool:
        """Whether to hold it on; asked again and again."""
        del shim
        return False

    def limit(self) -> float:
        now = time.monotonic()
        return now + max(_HELD, now - self.began)

    def after(self, trace: Trace) -> None:
        """The command is over."""


class Canceller(Meanwhile):
    """The shim goes on once the cancel is confirmed, or after a while."""

    def is_held(self, shim: int) -> bool:
        del shim
        if not self.pid:
            self.until = self.limit()
            self.pid = begun(self.life.project, "cancel", GOOD)
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return time.monotonic() < self.until
        told = history(self.life.project.root / QUEUE)
        self.life.is_unclaimed = not any(told.names[task] == GOOD for task, _ in told.claims)
        return False

    def after(self, trace: Trace) -> None:
        code, self.life.cancelled = trace.ended[self.pid]
        self.life.faults += [f"the cancel exits with {code}"] if code else []


class Rival(Meanwhile):
    """The same command with a second slot; the shim goes on once the task has ended, or after a while."""

    def is_held(self, shim: int) -> bool:
        del shim
        if not self.pid:
            self.until = self.limit()
            self.pid = begun(self.life.project, *TWO_SLOTS)
        has_ended = bool(outcomes(history(self.life.project.root / QUEUE), GOOD))
        return not has_ended and time.monotonic() < self.until

    def after(self, trace: Trace) -> None:
        code, _ = trace.ended[self.pid]
        self.life.faults += [f"the rival exits with {code}"] if code != 1 else []


class Killer(Meanwhile):
    """Kills the scheduler, the launcher and the shim."""

    def is_held(self, shim: int) -> bool:
        launcher = parent_of(shim)
        scheduler = parent_of(launcher)
        self.life.shot.add((shim, start_time(shim)))
        for pid in (scheduler, launcher, shim):
            os.kill(pid, signal.SIGKILL)
            self.life.killed.add(pid)
        return False


class Unread(Meanwhile):
    """Kills a shim that has not read its next order yet."""

    def is_held(self, shim: int) -> bool:
        self.until = self.until or self.limit()
        if not ptrace.unread(shim):
            return time.monotonic() < self.until
        self.life.shot.add((shim, start_time(shim)))
        self.life.killed.add(shim)
        os.kill(shim, signal.SIGKILL)
        return False

    def after(self, trace: Trace) -> None:
        if not self.life.shot:
            self.life.faults.append(f"no order came to the shim that waits at {trace.hit}")


class Stranger(Killer):
    """And in the claim stands the pid of somebody who lives, as if it had come to him."""

    def after(self, trace: Trace) -> None:
        queue = self.life.project.root / QUEUE
        decoy = subprocess.Popen(["sleep", "600"])
        owner = (decoy.pid, start_time(decoy.pid) - 1)
        told = history(queue)
        for (task, number), claim in told.claims.items():
            is_open = (task, number) not in told.ends
            if is_open and trace.hit is not None and claim["owner"]["pid"] == trace.hit.pid:
                claim["owner"].update(zip(("pid", "start"), owner, strict=True))
                (queue / "claims" / f"{task}.{number}").write_bytes(records.encode([claim]))
                self.life.shot.add(owner)
        seconds = max(5.0, 3 * (time.monotonic() - self.began))  # three times what this machine took so far
        over, status = waited_for(begun(self.life.project, *ONE_SLOT), seconds, decoy)
        self.life.codes.append(os.waitstatus_to_exitcode(status))
        if not over:
            self.life.faults.append("a stranger is taken for a shim: nothing goes on while it lives")
        elif decoy.poll() is not None:
            self.life.faults.append("a stranger was killed")
        decoy.kill()
        decoy.wait()


def waited_for(pid: int, seconds: float, decoy: subprocess.Popen[bytes]) -> tuple[bool, int]:
    """Whether the command ends in time, while the decoy lives; its status in the end."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return True, status
        time.sleep(0.02)
    decoy.kill()
    return False, os.waitpid(pid, 0)[1]


_MEANWHILE = {"CANCEL": Canceller, "RIVAL": Rival, "ALL": Killer, "STRANGER": Stranger, "UNREAD": Unread}


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])


# ---- by hand, and for a campaign ----


def wheres_of(words: Sequence[str]) -> list[Where]:
    pairs = zip(words[::2], words[1::2], strict=True)
    return [None if fate == "SEE" else (call, cast("Fate", fate)) for call, fate in pairs]


def by_hand(arguments: Sequence[str]) -> int:
    folder, *words = arguments
    life = live(Path(folder), wheres_of(words))
    for trace in life.traces if words[-1:] in ([], ["SEE"]) else ():
        print("\n".join(map(str, trace.calls)))
    print(life.project.said)
    print(f"met: {life.hits}; exit codes {life.codes}")
    print("\n".join(f"FAULT: {fault}" for fault in life.faults) or "ok")
    return 1 if life.faults else 0


def serve(folder: Path) -> None:
    """Each line on standard input has the words of a life; a line of JSON on standard output says what became of it.

    Several live at once, each in a fork and on one processor: they wait more than they work.
    """
    process.die_with_parent(os.getppid())
    folder.mkdir()
    living: dict[int, tuple[str, Path]] = {}
    for number, line in enumerate(sys.stdin.read().splitlines()):
        if len(living) == AT_ONCE:
            tell_one(living)
        root = folder / str(number)
        pid = os.fork()
        if pid == 0:
            one_of_many(root, line, number)
        living[pid] = (line, root)
    while living:
        tell_one(living)


def one_of_many(root: Path, line: str, number: int) -> NoReturn:
    """In a fork."""
    try:
        process.die_with_parent(os.getppid())
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[number % len(cores)]})  # a stop and go costs least on one
        wheres = wheres_of(line.split())
        life = live(root, wheres)
        seen = [] if wheres and wheres[-1] else life.traces[-1].calls
        calls = [[c.role, c.name, c.paths, c.time] for c in seen]
        told = {"words": line, "hits": life.hits, "faults": life.faults, "calls": calls}
        root.with_suffix(".json").write_text(json.dumps(told))
        if not life.faults:
            shutil.rmtree(root)
    except BaseException:  # noqa: BLE001  it must not go on as its parent
        traceback.print_exc()
    finally:
        os._exit(0)


def tell_one(living: dict[int, tuple[str, Path]]) -> None:
    """Of the next one that ends."""
    pid, _ = os.wait()
    line, root = living.pop(pid)
    try:
        told = json.loads(root.with_suffix(".json").read_text())
    except FileNotFoundError:
        told = {"words": line, "hits": [], "faults": [f"{line}: its life broke off"], "calls": []}
    print(json.dumps(told), flush=True)
    for fault in told["faults"]:
        print(f"FAULT: {fault}\n  at {told['hits']}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(Path(sys.argv[2]))
    else:
        sys.exit(by_hand(sys.argv[1:]))
