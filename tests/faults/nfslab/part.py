"""What both machines of the lab do in the folder that they share: try its disk, work on one queue, and die."""

import json
import os
import random
import signal
import subprocess
import sys
import time

# ruff: noqa: PTH103, PTH104, PTH123, PTH208, SIM115, PLW1510  run alone, by the bare Python of a machine of the lab

ME = int(sys.argv[1])
PLAN = json.load(open("/mnt/plan.json"))
PROJECT = "/mnt/project"
ENVIRONMENT = {**os.environ, "PYTHONPATH": "/opt", "HOME": "/tmp", "LANG": "C.UTF-8"}
PROGRAM = ["python3", "-m", "parallel_train"]


def say(name, **what):
    with open(f"/mnt/said/{name}.{ME}.new", "w") as file:
        json.dump(what, file)
    os.rename(f"/mnt/said/{name}.{ME}.new", f"/mnt/said/{name}.{ME}")
    print(name, str(what)[:600], flush=True)


def meet(name):
    say(f"at-{name}")
    until = time.monotonic() + 180
    while f"at-{name}.{3 - ME}" not in os.listdir("/mnt/said"):
        if time.monotonic() > until:
            say(f"alone-{name}")
            return
        time.sleep(0.1)


def tries_the_disk():
    asked = [*PROGRAM, "doctor", "--shared", "/mnt/check", "--json"]
    for number in range(3):  # until they find each other: on a busy machine they start far apart
        meet(f"doctor{number}")
        told = subprocess.run(asked, env=ENVIRONMENT, capture_output=True, text=True, cwd="/tmp")
        if "tried together with" in told.stdout:
            break
    say("doctor", code=told.returncode, out=told.stdout, err=told.stderr[-2000:])


def begun():
    return len(os.listdir(f"{PROJECT}/effects"))


def works():
    """Kills its scheduler each time that some more tasks have begun; the second machine ends as by a power cut."""
    meet("work")
    chance = random.Random(f"{PLAN['seed']} {ME}")
    began, kills, code = time.monotonic(), 0, None
    options = ["--gpus", "cpu:2", "--lease", str(PLAN["lease"]), "--check-interval", "30"]
    while code != 0 and time.monotonic() - began < PLAN["limit"]:
        with open(f"/mnt/said/lines.{ME}", "a") as lines:
            running = subprocess.Popen(
                [*PROGRAM, "run", *options], env=ENVIRONMENT, stdout=lines, stderr=lines, cwd=PROJECT
            )
        enough = begun() + chance.randint(1, 2 * PLAN["between"])
        while running.poll() is None:
            time.sleep(0.2)
            if ME == 2 and begun() > PLAN["power"]:
                cut_the_power(kills)
            if begun() >= enough and kills < PLAN["kills"]:
                running.send_signal(signal.SIGKILL)
                kills += 1
        code = running.wait()
    say("worked", kills=kills, code=code, seconds=time.monotonic() - began)


def cut_the_power(kills):
    say("worked", kills=kills)
    os.sync()
    with open("/proc/sysrq-trigger", "w") as power:
        power.write("o")
    time.sleep(60)


os.makedirs("/mnt/said", exist_ok=True)
tries_the_disk()
works()
