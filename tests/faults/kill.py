"""Kill the scheduler at random moments, now and then its launcher or a shim too: what is lost, run twice, left over?

A shim owns one attempt after another: shot in one of them it costs that one, and shot as it waits for an order none,
unless that came at this very moment.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass, field

from parallel_train.procs import process
from tests.faults.checker import Expected, history, living, project_faults
from tests.faults.frame import Piece, Plan, Verdict
from tests.support.machine import signal_proven, waits_for_an_order
from tests.support.sweep import QUEUE, Project
from tests.support.sweep import project as project_in
from tests.support.wait import wait_until

SLOTS = 4
LAUNCHER = b"procs/launcher.py"
SHOTS = ("busy shim", "idle shim", "launcher")  # in turn
PATIENCE = 60  # seconds for a start on a busy machine


def run(plan: Plan) -> Verdict:
    return plan.in_pieces(one_sweep, smoke=1, full=10)


@dataclass
class Toll:
    """Who was killed."""

    schedulers: int = 0
    launchers: int = 0
    shims: set[tuple[int, int]] = field(default_factory=set)
    idle_shims: int = 0  # of these, as they waited for an order
    pids: set[int] = field(default_factory=set)
    startup: float = 1.0  # seconds until a scheduler starts its first task, the shortest seen


def one_sweep(piece: Piece) -> None:
    kills, tasks, another = (100, 500, 10) if piece.is_full else (12, 80, 4)
    # So few fail that no slot looks sick, whose tasks would run again elsewhere.
    codes = {f"t{number}": piece.chance.randrange(1, 6) if number % 12 == 0 else 0 for number in range(tasks)}
    toll = Toll()
    with project_in(piece.folder) as project:
        project.tasks(
            *(
                project.recording(
                    name, output=name[-1] in "05", more={"seconds": piece.chance.uniform(0.02, 0.2), "code": code}
                )
                for name, code in codes.items()
            )
        )
        for kill in range(kills):
            left = (tasks - 2 * SLOTS - count(project)) // (kills - kill)
            shot = SHOTS[(kill // another + piece.number) % len(SHOTS)] if kill % another == another - 1 else ""
            run_until_killed(piece, project, toll, enough=left, shot=shot)
            if shot and piece.chance.random() < 0.5:
                shoot_a_busy_shim(piece, project, toll)  # with nobody there to see it
        started_before = count(project)
        last = project.run(gpus=f"fake:{SLOTS}", seconds=600)
        wait_until(lambda: not living(piece.folder), "all processes are gone")
        if last.code != 1 or started_before == count(project):  # some tasks fail
            piece.fault(f"the last run exits with {last.code}:\n{last.text}")
        effects = project.effects()
        expected = Expected(codes, toll.shims, toll.pids)
        piece.fault(*project_faults(piece.folder, effects, expected))
        reruns = len(effects) - tasks
        if reruns > len(toll.shims):
            piece.fault(f"{reruns} reruns for {len(toll.shims)} shims that were shot")
        told = history(piece.folder / QUEUE)
    owners = {(claim["owner"]["pid"], claim["owner"]["start"]) for claim in told.claims.values()}
    piece.count(tasks=tasks, attempts=len(told.claims), shims=len(owners), kills=toll.schedulers)
    piece.count(launchers_shot=toll.launchers, shims_shot=len(toll.shims), of_these_idle=toll.idle_shims)
    lost = sum("lost" in end["outcome"] for end in told.ends.values())
    piece.count(attempts_lost=lost, reruns=reruns)


def run_until_killed(piece: Piece, project: Project, toll: Toll, *, enough: int, shot: str) -> None:
    """Kill after a random delay, or when `enough` tasks were started, so that others are left for later kills."""
    chance = piece.chance
    before = count(project)
    early = enough < 1 or chance.random() < 0.3
    began = time.monotonic()
    soonest = toll.startup if enough >= 0 else toll.startup / 2  # nothing more may start: the last run needs some
    until = began + (chance.uniform(0.01, soonest) if early else PATIENCE)
    scheduler = project.start(gpus=f"fake:{SLOTS}")
    while time.monotonic() < until and count(project) < before + max(1, enough):
        if scheduler.poll() is not None:
            raise AssertionError(f"it left by itself:\n{project.said}")
        time.sleep(0.002)
    if count(project) > before:
        toll.startup = min(toll.startup, time.monotonic() - began)
    time.sleep(chance.choice([0.0, chance.uniform(0.0, 0.03)]))
    if shot:
        shoot(piece, project, toll, scheduler, whom=shot)
    scheduler.kill()
    scheduler.wait()
    toll.schedulers += 1
    toll.pids.add(scheduler.pid)


def count(project: Project) -> int:
    return sum(1 for path in (project.root / "effects").iterdir() if not path.name.startswith("."))


def shoot(piece: Piece, project: Project, toll: Toll, scheduler: subprocess.Popen[str], *, whom: str) -> None:
    """While the scheduler lives; and give that a moment to see it."""
    if whom == "busy shim":
        shoot_a_busy_shim(piece, project, toll)
    elif whom == "idle shim":
        shoot_an_idle_shim(toll, scheduler)
    else:
        shoot_the_launcher(toll, scheduler.pid)
    time.sleep(piece.chance.choice([0.0, piece.chance.uniform(0.0, 0.3)]))


def shoot_a_busy_shim(piece: Piece, project: Project, toll: Toll) -> None:
    """One that has claimed and has not ended, if there is one."""
    told = history(project.root / QUEUE)
    owners = [claim["owner"] for key, claim in sorted(told.claims.items()) if key not in told.ends]
    piece.chance.shuffle(owners)
    for owner in owners:
        if shoot_a_shim(toll, owner["pid"], owner["start"]):
            return


def shoot_an_idle_shim(toll: Toll, scheduler: subprocess.Popen[str]) -> None:
    """As soon as one waits for an order, which it does for a moment only as long as there are tasks."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and scheduler.poll() is None:
        shims = [pid for launcher in launchers(scheduler.pid) for pid in children(launcher)]
        for pid, start in [(pid, process.start_time(pid)) for pid in shims] * 10:
            if waits_for_an_order(pid) and shoot_a_shim(toll, pid, start):
                toll.idle_shims += 1
                return


def shoot_a_shim(toll: Toll, pid: int, start: int) -> bool:
    is_shot = signal_proven(pid, start, signal.SIGKILL)
    if is_shot:
        toll.shims.add((pid, start))
        toll.pids.add(pid)
    return is_shot


def shoot_the_launcher(toll: Toll, scheduler: int) -> None:
    for pid in launchers(scheduler):
        os.kill(pid, signal.SIGKILL)
        toll.launchers += 1
        toll.pids.add(pid)


def launchers(scheduler: int) -> list[int]:
    return [pid for pid in children(scheduler) if LAUNCHER in command(pid)]


def children(of: int) -> list[int]:
    return [pid for pid, parent in process.parents() if parent == of]


def command(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return b""
