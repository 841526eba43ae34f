"""parallel-train: one command turns a list of training runs into finished results on every GPU you have."""

# A user's own interpreter, from Python 3.8, imports this to read a `.py` task file.
import importlib

__version__ = "0.1.0"

# Imported on first use, so that the command line never loads what it does not need.
_FACES = {
    "ParallelFinder": "parallel_train.finder",
    "TaskConfig": "parallel_train.core.taskconfig",
    "MultiRunner": "parallel_train.multirunner",
    "find_best_gpu": "parallel_train.procs.reservations",
}


def __getattr__(name: str) -> object:
    if name not in _FACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_FACES[name]), name)
