"""Processes that make the calls of a grid themselves, killed at any moment, with or without their companions.

A piece starts twelve processes (six on the small scale) at once in an empty folder, and kills some once calls are being
made. The rest go on; where nobody is left the script is started once more. Then every point has one result, and whoever
was not killed has made no call that somebody else had ended. Where hosts can be made, every other piece is two hosts
with half of the processes each, and one of them may lose its power: what it held is free after a lease.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.faces.script import EXAMPLE, POINTS, Script
from tests.faults.frame import Piece, Plan, Verdict
from tests.support.host import ENTER, Host, is_possible
from tests.support.sweep import Project
from tests.support.sweep import project as make
from tests.support.wait import wait_until

_START = 'for n in $(seq "$0"); do "$@" & done; wait'
_LEASE = 3


def run(plan: Plan) -> Verdict:
    return plan.in_pieces(one_piece, smoke=1, full=40)


def one_piece(piece: Piece) -> None:
    root = piece.folder / "project"
    root.mkdir()
    with make(root) as project:
        options = f"speculate={piece.chance.random() < 0.3}, lease={_LEASE}"
        processes = 12 if piece.is_full else 6
        script = Script(project).write(EXAMPLE, wait="time.sleep(0.2)", options=options)
        hosts = [Host(project, name) for name in ("alpha", "beta")] if is_possible() and piece.number % 2 else []
        for host in hosts:
            host.begin([*ENTER, *host.set_up(), "sh", "-c", _START, str(processes // 2), *script.argv])
        if not hosts:
            for _ in range(processes):
                script.start()
        wait_until(lambda: sum(script.calls("began").values()), "calls are being made", 300)
        killed = _kill(piece, project, hosts, most=processes)
        for process in project.started:
            process.wait(300)
        if _succeeded(project) != len(POINTS):
            piece.count(started_again=1)
            code, said = script.run()
            if code:
                piece.fault(said)
        piece.count(points=len(POINTS), calls=sum(script.calls("began").values()), adopted=_adopted(project))
        piece.fault(*_faults(project, script, killed, is_alone=not hosts and "speculate=False" in options))
        wait_until(lambda: not project.living(), "nothing of it is left", 300)


def _kill(piece: Piece, project: Project, hosts: list[Host], *, most: int) -> set[int]:
    """Kill what makes calls, companions, or a whole host; the pids of the callers among them, as they know them."""
    chance, killed = piece.chance, set()
    for _ in range(chance.randint(3, most)):
        time.sleep(chance.random() * 0.2)
        callers, companions = _who(project)
        if chance.random() < 0.3 and companions:
            piece.count(companions=1)
            _end(chance.choice(companions))
        if callers:
            piece.count(kills=1)
            victim = chance.choice(callers)
            killed.add(victim)
            _end(victim)
    if hosts and chance.random() < 0.3:
        piece.count(power_losses=1)
        hosts[0].lose_power()
    return killed


def _who(project: Project) -> tuple[list[int], list[int]]:
    """The processes of the script, and their companions."""
    found: tuple[list[int], list[int]] = ([], [])
    for pid in sorted(project.living()):
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            if words[1:2] == ["new_run.py"]:
                found[0].append(pid)
            elif any(word.endswith("companion.py") for word in words):
                found[1].append(pid)
    return found


def _end(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _faults(project: Project, script: Script, killed: set[int], *, is_alone: bool) -> Iterator[str]:
    endings = Project(project.root / "ini").endings()
    if set(endings.values()) != {"succeeded"}:
        yield f"not every point has succeeded: {endings}"
    if script.markers() != {f"{number}_finished" for number in range(len(POINTS))}:
        yield f"the folder shows {sorted(script.markers())}"
    if _succeeded(project) != len(POINTS):
        yield f"{_succeeded(project)} ends are successes"
    results = {path.name for path in (project.root / "results").glob("[0-9]*")}
    if results != {f"{number}.json" for number in range(len(POINTS))}:
        yield f"the results are {sorted(results)}"
    if set(script.calls("ended")) != POINTS:
        yield "a result stands that no call has made"
    if is_alone:
        lines = [line.split() for line in (project.root / "calls").read_text().splitlines()]
        ended = Counter(" ".join(point) for what, pid, *point in lines if what == "ended" and int(pid) not in killed)
        yield from (f"{point} was made {times} times" for point, times in ended.items() if times > 1)


def _succeeded(project: Project) -> int:
    return sum('"exited":0' in text for text in _ends(project))


def _adopted(project: Project) -> int:
    return sum("its result stood there already" in text for text in _ends(project))


def _ends(project: Project) -> list[str]:
    folder = project.root / "ini/.parallel-train/ends"
    return [path.read_text() for path in folder.iterdir() if not path.name.startswith(".")]
