"""Run by path as a child: prints what nvidia-smi says of the cards, as one line of JSON in the form of nvml.py.

Arguments: the nvidia-smi to run, and the seconds the parent waits. Standard library only.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
from parallel_train.procs.owners import process_facts

_FIELDS = "index,uuid,name,memory.total,memory.used,utilization.gpu,temperature.gpu,driver_version"
_FORMAT = "--format=csv,noheader,nounits"
_NO_DRIVER = (9, 12)  # exit codes: the driver is not loaded, its library is not found
_NO_CARDS = "no devices were found"
_LOST_HANDLE = re.compile(r"unable to determine the device handle for gpu.*", re.IGNORECASE)


def main(program: str, limit: float) -> None:
    """Ask, and print the answer."""
    # Whoever asks kills us in time; should it be dead itself, a hung query still ends.
    signal.alarm(math.ceil(limit) + 5)
    print(json.dumps(answer(program)))  # noqa: T201 - its output is what it is for


def answer(program: str) -> dict[str, Any]:
    """What nvidia-smi says, as the parent reads it."""
    code, told = _run(program, f"--query-gpu={_FIELDS}", _FORMAT)
    if code in _NO_DRIVER:
        return {"none": _said(told, code)}
    rows = [row for row in _rows(told) if len(row) == _FIELDS.count(",") + 1 and row[0].isdecimal()]
    if not rows and _NO_CARDS not in told.lower():
        return {"error": _said(told, code)}
    _, apps = _run(program, "--query-compute-apps=gpu_uuid,pid,used_memory", _FORMAT)
    _, listed = _run(program, "-L")
    cards = [_card(row, _processes(apps, row[1]), _mig(listed, row[0])) for row in rows]
    cards += _lost(told, {card["index"] for card in cards})
    cards.sort(key=lambda card: card["index"])
    version = next((row[-1] for row in rows if row[-1][:1].isdecimal()), "")
    # CUDA counts without the cards that are kept from us.
    return {"cards": [{**card, "index": place} for place, card in enumerate(cards)], "version": version, "cuda": ""}


def _run(program: str, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [program, *arguments],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    return done.returncode, done.stdout


def _said(told: str, code: int) -> str:
    """The first line that says something."""
    return next((line.strip() for line in told.splitlines() if line.strip()), f"exit code {code}")


def _rows(told: str) -> list[list[str]]:
    return [[cell.strip() for cell in row] for row in csv.reader(told.splitlines(), skipinitialspace=True)]


def _card(row: list[str], processes: list[dict[str, object]], mig: list[str]) -> dict[str, Any]:
    index, uuid, name, total, used, use, temperature, _ = row
    return {
        "index": int(index),
        "uuid": _text(uuid),
        "name": _text(name),
        "memory_total_mib": _number(total) or 0,
        "memory_used_mib": _number(used) or 0,
        "utilization_percent": _number(use),
        "temperature_c": _number(temperature),
        "processes": processes,
        "state": _state(row),
        "mig": mig,
    }


def _state(words: Iterable[str]) -> str:
    """From what stands, in brackets or in a complaint, where a fact should: [N/A] and the like say nothing."""
    said = " ".join(word for word in words if _text(word) == "").lower()
    if "lost" in said or "fallen off" in said:
        return "gone"
    return "sick" if "error" in said or "reset" in said else "ok"


def _text(cell: str) -> str:
    """The cell, or nothing where it says why there is none: [N/A], [Not Supported], [Unknown Error], ERR!."""
    return "" if cell.startswith("[") or cell in {"N/A", "ERR!"} else cell


def _number(cell: str) -> int | None:
    found = re.match(r"[0-9]+", cell)
    return int(found[0]) if found else None


def _processes(apps: str, uuid: str) -> list[dict[str, object]]:
    rows = [row for row in _rows(apps) if len(row) == 3 and row[0] == uuid and row[1].isdecimal()]
    return [process_facts(int(pid), _number(memory) or 0) for _, pid, memory in rows]


def _mig(listed: str, index: str) -> list[str]:
    """The MIG ids below `GPU index:` in the list of `nvidia-smi -L`."""
    parts = re.split(r"^GPU (\d+):", listed, flags=re.MULTILINE)
    below = dict(zip(parts[1::2], parts[2::2], strict=True)).get(index, "")
    return re.findall(r"UUID: (MIG-[^)\s]+)", below)


def _lost(told: str, known: set[int]) -> list[dict[str, Any]]:
    """Cards that are only complained of: they take the places that are free."""
    found = []
    for complaint in _LOST_HANDLE.findall(told):
        index = next(place for place in range(len(known) + 1) if place not in known)
        known = {*known, index}
        state = "gone" if "lost" in complaint.lower() else "sick"
        card = _card([str(index), *[""] * _FIELDS.count(",")], [], [])
        found.append({**card, "state": state})
    return found


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
