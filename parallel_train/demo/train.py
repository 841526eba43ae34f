r"""Train a small classifier on handwritten digits whose training labels are partly wrong.

    python -m parallel_train.demo.train --root ~/datasets --seed 1 --trainer gce \
        --dataset-config-file configs/datasets/digits.yaml --config-file configs/trainers/gce/mlp.yaml \
        --output-dir /tmp/out DATASET.NOISE_RATE 0.5 DATASET.NOISE_TYPE sym

It knows nothing of the scheduler: it stands for a training script of your own.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from parallel_train.demo.config import Config, DemoError, read_config, seed, written
from parallel_train.demo.data import load_prepared, prepare
from parallel_train.demo.losses import Loss, cross_entropy, generalized_cross_entropy, mean_absolute_error

log = logging.getLogger(__name__)

TRAINERS = ("ce", "gce", "mae")


@dataclass(frozen=True)
class Digits:
    """Images (n, 64) of values 0 to 1 and labels (n,), on the device."""

    images: torch.Tensor
    labels: torch.Tensor


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        config = _read_config(args)
        _open_log(args.output_dir)
        run(args, config)
    except DemoError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _read_config(args: argparse.Namespace) -> Config:
    if args.data is None:
        return read_config([args.dataset_config_file, args.config_file], args.pairs)
    for key in args.pairs[::2]:
        if key.startswith("DATASET."):
            raise DemoError(f"{key} was settled when {args.data} was made")
    return read_config([args.config_file], args.pairs)


def run(args: argparse.Namespace, config: Config) -> None:
    """Train and test as `config` says, and leave the results in `args.output_dir`."""
    # So small a network is fastest on one thread, and its sums then do not depend on the machine's cores.
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    log.info("device %s", torch.cuda.get_device_name() if device.type == "cuda" else "cpu")
    log.info("trainer %s seed %d %s", args.trainer, args.seed, written(config, dataset=args.data is None))
    train, test = _prepare(args, config, device)

    start = time.perf_counter()
    loss = _loss(args.trainer, config)
    metrics = _fit(train, test, config=config, loss=loss, output=args.output_dir)
    metrics |= {"seconds": round(time.perf_counter() - start, 3), "device": device.type}
    text = json.dumps(metrics, indent=2) + "\n"
    _write_whole(args.output_dir / "metrics.json", lambda file: file.write_text(text, encoding="utf-8"))
    log.info("Finish training")


def _prepare(args: argparse.Namespace, config: Config, device: torch.device) -> tuple[Digits, Digits]:
    """The training digits, some with a wrong label, and the test digits with clean ones."""
    found = prepare(args.root, config, args.seed) if args.data is None else load_prepared(args.data)
    return (
        Digits(torch.as_tensor(found.train_images, device=device), torch.as_tensor(found.train_labels, device=device)),
        Digits(torch.as_tensor(found.test_images, device=device), torch.as_tensor(found.test_labels, device=device)),
    )


def _fit(train: Digits, test: Digits, *, config: Config, loss: Loss, output: Path) -> dict[str, float | int | str]:
    """Train for all epochs; keep the weights of the best one. Returns the last epoch's numbers.

    The best epoch is chosen by the test digits, so `accuracy`, of the last one, is the number to compare.
    """
    layers = nn.Linear(64, config.hidden), nn.ReLU(), nn.Linear(config.hidden, config.num_classes)
    model = nn.Sequential(*layers).to(train.images.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr)
    mean_loss = accuracy = best = 0.0
    for epoch in range(1, config.epochs + 1):
        mean_loss = _train_epoch(model, optimizer, loss, train, batch_size=config.batch_size)
        accuracy = _accuracy(model, test)
        log.info("epoch [%d/%d] loss %.4f acc %.4f", epoch, config.epochs, mean_loss, accuracy)
        if epoch == 1 or accuracy > best:
            best = accuracy
            weights = {name: tensor.cpu() for name, tensor in model.state_dict().items()}
            _write_whole(output / "model-best.pth.tar", partial(torch.save, weights))
    return {"accuracy": accuracy, "loss": mean_loss, "epochs": config.epochs, "best_accuracy": best}


def _train_epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, loss: Loss, train: Digits, *, batch_size: int
) -> float:
    """One pass over the training digits in random order. Returns the mean loss per digit."""
    total = 0.0
    for batch in torch.randperm(len(train.labels)).to(train.labels.device).split(batch_size):
        value = loss(model(train.images[batch]), train.labels[batch])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        total += value.item() * len(batch)
    return total / len(train.labels)


def _accuracy(model: nn.Module, test: Digits) -> float:
    """The share of the test digits, 0 to 1, that the model names rightly."""
    with torch.no_grad():
        right = (model(test.images).argmax(dim=1) == test.labels).sum()
    return int(right) / len(test.labels)


def _loss(trainer: str, config: Config) -> Loss:
    losses = {
        "ce": cross_entropy,
        "gce": generalized_cross_entropy(config.gce_q),
        "mae": mean_absolute_error,
    }
    return losses[trainer]


def _open_log(output: Path) -> None:
    """Send the log to standard output and to a new `log.txt`."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        to_file = logging.FileHandler(output / "log.txt", mode="w", encoding="utf-8")
    except OSError as error:
        raise DemoError(f"can't write to the output folder {output}: {error.strerror}") from error
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[to_file, logging.StreamHandler(sys.stdout)])


def _write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file that gets the name `path` only when it is whole."""
    part = path.with_name(path.name + ".part")
    write(part)
    part.replace(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m parallel_train.demo.train",
        description="Train a small classifier on handwritten digits whose training labels are partly wrong.",
    )
    parser.add_argument("--root", type=Path, default=Path(), help="data root; its digits.npz, if any, is read")
    parser.add_argument("--seed", type=seed, default=1, help="seeds the noise, the weights and the batches")
    parser.add_argument("--trainer", choices=TRAINERS, required=True, help="the loss to train with")
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--dataset-config-file", type=Path, help="YAML file")
    data.add_argument("--data", type=Path, help="a file that parallel_train.demo.preprocess has written")
    parser.add_argument("--config-file", type=Path, required=True, help="YAML file of the trainer")
    parser.add_argument("--output-dir", type=Path, required=True, help="folder for log, metrics and weights")
    parser.add_argument(
        "pairs",
        nargs=argparse.REMAINDER,
        metavar="KEY VALUE",
        help="settings that override the files, such as DATASET.NOISE_RATE 0.5; they come last",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
