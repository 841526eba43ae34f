"""Leave a daemon behind, then be the recorder: leave.py PROGRAM EFFECTS NAME [WISH=VALUE …]

The daemon takes each slot's lock (see recorder.py) as soon as the recorder is gone: whoever is given the slot while
it lives will notice. It takes 0.2 s to obey TERM.
"""

import fcntl
import os
import select
import signal
import sys
import time


def main():
    slots = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
    files = [os.open(os.path.join(sys.argv[2], ".slot-" + slot), os.O_RDWR | os.O_CREAT) for slot in slots]
    leader = os.pidfd_open(os.getpid())
    told, tell = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        signal.signal(signal.SIGTERM, lambda *_: linger(files))
        os.write(tell, b"x")
        os.close(tell)
        select.select([leader], [], [])
        lock(files)
        time.sleep(600)
    os.read(told, 1)  # it listens to TERM from here on
    os.execv(sys.executable, [sys.executable, "-I", "-S", *sys.argv[1:]])


def lock(files):
    for file in files:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass


def linger(files):
    lock(files)
    time.sleep(0.2)
    os._exit(0)


main()
