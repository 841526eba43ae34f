"""The runner on this machine: asks the launcher for shims, listens to them, and watches attempts of others."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from parallel_train.core import wire
from parallel_train.core.events import Claimed, Ended, Event, Launch, Refused, Warned
from parallel_train.core.facts import Claim, Owner
from parallel_train.core.slots import Device
from parallel_train.errors import UsageError
from parallel_train.procs import fence, launcher, locks, order, process
from parallel_train.procs.others import Key, Others, found_dead
from parallel_train.procs.proof import is_alive, stop, sweep
from parallel_train.procs.signals import Signals
from parallel_train.store import records

__all__ = ["LocalRunner", "check_kernel", "is_alive", "stop", "sweep"]


@dataclass(slots=True, eq=False)
class _Shim:
    """A shim of ours: its attempt, its pidfd, the line on which it reports, and what it said so far."""

    key: Key
    pidfd: int
    line: socket.socket
    heard: bytes = b""
    has_claimed: bool = False
    is_over: bool = False
    is_last: bool = False  # it is not to have another attempt after this one
    has_served: bool = False  # it had others before


def check_kernel() -> None:
    """Raises UsageError where processes can't be held on to (pidfd_open came with Linux 5.3)."""
    try:
        os.close(process.open_pidfd(os.getpid()))
    except OSError as error:
        raise UsageError(f"this needs Linux 5.3 or newer: pidfd_open says {error.strerror}") from error


def _sweep_left(queue: str) -> None:
    """End what killed shims of this queue left here. Their attempts may have been ended by another host meanwhile, so
    that no claim tells of them: the slots do that they had signed.
    """
    with suppress(OSError):
        for name, holder in locks.holders().items():
            if holder.get("queue") == queue and locks.holder_of(name) == holder:  # short tasks come and go meanwhile
                fence.sweep_if_dead(holder)


class LocalRunner:
    """`signals`, where given, tell what this process is asked for by signals: their events come from `wait` too."""

    def __init__(self, around: order.Surroundings, signals: Signals | None = None) -> None:
        self._around = around
        self._selector = selectors.EpollSelector()
        self._shims: dict[Key, _Shim] = {}
        self._idle: list[_Shim] = []
        self._others = Others(around.queue, self._selector)
        self._asked: list[Key] = []
        self._early: dict[Key, bool] = {}  # told to stop before the launcher had answered: whether to kill
        self._launcher: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._has_answered = False
        self._complaints = around.queue / "journal" / f"{around.worker}.err"  # what the launcher and shims die of
        self._events: list[Event] = []
        self._signals = signals
        if signals is not None:
            self._selector.register(signals.wakeup, selectors.EVENT_READ, None)
        _sweep_left(str(around.queue))

    # ---- the port ----

    def start(self, launch: Launch, devices: Sequence[Device]) -> None:
        key = (launch.task.id, launch.attempt)
        held = tuple(name for name in launch.slots if locks.is_held(name))
        if held:  # a fork saved: the shim would find the same
            whose = locks.queue_of_holder(held[0])
            for name in held:
                fence.sweep_if_dead(locks.holder_of(name))
            self._events.append(Refused(*key, "busy", time.monotonic(), held, whose))
            return
        wanted = order.build(launch, devices, self._around, time.strftime("%Y%m%d_%H%M%S"))
        data = json.dumps(wanted).encode()
        message = launcher.LENGTH.pack(len(data)) + data
        if self._hand_on(key, message):
            return
        try:
            (self._launcher or self._start_launcher()).sendall(message)
        except OSError as error:
            self._refuse(key, f"the launcher does not answer: {error}")
            self._lose_launcher()
            return
        self._asked.append(key)

    def watch(self, claim: Claim) -> None:
        event = self._others.watch(claim)
        if event is not None:
            self._events.append(event)

    def stop(self, task: str, attempt: int, *, kill: bool) -> None:
        key = (task, attempt)
        if key in self._asked:
            self._early[key] = kill
            return
        if key in self._shims:
            self._shims[key].is_last = True  # its end and this may cross: nothing else is to be stopped by it
            process.send(self._shims[key].pidfd, signal.SIGQUIT if kill else signal.SIGTERM)
            return
        self._others.stop(key, kill=kill)

    def sweep(self, claim: Claim) -> None:
        sweep(claim)

    def wait(self, seconds: float | None) -> list[Event]:
        events, self._events = self._events, []
        if not events:
            for key, _ in self._selector.select(seconds):
                self._on_ready(key.data)
            events, self._events = self._events, []
        return events

    def close(self) -> None:
        are_shims_left = bool(self._shims)  # what they die of is still to be written
        for shim in [*self._shims.values(), *self._idle]:
            self._forget(shim)
        self._others.close()
        self._lose_launcher()
        self._selector.close()
        with suppress(OSError):  # tidiness is not worth an exit code
            found = self._complaints.lstat()
            if not are_shims_left and stat.S_ISREG(found.st_mode) and not found.st_size:
                self._complaints.unlink()

    # ---- the launcher ----

    def _start_launcher(self) -> socket.socket:
        complaints = records.open_own(str(self._complaints), os.O_WRONLY | os.O_APPEND)
        with os.fdopen(complaints, "ab") as file:
            ours, theirs = socket.socketpair()
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(Path(launcher.__file__)), str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                    env=dict(self._around.environment),
                    cwd="/",
                )
        self._launcher = ours
        self._selector.register(ours, selectors.EVENT_READ, "launcher")
        return ours

    def _lose_launcher(self) -> None:
        if self._launcher is not None:
            self._selector.unregister(self._launcher)
            self._launcher.close()
            self._launcher = None
        if self._process is not None:
            try:
                self._process.wait(timeout=5)  # it ends by itself, unless it was stopped
            except subprocess.TimeoutExpired:
                self._process.kill()
            self._process = None
        why: Literal["behind", "trouble"] = "behind" if self._has_answered else "trouble"
        for key in self._asked:  # a shim may have been made all the same: the records say
            self._events.append(Refused(*key, why, time.monotonic(), text="the launcher died"))
        self._asked.clear()
        self._early.clear()
        for shim in self._shims.values():
            shim.is_last = True  # nobody would sweep what it leaves if it died
        for shim in list(self._idle):
            self._forget(shim)

    def _on_reply(self) -> None:
        """The launcher made a shim, or could not."""
        if self._launcher is None:
            return
        try:
            head, descriptors, _, _ = socket.recv_fds(self._launcher, launcher.LENGTH.size, 2, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            head, descriptors = b"", []
        if not head:
            self._lose_launcher()
            return
        reply = json.loads(self._launcher.recv(launcher.LENGTH.unpack(head)[0], socket.MSG_WAITALL))
        self._has_answered = True
        key = (reply["task"], reply["attempt"])
        self._asked.remove(key)
        kill = self._early.pop(key, None)
        if len(descriptors) != 2:  # no fork there, or no free descriptor here: then the shim goes on unheard
            for descriptor in descriptors:
                os.close(descriptor)
            self._refuse(key, reply.get("error", "too many open files"))
            return
        pidfd, line = descriptors
        shim = _Shim(key, pidfd, socket.socket(fileno=line))
        shim.line.setblocking(False)
        self._shims[key] = shim
        self._selector.register(shim.line, selectors.EVENT_READ, shim)
        if kill is not None:
            self.stop(*key, kill=kill)

    # ---- the shims ----

    def _hand_on(self, key: Key, message: bytes) -> bool:
        """Give an order to a shim that has none; whether there was one that took it."""
        while self._idle:
            shim = self._idle.pop()
            # Its line may be open still after its death: the launcher holds it until nothing that dead ones left lives.
            with suppress(OSError):
                if not process.has_ended(shim.pidfd) and shim.line.send(message) == len(message):
                    shim.key, shim.has_claimed, shim.is_over, shim.has_served = key, False, False, True
                    self._shims[key] = shim
                    return True
            self._forget(shim)  # dead, or it takes no whole order: half of one makes it end
        return False

    def _on_ready(self, whose: _Shim | Owner | str | None) -> None:
        """`whose` is what the selector was given with the descriptor."""
        if whose == "launcher":
            self._on_reply()
        elif isinstance(whose, _Shim):
            self._on_line(whose)
        elif isinstance(whose, Owner):
            self._events += self._others.died(whose)
        elif self._signals is not None:
            self._events += self._signals.take()

    def _on_line(self, shim: _Shim) -> None:
        if shim.line.fileno() < 0:
            return  # forgotten since: its launcher was heard to be gone
        try:
            data = shim.line.recv(65536)
        except OSError:  # it died with an order that it had not read
            data = b""
        *lines, shim.heard = (shim.heard + data).split(b"\n")
        for line in lines:
            with suppress(json.JSONDecodeError):  # torn: its shim was killed as it told this, and the launcher went on
                said = json.loads(line)
                self._on_message(shim, said)
        if not data:
            self._forget(shim)
            if not shim.is_over:
                self._events.append(self._died(shim))

    def _on_message(self, shim: _Shim, said: dict[str, object]) -> None:
        now = time.monotonic()
        match said:
            case {"claimed": dict(claim)}:
                shim.has_claimed = True
                self._events.append(Claimed(wire.claim_of(claim)))
            case {"ended": dict(end), "is_free": bool(is_free)}:
                shim.is_over = True
                self._events.append(Ended(wire.end_of(end), now))
                if is_free:
                    self._rest(shim)
            case {"ended": None}:
                shim.is_over = True
                self._events.append(found_dead(self._around.queue, shim.key))
            case {"refused": ("busy" | "behind" | "trouble") as why, "text": str(text), "slots": list(slots)}:
                shim.is_over = True
                self._events.append(Refused(*shim.key, why, now, tuple(slots), text))
            case {"trouble": str(text)}:
                self._events.append(Warned(text, shim.key[0]))

    def _rest(self, shim: _Shim) -> None:
        """It waits for another order, or for the end of its line; too many would take the descriptors for all else."""
        descriptors = 2 * (len(self._shims) + len(self._idle))
        if shim.is_last or descriptors > os.sysconf("SC_OPEN_MAX") // 2:
            self._forget(shim)
            return
        del self._shims[shim.key]
        self._idle.append(shim)

    def _died(self, shim: _Shim) -> Event:
        """A shim is gone without a last word."""
        if shim.has_claimed:
            return found_dead(self._around.queue, shim.key)
        try:
            has_claimed = records.exists(str(self._around.queue / "claims" / "{}.{}".format(*shim.key)))
        except OSError:
            has_claimed = True  # maybe: whoever looks at the records again learns it
        # One that waited for an order may be ended by anybody: that is no trouble of the machine's.
        why: Literal["behind", "trouble"] = "behind" if has_claimed or shim.has_served else "trouble"
        return Refused(*shim.key, why, time.monotonic(), text="its shim died")

    def _refuse(self, key: Key, text: str) -> None:
        self._events.append(Refused(*key, "trouble", time.monotonic(), text=text))

    def _forget(self, shim: _Shim) -> None:
        self._selector.unregister(shim.line)
        shim.line.close()
        os.close(shim.pidfd)
        if shim in self._idle:
            self._idle.remove(shim)
        elif self._shims.get(shim.key) is shim:  # else the attempt was asked for again, on another slot
            del self._shims[shim.key]
