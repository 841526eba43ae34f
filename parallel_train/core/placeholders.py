"""`{name}` in a text of a task file. A text is cut once, and filled once for each task.

What is filled in is never read again: a value that holds `{x}` stays as it is. `{{name}}` means the text
`{name}`; any other brace is a brace, so that JSON in an argument survives.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from parallel_train.core.task import Json, late

_NAME = r"[A-Za-z_][A-Za-z0-9_.-]*"
_MARK = re.compile(rf"\{{\{{({_NAME})\}}\}}|\{{({_NAME})\}}")
# In a shell's text ${NAME} is the shell's.
_SHELL_MARK = re.compile(rf"\{{\{{({_NAME})\}}\}}|(?<!\$)\{{({_NAME})\}}")
_WHOLE_NAME = re.compile(_NAME)

LATE = frozenset({"python", "data_root"})
SEVERAL = frozenset({"args", "needs"})  # several words each
POINT = "point"  # what a search's point is known by; a name of ours only where something is searched
RESERVED = frozenset({"output", "output_base", *SEVERAL, *LATE})


@dataclass(frozen=True, slots=True)
class Text:
    """A text cut at its placeholders: `literals` stand before, between and after `names`."""

    literals: tuple[str, ...]
    names: tuple[str, ...] = ()

    def fill(self, values: Mapping[str, str]) -> str:
        """The text with a value for each name. Raises KeyError for one that has none."""
        if not self.names:
            return self.literals[0]
        parts = [self.literals[0]]
        for name, literal in zip(self.names, self.literals[1:], strict=True):
            parts += (values[name], literal)
        return "".join(parts)


def cut(text: str, *, late_allowed: bool = False, shell: bool = False) -> Text:
    """`text` ready to be filled. Where late values may stand they become marks now; a launch fills those."""
    if "{" not in text:
        return Text((text,))
    literals, names, end = [""], [], 0
    for mark in (_SHELL_MARK if shell else _MARK).finditer(text):
        literals[-1] += text[end : mark.start()]
        end = mark.end()
        if mark[1] is not None:
            literals[-1] += f"{{{mark[1]}}}"
        elif late_allowed and mark[2] in LATE:
            literals[-1] += late(mark[2])
        else:
            names.append(mark[2])
            literals.append("")
    literals[-1] += text[end:]
    return Text(tuple(literals), tuple(names))


def loose(text: str) -> str:
    """`text` without its placeholders, to look for what a person meant to be one."""
    return _MARK.sub("\0", text)


def is_name(text: str) -> bool:
    return _WHOLE_NAME.fullmatch(text) is not None


def is_unicode(text: str) -> bool:
    """Whether `text` can be written: bytes that are no UTF-8, as Python takes them in, can't."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def written(value: Json) -> str:
    """A param as it stands in a command: text as it is, numbers as Python writes them, all else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


def arguments(params: Mapping[str, Json]) -> list[str]:
    """What `{args}` stands for: `--name value` each, `--name` for true, nothing for false and null."""
    argv: list[str] = []
    for name, value in params.items():
        if value is True:
            argv.append(f"--{name}")
        elif value is not False and value is not None:
            argv += (f"--{name}", written(value))
    return argv
