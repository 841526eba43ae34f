"""The settings of a run: dataset file, then trainer file, then KEY VALUE pairs; the later one wins."""

from __future__ import annotations

import argparse
import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml


class DemoError(Exception):
    """A setting, a file or a folder that can't be used as asked; the text is one sentence."""


def _setting(key: str, default: object, allows: Callable[[Any], bool], expected: str) -> Any:
    """A field that files and pairs spell `key`; its default also gives its type."""
    return field(default=default, metadata={"key": key, "allows": allows, "expected": expected})


@dataclass(frozen=True)
class Config:
    """All settings of a run, each with its default, what it allows, and those words for people."""

    dataset: str = _setting("DATASET.NAME", "digits", lambda name: name == "digits", "digits")
    num_classes: int = _setting("DATASET.num_class", 10, lambda k: k == 10, "10, as the digits have")
    num_shots: int = _setting("DATASET.NUM_SHOTS", -1, lambda n: n == -1 or n > 0, "1 or more, or -1 for all")
    noise_rate: float = _setting("DATASET.NOISE_RATE", 0.0, lambda r: 0 <= r <= 1, "a number from 0 to 1")
    noise_type: str = _setting("DATASET.NOISE_TYPE", "sym", lambda t: t in {"sym", "asym"}, "sym or asym")
    hidden: int = _setting("MODEL.HIDDEN", 256, lambda n: n > 0, "a whole number above 0")
    epochs: int = _setting("OPTIM.MAX_EPOCH", 60, lambda n: n > 0, "a whole number above 0")
    lr: float = _setting("OPTIM.LR", 2e-3, lambda lr: 0 < lr < math.inf, "a number above 0")
    batch_size: int = _setting("DATALOADER.BATCH_SIZE", 64, lambda n: n > 0, "a whole number above 0")
    gce_q: float = _setting("TRAINER.GCE.Q", 0.7, lambda q: 0 < q <= 1, "a number above 0 and up to 1")


_FIELDS: dict[str, Any] = {each.metadata["key"]: each for each in fields(Config)}


def seed(text: str) -> int:
    """The value of an option `--seed`."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0, not {text}")
    return int(text)


def written(config: Config, *, dataset: bool) -> str:
    """`config` as KEY VALUE pairs in one line, with or without its DATASET keys."""
    keys = [key for key in _FIELDS if dataset or not key.startswith("DATASET.")]
    return " ".join(f"{key} {getattr(config, _FIELDS[key].name)}" for key in keys)


def read_config(files: Sequence[Path], pairs: Sequence[str]) -> Config:
    """The defaults, overridden by each file in turn and then by `pairs` (KEY VALUE KEY VALUE …).

    Raises DemoError for a missing or malformed file, an unknown key, or a value that its key does not allow.
    """
    values: dict[str, Any] = {}
    for file in files:
        values |= _checked(_flat(_read_yaml(file)), str(file))
    if len(pairs) % 2:
        raise DemoError(f"{pairs[-1]} has no value: after the flags come pairs of KEY VALUE")
    values |= _checked(dict(zip(pairs[::2], pairs[1::2], strict=True)), "the command line")
    return Config(**values)


def _read_yaml(file: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DemoError(f"can't read the config file {file}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DemoError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise DemoError(f"{file} is to hold sections such as DATASET:, with KEY: VALUE lines in them")
    return content


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"A": {"B": 1}}` as `{"A.B": 1}`."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _checked(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """`values` by field name, each converted to its field's type."""
    return {_known(key, source).name: _converted(key, value) for key, value in values.items()}


def _known(key: str, source: str) -> Any:
    if key in _FIELDS:
        return _FIELDS[key]
    if key.startswith("--"):
        raise DemoError(f"{key} stands after the first KEY VALUE pair: put the flags before the pairs")
    spelt = {known.lower(): known for known in _FIELDS}
    # The cutoff is low enough for a forgotten section: LR for OPTIM.LR.
    near = difflib.get_close_matches(key.lower(), spelt, n=1, cutoff=0.4)
    hint = f"did you mean {spelt[near[0]]}?" if near else "the keys are " + ", ".join(_FIELDS)
    raise DemoError(f"unknown key {key} in {source}: {hint}")


def _converted(key: str, value: object) -> object:
    setting = _FIELDS[key]
    try:
        # By way of its text, so that 1 and "1e-3" pass as floats, and 16.5 and true not as integers.
        converted = type(setting.default)(str(value))
    except ValueError:
        converted = None
    if converted is None or not setting.metadata["allows"](converted):
        raise DemoError(f"{key} is to be {setting.metadata['expected']}, not {value}")
    return converted
