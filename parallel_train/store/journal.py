"""What one worker did, one JSON object per line: for people and `status`, never the truth."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path

from parallel_train.store import records


class Journal:
    """Append-only, one writer. A full disk loses lines and stops nothing: it is not tried again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._has_failed = False

    def write(self, event: str, /, **fields: object) -> None:
        """Append one event with its time (ISO 8601 UTC). The caller gives no value that may be a secret."""
        if self._has_failed:
            return
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = json.dumps({"time": at, "event": event, **fields}, default=str) + "\n"
        try:
            os.write(self._opened(), line.encode())
        except OSError:
            self._has_failed = True

    def close(self) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None

    def _opened(self) -> int:
        if self._descriptor is None:
            self._descriptor = records.open_own(str(self.path), os.O_WRONLY | os.O_APPEND)
        return self._descriptor
