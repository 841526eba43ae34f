"""A sweep on a Slurm cluster of two hosts; the cable of one is pulled, and put back. What runs twice, and what counts?

At the cut, the far host is suspended too, as a disk behind that cable would hang it. So nobody hears of its attempts,
which are taken over after their lease; Slurm finds its host down, and gives its elements to the near one. Then it all
comes back: late copies must give up, and say so, and no task's effect may count twice. Whoever waits for the sweep
(`--on slurm`) sits on the near host.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.checker import Expected, faults, history, survivors
from tests.faults.frame import Piece, Plan, Verdict
from tests.faults.hosts import PROGRAMS
from tests.faults.lan import Lan, obstacle
from tests.faults.lookout import Judge, Lookout, Strike, clock
from tests.support.sweep import FAST_PYTHON, QUEUE, Project
from tests.support.sweep import project as project_in
from tests.support.wait import wait_until

LEASE = 6.0
WORKERS, GPUS = 3, 2  # each host has four cards: room for those of the other
PATIENCE = 240  # seconds for one step of the story on a busy machine
GIVEN_UP = "ended by somebody else: its result"
LOST = "no sign of life from its host"  # so says a worker that learns it from the records before its supervisors do
SITE = "lines:\n  - export TEST_HOST=$SLURMD_NODENAME\n"  # the recorders ask where they are


def run(plan: Plan) -> Verdict:
    if why := obstacle():
        plan.say(f"  not run: {why}")
        return Verdict()
    return plan.in_pieces(one_story, smoke=1, full=3)


def one_story(piece: Piece) -> None:
    root = piece.folder / "project"
    root.mkdir()
    with project_in(root) as project, lan_for(project, piece.folder / "lan") as lan:
        count = 200 if piece.is_full else 40
        codes = write_tasks(piece, project, count)
        lookout = Lookout(root / QUEUE)
        strike = tell(lan, lookout, cut_after=count // 3)
        judge(piece, codes, lookout, strike)


@contextmanager
def lan_for(project: Project, folder: Path) -> Iterator[Lan]:
    lan = Lan(project, folder)
    try:
        lan.up()
        yield lan
    finally:
        lan.down()


def write_tasks(piece: Piece, project: Project, count: int) -> dict[str, int]:
    """The exit code of each task by its name. One in seven takes seconds, so that some are met by the cut."""
    (project.root / "effects").mkdir()
    project.write("configs/slurm.yaml", SITE)
    codes, templates = {}, []
    for number in range(count):
        name = f"t{number}"
        seconds = piece.chance.uniform(2.0, 4.0) if number % 7 == 5 else piece.chance.uniform(0.05, 0.5)
        codes[name] = piece.chance.randrange(1, 6) if number % 40 == 11 else 0
        command = [
            *FAST_PYTHON,
            str(PROGRAMS / "writer.py"),
            "effects",
            name,
            f"seconds={seconds:.3f}",
            f"code={codes[name]}",
        ]
        templates.append({"name": name, "command": command, "output": f"output/{name}"})
    project.tasks(*templates)
    return codes


def tell(lan: Lan, lookout: Lookout, cut_after: int) -> Strike:
    """The sweep from its beginning to its end, with the cable out for a while in between."""
    project = lan.project
    options = ("--on", "slurm", "--workers", str(WORKERS), "--gpus-per-worker", str(GPUS), "--lease", str(LEASE))
    with (project.root / "said").open("a") as said:
        argv = lan.there(0, *project.argv("run", *options, gpus=None))
        waiting = subprocess.Popen(
            argv, cwd=project.root, env=lan.environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said, text=True
        )
    project.started.append(waiting)

    def until(fact: Callable[[], object], what: str) -> None:
        def look() -> object:
            lookout.look()
            return fact()

        wait_until(look, f"{what}; {project.said[-2000:]}", PATIENCE)

    until(lambda: waiting.poll() is not None or _ended(lookout) >= cut_after, f"{cut_after} tasks have ended")
    until(lambda: _running(lookout, lan.boot(1)) >= GPUS, "the far host is at work")
    began = clock()
    lan.cut()
    met = [key for key, seen in lookout.living() if seen.owner["boot"] == lan.boot(1)]
    until(lambda: all(lookout.attempts[key].ended < float("inf") for key in met), "what was cut off is taken over")
    until(lambda: lan.states()[1:] != ["idle"] and "down*" in lan.states(), "Slurm finds the far host down")
    lan.heal()
    strike = Strike("pause", "host", lan.boot(1), began, clock())
    until(lambda: waiting.poll() is not None, "the sweep is over")
    until(lambda: not project.living(), "nothing is left")
    assert waiting.returncode == 1, f"some tasks fail, and it exits with {waiting.returncode}: {project.said}"
    return strike


def _ended(lookout: Lookout) -> int:
    return sum(seen.ended < float("inf") for seen in lookout.attempts.values())


def _running(lookout: Lookout, boot: str) -> int:
    return sum(seen.owner["boot"] == boot for _, seen in lookout.living())


def judge(piece: Piece, codes: dict[str, int], lookout: Lookout, strike: Strike) -> None:
    project = Project(lookout.queue.parent)
    told = history(project.root / QUEUE)
    for claim in told.claims.values():  # pids and start times may be the same on two hosts
        claim["owner"]["start"] = f"{claim['owner']['start']} of {claim['owner']['boot']}"
    lookout.look()
    found = Judge(told, lookout.attempts, [strike], LEASE)
    found.on_ends()
    for path in project.root.glob("output/*/written"):
        found.on_output(path.parent.name, path.read_text())
    effects = list(found.on_effects(project.effects()))
    # Slurm gives an element another turn elsewhere, and stops what its host had begun again as soon as it is back.
    stopped = {
        key for key, end in told.ends.items() if end.get("stopped") and lookout.attempts[key].claimed > strike.at
    }
    piece.count(stopped_by_slurm=len(stopped))
    for key in stopped:
        if lookout.attempts[key].owner["boot"] != strike.boot:
            piece.fault(f"{told.names[key[0]]}.{key[1]} was stopped on the near host")
    owners = [told.claims[key]["owner"] for key in found.struck | stopped]
    expected = Expected(codes, {(owner["pid"], owner["start"]) for owner in owners}, {o["pid"] for o in owners})
    piece.fault(*found.faults, *faults(told, effects, expected), *survivors(project.root))
    lost = Counter(end["outcome"]["lost"] for end in told.ends.values() if "lost" in end["outcome"])
    texts = [path.read_text() for path in (project.root / "logs").glob("slurm-*.log")]
    given_up = sum(text.count(GIVEN_UP) for text in texts)
    if lost["expired"] and not given_up and not any(LOST in text for text in texts):
        piece.fault(f"{lost['expired']} attempts were taken over, and no late copy said so")
    piece.count(tasks=len(codes), cuts=1, taken_over=lost["expired"], given_up=given_up)
    piece.count(reruns=len(effects) - len(codes), starved=found.starved, late_writes=found.late_writes)
