"""What can be wrong in a way that a person can mend. Each error carries its sentence and its exit code."""

from __future__ import annotations

import re
from dataclasses import dataclass

# What a terminal would obey: a name may come from anywhere.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")

MOST_FAULTS = 50  # are shown of one file, and hardly more are looked for
_LONGEST = 400
_LONGEST_LINE = 4000  # a path has at most 4,096 bytes


class ParallelTrainError(Exception):
    """An expected error: the command line prints its text, without a traceback, and exits with `exit_code`."""

    exit_code = 2

    def __str__(self) -> str:
        lines = _CONTROL.sub("?", super().__str__()).split("\n")
        return "\n".join(line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}…" for line in lines)


class UsageError(ParallelTrainError):
    """An option, a GPU, a folder or a file that can't be used as asked."""


class ClusterError(ParallelTrainError):
    """What a cluster refuses for good, in its words."""


class NoTaskFileError(UsageError):
    """The task file is not there."""


class NothingSelectedError(ParallelTrainError):
    """A selection that matches no task."""

    exit_code = 3


@dataclass(frozen=True)
class Fault:
    """One fault in a task file: where it is, what is wrong, the line, and what to do."""

    file: str
    line: int  # from 1; 0 where the file as a whole is meant
    column: int  # from 1
    message: str
    source: str = ""  # the offending line
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        message = self.message if len(self.message) <= _LONGEST else f"{self.message[:_LONGEST]}…"
        text = f"{place}: {message}"
        if self.hint:
            text += f" ({self.hint})"
        if self.source:
            caret = "".join("\t" if c == "\t" else " " for c in self.source[: self.column - 1]) + "^"
            text += f"\n    {self.source}\n    {caret}"
        return text


class TaskFileError(ParallelTrainError):
    """Everything that is wrong in a task file, at once, as far as a person would read it."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        more = [f"and {len(faults) - MOST_FAULTS:,} faults more"] if len(faults) > MOST_FAULTS else []
        super().__init__("\n".join([*map(str, faults[:MOST_FAULTS]), *more]))
