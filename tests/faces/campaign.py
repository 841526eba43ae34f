"""Rounds of a grid on many processes that are killed at any moment: `python -m tests.faces.campaign SEED ROUNDS`.

Each round starts twelve processes at once in an empty folder, kills some of them, with or without their companions,
at random moments, lets the rest go on, and starts the script once more where nobody was left. Nobody helps. Then every
point has one result, and whoever was not killed has made no call that somebody else had ended.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from tests.faces.script import EXAMPLE, POINTS, Script
from tests.support.sweep import Project
from tests.support.sweep import project as make

PROCESSES = 12


def one_round(project: Project, chance: random.Random) -> Counter[str]:
    """What was counted. Raises AssertionError."""
    script = Script(project).write(EXAMPLE, wait="time.sleep(0.03)", options="speculate=False")
    processes = [script.start() for _ in range(PROCESSES)]
    kills = chance.randint(3, PROCESSES)
    told: Counter[str] = Counter(rounds=1)
    killed: set[int] = set()
    for victim in chance.sample(processes, kills):
        time.sleep(chance.random() * 0.5)
        if chance.random() < 0.3:  # its companion too, or that alone
            for pid in _companions(project, victim.pid):
                told["companions"] += 1
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if chance.random() < 0.9 and victim.poll() is None:
            told["kills"] += 1
            told["in a call"] += victim.pid in script.callers()
            killed.add(victim.pid)
            victim.kill()
    codes = {process.wait(120) for process in processes if process.pid not in killed}
    assert codes <= {0}, (codes, project.said)
    if len(killed) == PROCESSES:
        told["started again"] += 1
        code, said = script.run()
        assert code == 0, said
    check(project, script, killed)
    told["calls"] += sum(script.calls("began").values())
    told["adopted"] += sum('"its result stood there already"' in path.read_text() for path in _ends(project))
    return told


def check(project: Project, script: Script, killed: set[int]) -> None:
    endings = Project(project.root / "ini").endings()
    assert set(endings.values()) == {"succeeded"}, (endings, project.said)
    assert script.markers() == {f"{number}_finished" for number in range(18)}
    assert {p.name for p in (project.root / "results").glob("[0-9]*")} == {f"{number}.json" for number in range(18)}
    lines = [line.split() for line in (project.root / "calls").read_text().splitlines()]
    ended = Counter(" ".join(point) for what, _, *point in lines if what == "ended")
    by_living = Counter(" ".join(point) for what, pid, *point in lines if what == "ended" and int(pid) not in killed)
    assert set(ended) == POINTS
    assert all(count == 1 for count in by_living.values()), by_living
    succeeded = [path for path in _ends(project) if '"exited":0' in path.read_text()]
    assert len(succeeded) == 18


def _ends(project: Project) -> list[Path]:
    return list((project.root / "ini/.parallel-train/ends").iterdir())


def _companions(project: Project, owner: int) -> list[int]:
    found = []
    for pid in project.living():
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            if f'"pid": {owner},' in " ".join(words):
                found.append(pid)
    return found


def main() -> None:
    seed, rounds = int(sys.argv[1]), int(sys.argv[2])
    total: Counter[str] = Counter()
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder, make(Path(folder)) as project:
            total += one_round(project, random.Random(f"{seed}.{number}"))
            until = time.monotonic() + 20
            while project.living() and time.monotonic() < until:
                time.sleep(0.05)
            assert not project.living(), "a companion is left"
        print(f"{number + 1}: {dict(total)}", flush=True)


if __name__ == "__main__":
    main()
