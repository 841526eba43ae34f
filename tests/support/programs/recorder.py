"""A task that leaves a record: when it ran, on which slot, by which process. One file per attempt.

    recorder.py EFFECTS NAME [seconds=S] [code=N] [output=FOLDER] [until=FILE] [ignore_signals=1]

It goes on for that long, and until that file is there; then it adds a line to result.txt in its output.

Written in two lines: one at the start, one just before the end, so that an attempt which was cut short has one line.
While it lives it holds a kernel lock for each slot that it was given: whoever finds one taken says so.
"""

import fcntl
import json
import os
import signal
import sys
import time


def main():
    effects, name = sys.argv[1:3]
    wishes = dict(word.split("=", 1) for word in sys.argv[3:])
    if "ignore_signals" in wishes:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    began = time.monotonic()
    attempt = int(os.environ["PARALLEL_TRAIN_ATTEMPT"])
    node = os.environ.get("SLURMD_NODENAME")  # several may be played on one machine
    slots = os.environ.get("CUDA_VISIBLE_DEVICES", "unset")
    slots = ",".join(f"{node}:{slot}" for slot in slots.split(",")) if node else slots
    path = os.path.join(effects, f"{name}.{attempt}.{os.getpid()}")
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)
    shared = [slot for slot in slots.split(",") if slot and not lock(effects, slot)]
    say(file, name=name, attempt=attempt, pid=os.getpid(), shim=os.getppid(), slots=slots, shared=shared, began=began)
    time.sleep(float(wishes.get("seconds", 0)))
    while not os.path.exists(wishes.get("until", "/")):
        time.sleep(0.005)
    if "output" in wishes:
        os.makedirs(wishes["output"], exist_ok=True)
        with open(os.path.join(wishes["output"], "result.txt"), "a") as result:
            result.write(f"made by attempt {attempt}\n")
    code = int(wishes.get("code", 0))
    say(file, ended=time.monotonic(), code=code)
    sys.exit(code)


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
