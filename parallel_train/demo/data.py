"""The digits, their split into training and test images, and the noise put into the training labels."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from parallel_train.demo.config import Config, DemoError

log = logging.getLogger(__name__)

PACKED = Path(__file__).with_name("digits.npz")
TEST_SIZE = 500
_SPLIT_SEED = 0


@dataclass(frozen=True)
class Prepared:
    """Images (n, 64) of values 0 to 1, float32, and labels (n,), int64; those of the test images are clean."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def prepare(root: Path, config: Config, seed: int) -> Prepared:
    """The digits of `root`, split, with the noise that `config` asks for in the training labels."""
    file = find_digits(root)
    images, clean = load_digits(file)
    pixels, clean = images.reshape(-1, 64).astype(np.float32) / 16, clean.astype(np.int64)
    train, test = split(clean, config.num_shots)
    noisy = add_noise(clean[train], config.noise_rate, config.noise_type, np.random.default_rng(seed))
    log.info("data %s: %d to train, %d to test", file, len(train), len(test))
    log.info("noise %s: %d labels are wrong", config.noise_type, int((noisy != clean[train]).sum()))
    return Prepared(pixels[train], noisy, pixels[test], clean[test])


def load_prepared(file: Path) -> Prepared:
    """What demo.preprocess has written."""
    names = [each.name for each in fields(Prepared)]
    found = Prepared(*_arrays(file, names, "what parallel_train.demo.preprocess writes"))
    log.info("data %s: %d to train, %d to test", file, len(found.train_labels), len(found.test_labels))
    return found


def find_digits(root: Path) -> Path:
    """`digits.npz` in the data root `root` if it is there, else the one that ships with the package."""
    own = root.expanduser() / PACKED.name
    return own if own.exists() else PACKED


def load_digits(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 8, 8) of values 0 to 16 and labels (n,) of values 0 to 9, both uint8; DATA.md says whose."""
    images, labels = _arrays(file, ["images", "labels"], "a digits file (arrays images and labels)")
    if images.shape != (len(labels), 8, 8) or len(labels) <= TEST_SIZE or labels.max() > 9:
        raise DemoError(f"{file} is to hold more than {TEST_SIZE} images of 8x8 with labels 0 to 9")
    return images, labels


def _arrays(file: Path, names: Sequence[str], expected: str) -> list[np.ndarray]:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return [arrays[name] for name in names]
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise DemoError(f"{file} is not {expected}: {error}") from error


def split(labels: np.ndarray, shots: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices (train, test); the same ones for every seed, so that runs differ in noise and start only.

    `shots` is how many training images of each class to keep; -1 keeps all.
    """
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(labels))
    train, test = order[:-TEST_SIZE], order[-TEST_SIZE:]
    if shots > 0:
        first = [train[labels[train] == digit][:shots] for digit in np.unique(labels)]
        train = np.concatenate(first)
    return train, test


def add_noise(
    labels: np.ndarray, rate: float, noise_type: str, rng: np.random.Generator, *, num_classes: int = 10
) -> np.ndarray:
    """A copy of `labels` (n,) in which round(rate * n) labels, drawn without replacement, are wrong.

    `sym` replaces a label by any other class with equal chance, `asym` class c by c + 1 (the last by 0).
    """
    wrong = rng.choice(len(labels), size=round(rate * len(labels)), replace=False)
    shift = rng.integers(1, num_classes, size=len(wrong)) if noise_type == "sym" else 1
    noisy: np.ndarray = labels.copy()
    noisy[wrong] = (labels[wrong] + shift) % num_classes
    return noisy
