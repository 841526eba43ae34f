"""Can the campaigns fail? Fourteen deliberate faults of the product, each a patch of a copy of it, each to be found.

`--scale smoke` sees that every patch still applies, and that two of the mutants are found. `--scale full` lets each
mutant meet the campaigns that should find it, at their smoke scale, with growing seeds, a minute for each; and the
product as it is meets the same seeds: what is found there too does not count.
"""

from __future__ import annotations

import compileall
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from tests.faults import ptrace
from tests.faults.checker import living
from tests.faults.frame import ROOT, Piece, Plan, Verdict
from tests.faults.mutations import MUTANTS, Mutant

MINUTE = 60.0
QUICK = {"no subreaper", "no fsync before the end"}
_CONTROL = 300.0  # seconds for the product as it is, which has to come to an end


def run(plan: Plan) -> Verdict:
    return plan.in_pieces(one_mutant, smoke=1, full=len(MUTANTS))


def one_mutant(piece: Piece) -> None:
    if not piece.is_full:
        for mutant in MUTANTS:
            copy = patched(piece, mutant)
            if copy is not None and mutant.name in QUICK and can_run(mutant.campaigns[0]):
                found, _ = meet(mutant.campaigns[0], 1, copy, MINUTE, known=frozenset())
                piece.count(found=int(bool(found)))
                piece.fault(*([] if found else [f"the mutant '{mutant.name}' lives"]))
        piece.count(mutants=len(MUTANTS))
        return
    mutant = MUTANTS[piece.number]
    copy = patched(piece, mutant)
    is_found = copy is not None and any(is_found_by(name, mutant, copy) for name in mutant.campaigns)
    piece.count(mutants=1, found=int(is_found))
    if not is_found:
        piece.fault(f"the mutant '{mutant.name}' lives: {', '.join(mutant.campaigns)} found nothing in a minute")


def can_run(campaign: str) -> bool:
    return campaign != "crashpoints" or ptrace.is_possible()


def patched(piece: Piece, mutant: Mutant) -> Path | None:
    """A copy of the product and its tests with the mutant's fault in it; None where its patch applies no longer."""
    copy = piece.folder / mutant.name.replace(" ", "-")
    copy_of_all(copy)
    for name, old, new in mutant.patches:
        path = copy / "parallel_train" / name
        text = path.read_text()
        if text.count(old) != 1:
            piece.fault(f"the mutant '{mutant.name}' applies no longer: {name} has {text.count(old)} times {old!r}")
            return None
        path.write_text(text.replace(old, new))
        if not compileall.compile_file(path, quiet=1):
            piece.fault(f"the mutant '{mutant.name}' is no Python: {name}")
    return copy


def copy_of_all(copy: Path) -> None:
    for name in ("parallel_train", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))


def is_found_by(campaign: str, mutant: Mutant, copy: Path) -> bool:
    """Whether it finds the mutant within a minute; says how."""
    spent = 0.0
    seed = 0
    while spent < MINUTE:
        seed += 1
        found, seconds = meet(campaign, seed, copy, MINUTE - spent, known=control(campaign, seed))
        spent += seconds
        if found:
            print(f"  {mutant.name}: found by {campaign} (seed {seed}) in {spent:.0f} s: {found[0]}", flush=True)
            return True
    print(f"  {mutant.name}: not found by {campaign} in {seed} seeds, {spent:.0f} s", flush=True)
    return False


@cache
def control(campaign: str, seed: int) -> frozenset[str]:
    """What the campaign finds in the product as it is."""
    copy = Path(tempfile.gettempdir(), f"faults-{os.getuid()}", "control")
    shutil.rmtree(copy, ignore_errors=True)
    copy_of_all(copy)
    found: set[str] = set()
    more, _ = meet(campaign, seed, copy, _CONTROL, known=frozenset())
    while more:  # it ends at the first fault that is new
        found |= set(map(alike, more))
        more, _ = meet(campaign, seed, copy, _CONTROL, known=frozenset(found))
    return frozenset(found)


def alike(fault: str) -> str:
    """Without what changes from run to run: pids, times, random names."""
    return re.sub(r"[0-9a-f]*[0-9][0-9a-f]*", "#", fault)


def meet(campaign: str, seed: int, copy: Path, seconds: float, *, known: frozenset[str]) -> tuple[list[str], float]:
    """Run a campaign at its smoke scale on a copy of the product, until it says a fault that is not known.

    (What it said, the seconds that took.)
    """
    work, said = copy / "work", copy / "said"
    argv = [sys.executable, "-m", "tests.faults", campaign, "--seed", str(seed), "--folder", str(work)]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    began = time.monotonic()
    with said.open("w") as file:
        process = subprocess.Popen(argv, cwd=copy, env=environment, stdout=file, stderr=file, start_new_session=True)
    while process.poll() is None and time.monotonic() - began < seconds and not faults_in(said, known):
        time.sleep(0.1)
    took = time.monotonic() - began
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pid in living(work):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(work, ignore_errors=True)
    return faults_in(said, known), took


def faults_in(said: Path, known: frozenset[str]) -> list[str]:
    lines = said.read_text().splitlines()
    found = [line.removeprefix("FAULT: ") for line in lines if line.startswith("FAULT: ")]
    return [fault for fault in found if alike(fault) not in known]
