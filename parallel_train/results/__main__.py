r"""Collate, as a step of a pipeline: rank outputs by a metric, write the table, link to the best model.

    python -m parallel_train.results --metric accuracy --model model-best.pth.tar --out output/best output/lr*

Each output is a folder that holds metrics.json, or a JSON file itself. It needs no queue.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from parallel_train.core.task import Metric
from parallel_train.results import metrics
from parallel_train.results.metrics import Reading, is_number, rank


class _StepError(Exception):
    """Why there is no best, or no link to it: one sentence."""


@dataclass(frozen=True, slots=True)
class _Found:
    """An output with its number, or with why there is none."""

    output: Path
    reading: Reading


def main(argv: Sequence[str] | None = None) -> int:
    """0 where there is a best, however many are missing; 1 where there is none."""
    args = _parser().parse_args(argv)
    found = _ranked(args)
    try:
        target = _best(found, args)
        link = args.out / (Path(args.model).name if args.model else "best")
        args.out.mkdir(parents=True, exist_ok=True)
        point(link, target)
        _write_table(found, args)
    except (_StepError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    ranked = [f"{each.reading.value:>10.6g}  {each.output}" for each in found if each.reading.value is not None]
    print("\n".join([f"{args.metric:>10}  output", *ranked, *_missing(found), f"{link} -> {target}"]))  # noqa: T201
    return 0


def _ranked(args: argparse.Namespace) -> list[_Found]:
    found = [_Found(output, _read(output, args)) for output in args.outputs]
    places = sorted(range(len(found)), key=lambda place: rank(found[place].reading.value, args.mode, place))
    return [found[place] for place in places]


def _read(output: Path, args: argparse.Namespace) -> Reading:
    file = output if output.is_file() else output / args.file
    return metrics.read(Metric(args.metric, file=str(file)), Path(), ())


def _missing(found: Sequence[_Found]) -> list[str]:
    return [f"no result: {each.output} ({each.reading.why})" for each in found if each.reading.value is None]


def _best(found: Sequence[_Found], args: argparse.Namespace) -> Path:
    """What the link is to lead to. Raises _StepError."""
    best = found[0]
    if not is_number(best.reading.value):
        raise _StepError("\n".join([f"no output has a number '{args.metric}'", *_missing(found)]))
    target = best.output / args.model if args.model else best.output
    if not target.exists():
        raise _StepError(f"the best output, {best.output}, has no {args.model}")
    return target


def point(link: Path, target: Path) -> None:
    """Make `link` a relative link to `target`, at once where it is a link already. Raises _StepError for a file."""
    path = os.path.relpath(target.resolve(), link.parent.resolve())
    if link.is_symlink():
        new = link.with_name(f".{link.name}.{os.getpid()}.new")
        new.unlink(missing_ok=True)
        new.symlink_to(path)
        new.replace(link)
        return
    try:
        link.symlink_to(path)
    except FileExistsError:
        raise _StepError(f"{link} is there and no link: it is left as it is; move it away") from None


def _write_table(found: Sequence[_Found], args: argparse.Namespace) -> None:
    """Last of all, so that its being there says that the rest is."""
    part = args.out / f".results.csv.{os.getpid()}.new"
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["output", args.metric, "no result"])
        writer.writerows([each.output, each.reading.value, each.reading.why] for each in found)
    part.replace(args.out / "results.csv")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m parallel_train.results",
        description="Rank outputs by a metric; write results.csv and a link to the best one.",
    )
    parser.add_argument("outputs", nargs="+", type=Path, metavar="OUTPUT", help="a folder with metrics, or a JSON file")
    parser.add_argument("--metric", required=True, help="a key of the JSON file; dots lead into nested objects")
    parser.add_argument("--mode", choices=["max", "min"], default="max", help="which is best; NaN never is")
    parser.add_argument("--file", default="metrics.json", help="the file in each folder (default: metrics.json)")
    parser.add_argument("--model", metavar="FILE", help="link to this file of the best output, not to all of it")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where results.csv and the link go")
    return parser


if __name__ == "__main__":
    sys.exit(main())
