"""What a task gets: its command filled in, its environment, its log names. The order is what a shim is sent."""

from __future__ import annotations

import glob
import hashlib
import json
import math
import os
import re
import shlex
import socket
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from parallel_train.core import contact
from parallel_train.core.events import Launch
from parallel_train.core.script import script_of
from parallel_train.core.slots import Device
from parallel_train.core.task import Task, fill
from parallel_train.core.task import late as late_mark

THREAD_CAPS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_LONGEST_VALUE = 128_000  # of a variable, in bytes
_LOG_NAME_BYTES = 200


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all attempts of one worker share."""

    project: Path
    queue: Path
    worker: str
    log_dir: str = "logs"
    late: Mapping[str, str] = field(default_factory=dict)  # see core.task.fill
    threads: int = 1  # the cap for one task
    umask: int = 0o022  # the user's
    grace: float = 10.0  # seconds between INT, TERM and KILL
    lease: float = 300.0  # seconds of silence after which other hosts take over
    # Whether the queue's disk may hang, or others work on it that can't be seen: then a silent attempt halts.
    is_shared: Callable[[], bool] = lambda: False
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))


def build(launch: Launch, devices: Sequence[Device], around: Surroundings, stamp: str) -> dict[str, Any]:
    """The order for one attempt. `stamp` (such as 20231228_143022) goes into the names of its logs."""
    task = launch.task
    return {
        **of_any(launch, around.queue, around.worker, around.lease),
        "project": str(around.project),
        "shared": around.is_shared(),
        "wait": launch.wait,
        "needs": {name: [seen.round, seen.deciding, seen.last] for name, seen in launch.needs.items()},
        "slots": list(launch.slots),
        "gpus": [_spoken(device) for device in devices],
        "aside": launch.aside,
        "argv": command(task, around.late),
        "cwd": str(around.project / fill(task.cwd, values(task, around.late))),
        "env": {
            **_for_attempt(launch, devices),
            **plain_environment(task, around),
        },
        "umask": around.umask,
        "made_with": made_with(task, around.project, around.late),
        "grace": around.grace,
        "log": str(Path(around.log_dir) / log_stem(task, devices, launch.attempt, stamp)),
        "output": str(around.project / task.output) if task.output else None,
        "done_when": done_when(task, around.project),
        "timeout": task.timeout,
        "stops_at": launch.stops_at if launch.stops_at < math.inf else None,
    }


def of_any(launch: Launch, queue: Path, worker: str, lease: float) -> dict[str, Any]:
    """The part of an order that every attempt has, be it a command's or a call's."""
    return {
        "queue": str(queue),
        "worker": worker,
        "task": launch.task.id,
        "attempt": launch.attempt,
        "round": launch.round,
        "identity": launch.task.identity,
        "heard": launch.heard,
        "asked_round": launch.asked_round,
        "lease": lease,
        "beat": contact.interval(lease),
    }


def values(task: Task, late: Mapping[str, str]) -> dict[str, str]:
    """What is filled into the task's words: `{python}` was settled when it was submitted."""
    return {**late, "python": task.python} if task.python else dict(late)


def command(task: Task, late: Mapping[str, str]) -> list[str]:
    """The argument list to execute."""
    late = values(task, late)
    if task.shell:
        quoted = {name: shlex.quote(value) for name, value in late.items()}
        return ["/bin/sh", "-c", fill(task.command[0], quoted)]
    return [fill(word, late) for word in task.command]


def made_with(task: Task, project: Path, late: Mapping[str, str]) -> dict[str, str]:
    """What a result may hang on though it is no part of the task's identity: its script's content, the data root."""
    found = {}
    late = values(task, late)
    if any(late_mark("data_root") in word for word in task.command):
        found["the data root"] = late["data_root"]
    script = script_of([fill(word, late) for word in task.command])
    if script:
        found[script] = _fingerprint(project / fill(task.cwd, late) / script)
    return found


def _fingerprint(path: Path) -> str:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # /dev/stdin: to read it would wait for somebody who types
            return "no file"
        return _content(path, status.st_size, status.st_mtime_ns)
    except OSError:
        return "missing"


@lru_cache(maxsize=64)
def _content(path: Path, _size: int, _mtime: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def environment(task: Task, around: Surroundings) -> dict[str, str]:
    """What we set for a task, whichever slot it gets."""
    base = around.environment
    found = {"PYTHONUNBUFFERED": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    found.update({name: str(around.threads) for name in THREAD_CAPS if name not in base})
    found["PARALLEL_TRAIN_RUN_ID"] = around.worker
    found["PARALLEL_TRAIN_TASK_ID"] = task.id
    params = json.dumps(dict(task.params), ensure_ascii=False)
    if len(params.encode()) < _LONGEST_VALUE:  # the kernel refuses a longer one, and the task with it
        found["PARALLEL_TRAIN_PARAMS"] = params
    if task.output:
        found["PARALLEL_TRAIN_OUTPUT_DIR"] = str(around.project / task.output)
    if "seed" in task.params:
        found["PARALLEL_TRAIN_SEED"] = str(task.params["seed"])
    for metric in task.metrics[:1]:
        if metric.file:
            found["PARALLEL_TRAIN_METRICS_FILE"] = str(around.project / metric.file)
    return found


def plain_environment(task: Task, around: Surroundings) -> dict[str, str]:
    """What a task gets from us and from its file, for people: the slot's part is known only at launch."""
    late = values(task, around.late)
    return {**environment(task, around), **{name: fill(value, late) for name, value in task.env.items()}}


def _for_attempt(launch: Launch, devices: Sequence[Device]) -> dict[str, str]:
    visible = ",".join(device.visible for device in devices if device.kind == "gpu")
    return {
        "CUDA_VISIBLE_DEVICES": visible,
        "PARALLEL_TRAIN_GPUS": ",".join(device.label for device in devices if device.kind == "gpu"),
        "PARALLEL_TRAIN_ATTEMPT": str(launch.attempt),
        "PARALLEL_TRAIN_RESUME": "1" if launch.resumes else "",
        "MASTER_PORT": str(_free_port()),
    }


def _free_port() -> int:
    """A port that nobody listens on now; two runs on one default port would fail each other."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _spoken(device: Device) -> str:
    return device.label if device.kind == "gpu" else f"cpu{device.label}"


def log_stem(task: Task, devices: Sequence[Device], attempt: int, stamp: str) -> str:
    """The name of an attempt's logs without its ending: gpu0_caltech101_sym_0.125_seed1_20231228_143022."""
    kind = "gpu" if devices and devices[0].kind == "gpu" else "cpu"
    head = kind + "-".join(device.label for device in devices) + "_"
    tail = f"_{stamp}" + (f"_a{attempt}" if attempt > 1 else "")
    name = re.sub(r"[^\w.+-]+", "_", task.name).strip("_") or "task"
    room = _LOG_NAME_BYTES - len(head) - len(tail) - len(".log")
    return head + name.encode()[:room].decode(errors="ignore") + tail


def done_when(task: Task, project: Path) -> dict[str, Any] | None:
    """How to recognise the finished output, as `outputs.state` wants it."""
    if task.done_when is None:
        return None
    return {
        "files": [os.path.join(glob.escape(str(project)), pattern) for pattern in task.done_when.files],
        "contains": task.done_when.contains,
    }
