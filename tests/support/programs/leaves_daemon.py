"""A task that leaves processes which try to get away (leaves_daemon.py PIDS [END]).

One is a plain child, one has left for a session of its own by two forks, one has also an empty environment. Its own
pid and theirs are in the file PIDS once all are there. Then it ends, or with END only once that file is there.
"""

import os
import sys
import time

SLEEP = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"]


def main():
    told, tell = os.pipe()
    for step in (plain, daemon, daemon_without_environment):
        if os.fork() == 0:
            step(tell)
    os.close(tell)
    said = b""
    while said.count(b"\n") < 3:
        said += os.read(told, 100)
    with open(sys.argv[1] + ".part", "w") as file:
        file.write(f"{os.getpid()}\n{said.decode()}")
    os.rename(sys.argv[1] + ".part", sys.argv[1])
    while len(sys.argv) > 2 and not os.path.exists(sys.argv[2]):
        time.sleep(0.005)


def plain(tell):
    os.write(tell, b"%d\n" % os.getpid())
    os.execv(SLEEP[0], SLEEP)


def daemon(tell):
    become_daemon(tell)
    os.execv(SLEEP[0], SLEEP)


def daemon_without_environment(tell):
    become_daemon(tell)
    os.closerange(3, 200)
    os.execve(SLEEP[0], SLEEP, {})


def become_daemon(tell):
    os.setsid()
    if os.fork():
        os._exit(0)
    os.write(tell, b"%d\n" % os.getpid())


main()
