"""The logs of an attempt: two new files, opened by its shim. Standard library only, Python 3.8 and newer."""

from __future__ import annotations

import errno
import os
from typing import Any

from parallel_train.store import records


def open_new(order: dict[str, Any]) -> tuple[str, int, str, int]:
    """Two new files, never shared with another attempt: (path, descriptor) of the output's and of the errors'."""
    os.makedirs(os.path.dirname(os.path.join(order["project"], order["log"])), exist_ok=True)
    for number in range(1, 1000):
        stem = order["log"] if number == 1 else "{}_{}".format(order["log"], number)
        log_path, err_path = stem + ".log", stem + ".err"
        try:
            log = _new_file(order, log_path)
        except FileExistsError:
            continue
        try:
            return log_path, log, err_path, _new_file(order, err_path)
        except OSError as error:
            take_back(order, log_path, log)
            os.close(log)
            if error.errno != errno.EEXIST:
                raise
    raise FileExistsError(errno.EEXIST, "no name is free for a log like this", order["log"])


def _new_file(order: dict[str, Any], path: str) -> int:
    """Whatever has the name already, a link or a pipe too, keeps it."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(os.path.join(order["project"], path), flags, 0o600)
    records.belong(descriptor, order["queue"])
    return descriptor


def take_back(order: dict[str, Any], path: str, descriptor: int) -> None:
    """Remove an empty log of ours, but nothing that was put into its place."""
    path = os.path.join(order["project"], path)
    if os.path.samestat(os.lstat(path), os.fstat(descriptor)):
        os.unlink(path)
