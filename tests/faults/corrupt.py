"""Records cut at every byte, and a bit flipped in every byte: is it seen and said, and is all else kept?"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from parallel_train.commands import app
from parallel_train.core import wire
from parallel_train.project.reading import this_owner
from parallel_train.store import records
from tests.faults.frame import Piece, Plan, Verdict
from tests.support import call
from tests.support.sweep import QUEUE

KINDS = ("tasks", "rounds", "claims", "ends", "requests", "workers")
NEWER = "written by a newer parallel-train"  # what a flipped bit may make of the version
TASKS = "tasks:\n- {name: a, command: [echo, a]}\n- {name: b, command: [echo, b]}\n"


def run(plan: Plan) -> Verdict:
    return plan.in_pieces(one_kind, smoke=len(KINDS), full=len(KINDS))


def ask(root: Path, *argv: str) -> tuple[int, str, str]:
    """The command within this process: exit code, what it wrote and what it complained of."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    before, umask = Path.cwd(), os.umask(0o022)
    os.chdir(root)
    program = mock.patch.multiple(sys, argv=["parallel-train", *argv]), mock.patch.object(app, "app", call._program())
    try:
        with program[0], program[1], redirect_stdout(out), redirect_stderr(err):
            app.main()
    except SystemExit as left:
        code = int(left.code or 0)
    finally:
        os.chdir(before)
        os.umask(umask)
    return code, out.getvalue(), err.getvalue()


def finished(root: Path) -> None:
    """A project in which both tasks are done, `b` twice, and in which a worker is written that lives."""
    (root / "tasks").mkdir(parents=True)
    (root / "tasks/default.yaml").write_text(TASKS)
    for argv in (("--gpus", "fake:2"), ("b", "-B", "--gpus", "fake:2"), ("pause",), ("resume",)):
        assert ask(root, *argv)[0] == 0
    owner = wire.owner_data(this_owner("another"))
    assert records.publish(str(root / QUEUE / "workers" / "another"), [{"owner": owner}], durable=False)


@dataclass(frozen=True)
class Case:
    record: Path
    task: str  # whose record it is; "" where nobody's
    whole: bytes
    damaged: bytes
    what: str
    is_deciding: bool  # the end of its task's last attempt


def one_kind(piece: Piece) -> None:
    """All damages of the records of one kind, in one queue; now and then a run goes through them."""
    root, kind = piece.folder / "project", KINDS[piece.number]
    finished(root)
    names = {line["id"]: line["name"] for line in _lines(next((root / QUEUE / "tasks").iterdir())) if "id" in line}
    before = _status(root)
    for number, case in enumerate(_cases(piece, root / QUEUE / kind, names)):
        case.record.write_bytes(case.damaged)
        found = list(_looked_at(root, kind, case, before))
        if number % (150 if piece.is_full else 25) == 0:
            found += _worked_on(piece, root, case, before)
            piece.count(runs=1)
        if case.record.read_bytes() != case.damaged:
            found.append("it was changed")
        piece.fault(*(f"{kind}/{case.record.name} {case.what}: {fault}" for fault in found))
        case.record.write_bytes(case.whole)
        piece.count(damages=1)
    assert _status(root) == before


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()[:-1]]


def _cases(piece: Piece, folder: Path, names: dict[str, str]) -> Iterator[Case]:
    there = sorted(folder.iterdir())
    for record in there:
        whole, id_ = record.read_bytes(), record.name.rpartition(".")[0]
        task = names.get(id_, "")
        is_last = folder.name == "ends" and record == [path for path in there if path.name.startswith(id_)][-1]
        places = range(len(whole))
        for place in places if piece.is_full else sorted(piece.chance.sample(places, 4)):
            yield Case(record, task, whole, whole[:place], f"cut at byte {place}", is_last)
            bit = piece.chance.randrange(8)
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            yield Case(record, task, whole, bytes(flipped), f"with bit {bit} of byte {place} flipped", is_last)


def _status(root: Path) -> dict[str, dict[str, Any]]:
    told = json.loads(ask(root, "status", "--all", "--json")[1] or '{"tasks": []}')
    return {task["name"]: task for task in told["tasks"]}


def _looked_at(root: Path, kind: str, case: Case, before: dict[str, dict[str, Any]]) -> Iterator[str]:
    """What is wrong with what `status` and `-n` say."""
    code, out, err = ask(root, "status", "--all", "--json")
    plan = ask(root, "-n", "--json", "--gpus", "fake:2")
    for said in (out + err, plan[1] + plan[2]):
        if "Traceback" in said:
            yield said
        if not (str(case.record) in said and ("is damaged" in said or NEWER in said)):
            yield f"it is not said: {said[-300:]}"
    if code not in {0, 2}:
        yield f"status exits with {code}"
    if NEWER in err or kind == "tasks":
        return  # nothing can be known, and that was said
    told = {task["name"]: task for task in json.loads(out)["tasks"]}
    decided = {task["name"]: task["decision"] for task in json.loads(plan[1])["tasks"]}
    yield from (f"{name} changed with it" for name in before if name != case.task and told[name] != before[name])
    if case.is_deciding and (told[case.task]["ending"], decided[case.task]) != (None, "run"):
        yield f"it counts all the same: {told[case.task]['ending']}, {decided}"


def _worked_on(piece: Piece, root: Path, case: Case, before: dict[str, dict[str, Any]]) -> Iterator[str]:
    """What is wrong after a run in a copy."""
    there = piece.folder / "copy"
    shutil.copytree(root, there)
    code, out, err = ask(there, "--gpus", "fake:2")
    if "Traceback" in out + err:
        yield out + err
    if NEWER in err:
        shutil.rmtree(there)
        return
    after = _status(there)
    wrong = {name: task["ending"] for name, task in after.items() if task["ending"] != "succeeded"}
    if code or wrong:
        yield f"a run exits with {code}, and {wrong}: {out}{err}"
    if case.task == "b" and after["a"]["attempts"] != before["a"]["attempts"]:
        yield "a ran again"
    if (there / case.record.relative_to(root)).read_bytes() != case.damaged:
        yield "a run changed it"
    copies = [path.read_bytes() for path in (there / QUEUE / "aside/damaged").glob("*")]
    if copies != [case.damaged]:
        yield f"{len(copies)} copies are kept of it"
    shutil.rmtree(there)
