"""One NLPrompt training as its guide writes it, and the task that it means.

A user's interpreter imports this module when it reads a `.py` task file: standard library only, Python 3.8.
"""

from __future__ import annotations

import difflib
import operator
from dataclasses import dataclass, fields
from typing import Any, Dict, List, Sequence

# The guide's order puts `shots`, which has a default, before fields that have none.
_REQUIRED: Any = None

# Flags first: the trainer takes everything after the first KEY VALUE pair for more such pairs.
_COMMAND = [
    *("{python}", "train.py", "--root", "{data_root}", "--seed", "{seed}", "--trainer", "{trainer}"),
    *("--dataset-config-file", "configs/datasets/{dataset}.yaml"),
    *("--config-file", "configs/trainers/{trainer}/{cfg}.yaml"),
    *("--output-dir", "{output}"),
    *("DATASET.NUM_SHOTS", "{shots}"),
    *("DATASET.NOISE_RATE", "{noise_rate}"),
    *("DATASET.NOISE_TYPE", "{noise_type}"),
    *("DATASET.num_class", "{num_classes}"),
]


def rate_folder(rate: float) -> str:
    """A noise rate as the trainer's folders spell it: 0.125, 0.25, 0.50, 0.10, 1, 0.062."""
    text = f"{rate:.3f}".rstrip("0").rstrip(".")
    whole, point, decimals = text.partition(".")
    return f"{whole}.{decimals:0<2}" if point else whole


def rate_spellings(rate: float) -> List[str]:  # noqa: UP006 - Python 3.8
    """The folder's spelling first, then the others of the same value that are found in the wild."""
    written = [str(rate), *(f"{rate:.{digits}f}" for digits in range(5))]
    same = [text for text in written if float(text) == rate]
    return list(dict.fromkeys([rate_folder(rate), *same]))


@dataclass(frozen=True)
class TaskConfig:
    """One training: a dataset with noisy labels, learnt by one trainer."""

    dataset: str = _REQUIRED
    shots: int = 16
    noise_rate: float = _REQUIRED
    noise_type: str = _REQUIRED
    num_classes: int = _REQUIRED
    seed: int = 1
    cfg: str = "rn50"
    trainer: str = "NLPrompt"

    def __new__(cls, *_args: Any, **given: Any) -> TaskConfig:  # noqa: PYI034 - Python 3.8 has no Self
        for name in given:
            if name not in cls.__dataclass_fields__:
                near = difflib.get_close_matches(name, cls.__dataclass_fields__, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(cls.__dataclass_fields__)}"
                raise TypeError(f"TaskConfig has no {name!r} ({hint})")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        missing = [f.name for f in fields(self) if getattr(self, f.name) is None]
        if missing:
            raise TypeError(f"TaskConfig needs {', '.join(missing)}")
        for name in ("dataset", "noise_type", "cfg", "trainer"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise TypeError(f"{name} must be text, not {getattr(self, name)!r}")
        for name in ("shots", "num_classes", "seed"):
            object.__setattr__(self, name, _whole(name, getattr(self, name)))
        # The trainer's own configuration refuses a rate without a point.
        object.__setattr__(self, "noise_rate", _rate(self.noise_rate))

    def __str__(self) -> str:
        return f"TaskConfig({self.dataset}, shots={self.shots}, noise={self.noise_type}_{self.noise_rate})"

    def template(self) -> Dict[str, Any]:  # noqa: UP006 - Python 3.8
        """The training as one entry of a task file's `tasks`."""
        params = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            "command": _COMMAND,
            # The same params, and so the same tasks, as those of tasks/nlprompt.yaml.
            "params": {**params, "rate_folder": rate_folder(self.noise_rate)},
            "output": _folder("{rate_folder}"),
            "metrics": {"name": "accuracy", "regex": r"\* accuracy: ([\d.]+)%"},
            "done_when": {
                "file": [f"{_folder(rate)}/log.txt*" for rate in rate_spellings(self.noise_rate)],
                "contains": "Finish training",
            },
        }


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    return operator.index(value)


def _rate(value: Any) -> float:
    if isinstance(value, (str, bool)) or not hasattr(value, "__float__") or not 0 <= float(value) <= 1:
        raise TypeError(f"noise_rate must be a number from 0 to 1, not {value!r}")
    return float(value)


def _folder(rate: str) -> str:
    return f"{{output_base}}/{{dataset}}/{{trainer}}/{{cfg}}_{{shots}}shots/noise_{{noise_type}}_{rate}/seed{{seed}}"


def name_template(configs: Sequence[TaskConfig]) -> str:
    """Names such as `caltech101_sym_0.125_seed1`, longer by whatever else differs among `configs`."""
    name = "{dataset}_{noise_type}_{noise_rate}_seed{seed}"
    for field, part in (("shots", "_{shots}shots"), ("cfg", "_{cfg}"), ("trainer", "_{trainer}")):
        if len({getattr(config, field) for config in configs}) > 1:
            name += part
    return name
