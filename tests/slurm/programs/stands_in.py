"""Stands in for Python in an element: writes down what a worker would see, and stays until a signal ends it.

It is called as the worker is, in a project that has a folder `seen`.
"""

import json
import os
import signal
import sys
import time

FAR = next(word.partition("=")[2] for word in sys.argv if word.startswith("--directory="))
PLACE = os.path.join(FAR, "seen", os.environ["SLURM_ARRAY_TASK_ID"])
came = []


def note(number: int, _: object) -> None:
    came.append(signal.Signals(number).name)
    with open(f"{PLACE}.signals", "a") as file:
        file.write(f"{came[-1]}\n")
    if number == signal.SIGTERM:
        sys.exit(0)


for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, note)
umask = os.umask(0)
with open(f"{PLACE}.part", "w") as file:
    json.dump({"argv": sys.argv[1:], "environ": dict(os.environ), "cwd": os.getcwd(), "umask": umask}, file)
os.rename(f"{PLACE}.part", f"{PLACE}.json")
while True:
    time.sleep(60)
