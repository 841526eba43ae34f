"""Start the command of an attempt. Standard library only, Python 3.8 and newer."""

from __future__ import annotations

import errno
import json
import os
import signal
from functools import lru_cache
from typing import Any

from parallel_train.procs import fence, process

SECRET = "secret:"  # noqa: S105  the prefix of a reference, not a secret

# Trouble of the machine, not of the task: it passes, and costs the task nothing.
PASSING = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE),
    *(errno.EINTR, errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE),
}

_OOM_SCORE = "/proc/self/oom_score_adj"
_SOONER = 500  # of 1000: how much sooner the kernel takes a task than who looks after it


class StartError(Exception):
    """The command could not be executed; `code` is what a shell would have said: 127 not found, 126 otherwise."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def start(order: dict[str, Any], log: int, err: int) -> int:
    """Fork and execute `order["argv"]`; its pid, once the command runs. Raises StartError."""
    environment = _environment(order)
    program = _program(order["argv"][0], order["cwd"], environment)
    score = _oom_score()
    told, tell = os.pipe()
    shim = os.getpid()
    try:
        try:
            pid = fence.fork(order["group"])
            if pid == 0:
                _become(order, environment, program, shim=shim, score=score, files=(log, err, tell))
        finally:
            os.close(tell)
        failure = os.read(told, 65536)  # nothing when exec closes the other side
    finally:
        os.close(told)
    if not failure:
        return pid
    os.waitpid(pid, 0)
    step, number = json.loads(failure)
    what = {"cwd": "folder {}".format(order["cwd"]), "argv": "command {}".format(order["argv"][0])}
    text = "{}: {}".format(what.get(step, "could not be set up"), os.strerror(number))
    if number in PASSING:
        raise OSError(number, text)
    raise StartError(text, 127 if number == errno.ENOENT else 126)


def _environment(order: dict[str, Any]) -> dict[str, str]:
    """This process's environment with the task's laid over it; secrets are looked up only now."""
    environment = {**_inherited(), **order["env"]}
    environment["PARALLEL_TRAIN_COOKIE"] = order["cookie"]
    for name, value in order["env"].items():
        if value.startswith(SECRET):
            wanted = value[len(SECRET) :]
            if wanted not in _inherited():
                raise StartError(f"{name}: {wanted} is not set in the worker's environment", 126)
            environment[name] = _inherited()[wanted]
    return environment


@lru_cache(maxsize=None)
def _inherited() -> dict[str, str]:
    """A shim never changes its own: it is put together once for all its attempts."""
    return dict(os.environ)


def _program(name: str, cwd: str, environment: dict[str, str]) -> str:
    """What `name` means to a shell in `cwd`: a path, or the first such program on the task's PATH."""
    if "/" in name:
        return name
    is_there = False
    for folder in environment.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(cwd, folder, name)
        if os.path.isfile(path):
            if os.access(path, os.X_OK):
                return path
            is_there = True
    number = errno.EACCES if is_there else errno.ENOENT
    raise StartError(f"command {name}: {os.strerror(number)}", 126 if is_there else 127)


@lru_cache(maxsize=None)
def _oom_score() -> bytes:
    """A task's: where memory runs out the kernel is to end it before its shim or its scheduler, with whom the reason
    would be lost.
    """
    try:
        with open(_OOM_SCORE, "rb") as file:
            return b"%d" % min(1000, int(file.read()) + _SOONER)
    except (OSError, ValueError):
        return b""


def _become(
    order: dict[str, Any],
    environment: dict[str, str],
    program: str,
    *,
    shim: int,
    score: bytes,
    files: tuple[int, int, int],
) -> None:
    """In the child: turn into the command, or tell why not. Never returns.

    Whatever can be done before the fork is: for each page that is touched here the kernel makes a copy first. So a
    shim catches what it does not heed (a command has the default again), and its own standard input is /dev/null.
    """
    log, err, tell = files
    step = "set up"
    try:
        os.setsid()
        process.die_with_parent(shim)
        try:
            os.write(os.open(_OOM_SCORE, os.O_WRONLY | os.O_CLOEXEC), score)
        except OSError:
            pass  # it runs all the same
        os.umask(order["umask"])
        os.dup2(log, 1)
        os.dup2(err, 2)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        step = "cwd"
        os.chdir(order["cwd"])
        step = "argv"
        os.execve(program, order["argv"], environment)  # noqa: S606  no shell is the point
    except OSError as error:
        os.write(tell, json.dumps([step, error.errno]).encode())
    finally:
        os._exit(127)
