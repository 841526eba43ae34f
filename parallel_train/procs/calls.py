"""What a process does that makes calls itself: it claims as a shim does, and its result is a file that is linked once.

A result says for which round and identity it was made, so that whoever comes next knows it: a call whose owner died
between its result and its end is not made again.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from parallel_train.core import contact
from parallel_train.core.events import Launch
from parallel_train.core.facts import Claim, Owner
from parallel_train.core.task import Json, Task
from parallel_train.core.wire import owner_of
from parallel_train.procs import aside, child, companion, process, shim
from parallel_train.procs.beat import Beat
from parallel_train.procs.order import of_any
from parallel_train.store import records

Order = dict[str, Any]
Value = TypeVar("Value")
_PATIENCE = 5.0  # seconds
MADE_BY = "made_by"  # the key of a result that says for which call it stands
_PASSING = child.PASSING - {errno.EROFS}  # what the disk may take after all if it is asked again


def order_of(launch: Launch, queue: Path, worker: str, lease: float) -> Order:
    """What `procs.order.build` gives for a command."""
    made: Order = {
        **of_any(launch, queue, worker, lease),
        "shared": True,  # but without a child that beats: the companion is a process of its own already
        "needs": {},
        "slots": [],
        "gpus": [],
        "group": "",
        "made_with": {},
        "output": str(queue.parent / str(launch.task.output)),
        "started": "",
    }
    made["cookie"] = shim.cookie(made)
    return made


def copy_of(claim: Claim, task: Task, queue: Path, worker: str) -> Order:
    """The order for a second process on the attempt that `claim` is for."""
    return {
        "queue": str(queue),
        "worker": worker,
        "task": claim.task,
        "attempt": claim.attempt,
        "round": claim.round,
        "identity": claim.identity,
        "cookie": claim.cookie,
        "output": str(queue.parent / str(task.output)),
        "started": shim.stamp(),
    }


def announce_copy(order: Order, lives: Callable[[Owner], bool]) -> bool:
    """Whether this process may copy that attempt: nobody does who lives. Raises OSError.

    A mark is never taken away from a dead copier: whoever comes next adds one, and exactly one of them can.
    """
    for nth in itertools.count(1):
        mark = _mark(order, nth)
        try:
            copier = owner_of(records.read_one(mark))
        except FileNotFoundError:
            return records.publish(mark, [process.this_process(order["worker"])], durable=False)
        except (records.DamagedError, records.NewerVersionError, KeyError, TypeError, ValueError):
            continue  # nobody can say who that is
        if lives(copier):
            break
    return False


def _beat(order: Order) -> str:
    return os.path.join(order["queue"], "beats", "{}.{}".format(order["task"], order["attempt"]))


def _mark(order: Order, nth: int) -> str:
    return f"{_beat(order)}.copy{nth}"


# ---- the claim ----


def claim(order: Order, log: str) -> dict[str, Any]:
    """Claim the attempt for this process. Raises shim.RefusedError, OSError."""
    shim.check_chain(order)
    return shim.link_claim(order, log, "")


def doubt(order: Order) -> str:
    """What speaks against the call, now that everybody can see the claim; "" where nothing does."""
    try:
        return shim.disagreement(order, Beat(order, order["sent"]))
    except OSError as error:
        return f"the queue can't be read: {error}"


def make_room(order: Order) -> bool:
    """Put aside what stands where the result is to be; True where that is the result already. Raises OSError.

    Only for whoever holds the claim.
    """
    if not records.exists(order["output"]):
        return False
    if is_result(order):
        return True
    name = "{}.{}".format(order["task"], order["round"])
    aside.put_aside(order["queue"], name, order["attempt"], order["output"])
    return False


def is_result(order: Order) -> bool:
    """Whether a result of this round stands. Raises OSError where that can't be seen."""
    try:
        with open(order["output"], encoding="utf-8") as file:
            made_by = json.load(file)[MADE_BY]
        return (made_by["identity"], made_by["round"]) == (order["identity"], order["round"])
    except (FileNotFoundError, IsADirectoryError, ValueError, LookupError, TypeError, RecursionError):
        return False


# ---- the result and the end ----


def publish(order: Order, result: Mapping[str, Json], trouble: Callable[[str], None]) -> bool:
    """Make the result's file; False where one of this round stands already. A full disk is waited out.

    Raises OSError where waiting does not help, as for somebody else's file in its place; TypeError for what JSON
    can't hold.
    """
    here = {name: order[name] for name in ("task", "identity", "round", "attempt")}
    here["host"] = process.this_machine()["host"]
    data = _json({**result, MADE_BY: here})
    return wait_out(order["output"], lambda: _place(order, data), trouble)


def _json(result: Mapping[str, Json]) -> bytes:
    try:
        return json.dumps(result, indent=1, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # UTF-8 can't hold it: the name of a file, perhaps
        return json.dumps(result, indent=1).encode() + b"\n"


def _place(order: Order, data: bytes) -> bool:
    output = order["output"]
    folder = os.path.dirname(output)
    try:
        os.makedirs(folder, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is no folder", folder) from None
    if records.place(output, data, durable=True, private=False):
        return True
    if is_result(order):
        return False
    raise FileExistsError(errno.EEXIST, "what stands there is not a result of this call", output)


def wait_out(path: str, write: Callable[[], Value], trouble: Callable[[str], None]) -> Value:
    """What `write` says, which is done again while the disk can't take `path` now: nothing is lost for a full one.

    Raises OSError for what does not pass by itself, such as a missing permission or a disk that is read-only.
    """
    delay = 0.1
    while True:
        try:
            return write()
        except OSError as error:
            if error.errno not in _PASSING:
                raise
            trouble(f"{path} can't be written yet: {error.strerror}; trying until it can")
            time.sleep(delay)
            delay = min(2 * delay, 5.0)


def is_taken(order: Order) -> bool:
    """Whether the attempt has an end. Raises OSError where that can't be seen."""
    return records.exists(_end(order))


def end(order: Order, how: Mapping[str, Any], trouble: Callable[[str], None]) -> dict[str, Any] | None:
    """Link the end; None where another one stands. A full disk is waited out; raises OSError as `wait_out` does."""
    said = {"task": order["task"], "attempt": order["attempt"], "output": "none", "ended": shim.stamp(), **how}

    def link() -> bool:
        return shim.link_end(order, said, lambda message: trouble(message["trouble"]))

    is_ours = wait_out(_end(order), link, trouble)
    with suppress(OSError):  # signs of life are of no use any more
        os.unlink(_beat(order))
    with suppress(OSError):  # up to the last one
        for nth in itertools.count(1):
            os.unlink(_mark(order, nth))
    return said if is_ours else None


def _end(order: Order) -> str:
    return os.path.join(order["queue"], "ends", "{}.{}".format(order["task"], order["attempt"]))


# ---- the companion ----


class Company:
    """The companion of this process, started when it is first needed, and again where it died."""

    def __init__(self, queue: Path, worker: str, lease: float) -> None:
        me = process.this_process(worker)
        about = {"queue": str(queue), "worker": worker, "beat": contact.interval(lease)}
        self._about = {**about, "pid": me["pid"], "start": me["start"]}
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Have it show other hosts that this process lives. Raises OSError where no process can be started."""
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", companion.__file__, json.dumps(self._about)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )

    def hold(self, order: Order) -> None:
        """Beat for that call, as `begin` does for the process."""
        self.begin()
        self._say({"hold": order})

    def let_go(self, order: Order) -> None:
        with suppress(OSError):  # it was killed: nothing hangs on it any more
            self._say({"let_go": [order["task"], order["attempt"]]})

    def close(self) -> None:
        """It ends by itself; one that does not, as on a disk that hangs, is killed."""
        if self._process is None:
            return
        with suppress(OSError):
            self._say({"leave": True})
        with suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        try:
            self._process.wait(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _say(self, message: Mapping[str, Any]) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
