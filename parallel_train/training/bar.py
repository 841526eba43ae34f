"""How far it is, for people at a terminal."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from parallel_train.training import job


class Bar:
    """One step per epoch of each model. Silent where it is not wanted, and where stderr is no terminal."""

    def __init__(self, models: int, epochs: int, *, is_wanted: bool) -> None:
        self._models, self._epochs = models, epochs
        self._left = dict.fromkeys(range(models), epochs)
        self._ended = self._failed = 0
        self._best = ""
        self._lowest = float("inf")
        # Nothing of ours runs in a thread and nothing stands between a print and the terminal: a process that is
        # forked meanwhile would inherit both.
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            *(TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn(), TimeRemainingColumn()),
            console=Console(stderr=True),
            disable=not is_wanted or not sys.stderr.isatty(),
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task(self._line(), total=models * epochs)

    def __enter__(self) -> Bar:  # noqa: PYI034  Self is in typing from 3.11 on
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def hear(self, told: job.Progress | job.Done | job.Failed) -> None:
        if isinstance(told, job.Progress):
            self._left[told.index] -= 1
            self._progress.advance(self._task)
            return
        self._ended += 1
        if isinstance(told, job.Failed):
            self._failed += 1
            self._progress.advance(self._task, self._left[told.index])
        elif told.losses[-1] < self._lowest:
            self._lowest = told.losses[-1]
            self._best = f", lowest loss {self._lowest:.4g} by model {told.index}"
        self._progress.update(self._task, description=self._line())

    def refresh(self) -> None:
        self._progress.refresh()

    def _line(self) -> str:
        failed = f", {self._failed} failed" if self._failed else ""
        return f"{self._ended}/{self._models} models{failed}{self._best}"
