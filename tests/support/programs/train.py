"""Stands for a user's train.py: it writes down how it was called, then does what the name of its dataset says.

    ok             trains: its output gets a log.txt that says so
    held…          the same, but only once there is a file `go` in the project
    fails          leaves half an output, and exits with 3
    late           says that it has finished, and exits with 4 in its last evaluation
    silent         exits with 0 without any output
    deaf           ignores INT and TERM, for ever
    forks          starts processes, some of them in sessions of their own, and waits until it is interrupted
    leaves         the same, but trains and leaves them

A start makes effects/PID.json, an end effects/PID.end.json. What was started goes to effects/PID.children.
"""

import json
import os
import signal
import subprocess
import sys
import time

CAPS = [f"{name}_NUM_THREADS" for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR")]
TOLD = [*CAPS, "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "PYTHONUNBUFFERED"]


def main():
    words = dict(zip(sys.argv[1:-1], sys.argv[2:], strict=True))
    dataset = os.path.basename(words["--dataset-config-file"])[: -len(".yaml")]
    interrupts = []
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: interrupts.append(time.monotonic()))
    if dataset == "deaf":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if dataset in {"forks", "leaves"}:
        forks()
    write(
        "json",
        dataset=dataset,
        argv=sys.argv,
        environ={name: os.environ.get(name) for name in TOLD},
        stdin=os.fstat(0).st_rdev == os.stat(os.devnull).st_rdev,
        pid=os.getpid(),
        parent=os.getppid(),
        began=time.monotonic(),
    )
    print("to the log", flush=True)
    print("to the errors", file=sys.stderr)
    while (dataset.startswith("held") and not os.path.exists("go")) or dataset in {"deaf", "forks"}:
        time.sleep(0.005)
        if interrupts:
            time.sleep(0.2)  # a second one would come now
            break
    output = words["--output-dir"]
    if dataset != "silent":
        os.makedirs(output, exist_ok=True)
        with open(os.path.join(output, "log.txt"), "a") as log:
            log.write("epoch 1\n" if dataset == "fails" or interrupts else "Finish training\n")
    write("end.json", ended=time.monotonic(), interrupts=len(interrupts))
    if interrupts:  # as Python itself ends
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    sys.exit({"fails": 3, "late": 4}.get(dataset, 0))


def forks():
    """A child, one in a session of its own, and a daemon that nobody is the parent of."""
    nap = ["sleep", "600"]
    pids = [subprocess.Popen(nap).pid, subprocess.Popen(nap, start_new_session=True).pid]
    told, tell = os.pipe()
    if os.fork() == 0:
        os.setsid()
        os.write(tell, str(subprocess.Popen(nap).pid).encode())
        os._exit(0)
    os.wait()
    write("children", pids=[*pids, int(os.read(told, 20))])


def write(ending, **fields):
    path = f"effects/{os.getpid()}.{ending}"
    with open(path + ".part", "w") as file:
        json.dump(fields, file)
    os.rename(path + ".part", path)


main()
