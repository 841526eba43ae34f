"""Is a record that was damaged left in its place, named and copied, while everything else goes on?"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from parallel_train.store import records
from tests.support.call import Caller, call
from tests.support.corpus import CORPUS, content

__all__ = ["call"]

CASES = yaml.safe_load((CORPUS / "records.yaml").read_text())
QUEUE = ".parallel-train"
NEWER = b'{"something": "new"}\n{"v": 99, "bytes": 1, "crc32": 1}\n'


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def swap(path: Path) -> None:
    """The record of another task under this one's name."""
    other = next(each for each in path.parent.iterdir() if each.name.split(".")[0] != path.name.split(".")[0])
    shutil.copy(other, path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "flipped": flip,
    "emptied": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "other keys": lambda path: path.write_bytes(records.encode([{"something": 1}])),
    "other types": lambda path: path.write_bytes(records.encode([[1, 2]])),  # type: ignore[list-item]
    "a folder": to_folder,
    "swapped": swap,
    "newer": lambda path: path.write_bytes(NEWER),
}
MAKERS: dict[str, Callable[[Path, Path], object]] = {
    "a copy": lambda path, record: shutil.copy(record, path),
    "a folder": lambda path, _: path.mkdir(),
    "a pipe": lambda path, _: os.mkfifo(path),
    "a link to nowhere": lambda path, _: path.symlink_to("nowhere"),
    "a link to /dev/zero": lambda path, _: path.symlink_to("/dev/zero"),
}
LOOKS = (("status", "--all"), ("-n", "--gpus", "fake:2"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which all is done, to copy."""
    root = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        made = Caller(root, patch, SimpleNamespace(readouterr=lambda: ("", "")))
        made.write("tasks/default.yaml", "tasks:\n- {name: a, command: [echo, a]}\n- {name: b, command: [echo, b]}\n")
        for argv in (("--gpus", "fake:2"), ("b", "-B", "--gpus", "fake:2"), ("pause",), ("resume",)):
            assert made(*argv).code == 0
    return root


def chosen(key: str) -> pytest.MarkDecorator:
    cases = [case for case in CASES if (key if key in case else "") or (key == "wrong" and is_wrong(case))]
    return pytest.mark.parametrize("case", cases, ids=lambda case: ascii(case)[1:70])


def is_wrong(case: dict) -> bool:
    return not case.keys().isdisjoint({"set", "without", "raw"})


@chosen("damage")
def test_a_damaged_record(finished: Path, call: Caller, case: dict):
    shutil.copytree(finished, call.root, dirs_exist_ok=True)
    record = min((call.root / QUEUE / case["kind"]).iterdir())
    DAMAGES[case["damage"]](record)
    left = record.read_bytes() if record.is_file() else b""
    copy = call.root / QUEUE / "aside/damaged" / f"{case['kind']}.{record.name}"
    for argv in (("status", "--all"), ("-n", "--gpus", "fake:2"), ("--gpus", "fake:2")):
        found = call(*argv)
        assert "Traceback" not in found.out + found.err
        said = " ".join((found.out + found.err).split())
        assert case["says"] in said, (argv, said)
        assert str(record) in said, (argv, said)
        if case.get("code"):
            assert (found.code, found.out) == (2, "")
        else:
            nothing_is_left = case["kind"] == "tasks" and argv[0] == "status"
            assert found.code == (2 if nothing_is_left else 0), (argv, said)
        is_copied = argv[0] == "--gpus" and record.is_file() and not case.get("code")  # by a worker, of what can be
        assert (copy.read_bytes() if copy.exists() else None) == (left if is_copied else None), argv
    assert (record.read_bytes() if record.is_file() else b"") == left
    assert record.exists()


def test_the_record_of_a_worker(call: Caller):
    """Nobody can say who it is, and that is said."""
    call.write("tasks/default.yaml", "tasks: [{command: 'true'}]\n")
    assert call("--gpus", "fake:1").code == 0
    record = call.root / QUEUE / "workers/somebody"
    record.write_text("damage")
    for argv in (("status",), ("--gpus", "fake:1"), ("-B", "--gpus", "fake:1")):
        found = call(*argv)
        assert f"the record {record} is damaged" in " ".join((found.out + found.err).split()), argv
        assert found.code == 0
    assert record.read_text() == (call.root / QUEUE / "aside/damaged/workers.somebody").read_text() == "damage"


def test_a_damaged_record_whose_name_a_terminal_would_obey(call: Caller):
    call.write("tasks/default.yaml", "tasks: [{command: 'true'}]\n")
    assert call("--gpus", "fake:1").code == 0
    (call.root / QUEUE / "workers/\x1b[2J\r\nx").write_text("damage")
    for argv in (("status",), ("results",), ("logs",), ("explain",), ("-n",)):
        found = call(*argv)
        assert "is damaged" in found.err + found.out, argv
        assert not {"\x1b", "\r"} & {*found.out, *found.err}, argv


def test_a_copy_that_was_kept_is_not_written_again(call: Caller):
    call.write("tasks/default.yaml", "tasks: [{command: 'true'}]\n")
    assert call("--gpus", "fake:1").code == 0
    (record,) = (call.root / QUEUE / "ends").iterdir()
    for text in ("first", "second"):
        record.write_text(text)
        call("--gpus", "fake:1")
    assert (call.root / QUEUE / "aside/damaged" / f"ends.{record.name}").read_text() == "first"


def sealed(record: Path, case: dict) -> bytes:
    """The record of the case, with a right seal."""
    if "raw" in case:
        return content(case["raw"]) + records._seal(content(case["raw"]))
    lines = records.read(str(record))
    line = lines[case.get("at", 1) - 1]
    for name, value in case.get("set", {}).items():
        inside(line, name)[name.rpartition(".")[2]] = value
    if "without" in case:
        del inside(line, case["without"])[case["without"].rpartition(".")[2]]
    return records.encode(lines)


def inside(line: dict[str, Any], name: str) -> dict[str, Any]:
    outer = name.rpartition(".")[0]
    return line[outer] if outer else line


@chosen("wrong")
def test_a_record_that_is_whole_and_holds_something_else(finished: Path, call: Caller, case: dict):
    shutil.copytree(finished, call.root, dirs_exist_ok=True)
    record = min((call.root / QUEUE / case["kind"]).iterdir())
    made = sealed(record, case)
    record.write_bytes(made)
    for argv in LOOKS:
        found = call(*argv)
        said = " ".join((found.out + found.err).split())
        assert f"{record} {case['says']}" in said, (argv, said)
        assert "Traceback" not in said
        nothing_is_left = case["kind"] == "tasks" and argv[0] == "status"
        assert found.code == (2 if nothing_is_left else 0), (argv, said)
    assert record.read_bytes() == made


@chosen("beside")
def test_what_lies_among_the_records(finished: Path, call: Caller, case: dict):
    shutil.copytree(finished, call.root, dirs_exist_ok=True)
    before = [call(*argv) for argv in LOOKS]
    folder = call.root / QUEUE / case["kind"]
    MAKERS[case["what"]](folder / case["beside"], min((call.root / QUEUE / "ends").iterdir()))
    for argv, then in zip(LOOKS, before, strict=True):
        found = call(*argv)
        said = " ".join((found.out + found.err).split())
        assert found.code == 0, said
        assert found == then if not case["says"] else f"{folder / case['beside']} {case['says']}" in said, said
