"""The product's own modules, loaded once more with the simulated machine in place of os, time and signal."""

# ruff: noqa: PLW0108  what a lambda calls is looked up when it is called: each story has a world of its own

from __future__ import annotations

import builtins
import importlib
import inspect
import io
import os
import posixpath
import signal
import time
from types import ModuleType, SimpleNamespace
from typing import Any

from tests.faults.shared.actors import Actor, World
from tests.faults.shared.disk import Client

OURS = ("parallel_train.store.", "parallel_train.procs.")  # none of theirs may reach the real machine
LEAST = 0.0001  # seconds that anything takes: without that, who looks again at once would look for ever


class Stage:
    """Where the play is: the world of this story, and what its hosts have."""

    world: World
    clients: dict[str, Client]
    machine: Any

    @property
    def actor(self) -> Actor:
        assert self.world.current is not None
        return self.world.current

    @property
    def client(self) -> Client:
        return self.clients[self.actor.host.name]


STAGE = Stage()


class SimPath(str):
    """As much of a Path as the store uses."""

    __slots__ = ()

    def __truediv__(self, name: str) -> SimPath:
        return SimPath(f"{self}/{name}")

    @property
    def name(self) -> str:
        return posixpath.basename(self)

    @property
    def parent(self) -> SimPath:
        return SimPath(posixpath.dirname(self))

    def iterdir(self) -> list[SimPath]:
        return [self / name for name in STAGE.client.listdir(self)]

    def is_dir(self) -> bool:
        return STAGE.client.isdir(self)

    def unlink(self, missing_ok: bool = False) -> None:
        STAGE.client.unlink(self, missing_ok=missing_ok)

    def read_text(self, **_: Any) -> str:
        descriptor = STAGE.client.open(self, os.O_RDONLY)
        try:
            return STAGE.client.read(descriptor).decode()
        finally:
            STAGE.client.close(descriptor)


class _Standing:
    """Stands in for a module; what it does not define is the module's own."""

    def __init__(self, module: ModuleType, **more: Any) -> None:
        self.__dict__.update(more)
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def _on_disk(name: str) -> Any:
    return lambda *given, **more: getattr(STAGE.client, name)(*given, **more)


def _close(descriptor: int) -> None:
    if STAGE.client.knows(descriptor):
        STAGE.client.close(descriptor)
    else:
        STAGE.machine.close(descriptor)


def _now() -> float:
    return STAGE.world.now + STAGE.actor.host.offset


def _sigtimedwait(wanted: set[int], timeout: float) -> Any:
    actor, until = STAGE.actor, STAGE.world.now + max(timeout, LEAST)
    while not actor.pending & wanted:
        if STAGE.world.now >= until:
            return None
        STAGE.world.sleep(until - STAGE.world.now)
    number = min(actor.pending & wanted)
    actor.pending.discard(number)
    return SimpleNamespace(si_signo=number)


_DISK = (
    "open",
    "read",
    "write",
    "pwrite",
    "fsync",
    "link",
    "unlink",
    "rename",
    "mkdir",
    "makedirs",
    "rmdir",
    "listdir",
    "lstat",
)
_PATH = _Standing(
    posixpath, **{name: _on_disk(name) for name in ("lexists", "isdir", "getsize")}, exists=_on_disk("lexists")
)
_NOTHING: Any = lambda *_, **__: None  # noqa: E731
OS: Any = _Standing(
    os,
    **{name: _on_disk(name) for name in (*_DISK, "fstat")},
    stat=_on_disk("lstat"),
    path=_PATH,
    close=_close,
    getpid=lambda: STAGE.actor.pid,
    urandom=lambda size: STAGE.world.chance.randbytes(size),
    umask=lambda _: 0o022,
    setsid=_NOTHING,
    set_inheritable=_NOTHING,
    kill=lambda pid, number: STAGE.machine.signal(pid, number),
    killpg=lambda pid, number: STAGE.machine.signal(pid, number),
    wait4=lambda *_: STAGE.machine.reap(),
    waitpid=lambda *_: STAGE.machine.reap(),
)
TIME: Any = _Standing(
    time,
    monotonic=_now,
    clock_gettime=lambda _: _now(),
    time=lambda: STAGE.world.now + STAGE.actor.host.skew,
    sleep=lambda seconds: STAGE.world.sleep(max(seconds, LEAST)),
)
SIGNAL: Any = _Standing(
    signal,
    pthread_sigmask=_NOTHING,
    signal=_NOTHING,
    sigtimedwait=_sigtimedwait,
    sigpending=lambda: STAGE.actor.pending,
)


def _open(path: str | int, mode: str = "r", **_: Any) -> Any:
    client = STAGE.client
    descriptor = path if isinstance(path, int) else client.open(path, os.O_RDONLY)
    data = client.read(descriptor)
    if not isinstance(path, int):
        client.close(descriptor)
    return io.BytesIO(data) if "b" in mode else io.StringIO(data.decode())


_loaded: dict[str, ModuleType] = {}
_instead: dict[str, Any] = {"os": OS, "time": TIME, "signal": SIGNAL}


def stand_in(name: str, module: Any) -> None:
    """For a module of the product that reaches too far into a real machine."""
    _instead[f"parallel_train.{name}"] = module


def load(name: str) -> Any:
    """A module of the product, on the simulated machine."""
    name = f"parallel_train.{name}"
    if name not in _loaded:
        real = importlib.import_module(name)
        made = _loaded[name] = ModuleType(name)
        made.__file__ = real.__file__
        made.__dict__["__builtins__"] = {**vars(builtins), "__import__": _import, "open": _open}
        exec(compile(inspect.getsource(real), str(real.__file__), "exec"), made.__dict__)  # our own source
    return _loaded[name]


def _import(name: str, *given: Any, **more: Any) -> Any:
    wanted = given[2] if len(given) > 2 else more.get("fromlist")
    if name in _instead:
        return _instead[name]
    if name.startswith(OURS):
        return load(name.removeprefix("parallel_train."))
    found = __import__(name, *given, **more)
    if not f"{name}.".startswith(OURS):
        return found
    inside = {f"{name}.{each}": each for each in wanted or ()}
    here = {each: _instead.get(path) or load(path.removeprefix("parallel_train.")) for path, each in inside.items()}
    return _Standing(found, **here)
