"""Start the command of an attempt. Standard library only, Python 3.8 and newer."""

from __future__ import annotations

import errno
import json
import os
import signal
from typing import Any

from parallel_train.procs import fence, process

SECRET = "secret:"  # noqa: S105  the prefix of a reference, not a secret


# What the launcher and the shim ignore or handle, and a command must find as usual.
HANDLED = (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGQUIT)

# Trouble of the machine, not of the task: it passes, and costs the task nothing.
PASSING = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE),
    *(errno.EINTR, errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE),
}


_SOONER = 500  # of 1000: how much sooner the kernel takes a task than who looks after it


class StartError(Exception):
    """The command could not be executed; `code` is what a shell would have said: 127 not found, 126 otherwise."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def start(order: dict[str, Any], held: list[int], log: int, err: int) -> int:
    """Fork and execute `order["argv"]`; its pid, once the command runs. Raises StartError."""
    environment = _environment(order)
    program = _program(order["argv"][0], order["cwd"], environment)
    told, tell = os.pipe()
    shim = os.getpid()
    pid = fence.fork(order["group"])
    if pid == 0:
        os.close(told)
        _become(order, environment, program, shim=shim, files=(held, log, err), tell=tell)
    os.close(tell)
    with open(told, "rb") as pipe:
        failure = pipe.read()  # ends without a byte when exec closes the other side
    if not failure:
        return pid
    os.waitpid(pid, 0)
    step, number = json.loads(failure)
    text = f"{step}: {os.strerror(number)}"
    if number in PASSING:
        raise OSError(number, text)
    raise StartError(text, 127 if number == errno.ENOENT else 126)


def _environment(order: dict[str, Any]) -> dict[str, str]:
    """This process's environment with the task's laid over it; secrets are looked up only now."""
    environment = dict(os.environ)
    environment.update(order["env"])
    environment["PARALLEL_TRAIN_COOKIE"] = order["cookie"]
    for name, value in order["env"].items():
        if value.startswith(SECRET):
            wanted = value[len(SECRET) :]
            if wanted not in os.environ:
                raise StartError(f"{name}: {wanted} is not set in the worker's environment", 126)
            environment[name] = os.environ[wanted]
    return environment


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


def _die_before_us() -> None:
    """Where memory runs out the kernel ends a task: with its shim or its scheduler the reason would be lost."""
    try:
        with open("/proc/self/oom_score_adj", "r+b", buffering=0) as file:
            file.write(b"%d" % min(1000, int(file.read()) + _SOONER))
    except (OSError, ValueError):
        pass  # it runs all the same


def _become(
    order: dict[str, Any], environment: dict[str, str], program: str, *, shim: int, files: Any, tell: int
) -> None:
    """In the child: turn into the command, or tell why not. Never returns."""
    held, log, err = files
    step = "could not be set up"
    try:
        os.setsid()
        process.die_with_parent(shim)
        _die_before_us()
        os.umask(order["umask"])
        nothing = os.open(os.devnull, os.O_RDONLY)
        for target, source in enumerate((nothing, log, err)):
            os.dup2(source, target)
        for descriptor in held:
            os.set_inheritable(descriptor, True)
        for number in HANDLED:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        step = "folder {}".format(order["cwd"])
        os.chdir(order["cwd"])
        step = "command {}".format(order["argv"][0])
        os.execve(program, order["argv"], environment)  # noqa: S606  no shell is the point
    except OSError as error:
        os.write(tell, json.dumps([step, error.errno]).encode())
    finally:
        os._exit(127)
