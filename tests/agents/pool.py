"""Many agents that start in the same instant and go on until nothing is left, some of them killed. A program.

    python pool.py ROOT LOG AGENTS KILLS [OPTIONS]

LOG gets a line from each agent as each thing happens: began, saved, finished; and from here: killed. OPTIONS are those
of `from_config`, as JSON, with the class and the config among them.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import parallel_train.search

ROOT, LOG, AGENTS, KILLS = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
OPTIONS = json.loads(sys.argv[5])
SEARCH = getattr(parallel_train.search, f"DistributedAsynchronous{OPTIONS.pop('class')}")
CONFIG = OPTIONS.pop("config")
SECONDS = OPTIONS.pop("seconds", 0.0)  # that a trial takes


def say(**what: object) -> None:
    line = json.dumps({**what, "pid": os.getpid(), "at": time.monotonic()})
    descriptor = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


def work() -> None:
    """What a script does that loops."""
    agent = SEARCH.from_config(ROOT, CONFIG, **OPTIONS)
    while agent.combination is not None:
        point = [agent.index, agent.repetition, agent.level]
        found = Path(agent.path).read_text() if Path(agent.path).exists() else None
        say(began=point, found=found, combination=json.loads(agent.combination))
        Path(agent.path).parent.mkdir(parents=True, exist_ok=True)
        Path(agent.path).write_text(str(point))
        time.sleep(SECONDS)
        say(finished=point, counts=agent.finish_combination(float(agent.index)))
        agent.get_new_combination(wait=60 if KILLS else 0)


def start(gate: int) -> int:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.read(gate, 1)  # all at once
            work()
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    return pid


def trying(pid: int) -> str:
    """The trial that the agent said last it began; empty where it said something else since."""
    said = [json.loads(line) for line in Path(LOG).read_text().splitlines()] if Path(LOG).exists() else []
    last = [entry for entry in said if entry["pid"] == pid][-1:]
    return str(last[0].get("began", "")) if last else ""


def killing(agents: list[int]) -> None:
    """Kill an agent in the middle of a trial, and have another one begin, again and again."""
    draw = random.Random(0)
    killed: Counter[str] = Counter()  # a trial is given up when whoever tries it has been killed five times
    while killed.total() < KILLS:
        time.sleep(draw.uniform(0.005, 0.05))
        pid = draw.choice(agents)
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return  # nothing is left to try
        os.kill(pid, signal.SIGSTOP)
        trial = trying(pid)
        if trial and killed[trial] < 3:
            killed[trial] += 1
            say(killed=pid)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            agents[agents.index(pid)] = start(reading)
        else:
            os.kill(pid, signal.SIGCONT)


reading, writing = os.pipe()
found = [start(reading) for _ in range(AGENTS)]
os.write(writing, b"." * (AGENTS + KILLS))
killing(found)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in found))
