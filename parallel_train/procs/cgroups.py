"""The control groups that this process is in, and the limits that they set."""

from __future__ import annotations

import os
from collections.abc import Iterator


def folders(controller: str, root: str = "/") -> Iterator[str]:
    """Every cgroup folder that may limit us: ours and those above it, since the tightest limit wins.

    In a container the path may be the host's, of which only the topmost folder can be seen. `root` is where `proc`
    and `sys` are mounted.
    """
    for line in read(os.path.join(root, "proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mounts = {controllers, controller} if controllers else {"", "unified"}
        while True:
            for mount in mounts:
                yield os.path.join(root, "sys/fs/cgroup", mount, path.lstrip("/"))
            if path.strip("/") == "":
                break
            path = os.path.dirname(path)


def number(folder: str, *names: str) -> int | None:
    """What the first of the files `names` says that there is; None for `max` and where there is none."""
    for name in names:
        text = read(os.path.join(folder, name)).strip()
        if text:
            return int(text) if text.isdecimal() else None
    return None


def read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""
