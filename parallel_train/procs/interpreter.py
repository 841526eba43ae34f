"""What a Python that tasks run under has to offer. It is asked in a child of its own, never imported here."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

from parallel_train.core.machine import Interpreter
from parallel_train.errors import UsageError
from parallel_train.procs import bounded

LIMIT = 60.0  # seconds; torch on a cold network disk takes its time

# Runs under any Python 3.
_CODE = """
import json, sys, warnings
found = {"python": "%d.%d.%d" % sys.version_info[:3]}
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    try:
        import torch
        found["torch"] = str(torch.__version__)
        found["cuda"] = torch.version.cuda or ""
        found["hip"] = getattr(torch.version, "hip", None) or ""
        found["sees_cards"] = torch.cuda.is_available()
    except Exception as error:
        if getattr(error, "name", "") != "torch":
            found["said"] = "%s: %s" % (type(error).__name__, error)
    if "said" not in found:
        found["said"] = "; ".join(str(one.message) for one in said if "CUDA" in str(one.message))
print(json.dumps(found))
"""


def ask(python: str, limit: float = LIMIT) -> Interpreter:
    """What `python` is and finds, with every card visible to it. Raises UsageError where it does not answer."""
    program = shutil.which(python)
    if program is None:
        raise UsageError("no such program" if not os.path.exists(python) else "can't be executed")
    environ = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    try:
        # From the root folder: no torch.py of the project's stands in for torch.
        said = bounded.run([os.path.abspath(program), "-c", _CODE], limit, environ=environ, cwd="/")
    except OSError as error:  # TimeoutError is one
        raise UsageError(str(error)) from None
    try:
        facts: dict[str, Any] = json.loads(said.output.splitlines()[-1])
        return Interpreter(**facts)
    except (IndexError, ValueError, TypeError):
        raise UsageError(said.last_complaint) from None
