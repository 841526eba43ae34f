"""gc: what only takes room. It removes what it lists, and only when told to."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import stat
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from parallel_train.core import needless
from parallel_train.core.situation import Situation
from parallel_train.core.state import Line
from parallel_train.core.task import Task
from parallel_train.procs import aside, process
from parallel_train.procs.runner import is_alive
from parallel_train.project.reading import existing_queue, known_tasks, look
from parallel_train.report import paste, words
from parallel_train.report.console import print_sheet
from parallel_train.report.table import Column, Sheet

_ASIDE = re.compile(r"([0-9a-f]+)\.(\d+)(?:\.\d+\.part)?", re.ASCII)  # as procs/aside.py names them
_TEMPORARY = re.compile(r"\.tmp-(\d+)-\w+(?:\.\w+)?", re.ASCII)  # as store/records.py and store/inputs.py name them
_YOUNG = 3600.0  # seconds in which a writer, of whichever host, has surely finished or died
_MOST_WAYS_BACK = 10


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing that takes room: an old output, the logs of an attempt, or what a killed writer left."""

    kind: str  # output, logs or temporary
    paths: tuple[Path, ...]  # absolute
    size: int  # bytes on the disk
    modified: float  # seconds since the epoch
    task: Task | None = None
    why: str = ""
    back: tuple[str, str] | None = None  # what to rename to what, to undo the putting aside


def gc(project: Path, *, yes: bool, as_json: bool, out: TextIO) -> int:
    """List what only takes room, and with `yes` remove it; 0, or 1 where something could not be removed."""
    folder = existing_queue(project)
    found = sorted(_leftovers(project, folder), key=lambda each: (-each.size, each.modified, each.paths))
    if not as_json:
        _draw(found, project, out)
    failed = [text for each in found if (text := _remove(each))] if yes else []
    if as_json:
        told = {"entries": [_json(each, project) for each in found], "size": _total(found), "removed": yes}
        print(json.dumps({**told, "failed": failed}, indent=2), file=out)
    elif found:
        print(_last_line(found, failed, yes=yes), file=out)
    return 1 if failed else 0


# ---- what there is ----


def _leftovers(project: Path, folder: Path) -> Iterator[Leftover]:
    situation = look(project, known_tasks(folder, everything=True))
    for base in _asides(project, folder, situation):
        yield from _outputs(project, base, situation)
    yield from _logs(project, situation.lines.values())
    yield from _temporaries(folder)


def _asides(project: Path, folder: Path, situation: Situation) -> list[Path]:
    """The folders of this queue that old outputs are put into."""
    try:
        name = aside.beside(str(folder))
    except OSError:
        name = ""
    homes = {(project / line.task.output).parent for line in situation.lines.values() if line.task.output}
    return [folder / "aside", *(home / name for home in sorted(homes) if name)]


def _outputs(project: Path, base: Path, situation: Situation) -> Iterator[Leftover]:
    for entry in _entries(base):
        match = _ASIDE.fullmatch(entry.name)
        line = situation.lines.get(match[1]) if match else None
        if match is None or line is None or not entry.is_dir(follow_symlinks=False):
            continue
        if needless.is_aside_needless(line, int(match[2])):
            path = Path(entry.path)
            yield Leftover(
                "output",
                (path,),
                _size(path),
                entry.stat(follow_symlinks=False).st_mtime,
                line.task,
                _why_aside(line, int(match[2])),
                _way_back(project, path, line.task),
            )


def _why_aside(line: Line, number: int) -> str:
    why = next((f": {r.why}" for r in line.rounds if r.number == number), "")
    return f"put aside for round {number}{why}"


def _way_back(project: Path, path: Path, task: Task) -> tuple[str, str] | None:
    inside = [entry.name for entry in _entries(path)]
    if not inside or not task.output:
        return None
    return _shown(path / inside[0], project), task.output


def _logs(project: Path, lines: Iterable[Line]) -> Iterator[Leftover]:
    every = list(lines)
    needed = {path for line in every for path in _needed_logs(line)}
    for line in every:
        for attempt in needless.attempts(line):
            claim = attempt.claim
            lives = is_alive(claim.owner)
            if lives or (lives is None and needless.is_lost(attempt)):
                continue  # it may still write
            named = [Path(os.path.normpath(project / path)) for path in (claim.log, claim.err) if path not in needed]
            paths = tuple(path for path in named if _is_plain_file(path))
            if paths:
                why = f"attempt {attempt.number}: {words.end(attempt.end, line.task)}" if attempt.end else ""
                yield Leftover("logs", paths, sum(map(_size, paths)), max(map(_modified, paths)), line.task, why)


def _needed_logs(line: Line) -> Iterator[str]:
    spare = {attempt.number for attempt in needless.attempts(line)}
    for attempt in line.attempts:
        if attempt.number not in spare:
            yield from (attempt.claim.log, attempt.claim.err)


def _is_plain_file(path: Path) -> bool:
    """Whether it is a file of this user's that no symbolic link leads to."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid() and path.parent.resolve() == path.parent


def _temporaries(folder: Path) -> Iterator[Leftover]:
    for place in (folder, *(Path(entry.path) for entry in _entries(folder) if entry.is_dir(follow_symlinks=False))):
        for entry in _entries(place):
            match = _TEMPORARY.fullmatch(entry.name)
            path = Path(entry.path)
            if match is None or not _is_plain_file(path) or process.start_time(int(match[1])):
                continue
            if time.time() - _modified(path) > _YOUNG:
                yield Leftover("temporary", (path,), _size(path), _modified(path), why="its writer was killed")


# ---- files ----


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder of ours; nothing where it is absent, or only a symbolic link to one."""
    if folder.is_symlink():
        return []
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _modified(path: Path) -> float:
    return path.lstat().st_mtime


def _size(path: Path) -> int:
    """Bytes on the disk, of a folder with all that is in it."""
    inside = (Path(root, name) for root, folders, files in os.walk(path) for name in (*folders, *files))
    return sum(each.lstat().st_blocks * 512 for each in (path, *inside))


def _remove(found: Leftover) -> str:
    """Remove it, following no symbolic link; why that failed, if it did."""
    try:
        for path in found.paths:
            if found.kind == "output":
                shutil.rmtree(path)
            else:
                path.unlink()
    except FileNotFoundError:
        return ""  # somebody else cleans up, too
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    return ""


# ---- the listing ----


def _draw(found: Sequence[Leftover], project: Path, out: TextIO) -> None:
    if not found:
        print("nothing here only takes room", file=out)
        return
    columns = (
        Column("size", is_number=True),
        Column("age", is_number=True),
        Column("what"),
        Column("#", is_number=True, spare=2),
        Column("task", may_break=True),
        Column("why", may_break=True, spare=1),
        Column("path", may_break=True),
    )
    print_sheet(Sheet(columns, tuple(_row(each, project) for each in found)), out)
    ways = [_rename(*map(paste.path, each.back)) for each in found if each.back]
    if ways:
        print("An old output comes back so, once the new one is out of its way:", file=out)
        print(*(f"  {words.clean(way)}" for way in ways[:_MOST_WAYS_BACK]), sep="\n", file=out)
        if len(ways) > _MOST_WAYS_BACK:
            print(f"  {len(ways) - _MOST_WAYS_BACK} more: {paste.command('gc', '--json')}", file=out)


def _rename(here: str, there: str) -> str:
    return shlex.join(["mv", "-nT", here, there])


def _row(each: Leftover, project: Path) -> tuple[str, ...]:
    return (
        *(_bytes(each.size), words.span(max(0.0, time.time() - each.modified)), each.kind),
        str(each.task.number) if each.task else "",
        words.name(each.task) if each.task else "",
        words.clean(each.why),
        words.clean(paste.path(_shown(each.paths[0], project))),
    )


def _last_line(found: Sequence[Leftover], failed: Sequence[str], *, yes: bool) -> str:
    counts = Counter(each.kind for each in found)
    said = ", ".join(
        text
        for kind, text in (
            ("output", words.plural(counts["output"], "old output")),
            ("logs", f"the logs of {words.plural(counts['logs'], 'attempt')}"),
            ("temporary", words.plural(counts["temporary"], "temporary file")),
        )
        if counts[kind]
    )
    if not yes:
        return f"{_bytes(_total(found))}: {said}. To remove them: {paste.command('gc', '--yes')}"
    return "\n".join([f"removed {_bytes(_total(found))}: {said}", *(f"can't remove {text}" for text in failed)])


def _json(each: Leftover, project: Path) -> dict[str, Any]:
    return {
        "kind": each.kind,
        "task": each.task.id if each.task else None,
        "name": each.task.name if each.task else None,
        "why": each.why,
        "size": each.size,
        "modified": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(each.modified)),
        "paths": [_shown(path, project) for path in each.paths],
        "back": _rename(*each.back) if each.back else None,
    }


def _bytes(size: float) -> str:
    """1.2 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} TiB"


def _total(found: Iterable[Leftover]) -> int:
    return sum(each.size for each in found)


def _shown(path: Path, project: Path) -> str:
    return str(path.relative_to(project)) if path.is_relative_to(project) else str(path)
