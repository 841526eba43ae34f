"""Break it on purpose, many times, and see what is left.

python -m tests.faults NAME [--scale smoke|full] [--seed N] [--resume] [--minutes M] [--piece N] [--folder DIR]

It prints its seed, its counts and its verdict; each fault with a line that shows it again. Exit code 1 where there was
one. A full campaign may take long: stop it, or give --minutes, and go on later with --resume.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.frame import STATE, Plan, Verdict, report

HERE = Path(__file__).parent
ALL = (
    *("kill", "crashpoints", "workers", "sharedfs", "nfs", "simulate"),
    *("contain", "reuse", "exhaust", "logs", "input", "corrupt", "faces", "cable", "mutants"),
)
CAMPAIGNS = tuple(name for name in ALL if (HERE / f"{name}.py").exists())


def run(plan: Plan) -> Verdict:
    verdict: Verdict = importlib.import_module(f"tests.faults.{plan.campaign}").run(plan)
    return verdict


def main(arguments: list[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    folder = asked.folder or Path(tempfile.gettempdir(), f"faults-{os.getuid()}", f"{asked.name}-{asked.scale}")
    if asked.piece is not None and asked.folder is None:
        folder = folder.with_name(f"{folder.name}-piece-{asked.piece}")
    folder.mkdir(parents=True, exist_ok=True)
    plan = Plan(
        asked.name,
        asked.scale,
        _seed(folder, asked.seed, resume=asked.resume),
        folder.resolve(),
        resume=asked.resume,
        only=asked.piece,
        minutes=asked.minutes,
        say=lambda text: print(text, flush=True),
    )
    plan.say(f"{plan.campaign}: seed {plan.seed}, in {plan.folder}")
    began = time.monotonic()
    verdict = run(plan)
    print(report(plan, verdict))
    print(f"{time.monotonic() - began:.1f} s")
    return 0 if verdict.is_good else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=CAMPAIGNS)
    parser.add_argument("--scale", choices=["smoke", "full"], default="smoke")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--resume", action="store_true", help="go on with the pieces that are not done")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no piece after so long")
    parser.add_argument("--piece", type=int, help="only this one")
    parser.add_argument("--folder", type=Path, help="where it works and keeps its state")
    return parser


def _seed(folder: Path, asked: int | None, *, resume: bool) -> int:
    """A campaign that is resumed keeps the seed it was begun with."""
    if asked is not None:
        return asked
    path = folder / STATE
    if resume and path.exists():
        return int(json.loads(path.read_text())["seed"])
    return random.randrange(10**6)


if __name__ == "__main__":
    sys.exit(main())
