"""A queue in which something is not what it should be, though its seal is right: records, names, other files."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from parallel_train.core import wire
from parallel_train.core.slots import Device
from parallel_train.project.reading import this_owner
from parallel_train.store import records
from tests.faults import garble, probe
from tests.faults.probe import Call
from tests.support.sweep import QUEUE

TASKS = """\
tasks:
- {name: a, command: [echo, acc 0.5], metrics: {name: acc, regex: 'acc (\\S+)'}}
- {name: b, command: [echo, b]}
- {name: c, command: ["false"]}
- {name: d, command: [echo, d], needs: [c]}
- name: e
  command: 'mkdir -p "$PARALLEL_TRAIN_OUTPUT_DIR"; echo "{\\"acc\\": 0.7}" > "$PARALLEL_TRAIN_OUTPUT_DIR"/metrics.json'
  shell: true
  output: output/e
  metrics: {name: acc}
"""
LIVES = (  # what was done in the queue, with the exit code
    (("--gpus", "fake:2"), 1),
    (("b", "-B", "--gpus", "fake:2"), 0),
    (("add", "--", "echo", "added"), 0),
    (("worker", "--gpus", "fake:2"), 0),
    (("cancel", "d"), 0),
    (("priority", "a", "5"), 0),
    (("pause",), 0),
    (("resume",), 0),
)
LIVING = "another"  # a worker, which is this process
SEALED = ("tasks", "rounds", "claims", "ends", "requests", "workers")
LOOKS = (
    *(("status", "--all"), ("status", "--all", "--json"), ("-n",), ("-n", "--json"), ("explain", "a", "b", "c", "e")),
    *(
        ("explain", "--json", "a", "c"),
        ("logs", "a", "b", "c"),
        ("results",),
        ("results", "--json"),
        ("gc",),
        ("gpus",),
    ),
)
# Requests, and a run, which would wait in a queue that is paused by now.
WORK = (*(("priority", "a", "7"), ("cancel", "b"), ("retry", "c"), ("resume",), ("--gpus", "fake:2"), ("gc", "--yes")),)
NAMES = (
    "1",
    "²",
    "\u0661",
    "01",
    "0",
    "-1",
    "1e3",
    "999999999",
    "9" * 200,
    "x",
    ".",
    "x.1",
    ".tmp-1-x",
    "x.²",
    "x.\u0661",
    "x.01",
)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value - value == 0


def _maps(inside: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(inside, value.values()))


def _lists(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


# Field -> what it must be; those that a record may lack are marked so. Written here anew, from the design.
Shape = Mapping[str, tuple[Callable[[Any], bool], bool]]


def _must(check: Callable[[Any], bool], *names: str) -> Shape:
    return dict.fromkeys(names, (check, True))


def _may(check: Callable[[Any], bool], *names: str) -> Shape:
    return dict.fromkeys(names, (check, False))


OWNER: Shape = {**_must(_is_text, "worker", "host", "machine", "boot", "pidns"), **_must(_is_whole, "pid", "start")}
SHAPES: Mapping[str, Shape] = {
    "claims": {
        **_must(_is_text, "task", "identity", "log", "err"),
        **_must(_is_whole, "attempt", "round"),
        **_must(_maps(_is_whole), "needs"),
        **_must(lambda value: fits(OWNER, value), "owner"),
        **_must(_lists, "slots", "gpus"),
        **_may(_is_text, "cookie", "at"),
        **_may(_maps(_is_text), "made_with"),
        **_may(_is_number, "lease"),
    },
    "ends": {
        **_must(_is_text, "task"),
        **_must(_is_whole, "attempt"),
        **_must(lambda value: isinstance(value, dict) and len(value) == 1, "outcome"),
        **_may(_is_text, "stopped", "output", "note", "started", "ended"),
        **_may(_is_number, "seconds", "cpu_seconds"),
        **_may(_is_whole, "max_rss_kib", "swept"),
    },
    "rounds": {
        **_must(_is_text, "task", "identity", "why"),
        **_must(_is_whole, "number"),
        **_must(lambda value: isinstance(value, bool), "aside"),
        **_may(_is_text, "by"),
    },
    "requests": {
        **_must(_is_whole, "number"),
        **_must(_is_text, "kind"),
        **_may(_maps(_is_whole), "tasks"),
        **_may(_is_whole, "submission"),
        **_may(_is_text, "by", "at"),
    },
}


def fits(shape: Shape, value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    there = {name: check for name, (check, is_needed) in shape.items() if is_needed or name in value}
    return all(name in value and check(value[name]) for name, check in there.items())


class Queue:
    """A project whose tasks have ended in several ways; each damage is undone before the next."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "finished"
        home = folder / "home"
        home.mkdir()
        self.variables = {"HOME": str(home), "COLUMNS": "100", "PARALLEL_TRAIN_GPUS": "fake:2"}
        (self.root / "tasks").mkdir(parents=True)
        (self.root / "tasks/default.yaml").write_text(TASKS)
        for argv, code in LIVES:
            found = probe.ask(self.root, Call(argv, self.variables))
            assert found.code == code, (argv, found)
        owner = wire.owner_data(this_owner(LIVING))  # this process lives, and what it says is shown
        about = {"owner": owner, "lease": 300.0, "tasks": "1-5", "words": ["-k"], "at": "2026-01-02T03:04:05Z"}
        about["slots"] = [asdict(Device("gpu", "0", "0", "fake-0"))]
        records.publish(str(self.root / QUEUE / "workers" / LIVING), [about], durable=False)
        told = json.loads(probe.ask(self.root, Call(("status", "--all", "--json"), self.variables)).out)
        self._beside = tuple(task["id"] for task in told["tasks"] if task["name"] not in "abcde")  # of no task file

    def one(self, chance: random.Random, *, runs: bool, report: Callable[[list[str], str], None]) -> None:
        """One damage, looked at; with `runs` also worked on, in a copy."""
        spoil = chance.choices((self._record, self._name, self._other), (8, 2, 2))[0]
        path, content, is_wrong = spoil(chance)
        was = path.read_bytes() if path.is_file() else None
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content(path)
        found = [f"{' '.join(argv)}: {fault}" for argv, fault in self._looked_at(chance, path, is_wrong=is_wrong)]
        if isinstance(content, bytes) and (not path.is_file() or path.read_bytes() != content):
            found.append("it was changed")
        if runs and not found:
            found += self._worked_on()
        where = os.fsencode(path.relative_to(self.root)).decode(errors="backslashreplace")
        shown = content.decode(errors="backslashreplace") if isinstance(content, bytes) else content.__name__
        report(found, f"- {json.dumps({'file': where, 'content': shown[:20_000]})}\n")
        _remove(path)
        if was is not None:
            path.write_bytes(was)

    def _looked_at(self, chance: random.Random, path: Path, *, is_wrong: bool) -> Iterator[tuple[tuple[str, ...], str]]:
        for argv in (LOOKS[0], LOOKS[2], chance.choice(LOOKS)):
            answer = probe.ask(self.root, Call(argv, self.variables))
            for fault in probe.wrong(answer):
                yield argv, fault
            said = answer.out + answer.err
            is_named = str(path) in said and "is damaged" in said.replace("\n", " ")
            is_asked = argv == LOOKS[0] or (argv == LOOKS[2] and not path.name.startswith(self._beside))
            if is_wrong and is_asked and not is_named and not answer.crash:
                yield argv, f"a wrong record is not named: {said[-500:]!r}"

    def _worked_on(self) -> Iterator[str]:
        there = self.folder / "copy"
        shutil.rmtree(there, ignore_errors=True)
        subprocess.run(["cp", "-a", self.root, there], check=True)  # pipes and links as well
        for argv in WORK:
            yield from (f"{argv}: {fault}" for fault in probe.wrong(probe.ask(there, Call(argv, self.variables))))

    # ---- (where, what stands there then, whether that must be said) ----

    def _record(self, chance: random.Random) -> tuple[Path, bytes, bool]:
        kind = chance.choice(SEALED)
        path = chance.choice(sorted((self.root / QUEUE / kind).iterdir()))
        lines: Any = records.read(str(path))
        at = chance.randrange(len(lines))
        change = garble.changed if chance.random() < 0.4 else garble.slightly_changed
        lines[at] = change(chance, lines[at])
        if chance.random() < 0.1:
            lines = garble.changed(chance, lines)
        lines = lines if isinstance(lines, list) else [lines]
        body = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
        if chance.random() < 0.03:
            body = b"[" * 100_000 + b"\n"
        is_wrong = kind in SHAPES and not (lines and fits(SHAPES[kind], lines[0]))
        return path, body + records._seal(body), is_wrong

    def _name(self, chance: random.Random) -> tuple[Path, Any, bool]:
        """Something beside the records, of whatever name."""
        folder = self.root / QUEUE / chance.choice((*SEALED, "beats", "journal", "aside"))
        there = sorted(path for path in folder.iterdir() if path.is_file())
        name = os.fsencode(chance.choice(NAMES))
        if there and chance.random() < 0.5:
            name = garble.data(chance, os.fsencode(there[0].name))
        name = name.replace(b"/", b"").replace(b"\0", b"")[:255]
        path = folder / os.fsdecode(name if name not in {b"", b".", b".."} else b"\xff")
        copied = chance.choice(there).read_bytes() if there else b""
        makers: tuple[Any, ...] = (copied, copied, b"", b"x", records.encode([{"a": 1}]), _folder, _pipe, _link)
        return (path, b"x", False) if path.exists() else (path, chance.choice(makers), False)

    def _other(self, chance: random.Random) -> tuple[Path, bytes, bool]:
        """What is no record: remembered inputs, journals, beats, metrics, logs."""
        found = [p for p in self.root.rglob("*") if p.is_file() and p.parent.name not in {*SEALED, "tasks"}]
        path = chance.choice(sorted(found))
        before = path.read_bytes()
        try:
            return path, garble.text(garble.changed(chance, json.loads(before))).encode(errors="surrogatepass"), False
        except ValueError:
            return path, garble.data(chance, before), False


def _folder(path: Path) -> None:
    path.mkdir()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _link(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
