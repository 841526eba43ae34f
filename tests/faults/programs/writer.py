"""A task that says when it wrote to its output, and on which host.

    writer.py EFFECTS NAME seconds=S [code=N] [gate=FILE]

As the recorder (tests/support/programs) it leaves a file of two lines per attempt and holds a lock per slot, here of
its host. All the while it adds lines to `written` in its output: their order says, without any clock, whether an
attempt still wrote after a later one had begun. A number of writes makes a task, however long it was stopped in
between, and it goes on until the gate is there. Times are by the one clock that hosts can't have of their own.
"""

import fcntl
import json
import os
import sys
import time

STEP = 0.01  # seconds between two writes


def main():
    effects, name = sys.argv[1:3]
    wishes = dict(word.split("=", 1) for word in sys.argv[3:])
    began = clock()
    host = os.environ["TEST_HOST"]
    attempt = int(os.environ["PARALLEL_TRAIN_ATTEMPT"])
    slots = [f"{host}:{slot}" for slot in os.environ["CUDA_VISIBLE_DEVICES"].split(",")]
    path = os.path.join(effects, f"{name}.{attempt}.{host}.{os.getpid()}")
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)
    shared = [slot for slot in slots if not lock(effects, slot)]
    about = {"name": name, "attempt": attempt, "pid": os.getpid(), "shim": os.getppid(), "slots": ",".join(slots)}
    say(file, **about, shared=shared, began=began)
    write(attempt, float(wishes["seconds"]), wishes.get("gate", "/"))
    code = int(wishes.get("code", 0))
    say(file, ended=clock(), code=code)
    sys.exit(code)


def write(attempt, seconds, gate):
    output = os.environ["PARALLEL_TRAIN_OUTPUT_DIR"]
    os.makedirs(output, exist_ok=True)
    written = os.open(os.path.join(output, "written"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    steps = 0
    while steps * STEP < seconds or not os.path.exists(gate):
        os.write(written, f"{attempt} {clock():.6f}\n".encode())
        time.sleep(STEP)
        steps += 1


def clock():
    return time.clock_gettime(time.CLOCK_TAI)


def lock(folder, slot):
    """Whether nobody else holds this slot's lock; ours from now on, until this process is gone."""
    file = os.open(os.path.join(folder, ".slot-" + slot), os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def say(file, **fields):
    os.write(file, json.dumps(fields).encode() + b"\n")


main()
