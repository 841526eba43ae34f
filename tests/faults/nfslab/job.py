"""What both machines of the lab do in the folder that they share: try its disk, work on one queue, and die."""

import json
import os
import random
import signal
import subprocess
import sys
import time

ME = int(sys.argv[1])
PLAN = json.load(open("/mnt/plan.json"))
PROJECT = "/mnt/project"
ENVIRONMENT = {**os.environ, "PYTHONPATH": "/opt", "HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8"}
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
    meet("doctor")
    asked = [*PROGRAM, "doctor", "--shared", "/mnt/check", "--json"]
    told = subprocess.run(asked, env=ENVIRONMENT, capture_output=True, text=True, cwd="/tmp")
    say("doctor", code=told.returncode, out=told.stdout, err=told.stderr[-2000:])


def works():
    """Restarts its scheduler each time that it has killed it; the second machine ends as by a power cut."""
    meet("work")
    chance = random.Random(f"{PLAN['seed']} {ME}")
    began, kills, code = time.monotonic(), 0, None
    options = ["--gpus", "cpu:2", "--lease", str(PLAN["lease"]), "--check-interval", "30"]
    while True:
        with open(f"/mnt/said/lines.{ME}", "a") as lines:
            running = subprocess.Popen(
                [*PROGRAM, "run", *options], env=ENVIRONMENT, stdout=lines, stderr=lines, cwd=PROJECT
            )
        until = time.monotonic() + chance.uniform(15, 40)
        while running.poll() is None and (kills >= PLAN["kills"] or time.monotonic() < until):
            if ME == 2 and time.monotonic() - began > PLAN["power"]:
                say("worked", kills=kills, seconds=time.monotonic() - began)
                os.sync()
                with open("/proc/sysrq-trigger", "w") as power:
                    power.write("o")
                time.sleep(60)
            time.sleep(0.2)
        if running.poll() is None:
            running.send_signal(signal.SIGKILL)
            running.wait()
            kills += 1
            continue
        code = running.returncode
        if code == 0 or time.monotonic() - began > PLAN["limit"]:
            break
    say("worked", kills=kills, code=code, seconds=time.monotonic() - began)


os.makedirs("/mnt/said", exist_ok=True)
tries_the_disk()
works()
