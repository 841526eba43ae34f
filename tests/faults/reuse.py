"""Give the pids of dead schedulers, launchers and shims to strangers: none is taken for ours, and none is harmed.

In a PID namespace of its own, where the kernel can be told which pid comes next. Twenty tasks have run at once, and
their shims own sixteen others, or wait for an order; all are shot, and each of their pids goes to a process or a thread
that has nothing to do with it. Then the same command again, or a cancel, must end every attempt as lost without waiting
for a stranger.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from parallel_train.procs import process
from tests.faults.checker import Expected, faults, history, survivors
from tests.faults.crash_scenario import begun, outcomes, patience
from tests.faults.frame import ROOT, Piece, Plan, Verdict
from tests.support.sweep import QUEUE, Project, lives, shell
from tests.support.sweep import project as project_in
from tests.support.wait import wait_until

_ENTER = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
_LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
_APART = 20_000  # where pids begin that nobody had before
_AT_ONCE, _LONG = 20, 16
ON_ALL = ("--gpus", f"fake:{_AT_ONCE}")


def is_possible() -> bool:
    """Whether such a namespace can be made: that takes privileges."""
    if shutil.which("unshare") is None:
        return False
    asked = [*_ENTER, "sh", "-c", f"echo {_APART} > {_LAST_PID}"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


def run(plan: Plan) -> Verdict:
    if not is_possible():
        plan.say("reuse needs the right to make PID namespaces: nothing was done")
        return Verdict()
    return plan.in_pieces(one_piece, smoke=1, full=10)


def one_piece(piece: Piece) -> None:
    for number in range(5 if piece.is_full else 1):
        folder = piece.folder / str(number)
        folder.mkdir()
        kind = ("run", "cancel")[number % 2]
        argv = [*_ENTER, sys.executable, "-m", "tests.faults.reuse", str(folder), kind, str(piece.chance.random())]
        done = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        told = json.loads(done.stdout)
        piece.count(**told["counts"])
        for fault in told["faults"]:
            print(f"FAULT: {fault}", file=sys.stderr, flush=True)
        piece.fault(*told["faults"])


# ---- in the namespace, as its process 1 ----


@dataclass
class Stranger:
    """Has the pid of somebody who is dead: as a process, or as a thread of one."""

    number: int  # the pid, or the thread's
    pid: int
    was: str  # whose it was
    is_ours: bool = False  # killed by us

    @property
    def is_there(self) -> bool:
        return lives(self.pid)


@dataclass
class Round:
    project: Project
    chance: random.Random
    ended: dict[int, int] = field(default_factory=dict)  # exit codes of children, by pid
    strangers: list[Stranger] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    owners: set[tuple[int, int]] = field(default_factory=set)

    @property
    def names(self) -> list[str]:
        return [f"t{number}" for number in range(_LONG)]

    @property
    def names_before(self) -> list[str]:
        return [f"before{number}" for number in range(_AT_ONCE)]

    def begin(self) -> None:
        """Run all tasks; the first attempt of the later ones would take for ever."""
        at_once = f"mkdir .before-{{0}}; until test $(ls -d .before-* | wc -l) = {_AT_ONCE}; do sleep 0.05; done"
        once = "mkdir .ran-{0} 2>/dev/null && exec sleep 600; exit 0"
        scripts = {**dict.fromkeys(self.names_before, at_once), **dict.fromkeys(self.names, once)}
        self.project.tasks(*({"name": name, "command": shell(text.format(name))} for name, text in scripts.items()))
        scheduler = begun(self.project, *ON_ALL)
        wait_until(lambda: len(list(self.project.root.glob(".ran-*"))) == _LONG, "all tasks run", seconds=120)
        told = history(self.project.root / QUEUE)
        owners = [claim["owner"] for claim in told.claims.values()]
        self.owners = {(owner["pid"], owner["start"]) for owner in owners}
        if len(self.owners) != _AT_ONCE or len(told.claims) != _AT_ONCE + _LONG:
            self.faults.append(f"{len(self.owners)} shims for {len(told.claims)} attempts, {_AT_ONCE} at once")
        self.replace({scheduler: "scheduler", _parent_of(owners[0]["pid"]): "launcher"})

    def replace(self, victims: dict[int, str]) -> None:
        """Kill these and all shims, and give their pids away."""
        victims |= {pid: "shim" for pid, _ in self.owners}
        for pid in victims:
            with suppress(ProcessLookupError):  # it waited for an order, and went with its scheduler
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self.reap() == {1}, "all are dead", seconds=120)
        for pid, was in victims.items():
            self.strangers.append(self.stranger(pid, was))

    def stranger(self, number: int, was: str) -> Stranger:
        kind = self.chance.choice((_nothing, _with_a_cookie, _thread))
        pid = number
        for _ in range(100):
            _LAST_PID.write_text(str(_APART if kind is _thread else number - 1))
            told, tell = os.pipe()
            pid = os.fork()
            if pid == 0:
                with suppress(BaseException):
                    kind(number, tell)
                os._exit(1)
            os.close(tell)
            said = os.read(told, 16)
            os.close(told)
            if said == b"%d" % number:
                return Stranger(number, pid, was)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        raise AssertionError(f"the pid {number} can't be had")

    def reap(self) -> set[int]:
        """Whoever is left."""
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                self.ended[found[0]] = os.waitstatus_to_exitcode(found[1])
        return set(process.all_pids())

    def to_its_end(self, *arguments: str) -> int:
        """The exit code of this command, which may wait for no stranger."""
        _LAST_PID.write_text(str(2 * _APART))
        self.ended.clear()  # of those who had a pid before
        pid = begun(self.project, *arguments)
        seen: list[set[int]] = []
        with patience(" ".join(arguments)):
            while self.reap() and pid not in self.ended:
                time.sleep(0.02)
                seen = [*seen[-2:], _held_by(pid) & {stranger.number for stranger in self.strangers}]
                for stranger in self.strangers:
                    if len(seen) == 3 and all(stranger.number in held for held in seen) and stranger.is_there:
                        self.faults.append(f"a stranger with the pid of a {stranger.was} is taken for it")
                        stranger.is_ours = True
                        os.kill(stranger.pid, signal.SIGKILL)
        return self.ended[pid]

    def judge(self) -> list[str]:
        with suppress(AssertionError):  # the shims that waited for an order go just after their scheduler
            wait_until(lambda: not survivors(self.project.root), "all of the last command is gone", seconds=10)
        told = history(self.project.root / QUEUE)
        killed = [stranger for stranger in self.strangers if not stranger.is_there and not stranger.is_ours]
        expected = Expected({}, self.owners, {stranger.number for stranger in self.strangers})
        return [
            *self.faults,
            *(f"a stranger with the pid of a {stranger.was} was killed" for stranger in killed),
            *faults(told, (), expected),
            *survivors(self.project.root),
            *(
                f"{name} ends with {found}"
                for name in (*self.names_before, *self.names)
                if (found := outcomes(told, name)) != [{"lost": "killed"}] * (name in self.names) + [{"exited": 0}]
            ),
        ]


def _nothing(number: int, tell: int) -> None:
    os.setsid()
    _is_there(number, tell)


def _with_a_cookie(number: int, tell: int) -> None:
    """Of an attempt whose shim had this pid at another time."""
    cookie = f"{'0' * 16}.1.{number}.{process.start_time(number)}.{process.boot_id()}"
    os.dup2(tell, 1)
    script = ["/bin/sh", "-c", "printf $$; exec sleep 600 >/dev/null"]
    os.execve(script[0], script, {"PARALLEL_TRAIN_COOKIE": cookie})


def _thread(number: int, tell: int) -> None:
    _LAST_PID.write_text(str(number - 1))
    threading.Thread(target=lambda: _is_there(threading.get_native_id(), tell)).start()
    time.sleep(600)


def _is_there(number: int, tell: int) -> None:
    os.write(tell, b"%d" % number)
    os.close(tell)
    time.sleep(600)


def _held_by(pid: int) -> set[int]:
    """The processes that a sleeping scheduler holds descriptors of."""
    found = set()
    with suppress(OSError):
        for path in Path(f"/proc/{pid}/fdinfo").iterdir():
            told = [line for line in path.read_text().splitlines() if line.startswith("Pid:")]
            found |= {int(line.split()[1]) for line in told}
    return found


def _parent_of(pid: int) -> int:
    return next(parent for child, parent in process.parents() if child == pid)


def main(arguments: Sequence[str]) -> None:
    folder, kind, seed = arguments
    with project_in(Path(folder).resolve()) as project:
        round_ = Round(project, random.Random(seed))
        round_.begin()
        commands: list[tuple[str, ...]] = [ON_ALL]
        if kind == "cancel":
            commands = [("cancel", "t*"), ("retry", "t*"), ON_ALL]
        codes = [round_.to_its_end(*command) for command in commands]
        round_.faults += [f"{kind}: exit codes {codes}; {project.said}"] if any(codes) else []
        told = {"counts": {"reuses": len(round_.strangers), kind: 1}, "faults": round_.judge()}
        print(json.dumps(told))
    for stranger in round_.strangers:
        with suppress(ProcessLookupError):
            os.kill(stranger.pid, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
