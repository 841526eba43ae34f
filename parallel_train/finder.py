"""Train several torch models at once, and say which came out best."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from typing import Any

from parallel_train.errors import UsageError
from parallel_train.training import forking
from parallel_train.training.asked import Asked, check_criterion, loss_maker, shares
from parallel_train.training.bar import Bar
from parallel_train.training.crew import Crew
from parallel_train.training.data import make_data
from parallel_train.training.faults import all_of
from parallel_train.training.job import Done, Epoch, Failed, Job, Progress, Setting
from parallel_train.training.loop import WeightsError, read_weights
from parallel_train.training.table import Row, Table, TrainingError

__all__ = ["Epoch", "ParallelFinder", "Row", "Table", "TrainingError"]

_PATIENCE = 1.0  # seconds


class ParallelFinder:
    """Trains the models of a list, several at once, each from a fresh start.

    `model_list`: functions without arguments that return a new torch.nn.Module: a class, a function, a partial.

    `logs`: the figures of the last `find`, filled as models finish: best_loss, best_loss_model_idx, time_for_best_loss,
    best_time, best_time_model_idx, loss_for_best_time, and model_{i}_loss, model_{i}_time (with validation data also
    model_{i}_validation_loss) of those that finished. Losses are means of the last epoch's batch losses, times the
    seconds of the last epoch; without a winner the best are inf, and what belongs to them None.
    `models`: the trained weights (state_dict, on the CPU) of those that finished, by index.
    `table`: what the last `find` returned, or would have.
    `lock`: held while `logs` changes; forked processes may take it too, in `on_epoch` say.
    """

    def __init__(self, model_list: Sequence[Callable[[], Any]]) -> None:
        self.model_list = model_list
        self.logs: dict[str, Any] = {}
        self.models: dict[int, dict[str, Any]] = {}
        self.table: Table | None = None
        self.lock = get_context("fork").Lock()
        self._ended: dict[int, Done | Failed] = {}
        self._begin()

    def find(  # noqa: PLR0913, PLR0917  the first eight are those of the calls it takes over
        self,
        train_data: Any,
        train_labels: Any,
        epochs: int = 1,
        batch_size: int = 32,
        criterion: Callable[[], Any] | None = None,
        optimizer: Any = None,
        optimizer_params: Any = None,
        device_str: Any = "cuda",
        *,
        shuffle: bool = False,
        seed: int | Sequence[int] | None = None,
        validation: tuple[Any, Any] | None = None,
        scheduler: Any = None,
        on_epoch: Callable[[Epoch], object] | None = None,
        processes: int | None = None,
        threads: int | None = None,
        progress: bool = True,
    ) -> Table:
        """Train every model, and return a row for each. What is given as a list has one entry for each model.

        Raises UsageError before anything starts, naming all that is wrong, and at the end TrainingError, naming every
        model that failed with its traceback; the others' figures and weights are kept. Ctrl-C ends all processes.

        `train_data`, `train_labels`: tensors, arrays or lists with a row per sample.
        `criterion`: called without arguments it makes the loss; None: cross entropy for whole-number labels, else MSE.
        `optimizer`, `optimizer_params`: a class and its keyword arguments; None: Adam, torch's defaults.
        `scheduler`: called with the optimizer it makes a learning-rate scheduler, stepped after each epoch.
        `device_str`: "cpu", "cuda", "cuda:1"…; one for all models, or a list.
        `shuffle`: a new order for each epoch. `validation`: (data, labels), judged after each epoch.
        `seed`: of each model, set before it is made; None: one drawn for each from torch's random numbers.
        `on_epoch`: called in the training process after each epoch; what it raises is the model's failure.
        `processes`: on one device at once; None: one on a GPU, on the CPU as many as cores allow.
        `threads`: of torch in each process; None: the cores shared among the processes.
        `progress`: show a bar where stderr is a terminal.
        """
        forking.leave_if_reading_the_script()
        numbers = {"epochs": epochs, "batch_size": batch_size, "processes": processes, "threads": threads}
        asked = Asked(self.model_list, optimizer, optimizer_params, scheduler, device_str, seed, numbers)
        asked_data = partial(make_data, train_data, train_labels, validation)
        settings, _, data = all_of(asked.settings, partial(check_criterion, criterion), asked_data)
        loss = loss_maker(criterion, data.train.labels)
        limits, threads = shares([setting.device for setting in settings], processes, threads)
        is_forked = forking.can_fork(limits)
        if not is_forked:
            _refuse_what_cannot_be_sent(settings, loss, on_epoch)
            data = data.shared()
        job = Job(settings, data, epochs, batch_size, shuffle, loss, on_epoch, threads, seed is not None)
        self._begin()  # not before: what is refused costs nothing of what was found
        try:
            with Bar(len(settings), epochs, is_wanted=progress) as bar:
                Crew(job, limits, is_forked=is_forked, hear=lambda told: self._hear(told, bar)).run(bar.refresh)
        finally:
            self.table = table = self._make_table(job)
        if table.failed:
            raise TrainingError(table)
        return table

    def _begin(self) -> None:
        """As if nothing had been trained yet."""
        self._ended.clear()
        self.models.clear()
        self.table = None
        with self._locked():
            self.logs.clear()
            self.logs.update(best_loss=float("inf"), best_loss_model_idx=None, time_for_best_loss=None)
            self.logs.update(best_time=float("inf"), best_time_model_idx=None, loss_for_best_time=None)

    def _hear(self, told: Progress | Done | Failed, bar: Bar) -> None:
        if isinstance(told, Done):
            told = self._keep(told)
        bar.hear(told)
        if not isinstance(told, Progress):
            self._ended[told.index] = told

    def _keep(self, told: Done) -> Done | Failed:
        try:
            self.models[told.index] = read_weights(told.weights)
        except WeightsError as error:
            return Failed(told.index, str(error))
        with self._locked():
            self._log(told)
        return replace(told, weights=b"")

    def _log(self, done: Done) -> None:
        loss, seconds = done.losses[-1], done.seconds
        self.logs.update({f"model_{done.index}_loss": loss, f"model_{done.index}_time": seconds})
        if done.validation_losses:
            self.logs[f"model_{done.index}_validation_loss"] = done.validation_losses[-1]
        if loss < self.logs["best_loss"]:
            self.logs.update(best_loss=loss, best_loss_model_idx=done.index, time_for_best_loss=seconds)
        if seconds < self.logs["best_time"]:
            self.logs.update(best_time=seconds, best_time_model_idx=done.index, loss_for_best_time=loss)

    def _make_table(self, job: Job) -> Table:
        return Table(tuple(_row(setting, self._ended.get(setting.index)) for setting in job.settings), job.threads)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock; not for ever, since a process that was killed while it had it never gives it back."""
        has_it = self.lock.acquire(timeout=_PATIENCE)
        try:
            yield
        finally:
            if has_it:
                self.lock.release()


def _row(setting: Setting, ended: Done | Failed | None) -> Row:
    row = Row(setting.index, setting.name, setting.device, setting.seed)
    if isinstance(ended, Failed):
        return replace(row, error=ended.why)
    if ended is None:
        return row
    return replace(
        row,
        losses=ended.losses,
        validation_losses=ended.validation_losses,
        seconds=ended.seconds,
        total_seconds=ended.total_seconds,
    )


def _refuse_what_cannot_be_sent(settings: Sequence[Setting], loss: Any, on_epoch: Any) -> None:
    """Processes that are not forked import what they are to call."""
    named: list[tuple[str, Any]] = [(f"model_list[{setting.index}]", setting.make) for setting in settings]
    named += [("criterion", loss), ("on_epoch", on_epoch)]
    named += [(f"optimizer[{setting.index}]", setting.optimizer) for setting in settings]
    named += [(f"scheduler[{setting.index}]", setting.scheduler) for setting in settings]
    faults = forking.not_sendable(named)
    if faults:
        why = "CUDA is already in use here, so new processes can't be forked: they import what they call"
        raise UsageError("\n".join([f"{why}. Or call find() before anything uses CUDA.", *faults]))
