"""The product's own shim, as steps: how it claims, looks, waits for a former owner, beats, watches, halts, sweeps.

The system calls that others can notice, or that tell of others, are steps; all else is done on the way.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Generator, Mapping
from types import SimpleNamespace
from typing import Any

from parallel_train.core import contact, wire
from parallel_train.core.facts import Claim, Owner
from parallel_train.procs import asked, beat, child, shim, watch
from tests.faults.sim.disk import FixedDict, Key
from tests.faults.sim.stepped import again, stepped

Step = tuple[Any, ...]
Steps = Generator[Step, Any, Any]
STEPS = (
    *("os.listdir", "os.pwrite", "os.unlink", "os.kill", "os.killpg", "os.wait4", "os.makedirs", "os.fork"),
    *(
        "signal.sigtimedwait",
        "time.sleep",
        "process.descendants",
        "aside.put_aside",
        "child.start",
        "outputs.state_in_the_end",
    ),
    *("records.exists", "records.publish", "records.read_one"),
    *("report", "locks.sign", "os.waitpid", "signal.sigpending"),
)


class Time:
    CLOCK_BOOTTIME = time.CLOCK_BOOTTIME
    """The monotonic clock of whoever takes its step now."""

    now = 0.0
    wall = 0.0
    slept = 0.0  # what the clock that goes on while the machine is suspended shows beyond that

    def monotonic(self) -> float:
        return self.now

    def clock_gettime(self, _: int) -> float:
        return self.now + self.slept

    def strftime(self, *_: Any) -> str:
        return "then"

    def gmtime(self) -> None:
        pass

    def sleep(self, seconds: float) -> Steps:
        yield "sleep", seconds


TIME = Time()
USAGE = SimpleNamespace(ru_maxrss=0, ru_utime=0.0, ru_stime=0.0)
LEADER, CHILDREN, BEAT = 1, -1, 2  # what a shim knows its own by


def named(path: str) -> tuple[str, Key]:
    """(folder, key) of a record."""
    _, kind, name = path.split("/")
    task, _, number = name.rpartition(".")
    return kind, (task, int(number)) if number.isdigit() else (name, 0)


class Os:
    environ: Mapping[str, str] = {}  # of no allocation: nobody tells a shim and its task at once

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def listdir(self, path: str) -> Steps:
        return (yield "listdir", path.rpartition("/")[2])

    def pwrite(self, _: int, data: bytes, __: int) -> Steps:
        yield "beat", int(data)

    def unlink(self, path: str) -> Steps:
        if "/beats/" in path:
            yield ("no_beat",)

    def kill(self, pid: int, number: int) -> Steps:
        yield "kill", pid, number

    def killpg(self, pid: int, number: int) -> Steps:
        yield "kill", pid, number

    def wait4(self, *_: int) -> Steps:
        return (*(yield ("wait4",)), USAGE)

    def makedirs(self, *_: Any, **__: Any) -> Steps:
        yield ("prepare",)

    def open(self, *_: Any) -> int:
        return 9

    def close(self, *_: Any) -> None:
        pass

    def umask(self, mask: int) -> int:
        return mask

    def fork(self) -> int:
        raise NotImplementedError  # see Beat.start

    def getpid(self) -> int:
        return 0

    def waitpid(self, pid: int, _: int) -> Steps:
        if pid == -1:
            yield ("wait4",)

    def lstat(self, _: str) -> Any:
        return SimpleNamespace(st_ino=0)


class Signal:
    def __getattr__(self, name: str) -> Any:
        return getattr(signal, name)

    def sigtimedwait(self, numbers: Any, seconds: float) -> Steps:
        told = yield "await", tuple(sorted(numbers)), seconds
        return SimpleNamespace(si_signo=told) if told else None

    def sigpending(self) -> Steps:
        return (yield ("pending",))


class Records:
    number = staticmethod(asked.records.number)
    DamagedError = asked.records.DamagedError
    NewerVersionError = asked.records.NewerVersionError

    def exists(self, path: str) -> Steps:
        kind, key = named(path)
        return (yield ("works", key[0])) if kind == "workers" else (yield "exists", kind, key)

    def publish(self, path: str, lines: list[dict[str, Any]], durable: bool = True) -> Steps:
        kind, key = named(path)
        return (yield "link", kind, key, claim_of(lines[0]) if kind == "claims" else wire.end_of(lines[0]))

    def read_one(self, path: str) -> Steps:
        kind, key = named(path)
        if kind == "workers":
            owner = yield "read", kind, key[0]
            return {"owner": {"machine": owner.machine, "boot": owner.boot, "pidns": owner.pidns}}
        if kind != "requests":
            return (yield "read", kind, key)
        request = yield "read", kind, key
        return {"kind": request.kind, "tasks": request.tasks}

    def open_own(self, *_: Any) -> int:
        return 9


def claim_of(data: dict[str, Any]) -> Claim:
    return Claim(
        **{
            **data,
            "needs": FixedDict(data["needs"]),
            "slots": tuple(data["slots"]),
            "gpus": (),
            "made_with": FixedDict(),
        }
    )


def _take_slots(order: dict[str, Any]) -> Steps:
    """procs.shim._take_slots; what the last holder left is swept by whoever signs."""
    for slot in sorted(order["slots"]):
        if not (yield "take", slot):
            raise SHIM["RefusedError"]("busy", "", (slot,))
    for slot in order["slots"]:
        yield "sign", slot, order["cookie"]
    return list(order["slots"])


def _sign(slot: str, _: Any) -> Steps:
    """Nobody's any more: what is signed so is closed next."""
    yield "unsign", slot


def report(said: dict[str, Any]) -> Steps:
    """What a shim tells its scheduler; troubles decide nothing."""
    match said:
        case {"claimed": claim}:
            yield "report", ("claimed", claim_of(claim))
        case {"refused": why, "slots": slots}:
            yield "report", ("refused", why, tuple(slots))
        case {"ended": end, "is_free": is_free}:
            yield "report", ("ended", end and wire.end_of(end), is_free)


def _start(order: dict[str, Any], *_: Any) -> Steps:
    return (yield "start", order["cookie"])


def _state(order: dict[str, Any]) -> Steps:
    """procs.outputs.state_in_the_end."""
    until = TIME.now + order["lease"]
    while True:
        try:
            return (yield "output_at", order["output"])
        except OSError:
            if TIME.now > until:
                return "missing"
        yield "sleep", 1.0


def _descendants(_: int) -> Steps:
    return (yield ("descendants",))


def _is_claim_ours(_: Any) -> Steps:
    yield from ()
    return True


def _stands(path: str, end: dict[str, Any]) -> Steps:
    return (yield "read", *named(path)) == wire.end_of(end)


def put_aside(_: str, name: str, attempt: int, __: str, *, check: Callable[[], Steps]) -> Steps:
    """procs.aside, where each rename is a step."""
    task, _, number = name.rpartition(".")
    key = (task, int(number))
    if (yield "is_aside", key):
        return
    for part in (yield "parts", key):
        if (yield "is_filled", part):
            yield "finish_part", part
            return
        yield "remove_part", part
    part = (*key, attempt)
    yield "make_part", part
    yield from check()
    yield "move_output", part
    yield "finish_part", part


def _touch(_: int) -> None:
    pass


_AROUND = {
    "os": Os(),
    "signal": Signal(),
    "time": TIME,
    "records": Records(),
    "mmap": SimpleNamespace(mmap=lambda _, size: bytearray(size)),
}
_TREES = stepped((asked, beat, watch, shim), STEPS)
ASKED = again(asked, _TREES[asked.__name__], **_AROUND)
_PROCESS = SimpleNamespace(
    descendants=_descendants, this_process=lambda worker: worker.owner, die_with_parent=lambda _: None
)
_BEAT = again(beat, _TREES[beat.__name__], **_AROUND, process=_PROCESS, Asked=ASKED["Asked"])
_WATCH = again(
    watch,
    _TREES[watch.__name__],
    **_AROUND,
    process=_PROCESS,
    locks=SimpleNamespace(touch=_touch),
    Beat=_BEAT["Beat"],
    fence=SimpleNamespace(kill=lambda _: None),
)


class Beat(_BEAT["Beat"]):  # type: ignore[misc]
    """Its child shares its state; it is a process of its own."""

    def start(self) -> Steps:
        if self.is_shared:
            self.child = yield "fork_beat", self

    def goes_on(self) -> Steps:
        while True:
            yield "sleep", self.interval
            yield from self._send()


SHIM = again(
    shim,
    _TREES[shim.__name__],
    **_AROUND,
    process=_PROCESS,
    aside=SimpleNamespace(put_aside=put_aside, place_of=lambda *_: ""),
    child=SimpleNamespace(start=_start, StartError=child.StartError, PASSING=child.PASSING),
    outputs=SimpleNamespace(state_in_the_end=_state),
    locks=SimpleNamespace(sign=_sign),
    watch=SimpleNamespace(Watch=_WATCH["Watch"], STOPS=watch.STOPS),
    Beat=Beat,
    fence=SimpleNamespace(end=lambda _: True),
    logs=SimpleNamespace(open_new=lambda _: ("", 0, "", 0), take_back=lambda *_: None),
    _take_slots=_take_slots,
    _is_claim_ours=_is_claim_ours,
    _stands=_stands,
)


class Worker(str):
    """The name of an attempt's worker, with who owns the attempt."""

    __slots__ = ("owner",)
    owner: Owner

    def __new__(cls, owner: Owner) -> Worker:  # noqa: PYI034  nothing is derived from it
        found = super().__new__(cls, owner.worker)
        found.owner = owner
        return found


def order_of(order: Any, owner: Owner) -> dict[str, Any]:
    """The part of procs.order.build that decides anything here."""
    launch = order.launch
    return {
        "project": "",
        "env": {},
        "queue": "queue",
        "worker": Worker(owner),
        "task": launch.task.id,
        "attempt": launch.attempt,
        "round": launch.round,
        "identity": launch.task.identity,
        "heard": launch.heard,
        "asked_round": launch.asked_round,
        "lease": order.lease,
        "beat": contact.interval(order.lease),
        "shared": order.is_shared,
        "wait": launch.wait,
        "group": "",
        "needs": {name: (seen.round, seen.deciding, seen.last) for name, seen in launch.needs.items()},
        "slots": launch.slots,
        "gpus": (),
        "aside": launch.aside,
        "umask": 0,
        "made_with": {},
        "grace": 10.0,
        "log": "",
        "cookie": f"{launch.task.id}.{launch.attempt}.{owner.pid}.{owner.start}.{owner.boot}",
        "output": launch.task.output and f"/{launch.task.output}",
        "done_when": None,
        "timeout": launch.task.timeout,
        "stops_at": None,
    }
