"""The shim owns one attempt: it takes the slot, claims, looks, starts the command, waits, sweeps, and says the end.

It is forked by the launcher and outlives the scheduler. What it tells through `report` are hints for a scheduler
that still listens; the truth is in the records. Standard library only, Python 3.8 and newer.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any, Callable, Dict

from parallel_train.procs import aside, child, locks, outputs, process
from parallel_train.store import records

SWEEP_GRACE = 2.0  # seconds that processes which outlive their task get after TERM
TOUCH = 3600.0  # seconds between two touches of the slot locks: cleaners of /tmp go by age
SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGQUIT}
LADDER = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)

Order = Dict[str, Any]
Report = Callable[[Dict[str, Any]], None]


class RefusedError(Exception):
    """This attempt is not to be: `why` is busy (a slot is held), behind (the view was old) or trouble."""

    def __init__(self, why: str, text: str, slots: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.why, self.text, self.slots = why, text, slots


def main(order: Order, report: Report) -> None:
    """Run the attempt that `order` describes (see `order.build`)."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored, signal.SIG_IGN)
    for waited_for in (signal.SIGTERM, signal.SIGQUIT):
        signal.signal(waited_for, signal.SIG_DFL)
    os.setsid()
    process.become_subreaper()
    os.umask(0o077)
    try:
        held = _take_slots(order)
        claim, log, err = _claim(order)
    except RefusedError as refused:
        report({"refused": refused.why, "text": refused.text, "slots": list(refused.slots)})
        return
    except OSError as error:
        report({"refused": "trouble", "text": str(error), "slots": []})
        return
    report({"claimed": claim})
    end = _run(order, held, log, err)
    _say_end(order, end, report)
    for descriptor in held:
        locks.sign(descriptor, {})
        os.close(descriptor)
    report({"ended": end})


# ---- before the claim ----


def _take_slots(order: Order) -> list[int]:
    """All of the slots, in ascending order and without waiting, or none; what their last holder left is swept."""
    held: list[int] = []
    for name in sorted(order["slots"]):
        descriptor = locks.take(name)
        if descriptor is None:
            raise RefusedError("busy", f"slot {name} is held", (name,))
        held.append(descriptor)
    order["cookie"] = _cookie(order)
    for descriptor in held:
        before = locks.holder(descriptor)
        if before.get("boot") == process.boot_id():
            process.kill_carriers(str(before.get("cookie")))
        locks.sign(descriptor, _holder(order))
    return held


def _cookie(order: Order) -> str:
    """Names this attempt and this process: an attempt's number alone may come to belong to another shim."""
    pid = os.getpid()
    boot = process.boot_id()
    return "{}.{}.{}.{}.{}".format(order["task"], order["attempt"], pid, process.start_time(pid), boot)


def _holder(order: Order) -> dict[str, Any]:
    return {
        "queue": order["queue"],
        "task": order["task"],
        "attempt": order["attempt"],
        "pid": os.getpid(),
        "boot": process.boot_id(),
        "cookie": order["cookie"],
    }


def _claim(order: Order) -> tuple[dict[str, Any], int, int]:
    """Check the chain, open the logs, link the claim; (claim, log, err). Whoever comes second is refused."""
    task, attempt = order["task"], order["attempt"]
    if attempt > 1 and not records.exists(_path(order, "ends", task, attempt - 1)):
        raise RefusedError("behind", f"attempt {attempt - 1} has not ended")
    if records.exists(_path(order, "claims", task, attempt)) or records.exists(_path(order, "ends", task, attempt)):
        raise RefusedError("behind", f"attempt {attempt} is somebody else's")
    log_path, log, err_path, err = _open_logs(order)
    claim = {
        "task": task,
        "attempt": attempt,
        "round": order["round"],
        "identity": order["identity"],
        "needs": {name: seen[1] for name, seen in order["needs"].items()},
        "owner": process.this_process(order["worker"]),
        "slots": order["slots"],
        "gpus": order["gpus"],
        "log": log_path,
        "err": err_path,
        "cookie": order["cookie"],
        "made_with": order["made_with"],
        "at": _now(),
    }
    has_won = False
    try:
        has_won = records.publish(_path(order, "claims", task, attempt), [claim], durable=bool(order["output"]))
    finally:
        if not has_won:
            for path in (log_path, err_path):
                os.unlink(os.path.join(order["project"], path))  # empty, and ours
    if not has_won:
        raise RefusedError("behind", f"attempt {attempt} was claimed at the same moment")
    return claim, log, err


def _open_logs(order: Order) -> tuple[str, int, str, int]:
    """Two new files, never shared with another attempt."""
    for number in range(1, 1000):
        stem = order["log"] if number == 1 else "{}_{}".format(order["log"], number)
        log_path, err_path = stem + ".log", stem + ".err"
        try:
            log = _new_file(os.path.join(order["project"], log_path))
        except FileExistsError:
            continue
        try:
            return log_path, log, err_path, _new_file(os.path.join(order["project"], err_path))
        except FileExistsError:
            os.unlink(os.path.join(order["project"], log_path))
            os.close(log)
    raise RefusedError("trouble", "no free name for a log like {}".format(order["log"]))


def _new_file(path: str) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o600)


# ---- with the claim ----


def _run(order: Order, held: list[int], log: int, err: int) -> dict[str, Any]:
    """Look again, put an old output aside, run the command; the end as a record."""
    end = {"task": order["task"], "attempt": order["attempt"], "output": "none", "started": _now()}
    disagreement = _disagreement(order)
    if disagreement:
        return dict(end, outcome={"not_started": disagreement}, ended=_now())
    began = time.monotonic()
    try:
        _prepare_output(order)
        pid = child.start(order, held, log, err)
        watch = Watch(pid, order["timeout"], order["grace"], held)
        watch.wait()
        end.update(watch.outcome())
    except child.StartError as error:
        end.update(outcome={"exited": error.code}, note=str(error))
    except OSError as error:
        end.update(outcome={"exited": 126}, note=f"could not be started: {error}")
    end.update(
        seconds=time.monotonic() - began,
        ended=_now(),
        output=outputs.state(order["output"], order["done_when"]),
    )
    return end


def _disagreement(order: Order) -> str:
    """What speaks against starting, now that everybody can see the claim; "" where nothing does."""
    if records.exists(_path(order, "rounds", order["task"], order["round"] + 1)):
        return "a newer round was opened"
    for need, (round_, _, last) in order["needs"].items():
        if records.exists(_path(order, "rounds", need, round_ + 1)):
            return "a need is to run again"
        if records.exists(_path(order, "claims", need, last + 1)):
            return "a need runs again"
    if not records.exists(os.path.join(order["queue"], "workers", order["worker"])):
        return "its worker left"
    return ""


def _prepare_output(order: Order) -> None:
    output = order["output"]
    if not output:
        return
    if order["aside"]:
        name = "{}.{}".format(order["task"], order["aside"])
        aside.put_aside(order["queue"], name, order["attempt"], output)
    previous = os.umask(order["umask"])  # what the user's runs make is made the user's way
    try:
        os.makedirs(os.path.dirname(output), exist_ok=True)
    finally:
        os.umask(previous)


def _say_end(order: Order, end: dict[str, Any], report: Report) -> None:
    """Link the end record; a full disk is waited out, since the end of a run must not be lost."""
    path = _path(order, "ends", order["task"], order["attempt"])
    delay = 0.1
    while True:
        try:
            if not records.publish(path, [end]):
                report({"trouble": "this attempt was ended by somebody else: its result does not count"})
            return
        except OSError as error:
            report({"trouble": f"the end can't be written yet: {error}"})
            time.sleep(delay)
            delay = min(2 * delay, 5.0)


def _path(order: Order, kind: str, task: str, number: int) -> str:
    return os.path.join(order["queue"], kind, f"{task}.{number}")


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Watch:
    """The wait for one command: reaps, keeps its time limit, climbs the ladder when told to stop, sweeps."""

    def __init__(self, pid: int, timeout: float | None, grace: float, held: list[int]) -> None:
        self.pid = pid
        self.grace = grace  # seconds between INT, TERM and KILL
        self.held = held
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.stopped = ""
        self.rung = 0  # of LADDER, the next to send
        self.next_rung = 0.0
        self.next_touch = time.monotonic() + TOUCH
        self.status: int | None = None
        self.usage: Any = None
        self.swept = 0

    def wait(self) -> None:
        while self.status is None:
            told = signal.sigtimedwait(SIGNALS, self._patience())
            if told is not None:
                self._on_signal(told.si_signo)
            self._reap()
            if self.status is None:
                self._on_time(time.monotonic())
        self._sweep()

    def outcome(self) -> dict[str, Any]:
        """The parts of the end record that say how it ended."""
        status = self.status or 0
        if self.stopped == "timeout":
            outcome: dict[str, Any] = {"timed_out": True}
        elif os.WIFSIGNALED(status):
            outcome = {"signalled": os.WTERMSIG(status)}
        else:
            outcome = {"exited": os.WEXITSTATUS(status)}
        return {
            "outcome": outcome,
            "stopped": self.stopped,
            "max_rss_kib": self.usage.ru_maxrss,
            "cpu_seconds": round(self.usage.ru_utime + self.usage.ru_stime, 3),
            "swept": self.swept,
        }

    def _patience(self) -> float:
        now = time.monotonic()
        until = [self.next_touch]
        if self.stopped:
            until.append(self.next_rung)
        elif self.deadline is not None:
            until.append(self.deadline)
        return max(0.0, min(until) - now)

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGTERM and not self.stopped:
            self._stop("worker")
        elif number == signal.SIGQUIT:
            self.stopped = self.stopped or "worker"
            self.rung = LADDER.index(signal.SIGKILL)
            self._climb()

    def _on_time(self, now: float) -> None:
        if now >= self.next_touch:
            self.next_touch = now + TOUCH
            for descriptor in self.held:
                locks.touch(descriptor)
        if self.stopped:
            if now >= self.next_rung:
                self._climb()
        elif self.deadline is not None and now >= self.deadline:
            self._stop("timeout")

    def _stop(self, why: str) -> None:
        self.stopped = why
        self._climb()

    def _climb(self) -> None:
        number = LADDER[min(self.rung, len(LADDER) - 1)]
        self.rung += 1
        self.next_rung = time.monotonic() + self.grace
        try:
            os.killpg(self.pid, number)  # its own session, and not reaped yet: the group is the task's
        except ProcessLookupError:
            pass
        if number == signal.SIGKILL:
            _signal_all(process.descendants(os.getpid()), number)

    def _reap(self) -> bool:
        """Reap whatever has ended; whether children are left."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.pid:
                self.status, self.usage = status, usage

    def _sweep(self) -> None:
        """End every process that outlived the task: no children left proves that the whole tree is gone."""
        if not self._reap():
            return
        left = process.descendants(os.getpid())
        self.swept = len(left)
        _signal_all(left, signal.SIGTERM)
        until = time.monotonic() + min(SWEEP_GRACE, self.grace)
        while self._reap():
            if time.monotonic() >= until or signal.SIGQUIT in signal.sigpending():
                _signal_all(process.descendants(os.getpid()), signal.SIGKILL)
            signal.sigtimedwait({signal.SIGCHLD}, 0.05)


def _signal_all(pids: list[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)  # descendants of a subreaper stay in the table until it reaps them itself
        except (ProcessLookupError, PermissionError):
            pass
