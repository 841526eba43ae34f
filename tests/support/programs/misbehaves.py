"""A task whose processes try to outlive it (misbehaves.py EFFECTS NAME SHAPE WAY).

Every process signs EFFECTS/NAME.ATTEMPT.pids with its pid and start time before it does anything else. Once all that
the shape makes are there, EFFECTS/NAME.ATTEMPT.ready is made and the task ends in its WAY: it exits, crashes, waits
for its time limit, or waits until its shim (or that and its launcher: both) is shot; after that, a second attempt
just exits.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time

EFFECTS, NAME, SHAPE, WAY = sys.argv[1:]
STEM = os.path.join(os.path.abspath(EFFECTS), NAME + "." + os.environ["PARALLEL_TRAIN_ATTEMPT"])
SLEEP = "import time\ntime.sleep(600)"
PR_SET_CHILD_SUBREAPER = 36


def sign():
    with open("/proc/self/stat") as file:
        start = file.read().rpartition(")")[2].split()[19]
    file = os.open(STEM + ".pids", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, b"%d %d\n" % (os.getpid(), int(start)))
    os.close(file)


def child(life, *more):
    """A fork that signs and then leads `life`; its pid."""
    pid = os.fork()
    if pid == 0:
        sign()
        life(*more)
        os._exit(0)
    return pid


def rest():
    while True:
        signal.pause()


def sleeper(name="python", environment=None, seconds="600"):
    argv = [name, "-I", "-S", "-c", SLEEP.replace("600", seconds)]
    os.execve(sys.executable, argv, os.environ if environment is None else environment)


# ---- the shapes: each makes processes, and says how many sign beside the task itself ----


def workers():
    """Plain children, like those that load data."""
    for _ in range(3):
        child(rest)
    return 3


def session():
    """A child in a session of its own."""

    def life():
        os.setsid()
        rest()

    child(life)
    return 1


def daemon(environment=None):
    """Two forks and a session: nobody's child, on no terminal, in no folder of the project."""

    def second():
        os.chdir("/")
        os.closerange(0, 200)
        sleeper("daemon", environment)

    def first():
        os.setsid()
        child(second)

    os.waitpid(child(first), 0)
    return 2


def deaf():
    """It and its child ignore every signal that can be ignored."""
    for number in set(range(1, signal.SIGRTMAX + 1)) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    child(rest)
    return 1


def closed():
    """It closes every descriptor, the slot's lock too, and so does its child."""
    os.closerange(0, 4096)
    child(rest)
    return 1


def stopped():
    """Its child stops itself, and so does it where it is to be ended by others."""

    def life():
        os.kill(os.getpid(), signal.SIGSTOP)
        rest()

    child(life)
    return 1


def nameless():
    """A child with an empty environment and another name."""
    child(sleeper, "[kworker/0:1]", {})
    return 1


def hydra():
    """A child that forks another when it is told to end, and that one too, eight deep."""

    def life(depth):
        def grow(*_):
            if depth:
                child(life, depth - 1)
            os._exit(0)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, grow)
        rest()

    child(life, 8)
    return 1


def moved():
    """A child moves from group to group, as supervisors of its own kind do."""

    def life():
        os.setpgid(0, 0)
        child(lambda: (os.setpgid(0, 0), rest()))
        rest()

    child(life)
    return 2


def reaper():
    """A child that takes the orphans itself, dies, and leaves grandchildren to whoever comes next."""

    def orphan():
        os.setsid()
        rest()

    def middle():
        child(orphan)

    def life():
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        os.waitpid(child(middle), 0)
        child(orphan)

    child(life)
    return 4


def ghost():
    """Two forks, a session, no environment, no descriptors, no folder: no mark is left on it."""
    return daemon({})


def storm():
    """Thirty children, and one that is always a fork ahead: a new process every few milliseconds, then none."""

    def runs_ahead():
        for _ in range(1500):
            time.sleep(0.005)
            if os.fork():
                os._exit(0)
        sign()

    for _ in range(30):
        child(rest)
    child(runs_ahead)
    return 31


SHAPES = [workers, session, daemon, deaf, closed, stopped, nameless, hydra, moved, reaper, ghost, storm]


def until_signed(count):
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with open(STEM + ".pids") as file:
            if file.read().count("\n") >= count:
                return
        time.sleep(0.005)


def main():
    sign()
    attempt = int(os.environ["PARALLEL_TRAIN_ATTEMPT"])
    made = next(shape for shape in SHAPES if shape.__name__ == SHAPE)()
    until_signed(1 + made)
    os.close(os.open(STEM + ".ready", os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    if WAY == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    while WAY == "timeout" or (WAY in ("shot", "both") and attempt == 1):
        if SHAPE == "stopped":
            os.kill(os.getpid(), signal.SIGSTOP)
        signal.pause()
    os._exit(0)


main()
