"""The shim owns one attempt: it takes the slot, claims, looks, starts the command, waits, sweeps, and says the end.

It is forked by the launcher and outlives the scheduler. What it tells through `report` are hints for a scheduler
that still listens; the truth is in the records. Once nothing of its attempt is left it may own another: a fork saved.
Standard library only, Python 3.8 and newer.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import time
from typing import Any, Callable, Dict

from parallel_train.procs import aside, child, fence, locks, logs, outputs, process, watch
from parallel_train.procs.beat import Beat
from parallel_train.store import records

Order = Dict[str, Any]
Report = Callable[[Dict[str, Any]], None]


class RefusedError(Exception):
    """This attempt is not to be: `why` is busy (a slot is held), behind (the view was old) or trouble.

    `text` says what went wrong; for busy it is the queue whose attempt holds the slot.
    """

    def __init__(self, why: str, text: str, slots: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.why, self.text, self.slots = why, text, slots


def begin() -> None:
    """Make this process one that can own attempts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, watch.SIGNALS)
    for unheeded in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(unheeded, lambda *_: None)  # not ignored: that would go on to the command
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGQUIT, lambda *_: os.kill(os.getpid(), signal.SIGKILL))  # by default it would dump core
    os.setsid()
    process.become_subreaper()
    os.umask(0o077)


def main(order: Order, report: Report) -> bool:
    """Run the attempt that `order` describes (see `order.build`); whether this process may own another one."""
    try:
        held = _take_slots(order)
        claim, log, err = _claim(order)
    except RefusedError as refused:
        report({"refused": refused.why, "text": refused.text, "slots": list(refused.slots)})
        return False
    except OSError as error:
        report({"refused": "trouble", "text": str(error), "slots": []})
        return False
    report({"claimed": claim})
    beat = Beat(order, order["sent"])
    beat.start()
    end = _run(order, (held, log, err), beat, report)
    is_ours = say_end(order, end, report)
    beat.withdraw()
    for descriptor in held:
        with contextlib.suppress(OSError):  # the end is said: the kernel frees the lock in any case
            locks.sign(descriptor, {})
    left_open = [descriptor for descriptor in (*held, log, err) if not _close(descriptor)]
    is_free = is_ours and not end.get("stopped") and not left_open and _is_as_it_began()
    report({"ended": end if is_ours else None, "is_free": is_free})
    return is_free


def _close(descriptor: int) -> bool:
    """False where it may be open still, and a slot held: it closes for certain as this process ends."""
    try:
        os.close(descriptor)
    except OSError:
        return False
    return True


def _is_as_it_began() -> bool:
    """Whether this process has no children and no stop that was meant for the attempt that has ended."""
    if signal.sigpending() & watch.STOPS:
        return False
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return True
    return False


# ---- before the claim ----


def _take_slots(order: Order) -> list[int]:
    """All of the slots, in ascending order and without waiting, or none; what their last holder left is swept."""
    held: list[int] = []
    for name in sorted(order["slots"]):
        descriptor = locks.take(name)
        if descriptor is None:
            raise RefusedError("busy", locks.queue_of_holder(name), (name,))
        left = fence.sweep_holder(locks.holder(descriptor))
        if left:
            raise RefusedError("busy", left, (name,))
        os.set_inheritable(descriptor, True)  # for the task, the only thing that a shim executes
        held.append(descriptor)
    order["cookie"] = cookie(order)
    order["group"] = fence.path(order["cookie"])
    holder = {name: order[name] for name in ("queue", "task", "attempt", "cookie", "group")}
    for descriptor in held:
        locks.sign(descriptor, {**process.this_process(order["worker"]), **holder})
    return held


def cookie(order: Order) -> str:
    """Names this attempt and this process: an attempt's number alone may come to belong to another shim."""
    pid = os.getpid()
    boot = process.boot_id()
    return "{}.{}.{}.{}.{}".format(order["task"], order["attempt"], pid, process.own_start(pid), boot)


def _claim(order: Order) -> tuple[dict[str, Any], int, int]:
    """Check the chain, open the logs, link the claim; (claim, log, err). Whoever comes second is refused."""
    check_chain(order)
    log_path, log, err_path, err = logs.open_new(order)
    claim = None
    try:
        claim = link_claim(order, log_path, err_path)
    finally:
        if claim is None:
            logs.take_back(order, log_path, log)
            logs.take_back(order, err_path, err)
    return claim, log, err


def check_chain(order: Order) -> None:
    """Raises RefusedError where this attempt is not the next one, or somebody else's."""
    task, attempt = order["task"], order["attempt"]
    if attempt > 1 and not records.exists(_path(order, "ends", task, attempt - 1)):
        raise RefusedError("behind", f"attempt {attempt - 1} has not ended")
    if records.exists(_path(order, "claims", task, attempt)) or records.exists(_path(order, "ends", task, attempt)):
        raise RefusedError("behind", f"attempt {attempt} is somebody else's")


def link_claim(order: Order, log: str, err: str) -> dict[str, Any]:
    """Claim the attempt for this process, from now on (`order["sent"]`). Raises RefusedError, OSError."""
    names = ("task", "attempt", "slots", "gpus", "cookie", "group", "made_with", "lease")
    claim = {
        **{name: order[name] for name in names},
        **_made_from(order),
        "owner": process.this_process(order["worker"]),
        "log": log,
        "err": err,
        "at": stamp(),
    }
    order["sent"] = Beat.now()
    if not records.publish(_path(order, "claims", order["task"], order["attempt"]), [claim], bool(order["output"])):
        raise RefusedError("behind", "attempt {} was claimed at the same moment".format(order["attempt"]))
    return claim


def _made_from(order: Order) -> dict[str, Any]:
    """What both records say of an attempt: decisions hang on it, and whoever has read its end need not read more."""
    needs = {name: seen[1] for name, seen in order["needs"].items()}
    return {"round": order["round"], "identity": order["identity"], "needs": needs}


# ---- with the claim ----


def _run(order: Order, files: tuple[list[int], int, int], beat: Beat, report: Report) -> dict[str, Any]:
    """Look again, put an old output aside, run the command; the end as a record."""
    held, log, err = files
    end = {"task": order["task"], "attempt": order["attempt"], "output": "none", **_made_from(order)}
    end["worker"] = order["worker"]
    try:
        doubt = _wait_for_former_owner(order, beat) or disagreement(order, beat)
        beat.check()
    except OSError as error:  # what can't be seen now may speak against it
        doubt = f"the queue can't be read: {error}"
    if doubt:
        beat.stop()
        return dict(end, outcome={"not_started": doubt}, ended=stamp())
    began = time.monotonic()
    try:
        _prepare_output(order, beat)
        beat.check()
        end["started"] = stamp()
        pid = child.start(order, log, err)
    except child.StartError as error:
        end.update(outcome={"exited": error.code}, note=str(error))
    except OSError as error:
        end["started"] = ""  # what is to be put aside is still there
        text = f"could not be started: {error}"
        end.update({"outcome": {"not_started": text}} if error.errno in child.PASSING else {"outcome": {"exited": 126}})
        end["note"] = text
    else:
        watched = watch.Watch(pid, order, held, beat, say=lambda text: report({"trouble": text}))
        watched.wait()
        end.update(watched.outcome())
    fence.end(order["group"])
    beat.stop()
    end.update(
        seconds=time.monotonic() - began,
        ended=stamp(),
        output=outputs.state_in_the_end(order),
    )
    return end


def _wait_for_former_owner(order: Order, beat: Beat) -> str:
    """After a takeover: whoever had the last attempt, and may live, halts it half a lease after its last good beat."""
    until = Beat.now() + order["wait"]
    while True:
        now = Beat.now()
        if now >= until:
            return ""
        if beat.look(now) == "taken":
            return "it was ended by somebody else"
        if signal.sigtimedwait(watch.STOPS, min(until, beat.due(now)) - now):
            return "its worker stopped it"


def disagreement(order: Order, beat: Beat) -> str:
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
    return beat.asked.against()


def _prepare_output(order: Order, beat: Beat) -> None:
    output = order["output"]
    if not output:
        return
    if order["aside"]:
        name = "{}.{}".format(order["task"], order["aside"])
        if not aside.place_of(order["queue"], name, output):
            order["env"]["PARALLEL_TRAIN_RESUME"] = ""  # a lost attempt had not come so far: nothing to go on from
        aside.put_aside(order["queue"], name, order["attempt"], output, check=beat.check)
    parent = os.path.dirname(output)
    previous = os.umask(order["umask"])  # what the user's runs make is made the user's way
    try:
        os.makedirs(parent, exist_ok=True)
    except FileExistsError:  # or it could not be looked at: then the look is what failed
        if not stat.S_ISDIR(os.stat(parent).st_mode):
            raise
    finally:
        os.umask(previous)


def say_end(order: Order, end: dict[str, Any], report: Report) -> bool:
    """Link the end record; whether it is the one that stands.

    A full disk is waited out, since the end of a run must not be lost.
    """
    delay = 0.1
    while True:
        try:
            return link_end(order, end, report)
        except OSError as error:
            report({"trouble": f"the end can't be written yet: {error}"})
            time.sleep(delay)
            delay = min(2 * delay, 5.0)


def link_end(order: Order, end: dict[str, Any], report: Report) -> bool:
    """The same in one try. Raises OSError where the disk refuses."""
    if not _is_claim_ours(order):
        report({"trouble": "the queue was deleted under this attempt: its result does not count"})
        return False
    path = _path(order, "ends", order["task"], order["attempt"])
    is_ours = records.publish(path, [end]) or _stands(path, end)
    if not is_ours:
        report({"trouble": "this attempt was ended by somebody else: its result does not count"})
    return is_ours


def _stands(path: str, end: dict[str, Any]) -> bool:
    """Whether the end that lost is the one that won: an earlier try may have been answered by an error."""
    try:
        return records.read_one(path) == end
    except (records.DamagedError, records.NewerVersionError):
        return False


def _is_claim_ours(order: Order) -> bool:
    """Whether the claim is the one that we linked: a queue may be deleted, and made anew, while we run.

    By what it says: a new file is often given the number of the one that was deleted.
    """
    try:
        there = records.read_one(_path(order, "claims", order["task"], order["attempt"]))
    except (FileNotFoundError, records.NewerVersionError):
        return False
    except (OSError, records.DamagedError):
        return True  # can't be seen now, or never again
    return bool(there.get("cookie") == order["cookie"])


def _path(order: Order, kind: str, task: str, number: int) -> str:
    return os.path.join(order["queue"], kind, f"{task}.{number}")


def stamp() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
