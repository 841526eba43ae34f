"""Input that nobody meant: bytes, JSON values, YAML and words, changed or made up by chance."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

STRANGE_TEXTS = (
    *("", " ", "x", "\0", "\x1b[2J\x1b]0;x\x07", "a\nb", "a\tb", "\r", "\u202e", "\u2028", "\x85", "é" * 200),
    *("n" * 300, "..", "../../x", "/", "/nowhere/x", "~", "~/x", ".", "a/./b", "a//b", "-x", "--", "a\0b"),
    *("{x}", "{", "{{", "}}", "{x:.3f}", "{output}", "{args}", "{needs}", "{python}", "{data_root}", "\0nosuch\0"),
    *("*", "[", "a=b", "=", "secret:X", "secret:", "null", "no", "1e-3", "0123", "0x1f", "0o17", "1_000"),
    *("12:30:00", "2h30m", "-5", "nan", ".inf", "9" * 400, "9" * 5000, "1e400", "\u0661", "²", "\ud800"),
    *("\udcff", "\U0001f600", "'", '"', "`date`", "$(date)", "a;b", "!!int", "&a", "*a", "<<", "? ", "- ", ": "),
    *("%YAML 1.1", "...", "---", "#", "|", ">", "\\", "\ufeff", "tasks", "command", "matrix", "seeds", "lr"),
    *("fine", "yesterday", "2026-99-99T99:99:99Z", "2026-01-02T03:04:05Z", "9999-12-31T23:59:59Z"),
)
STRANGE_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 255, 5000, 10**9, 2**31, 2**63, -(2**63), 10**20, 10**299),
    *(0.5, -0.5, 1e-9, 1e18, 1e308, float("nan"), float("inf"), float("-inf")),
    *([], {}, [[]], [None], [""], {"": ""}, {"a": 1}, [1, "a"], {"a": {"b": {"c": []}}}),
)
KEYS = (
    *(
        "name",
        "command",
        "params",
        "matrix",
        "zip",
        "seeds",
        "output",
        "done_when",
        "metrics",
        "inputs",
        "needs",
        "stage",
    ),
    *(
        "gpus",
        "env",
        "cwd",
        "timeout",
        "retries",
        "priority",
        "shell",
        "include",
        "exclude",
        "file",
        "contains",
        "regex",
    ),
    *("mode", "tasks", "defaults"),
)


def value(chance: random.Random) -> Any:
    """A JSON value that rarely fits."""
    found = chance.random()
    if found < 0.05:
        return nested(chance.choice((10, 70, 300)))
    if found < 0.08:
        return "x" * chance.choice((200, 4096, 200_000))
    return chance.choice(STRANGE_TEXTS if found < 0.5 else STRANGE_VALUES)


def nested(depth: int) -> Any:
    found: Any = 1
    for level in range(depth):
        found = [found] if level % 2 else {"a": found}
    return found


def changed(chance: random.Random, given: Any) -> Any:
    """`given` with something in it exchanged, taken away or added."""
    if not isinstance(given, dict | list) or not given or chance.random() < 0.1:
        return value(chance)
    found: Any = dict(given) if isinstance(given, dict) else list(given)
    place = chance.choice(list(found) if isinstance(found, dict) else range(len(found)))
    match chance.randrange(6):
        case 0:
            del found[place]
        case 1:
            found[place] = value(chance)
        case 2 if isinstance(found, dict):
            found[chance.choice((*KEYS, *STRANGE_TEXTS))] = value(chance)
        case 2:
            found.insert(chance.randrange(len(found) + 1), chance.choice(found))
        case 3 if isinstance(found, dict):
            found[place] = found[chance.choice(list(found))]
        case _:
            found[place] = changed(chance, found[place])
    return found


def slightly_changed(chance: random.Random, given: Any) -> Any:
    """`given` with one of the values deep in it exchanged, mostly for one of the same type."""
    if isinstance(given, dict | list) and given:
        found: Any = dict(given) if isinstance(given, dict) else list(given)
        place = chance.choice(list(found) if isinstance(found, dict) else range(len(found)))
        found[place] = slightly_changed(chance, found[place])
        return found
    alike = STRANGE_TEXTS if isinstance(given, str) else [v for v in STRANGE_VALUES if type(v) is type(given)]
    return chance.choice(alike) if alike and chance.random() < 0.8 else value(chance)


def data(chance: random.Random, given: bytes, others: Sequence[bytes] = ()) -> bytes:
    """`given` with some of its bytes or lines changed."""
    found = given
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        found = chance.choice(_EDITS)(chance, found)
    if others and chance.random() < 0.15:
        other = chance.choice(others)
        found = found[: chance.randrange(len(found) + 1)] + other[chance.randrange(len(other) + 1) :]
    return found


def _cut(chance: random.Random, given: bytes) -> bytes:
    start, length = _at(chance, given), chance.choice((1, 1, 2, 5, 20, 100))
    return given[:start] + given[start + length :]


def _flip(chance: random.Random, given: bytes) -> bytes:
    found, at = bytearray(given or b"x"), _at(chance, given)
    found[min(at, len(found) - 1)] ^= 1 << chance.randrange(8)
    return bytes(found)


def _insert(chance: random.Random, given: bytes) -> bytes:
    at = _at(chance, given)
    return given[:at] + chance.choice(STRANGE_TEXTS).encode(errors="surrogatepass") + given[at:]


def _insert_bytes(chance: random.Random, given: bytes) -> bytes:
    at = _at(chance, given)
    return (
        given[:at]
        + chance.choice((b"\xff", b"\0", b"\xc3", b"\t", b"\n", b"\r\n", b"\xef\xbb\xbf", b"\x80"))
        + given[at:]
    )


def _repeat(chance: random.Random, given: bytes) -> bytes:
    start, length = _at(chance, given), chance.choice((1, 3, 10, 40))
    return given[:start] + given[start : start + length] * chance.choice((2, 3, 70, 2000)) + given[start + length :]


def _word(chance: random.Random, given: bytes) -> bytes:
    """One word exchanged, as somebody would who writes the wrong one."""
    words = given.split(b" ")
    words[chance.randrange(len(words))] = chance.choice((*KEYS, *STRANGE_TEXTS)).encode(errors="surrogatepass")
    return b" ".join(words)


def _line(chance: random.Random, given: bytes) -> bytes:
    """A line moved, doubled, left out or indented otherwise."""
    lines = given.splitlines(keepends=True) or [b""]
    at = chance.randrange(len(lines))
    line = lines.pop(at) if chance.random() < 0.5 else lines[at]
    match chance.randrange(4):
        case 0:
            pass
        case 1:
            lines.insert(at, b" " * chance.randrange(1, 4) + line)
        case 2:
            lines.insert(at, line.removeprefix(b"  "))
        case _:
            lines.insert(chance.randrange(len(lines) + 1), line)
    return b"".join(lines)


_EDITS: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    *(_cut, _flip, _insert, _insert_bytes, _repeat, _word, _word, _line, _line),
)


def _at(chance: random.Random, given: bytes) -> int:
    return chance.randrange(len(given) + 1)


# ---- made up ----


def task_file(chance: random.Random) -> bytes:
    """Keys of a task file with values that may or may not fit. JSON is YAML."""
    tasks = [_task(chance) for _ in range(chance.choice((1, 1, 2, 3, 12)))]
    found: dict[str, Any] = {"tasks": tasks}
    if chance.random() < 0.3:
        found["defaults"] = _task(chance)
    return text(found if chance.random() < 0.9 else changed(chance, found)).encode(errors="surrogatepass")


def text(given: Any) -> str:
    """JSON, NaN and lone halves of characters included."""
    return json.dumps(given, ensure_ascii=False)


def _task(chance: random.Random) -> Any:
    found = {key: _fitting(chance, key) for key in chance.sample(KEYS[:17], chance.randrange(1, 6))}
    found.setdefault("command", "echo {lr}")
    if chance.random() < 0.6:
        found.setdefault("params", {"lr": 1, "seed": 2})
    return changed(chance, found) if chance.random() < 0.5 else found


def _fitting(chance: random.Random, key: str) -> Any:
    texts = ("a", "b", "echo x", "o/{lr}", "{lr}-{seed}", "o/{seed}", chance.choice(STRANGE_TEXTS))
    names = ("lr", "seed", "model", chance.choice(STRANGE_TEXTS))
    some = [chance.choice((*texts, *STRANGE_VALUES)) for _ in range(chance.randrange(4))]
    made: dict[str, Any] = {
        "params": {chance.choice(names): chance.choice((*texts, *STRANGE_VALUES)) for _ in range(2)},
        "matrix": {chance.choice((*names, "include", "exclude")): list(some) for _ in range(2)},
        "command": some if chance.random() < 0.5 else chance.choice(texts),
        "done_when": {"file": chance.choice(texts), "contains": chance.choice(texts)},
        "metrics": {"name": chance.choice(texts), "regex": chance.choice(("acc (\\S+)", "(", "a", "(a+)+$", *texts))},
        "gpus": chance.choice((0, 1, 2, True, False, "2h", *STRANGE_VALUES)),
    }
    return made.get(_LIKE.get(key, key), chance.choice(texts))


_LIKE = {
    **dict.fromkeys(("env",), "params"),
    **dict.fromkeys(("zip",), "matrix"),
    **dict.fromkeys(("inputs", "needs"), "command"),
    **dict.fromkeys(("retries", "priority", "timeout", "seeds", "shell"), "gpus"),
}


def word(chance: random.Random, known: Sequence[str]) -> str:
    """A word of a command line: one that is known, nearly that, or none. It holds no NUL, as no argument can."""
    found = chance.choice(known) if chance.random() < 0.6 else chance.choice(STRANGE_TEXTS)
    if chance.random() < 0.2:
        found = data(chance, found.encode(errors="surrogateescape" if "\ud800" not in found else "replace")).decode(
            errors="surrogateescape"
        )
    return found.replace("\0", "").replace("\ud800", "?")[:100_000]
