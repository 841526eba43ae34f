"""The cards of `--gpus fake:FILE`: a JSON file that may be rewritten while we run."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

from parallel_train.core.machine import Card, CardState, GpuProcess
from parallel_train.procs.cards import QUERY_LIMIT, ProviderError

_STATES = ("ok", "gone", "sick", "hang")
_LONGEST = 2**20
_UUID = re.compile(r"[A-Za-z0-9._-]{0,64}")  # it becomes part of a file name


class FileProvider:
    """Reads the file anew at each query. A card in state `hang` makes the query hang, up to the limit."""

    def __init__(self, file: str, limit: float = QUERY_LIMIT) -> None:
        self._file = file
        self._limit = limit

    def cards(self) -> tuple[Card, ...]:
        entries = self._entries()
        if any(entry.get("state") == "hang" for entry in entries):
            time.sleep(self._limit)
            raise ProviderError(f"{self._file}: the cards did not answer within {self._limit:g} s")
        try:
            cards = tuple(_card(entry, place) for place, entry in enumerate(entries))
            _refuse_equal([card.index for card in cards], "index")
            _refuse_equal([card.uuid for card in cards if card.uuid], "uuid")
        except ValueError as error:
            raise ProviderError(f"{self._file}: {error}") from None
        return tuple(sorted(cards, key=lambda card: card.index))

    def _entries(self) -> list[dict[str, Any]]:
        try:
            # A pipe or a device in its place ends here, too.
            with open(self._file, encoding="utf-8", opener=_without_waiting) as file:
                text = file.read(_LONGEST + 1)
            if len(text) > _LONGEST:
                raise ProviderError(f"{self._file}: it holds more than {_LONGEST // 2**20} MiB")
            content = json.loads(text)
        except OSError as error:
            raise ProviderError(f"{self._file}: {error.strerror}") from None
        except json.JSONDecodeError as error:
            raise ProviderError(f"{self._file}:{error.lineno}:{error.colno}: {error.msg}") from None
        except UnicodeDecodeError:
            raise ProviderError(f"{self._file}: not UTF-8 text") from None
        except ValueError:
            raise ProviderError(f"{self._file}: a number has too many digits") from None
        except RecursionError:
            raise ProviderError(f"{self._file}: nested too deep") from None
        entries = content.get("gpus") if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ProviderError(f'{self._file}: must be {{"gpus": [{{"index": 0, ...}}, ...]}}')
        return entries


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _card(entry: Mapping[str, Any], place: int) -> Card:
    where = f"gpus[{place}]"
    _refuse_unknown(entry, _CARD, where)
    read = {key: _value(entry, key, check, where) for key, check in _CARD.items()}
    listed = read["processes"] or []
    processes = tuple(_process(item, f"{where}.processes[{nr}]") for nr, item in enumerate(listed))
    used = read["memory_used_mib"]
    return Card(
        index=place if read["index"] is None else read["index"],
        uuid=read["uuid"] or "",
        name=read["name"] or "fake GPU",
        memory_total_mib=read["memory_total_mib"] or 0,
        memory_used_mib=sum(process.memory_mib for process in processes) if used is None else used,
        processes=processes,
        state=cast("CardState", read["state"] or "ok"),
        utilization_percent=read["utilization_percent"],
        temperature_c=read["temperature_c"],
    )


def _process(item: object, where: str) -> GpuProcess:
    if not isinstance(item, dict) or "pid" not in item:
        raise ValueError(f'{where} must be an object with a "pid"')
    _refuse_unknown(item, _PROCESS, where)
    read = {key: _value(item, key, check, where) for key, check in _PROCESS.items()}
    return GpuProcess(read["pid"], read["user"] or "?", read["memory_mib"] or 0, read["command"] or "")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_Check: TypeAlias = "tuple[str, Callable[[Any], bool]]"  # what the value must be, in words and as a test
_COUNT: _Check = ("a whole number from 0", _is_count)
_TEXT: _Check = ("text", _is_text)
_PROCESS: dict[str, _Check] = {"pid": _COUNT, "user": _TEXT, "memory_mib": _COUNT, "command": _TEXT}
_CARD: dict[str, _Check] = {
    "index": _COUNT,
    "uuid": (
        "letters, digits, '.', '_' and '-'",
        lambda value: _is_text(value) and bool(_UUID.fullmatch(value)),
    ),
    "name": _TEXT,
    "memory_total_mib": _COUNT,
    "memory_used_mib": _COUNT,
    "utilization_percent": _COUNT,
    "temperature_c": _COUNT,
    "processes": ("a list", lambda value: isinstance(value, list)),
    "state": (f"one of {', '.join(_STATES)}", lambda value: value in _STATES),
}


def _value(entry: Mapping[str, Any], key: str, check: _Check, where: str) -> Any:
    """The value, or None where it is left out."""
    what, is_right = check
    if key in entry and not is_right(entry[key]):
        raise ValueError(f"{where}.{key} must be {what}, not {json.dumps(entry[key])}")
    return entry.get(key)


def _refuse_unknown(entry: Mapping[str, Any], known: Mapping[str, _Check], where: str) -> None:
    for key in entry:
        if key not in known:
            raise ValueError(f"{where} has no key {key!r} (it may have {', '.join(known)})")


def _refuse_equal(values: list[Any], key: str) -> None:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"two gpus have {key} {value}")
