"""What holds for whoever begins to work at a queue: a scheduler, or a process that makes calls itself."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from parallel_train.core.situation import Situation, Template
from parallel_train.core.state import Ended
from parallel_train.errors import UsageError


def new_worker() -> str:
    """A name for this process as a worker, such as 20231228-143022-4711-9f3a."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{secrets.token_hex(2)}"


def to_repeat(situation: Situation, chosen: Iterable[str], canaries: Mapping[Template, str]) -> frozenset[str]:
    """The failures that a run of `chosen` repeats: all where it begins anew; where one was cut short none but those
    of `canaries`, without which nothing else would run.
    """
    states = {name: situation.lines[name].state for name in chosen}
    failed = {name for name, state in states.items() if isinstance(state, Ended) and state.ending == "failed"}
    is_new = all(isinstance(state, Ended) for state in states.values())
    return frozenset(failed if is_new else failed & set(canaries.values()))


def check_disk_is_there(situation: Situation, project: Path) -> None:
    """Done outputs that are gone together with the folder that held them all: most likely an unmounted disk."""
    done = [line for line in situation.lines.values() if line.task.output and line.has_succeeded]
    if not done or any(line.output == "there" for line in done):
        return
    folder = os.path.commonpath([str((project / str(line.task.output)).parent) for line in done])
    if not Path(folder).exists():
        raise UsageError(
            f"the outputs of {len(done)} finished tasks are gone, and so is {folder}: is a disk not mounted? "
            "To run them all again use -B"
        )
