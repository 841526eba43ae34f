r"""Load the digits, scale them, split them, put noise into the training labels, and save it all in one file.

    python -m parallel_train.demo.preprocess --root ~/datasets --seed 1 \
        --dataset-config-file configs/datasets/digits.yaml --out /tmp/digits.npz

It knows nothing of the scheduler: it stands for the first step of a pipeline of your own.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from parallel_train.demo.config import DemoError, read_config, seed
from parallel_train.demo.data import prepare


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m parallel_train.demo.preprocess", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(), help="data root; its digits.npz, if any, is read")
    parser.add_argument("--seed", type=seed, default=1, help="seeds the noise")
    parser.add_argument("--dataset-config-file", type=Path, required=True, help="YAML file")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        found = prepare(args.root, read_config([args.dataset_config_file], []), args.seed)
    except DemoError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    args.out.parent.mkdir(parents=True, exist_ok=True)
    part = args.out.with_name(args.out.name + ".part")
    with part.open("wb") as file:
        np.savez(file, **vars(found))
    part.replace(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
