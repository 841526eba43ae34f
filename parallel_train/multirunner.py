"""MultiRunner: a grid of calls of one function, shared by every process that runs the same script."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from parallel_train.caller import Caller
from parallel_train.core import grid
from parallel_train.core.grid import Point
from parallel_train.core.plain import plain
from parallel_train.core.situation import Situation
from parallel_train.core.state import Line, is_satisfied
from parallel_train.core.task import Json, Metric, Task
from parallel_train.errors import UsageError
from parallel_train.held import Held
from parallel_train.procs import calls, reservations
from parallel_train.project import markers, reading
from parallel_train.project.calling import as_call
from parallel_train.report import paste, words
from parallel_train.results.metrics import as_number, rank
from parallel_train.store import records

SOURCE = "MultiRunner"  # stands where other tasks have their task file
GIVEN_UP_AFTER = 3  # errors of one point
_MOST_NAMED = 10  # points that did not finish
_SYNC = 1.0  # seconds between two looks at the markers


@dataclass(frozen=True, slots=True)
class Result:
    """What came out of one point. What JSON can't hold is in the file `pickle`, which nobody loads for you."""

    params: Point
    value: Any
    time: float | None  # seconds; None for a result that another queue has made
    host: str
    attempts: int
    pickle: Path | None = None


class MultiRunner:
    """Calls a function once for every point of a grid, whichever processes and hosts work on it.

    `ini_dir` is the project (see `parallel-train status ini/`), `result_dir` where the results go: N.json, or N.json
    and N.pkl where JSON can't hold them. After `max_error_times` errors a process leaves with exit code 1; a point is
    given up after 3. With `if_log` it says what happens. With `speculate` an idle process also makes calls that
    another is slow to end, and the first result counts. `mode` says whether the greatest or the least value is best,
    `lease` how many seconds of silence it takes until other hosts take over. Raises ParallelTrainError.
    """

    def __init__(
        self,
        ini_dir: str | os.PathLike[str] = "./ini/",
        result_dir: str | os.PathLike[str] = "./results/",
        max_error_times: int = 5,
        if_log: bool = True,
        *,
        speculate: bool = True,
        mode: Literal["max", "min"] = "max",
        lease: float = 300.0,
    ) -> None:
        self.ini_dir = Path(os.path.abspath(ini_dir))  # noqa: PTH100  a script may change its folder later
        self.result_dir = Path(os.path.abspath(result_dir))  # noqa: PTH100
        self.max_error_times, self.if_log, self.speculate, self.mode = max_error_times, if_log, speculate, mode
        self.lease = lease
        self._points: dict[int, Point] = {}
        self._caller: Caller | None = None
        self._pid = 0

    def __getstate__(self) -> dict[str, Any]:
        """A child process claims for itself."""
        return {**self.__dict__, "_caller": None}

    # ---- the grid ----

    def generate_ini(
        self, args_list: Iterable[Iterable[Any]], reserve_old_ini: bool = True, show_ini: bool = False
    ) -> None:
        """Every combination of one value of each list is a point, the last list fastest; all of them or none.

        Several processes may do so at once. Where the folder holds another grid that is an error, unless
        `reserve_old_ini` is False: then this one takes its place, and points that are in both keep their numbers and
        results. With `show_ini` the points are printed. Raises UsageError.
        """
        points = grid.points(args_list)
        tasks = [self._task(number, point) for number, point in enumerate(points)]
        markers.refuse_others(self.ini_dir)
        caller = self._begin()

        def settle(before: tuple[Task, ...], wanted: tuple[Task, ...]) -> tuple[Task, ...]:
            """Points that were there keep their numbers, and with them their results."""
            numbers = grid.numbers([task.params for task in wanted], {_number(t): t.params for t in before})
            self._points = dict(zip(numbers, points, strict=True))
            found = tuple(as_call(self._task(number, self._points[number]), SOURCE) for number in sorted(numbers))
            if reserve_old_ini:
                self._refuse_another(before, found)
            return found

        caller.submit(SOURCE, tasks, settle=settle)
        self._mark(caller)
        if show_ini:
            for point in points:
                print(*point)
        self._say(f"{words.plural(len(tasks), 'point')} in {self.ini_dir}")

    def _task(self, number: int, point: Point) -> Task:
        params = grid.params(point)
        output = os.path.relpath(self.result_dir / f"{number}.json", self.ini_dir)
        return Task(
            name=f"point{number}",
            command=(SOURCE, *map(str, params.values())),
            params=params,
            output=output,
            retries=GIVEN_UP_AFTER - 1,
            metrics=(Metric("value", self.mode, file=output),),
        )

    def _refuse_another(self, before: tuple[Task, ...], wanted: tuple[Task, ...]) -> None:
        if not before or [task.identity for task in before] == [task.identity for task in wanted]:
            return
        raise UsageError(
            f"{self.ini_dir} holds another grid ({len(before)} points, this one has {len(wanted)}): use another "
            "ini_dir and result_dir for it, or generate_ini(..., reserve_old_ini=False) to have it take the old one's "
            "place; points that are in both keep their numbers and results"
        )

    # ---- the calls ----

    def run(self, fn: Callable[..., Any], error_wait_time: float = 10) -> None:
        """Call `fn(*point)` for points that nobody else calls, until all have ended.

        After an error it waits for `error_wait_time` seconds. Exits with 1 after `max_error_times` errors.
        """
        caller = self._begin()
        if not _points_of(caller.situation):
            raise UsageError(f"there is no point in {self.ini_dir}: call generate_ini first")
        caller.gpus = reservations.own()
        with closing(caller):  # also by Ctrl-C, for a notebook goes on
            self._call_all(caller, fn, error_wait_time)
        lines = _points_of(caller.situation)
        left = [line.task.name for line in lines if not is_satisfied(line.state)]
        self._say(f"{len(lines) - len(left)} of {len(lines)} points are finished; results in {self.result_dir}")
        if left:
            named = " ".join(left[:_MOST_NAMED]) + (" …" if len(left) > _MOST_NAMED else "")
            why = paste.command("explain", left[0], project=str(self.ini_dir))
            self._say(f"Not finished: {named}. Why: {why}")

    def _call_all(self, caller: Caller, fn: Callable[..., Any], error_wait_time: float) -> None:
        errors = 0
        while held := self._next(caller):
            self._mark(caller)
            if not self._call(held, fn):
                errors += 1
                self._mark(caller)
                if errors >= self.max_error_times:
                    sys.exit(f"parallel-train: this process leaves, after {errors} of max_error_times={errors} errors")
                time.sleep(error_wait_time)
        self._mark(caller)

    def _next(self, caller: Caller) -> Held | None:
        """The next call, waited for; None: all have ended."""
        marked = 0.0
        while True:
            held = caller.next() or (caller.copy() if self.speculate else None)
            if held is not None or caller.is_over:
                return held
            caller.say_pause()
            if time.monotonic() - marked > _SYNC:
                marked = time.monotonic()
                self._mark(caller)
            caller.wait(0.2)

    def _call(self, held: Held, fn: Callable[..., Any]) -> bool:
        """Make it; False where the function failed."""
        number, point = _number(held.task), self._point(held.task)
        self._say(f"{number}: {point}" + (" (a copy: another process is slow)" if held.is_copy else ""))
        try:
            value = fn(*point)
            result = self._result(held, value)
        except (Exception, SystemExit) as error:  # noqa: BLE001  whatever it raises is the point's error
            said = "".join(traceback.format_exception(error))
            print(said, end="", file=sys.stderr, flush=True)
            self._write(f"{number}: {point} failed\n{said}")
            held.fail(traceback.format_exception_only(error)[-1].strip())
            return False
        except BaseException:  # Ctrl-C: the point is free for others
            held.give_back("interrupted")
            raise
        if held.succeed(result):
            self._say(f"{number}: {value}")
        elif held.is_cancelled():
            self._say(f"{number}: cancelled; its result does not count")
        else:
            self._say(f"{number}: another process was faster; its result counts")
        return True

    def _point(self, task: Task) -> Point:
        """As it was given here, for a list in JSON may have been a tuple; else as it was recorded."""
        point = self._points.get(_number(task))
        return point if point is not None and grid.params(point) == dict(task.params) else tuple(task.params.values())

    def _result(self, held: Held, value: Any) -> dict[str, Json]:
        params = list(held.task.params.values())
        try:
            return {"params": params, "value": plain(value)}
        except TypeError:
            number, data = _number(held.task), pickle.dumps(value)
            path = self.result_dir / f"{number}.pkl"
            name = calls.wait_out(str(path), lambda: self._pickled(number, data), held.caller.complain)
            return {"params": params, "value": None, "pickle": name}

    def _pickled(self, number: int, data: bytes) -> str:
        """The name of the file with `data`: what stands there may be of another grid, or of who was faster."""
        self.result_dir.mkdir(parents=True, exist_ok=True)
        for name in itertools.chain([f"{number}.pkl"], (f"{number}.{nth}.pkl" for nth in itertools.count(2))):
            path = self.result_dir / name
            if records.place(str(path), data, durable=True, private=False) or path.read_bytes() == data:
                break
        return name

    # ---- what came out ----

    def results(self) -> list[Result]:
        """The finished points, best value first; then those whose value is no number, in the order of the grid."""
        tasks = reading.known_tasks(reading.existing_queue(self.ini_dir), SOURCE)
        situation = reading.look(self.ini_dir, tasks)
        found = []
        for line in situation.lines.values():
            if is_satisfied(line.state):
                result, value = self._read(line)
                found.append((rank(value, self.mode, line.task.number), result))
        return [result for _, result in sorted(found, key=lambda pair: pair[0])]

    def _read(self, line: Line) -> tuple[Result, float | None]:
        data = json.loads((self.ini_dir / str(line.task.output)).read_text(encoding="utf-8"))
        value, pickled = data["value"], data.get("pickle")
        end = line.deciding.end if line.deciding else None
        result = Result(
            params=self._point(line.task),
            value=value,
            time=end.seconds if end else None,
            host=data["made_by"]["host"],
            attempts=line.attempts_of_round,
            pickle=self.result_dir / pickled if pickled else None,
        )
        return result, as_number(value)

    # ---- the folder ----

    def _begin(self) -> Caller:
        if self._caller is None or self._pid != os.getpid():
            if self.result_dir.exists() and not self.result_dir.is_dir():
                raise UsageError(f"result_dir is {self.result_dir}, which is no folder: give another one")
            self._pid = os.getpid()
            self._caller = Caller(self.ini_dir, lease=self.lease, repeat=True)
            self._caller.on_leave = partial(self._mark, self._caller)
            self._caller.log = os.path.relpath(self._lines(self._caller), self.ini_dir)
            strange = {line.task.source for line in self._caller.situation.lines.values()} - {SOURCE}
            if strange:
                raise UsageError(
                    f"{self.ini_dir} holds the tasks of {min(strange)}: give MultiRunner a folder of its own"
                )
        return self._caller

    def _lines(self, caller: Caller) -> Path:
        return caller.disk.folder / "journal" / f"{caller.worker}.log"

    def _mark(self, caller: Caller) -> None:
        """Show in `ini_dir` where every point stands: empty files for people, which nobody reads."""
        markers.show(self.ini_dir, ((_number(line.task), line) for line in _points_of(caller.situation)))

    def _say(self, text: str) -> None:
        self._write(text)
        if self.if_log:
            print(text, flush=True)

    def _write(self, text: str) -> None:
        """To this process's log, as `parallel-train logs` shows it."""
        if self._caller is None:
            return
        with suppress(OSError):
            descriptor = records.open_own(str(self._lines(self._caller)), os.O_WRONLY | os.O_APPEND)
            with os.fdopen(descriptor, "a", errors="backslashreplace") as file:
                print(time.strftime("%Y-%m-%d %H:%M:%S"), text, file=file)


def _points_of(s: Situation) -> list[Line]:
    """Those of the grid as it is now."""
    return [s.lines[name] for name in s.named.get(SOURCE, ())]


def _number(task: Task) -> int:
    return int(task.name.removeprefix("point"))
