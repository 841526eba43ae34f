"""A process that trains models of one device, one after another, as its parent names them."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
import weakref
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import torch

from parallel_train.procs.process import die_with_parent
from parallel_train.training.data import Data
from parallel_train.training.job import Failed, Job, NotNew, Ready
from parallel_train.training.loop import make_model, train


class Earlier:
    """What has been trained here and still lives, since whatever made it holds it: `lambda: model`, say."""

    def __init__(self) -> None:
        self._parts: dict[int, weakref.ref[Any]] = {}

    def add(self, model: Any) -> None:
        self._parts.update((id(part), weakref.ref(part)) for part in _parts(model))

    def has_part_of(self, model: Any) -> bool:
        self._parts = {number: part for number, part in self._parts.items() if part() is not None}
        return any(id(part) in self._parts for part in _parts(model))


def _parts(model: Any) -> Iterator[Any]:
    yield from model.parameters()
    yield from model.buffers()


def work(connection: Connection, job: Job, parent: int) -> None:
    """Train the models whose numbers come through `connection` until there comes None, or one has failed: what it
    left behind (memory, a broken CUDA context) must not reach the next. Never returns.
    """
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to everybody at the terminal; the parent acts on it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # A thread of its own: libgomp hangs in a forked process when the thread that forked has used several threads.
    trainer = threading.Thread(target=_serve, args=(connection, job))
    trainer.start()
    trainer.join()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # whatever threads a model has left running


def _serve(connection: Connection, job: Job) -> None:
    torch.set_num_threads(job.threads)
    connection.send(Ready())
    data: Data | None = None
    earlier = Earlier()
    while (index := connection.recv()) is not None:
        setting = job.settings[index]
        try:
            device = torch.device(setting.device)
            if device.type == "cuda":
                torch.cuda.set_device(device)
            data = data or job.data.to(device)
            model = make_model(job, setting)
            if earlier.has_part_of(model):
                connection.send(NotNew(index))
                return
            told = train(job, setting, model, data, tell=connection.send)
            earlier.add(model)
            del model
        except BaseException:  # noqa: BLE001  whatever a model raises is its failure and nobody else's
            connection.send(Failed(index, traceback.format_exc()))
            return
        connection.send(told)
