"""The folders of a queue: made private to the user, or to a group that shares it."""

from __future__ import annotations

import os
from pathlib import Path

from parallel_train.errors import UsageError
from parallel_train.store import records, trust

NAME = ".parallel-train"
KINDS = ("tasks", "rounds", "claims", "beats", "ends", "requests", "workers", "journal", "aside", "arrays")
_ABOUT = """This folder is parallel-train's queue for the project above it.

tasks/    the tasks that were asked for      rounds/  why a task runs again
claims/   who runs which attempt             ends/    how each attempt ended
requests/ what people asked for              workers/ who works here now
beats/    signs of life, for other hosts     journal/ what was said, for people
arrays/   what was asked of a cluster
aside/    old outputs, moved out of the way; copies of records that were found damaged

Records are written once and never changed. Deleting this folder forgets what is done and what runs.
"""


def create(folder: Path, *, shared: bool = False) -> None:
    """Make the queue's folders, private to the user or, where that was chosen, `shared` with a group (see trust).

    Raises UsageError where that can't be done, or where others can write there.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        make(folder, folder)
        trust.check(folder, shared=shared)
        if shared:
            trust.share(folder)
    except OSError as error:
        raise UsageError(f"can't make the queue folder {folder}: {error.strerror}") from error
    complete(folder)


def complete(folder: Path) -> None:
    """Make what a queue lacks: an older version's has fewer folders. Raises UsageError."""
    try:
        for kind in KINDS:
            make(folder / kind, folder)
        _write(folder / "README.md", _ABOUT)
        # Tells this queue from a later one in the same place, for what is put aside outside of it.
        _write(folder / "id", os.urandom(6).hex())
    except OSError as error:
        raise UsageError(f"can't make the queue folder {folder}: {error.strerror}") from error


def make(folder: Path, queue: Path) -> None:
    """Make a folder as private as the queue, where there is none yet. Raises OSError."""
    try:
        records.make_folder(str(folder), str(queue))
    except FileExistsError:
        if not folder.is_dir():
            raise


def _write(path: Path, text: str) -> None:
    """Once, and whole or not at all: what is there stays."""
    if not os.path.lexists(path):
        records.place(str(path), text.encode(), durable=True)
