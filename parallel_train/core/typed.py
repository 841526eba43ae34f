"""A command as somebody typed it -> the same with placeholders, and the values that may vary.

Filled with these values it is the command again, byte for byte. What an argument means is guessed: a wrong guess
costs a line in a task file, never a wrong command.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from parallel_train.core import outputs, placeholders
from parallel_train.core.placeholders import RESERVED

_SCRIPT = re.compile(r".*\.(?:py|sh)", re.DOTALL)
_NUMBER = re.compile(r"-(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_OPTION = re.compile(r"--?[A-Za-z][\w.-]*", re.ASCII)
_OPTION_WITH_VALUE = re.compile(r"(--?[A-Za-z][\w.-]*)=(.*)", re.ASCII | re.DOTALL)
_PAIR = re.compile(r"\+{0,2}([A-Za-z_][\w./-]*)=(.*)", re.ASCII | re.DOTALL)  # lr=0.1, as hydra takes it
_KEY = re.compile(r"[A-Z][A-Z0-9_]*(?:\.\w+)+", re.ASCII)  # DATASET.NOISE_RATE 0.5, as yacs takes it
_SEEDS = frozenset({"seed", "random_seed", "manual_seed"})
_OUTPUTS = frozenset(
    {
        *("out", "output", "outdir", "out_dir", "output_dir", "output_path", "output_folder", "results_dir"),
        *("savedir", "save_dir", "save_path", "save_folder", "workdir", "work_dir", "run_dir", "result_dir"),
    }
)
_NO_PARAMS = RESERVED | {"include", "exclude"}  # keys of `matrix` with a meaning of their own
_BRACED = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.-]*)\}")


@dataclass(slots=True)
class Typed:
    command: list[str] = field(default_factory=list)  # one text for each word, with placeholders
    params: dict[str, str] = field(default_factory=dict)  # values as typed
    seed: int | None = None
    output: str | None = None  # in its one spelling, with placeholders
    no_output: str = ""  # why the argument that seems to name the output can't be a promise


def read(words: Sequence[str], project: str) -> Typed:
    """What `words`, typed in the folder `project`, say."""
    reader = _Reader(project)
    after = _arguments_begin(words)
    reader.typed.command += ["{python}" if words[0] in {"python", "python3"} else literal(words[0])]
    reader.typed.command += [literal(word) for word in words[1:after]]
    reader.read(words[after:])
    return reader.typed


def literal(text: str) -> str:
    """`text` as it has to be written where placeholders are looked for."""
    return _BRACED.sub(r"{{\1}}", text)


def _arguments_begin(words: Sequence[str]) -> int:
    """After the script, the module or the program."""
    for place, word in enumerate(words):
        if word in {"-m", "-c"}:
            return min(place + 2, len(words))
        if _SCRIPT.fullmatch(word):
            return place + 1
    return 1


class _Reader:
    def __init__(self, project: str) -> None:
        self.project = project
        self.typed = Typed()

    def read(self, words: Sequence[str]) -> None:
        place = 0
        while place < len(words):
            word, following = words[place], words[place + 1 : place + 2]
            if word == "--":
                self.typed.command += map(literal, words[place:])
                return
            place += 1
            joined = _OPTION_WITH_VALUE.fullmatch(word) or _PAIR.fullmatch(word)
            if joined is not None:
                self.typed.command.append(literal(word[: joined.start(2)]) + self._value(joined[1], joined[2]))
            elif following and _takes(word, following[0]):
                self.typed.command += (literal(word), self._value(word, following[0]))
                place += 1
            else:
                self.typed.command.append(literal(word))

    def _value(self, name: str, value: str) -> str:
        """What stands for `value` in the command."""
        name = name.lstrip("-+")
        short = re.split(r"[./]", name)[-1].replace("-", "_").lower()
        is_output = short in _OUTPUTS or name == "hydra.run.dir"
        if is_output and (found := self._output(value)) is not None:
            return found
        if short in _SEEDS and self.typed.seed is None and "seed" not in self.typed.params and _is_whole(value):
            self.typed.seed = int(value)
            return "{seed}"
        param = next(each for each in self._names(short, name) if self._is_free(each))
        self.typed.params[param] = value
        return f"{{{param}}}"

    def _output(self, value: str) -> str | None:
        if self.typed.output is not None:
            return None
        promised = literal(value)
        try:
            output = outputs.settle(placeholders.cut(promised), value, self.project)
        except ValueError as error:
            self.typed.no_output = str(error)
            return None
        before, found, after = value.rpartition(output)
        if not found or after.strip("/"):  # a/../b: our spelling of it is not in it
            self.typed.no_output = f"'{value}' can be written shorter"
            return None
        self.typed.output = literal(output)
        return f"{literal(before)}{{output}}{after}"

    def _is_free(self, name: str) -> bool:
        is_seed = name == "seed" and self.typed.seed is not None
        return placeholders.is_name(name) and name not in _NO_PARAMS and name not in self.typed.params and not is_seed

    @staticmethod
    def _names(short: str, name: str) -> Iterator[str]:
        whole = re.sub(r"\W", "_", name).lower()
        yield from (short, whole)
        yield from (f"{whole}_{number}" for number in count(2))


def _takes(word: str, following: str) -> bool:
    """Whether `following` is the value of the option or key `word`."""
    if not (_OPTION.fullmatch(word) or _KEY.fullmatch(word)):
        return False
    is_next_option = following.startswith("-") and not _NUMBER.fullmatch(following)
    return not (is_next_option or _KEY.fullmatch(following) or _PAIR.fullmatch(following))


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10 and str(int(text)) == text
