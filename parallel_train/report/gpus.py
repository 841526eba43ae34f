"""The cards, who computes on them, and what a run would take: sheets, lines and JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from parallel_train.core.machine import Card, GpuProcess
from parallel_train.report import words
from parallel_train.report.table import Column, Sheet


@dataclass(frozen=True, slots=True)
class AttemptName:
    """An attempt of ours: in which queue, and of which task as far as that queue tells."""

    queue: str  # the project folder; empty where it can't be known
    task: str  # the task's id
    attempt: int
    number: int = 0
    name: str = ""
    is_elsewhere: bool = False  # in another queue than the one looked from


@dataclass(frozen=True, slots=True)
class ProcessRow:
    process: GpuProcess
    attempt: AttemptName | None = None  # None where it is not ours


@dataclass(frozen=True, slots=True)
class CardRow:
    card: Card
    processes: tuple[ProcessRow, ...] = ()
    is_taken: bool = False  # by the choice
    left_out: str = ""  # why not, where there is a reason
    holder: AttemptName | None = None  # whose attempt holds the slot now


@dataclass(frozen=True, slots=True)
class GpusView:
    asked: str  # as --gpus has it
    cards: tuple[CardRow, ...]
    takes: tuple[str, ...] = ()  # such as 0, or cpu0
    remarks: tuple[str, ...] = ()
    refusal: str = ""  # why a run would not start


def sheets(view: GpusView) -> Iterator[Sheet]:
    """The cards, and the processes on them where there are any."""
    if view.cards:
        yield _card_sheet(view.cards)
    rows = [(str(row.card.index), process) for row in view.cards for process in row.processes]
    if rows:
        yield _process_sheet(rows)


def sentences(view: GpusView) -> Iterator[str]:
    """What a run would use, and what is to be said about it."""
    if view.refusal:
        yield words.clean(f"--gpus {view.asked} would not start a run: {view.refusal}")
    elif view.cards or not view.remarks:
        yield words.clean(f"--gpus {view.asked} would take {words.slot(view.takes)}")
    yield from (words.clean(remark) for remark in view.remarks)


def _card_sheet(rows: Sequence[CardRow]) -> Sheet:
    columns = (
        *(Column("GPU", is_number=True), Column("name", may_break=True, spare=2), Column("use", is_number=True)),
        *(Column("memory", is_number=True), Column("temp", is_number=True), Column("taken", may_break=True)),
    )
    return Sheet(columns, tuple(_card_cells(row) for row in rows))


def _card_cells(row: CardRow) -> tuple[str, ...]:
    card = row.card
    use = "" if card.utilization_percent is None else f"{card.utilization_percent}%"
    temperature = "" if card.temperature_c is None else f"{card.temperature_c} C"
    memory = f"{card.memory_used_mib / 1024:.1f}/{card.memory_total_mib / 1024:.1f} GiB"
    memory = memory if card.memory_total_mib else ""
    return (str(card.index), words.clean(card.name), use, memory, temperature, words.clean(_choice(row)))


def _choice(row: CardRow) -> str:
    if not row.is_taken:
        return f"no: {row.left_out}" if row.left_out else "not asked for"
    return f"yes, once {attempt_text(row.holder)} has ended" if row.holder else "yes"


def _process_sheet(rows: Sequence[tuple[str, ProcessRow]]) -> Sheet:
    columns = (
        *(Column("GPU", is_number=True), Column("pid", is_number=True)),
        *(Column("memory", is_number=True), Column("user"), Column("what", may_break=True)),
    )
    return Sheet(columns, tuple(_process_cells(index, row) for index, row in rows))


def _process_cells(index: str, row: ProcessRow) -> tuple[str, ...]:
    process = row.process
    what = attempt_text(row.attempt) if row.attempt else process.command
    return (index, str(process.pid), _memory(process.memory_mib), words.clean(process.user), words.clean(what))


def attempt_text(found: AttemptName) -> str:
    number = f"#{found.number}, " if found.number else ""
    where = f" in {found.queue}" if found.is_elsewhere else ""
    return f"{found.name or found.task} ({number}attempt {found.attempt}){where}"


def _memory(mib: int) -> str:
    if not mib:
        return ""
    return f"{mib} MiB" if mib < 1024 else f"{mib / 1024:.1f} GiB"


# ---- JSON, a promise: the README lists it ----


def gpus_json(view: GpusView) -> dict[str, Any]:
    return {
        "gpus": [_card_json(row) for row in view.cards],
        "asked": view.asked,
        "takes": list(view.takes),
        "notes": list(view.remarks),
        "refusal": view.refusal or None,
    }


def _card_json(row: CardRow) -> dict[str, Any]:
    card = row.card
    return {
        "index": card.index,
        "uuid": card.uuid or None,
        "name": card.name or None,
        "state": card.state,
        "utilization_percent": card.utilization_percent,
        "memory_used_mib": card.memory_used_mib if card.memory_total_mib else None,
        "memory_total_mib": card.memory_total_mib or None,
        "temperature_c": card.temperature_c,
        "mig": list(card.mig),
        "taken": row.is_taken,
        "left_out": row.left_out or None,
        "held_by": _attempt_json(row.holder),
        "processes": [_process_json(process) for process in row.processes],
    }


def _process_json(row: ProcessRow) -> dict[str, Any]:
    process = row.process
    return {
        "pid": process.pid,
        "user": process.user,
        "memory_mib": process.memory_mib,
        "command": process.command or None,
        "attempt": _attempt_json(row.attempt),
    }


def _attempt_json(found: AttemptName | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "queue": found.queue or None,
        "id": found.task,
        "name": found.name or None,
        "number": found.number or None,
        "attempt": found.attempt,
    }
