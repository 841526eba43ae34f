"""What a trial has learnt so far, in a file that is whole or absent."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO

from parallel_train.errors import ParallelTrainError
from parallel_train.store import records


class CheckpointError(ParallelTrainError):
    """A checkpoint that is not to be loaded, or saved, as asked."""


def save(path: Path, states: object, is_ours: Callable[[], bool], *, weights_only: bool = True) -> bool:
    """Make `states` what `path` holds, whatever it held before, once they are on the disk as a whole.

    False, and nothing is changed, where `is_ours` says that the trial has been given to somebody else.
    Raises CheckpointError for what `load` could not read with the same `weights_only`.
    """
    import torch  # noqa: PLC0415  where it is used

    if not is_ours():
        return False
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f".{path.name}.*.part"):  # by somebody who was killed in here
        left.unlink(missing_ok=True)
    temporary = folder / f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.part"
    try:
        with temporary.open("xb") as file:
            torch.save(states, file)
            file.flush()
            os.fsync(file.fileno())
        if weights_only:
            _check_readable(temporary)
        if not is_ours():
            return False
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    with suppress(OSError):  # it stands; only a power loss could still take it
        records.sync_folder(str(folder))
    return True


def _check_readable(file: Path) -> None:
    import torch  # noqa: PLC0415  where it is used

    try:
        torch.load(file, weights_only=True, mmap=True, map_location="cpu")  # the weights themselves are not read
    except UnpicklingError as error:
        raise CheckpointError(
            "load_checkpoint() could not read that: save model.state_dict() in place of the model, and plain values in "
            "place of objects. To keep objects all the same, save and load with weights_only=False"
        ) from error


def hand_on(path: Path, target: Path) -> None:
    """Have `target` begin as what `path` holds, where that is there and nothing lies at `target` yet."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{os.urandom(4).hex()}.part")
    try:
        shutil.copyfile(path, temporary)
        os.link(temporary, target)
    except (FileNotFoundError, FileExistsError):
        return
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path, *, weights_only: bool, map_location: Any) -> Any:
    """What was saved at `path`; None where nothing was.

    With `weights_only` off the file may run code of whoever wrote it, so it must be this user's and closed to others.
    """
    import torch  # noqa: PLC0415  where it is used

    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    with file:
        if not weights_only:
            _check_private(file, path)
        return torch.load(file, weights_only=weights_only, map_location=map_location)


def _check_private(file: BinaryIO, path: Path) -> None:
    found = os.fstat(file.fileno())
    if found.st_uid != os.geteuid():
        raise CheckpointError(f"{path} belongs to another user: it is loaded with weights_only=True, or not at all")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise CheckpointError(
            f"others may write {path}: it is loaded with weights_only=True, or after chmod go-w, if you trust it"
        )
