"""Agents: processes that take the trials of one search, each trial once, and say what came out."""

from __future__ import annotations

import json
import os
import sys
import time
import weakref
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from parallel_train.agents import checkpoints, plan, ranks
from parallel_train.agents.hold import Hold
from parallel_train.agents.plan import Draws, Ground, Mode, Plan, SearchError
from parallel_train.caller import Caller
from parallel_train.core.space import Space, SpaceError, from_matrix, from_tree
from parallel_train.held import Held

_LOOK = 0.5  # seconds between two looks for something to try

Some = TypeVar("Some", bound="DistributedAsynchronousSearch")


class DistributedAsynchronousSearch:
    """An agent of the search in the folder `root`. Once made it holds a trial, or `combination` is None.

    `root`: the folder, absolute. `combination`: the params as JSON text; None where nothing is free now.
    `index`: the point's number in the space; `repetition`: which of its repetitions, from 0. `path`: its checkpoint.
    `space`: what is searched. Only rank 0 of a launch claims; `sync_parameters` tells the others.
    """

    method: ClassVar[str]

    def __init__(
        self,
        root: str | Path,
        space: Space,
        k: int | None = None,
        *,
        mode: Mode = "max",
        seed: int | None = None,
        args: Namespace | None = None,
        wait: float = 0.0,
    ) -> None:
        if k is not None and (not isinstance(k, int) or k < 1):
            raise SearchError(f"k is {k!r}: it is how many points are drawn, a whole number from 1, or None for all")
        if mode not in {"max", "min"}:
            raise SearchError(f"mode is {mode!r}: it is 'max' where a greater metric is better, else 'min'")
        self.root = os.path.abspath(root)  # noqa: PTH100  text, as clients join it
        self.space = space
        self.combination: str | None = None
        self.index: int | None = None
        self.repetition = 0
        self.level = 0
        self.path: str | None = None
        self._args = dict(vars(args)) if args is not None else {}
        self._hold: Hold | None = None
        self._k, self._mode, self._seed = k, mode, seed
        self._is_told = ranks.own_rank() != 0
        if not self._is_told:
            self._begin()
            self.get_new_combination(wait=wait)

    @classmethod
    def from_config(  # noqa: PYI019  typing.Self is Python 3.11's
        cls: type[Some],
        root: str | Path,
        config: Mapping[str, Any],
        k: int | None = None,
        *,
        lenient: bool = False,
        **options: Any,
    ) -> Some:
        """An agent of the search that `config` describes (see core.space.from_tree). `k`: how many points are drawn.

        `options`: `mode` ("max" or "min") and `seed`, both the same for all agents of a search; `wait`: as
        `get_new_combination`.
        Raises SpaceError with all that is wrong in `config`; `lenient` repairs what has one likely meaning.
        """
        try:
            space = from_tree(config, lenient=lenient)
        except SpaceError as error:
            if not lenient and hasattr(error, "add_note"):  # from Python 3.11 on
                error.add_note("with lenient=True, what has one likely meaning is repaired")
            raise
        if ranks.own_rank() == 0:
            for note in space.notes:
                _say(f"note: {note}")
        return cls(root, space, k, **options)

    @classmethod
    def from_namespace(  # noqa: PYI019
        cls: type[Some],
        root: str | Path,
        search_space: Sequence[str],
        args: Namespace,
        k: int | None = None,
        **options: Any,
    ) -> Some:
        """An agent of the search over every combination of the lists `args.NAME`, for the names in `search_space`.

        What else `args` holds is part of each namespace. Raises SpaceError, and SearchError for a name it lacks.
        """
        known = vars(args)
        if missing := [name for name in search_space if name not in known]:
            raise SearchError(f"the arguments have no {' and no '.join(missing)} to search over")
        others = Namespace(**{name: value for name, value in known.items() if name not in search_space})
        return cls(root, from_matrix({name: known[name] for name in search_space}), k, args=others, **options)

    # ---- what to try ----

    def get_new_combination(self, metric_value: Any = None, *, wait: float = 0.0) -> None:
        """Finish what is held with `metric_value`, where that is given, and claim what is next.

        Where nothing is free now, it is waited for up to `wait` seconds, or until all is over. Other ranks than 0
        claim nothing: `sync_parameters` tells them.
        """
        if metric_value is not None:
            self.finish_combination(metric_value)
        hold = self._own_hold()
        if hold is None:
            self._take(None)
            return
        if hold.held is not None:
            raise SearchError(
                f"point {self.index} is not finished: finish_combination(metric) first, with nan if it failed"
            )
        until = time.monotonic() + wait
        while not hold.claim() and time.monotonic() < until and not hold.is_over():
            time.sleep(min(_LOOK, max(0.0, until - time.monotonic())))
        self._take(hold.held)

    def to_namespace(self, combination: str | None, args: Namespace | None = None) -> Namespace | None:
        """`combination` as a namespace, beside what `args` holds; None, and a line on stderr, where there is none."""
        if combination is None:
            _say(f"nothing is free to try now in {self.root}")
            return None
        given = vars(args) if args is not None else {}
        return Namespace(**{**self._args, **given, **json.loads(combination)})

    def update_namespace(self, args: Namespace | None = None) -> Namespace | None:
        """`args` with the values of the combination that is held laid over them; None where there is none."""
        return self.to_namespace(self.combination, args)

    # ---- what came out ----

    def save_checkpoint(self, states: object, *, weights_only: bool = True) -> bool:
        """Keep `states` at `path`, in place of what was there. It ends nothing.

        False where nothing was saved: on other ranks than 0, and where the trial has been given to somebody else.
        Raises CheckpointError for what `load_checkpoint` with the same `weights_only` could not read, such as a model.
        """
        hold = self._own_hold()
        if hold is None:
            return False
        held = hold.held
        return checkpoints.save(
            self._own_path(), states, lambda: held is None or not held.is_taken(), weights_only=weights_only
        )

    def load_checkpoint(self, *, weights_only: bool = True, map_location: Any = None) -> Any:
        """What was saved for this trial, be it by an agent that died or on the rung below; None where nothing was.

        `weights_only=False` unpickles anything, which may run code: only from a file that nobody else can write.
        """
        return checkpoints.load(self._own_path(), weights_only=weights_only, map_location=map_location)

    def finish_combination(self, metric_value: Any) -> bool:
        """Say what came out: a number (Python's, numpy's or torch's; NaN is recorded, and never best).

        Whether it counts: not on other ranks than 0, and not where somebody else has ended the trial meanwhile.
        """
        metric = _number(metric_value)
        hold = self._own_hold()
        if hold is None:
            return False
        held = hold.release()
        if held is None:
            raise SearchError("there is no combination to finish: nothing is held")
        counts = held.succeed({"metric": metric, "params": dict(held.task.params)})
        if not counts:
            _say(f"point {self.index}: somebody else has ended it meanwhile, so this result does not count")
        return counts

    def get_path(self, combination: str) -> str:
        """Where the checkpoint of `combination` lies, in the repetition and on the level that are held."""
        point = self._point(json.loads(combination))
        repeated = f".{self.repetition}" if self.repetition else ""
        return str(self._checkpoints() / f"{plan.readable(point)}_{self.space.index(point)}{repeated}.pt")

    # ---- within ----

    def _begin(self) -> None:
        """Join the search in the folder, or begin it."""
        folder = Path(self.root)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SearchError(f"root is {folder}, which can't be the folder of a search: {error.strerror}") from error
        settled = plan.agree(folder, {"search": self.method, **self._wanted()})
        ground = Ground(self.space, settled.get("seed"), self._mode)
        hold = Hold(Caller(folder), self._plan(ground, settled), os.getpid())
        weakref.finalize(self, hold.let_go).atexit = False
        self._hold = hold

    def _wanted(self) -> dict[str, Any]:
        """What all agents in a folder agree on; None: whatever the first one has."""
        space = self.space
        return {
            "points": space.count(),
            "repetitions": space.repetitions,
            "space": plan.fingerprint(space),
            "params": plan.outline(space),
            "mode": self._mode,
            "seed": self._seed,
        }

    def _plan(self, ground: Ground, _: Mapping[str, Any]) -> Plan:
        points = min(self._k or self.space.count(), self.space.count())
        return Draws(ground, points * self.space.repetitions)

    def _point(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The part of `params` that is a point of the space."""
        return dict(params)

    def _checkpoints(self) -> Path:
        """The folder in which that of the held trial lies."""
        return Path(self.root, "checkpoints")

    def _take(self, held: Held | None) -> None:
        self.combination = self.index = self.path = None
        self.repetition = self.level = 0
        if held is None:
            return
        trial = plan.trial_of(held.task)
        self.index, self.repetition, self.level = trial.index, trial.repetition, max(trial.level, 0)
        self.combination = json.dumps(dict(held.task.params))
        self.path = self.get_path(self.combination)

    def _own_hold(self) -> Hold | None:
        """None on the other ranks, which are only told. Raises SearchError in a copy that came into another process."""
        if self._is_told:
            return None
        if self._hold is None or self._hold.pid != os.getpid():
            raise SearchError("this is a copy of an agent: only the process that made it claims, saves and finishes")
        return self._hold

    def _own_path(self) -> Path:
        if self.path is None:
            raise SearchError("there is no checkpoint: no combination is held")
        return Path(self.path)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_hold": None}

    # ---- for sync_parameters ----

    def told(self) -> dict[str, Any]:
        """What the other ranks are told of what is held."""
        return {name: getattr(self, name) for name in ("combination", "index", "repetition", "level", "path")}

    def hear(self, told: Mapping[str, Any]) -> None:
        """Hold what rank 0 has told, and nothing of its own."""
        self._is_told = True
        hold, self._hold = self._hold, None
        if hold is not None:
            hold.let_go()
        self.__dict__.update(told)


class DistributedAsynchronousRandomSearch(DistributedAsynchronousSearch):
    """Tries points drawn at random, none twice; a seed draws the same ones again."""

    method = "random"


class DistributedAsynchronousGridSearch(DistributedAsynchronousSearch):
    """Tries all points in the order of the document, or with `k` the first of them."""

    method = "grid"

    def _wanted(self) -> dict[str, Any]:
        wanted = super()._wanted()
        del wanted["seed"]  # nothing is drawn
        return wanted


def _number(value: Any) -> float:
    """A metric as a plain number. Raises SearchError for what is none."""
    single = getattr(value, "item", None)  # numpy's and torch's
    try:
        return float(single() if callable(single) else value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise SearchError(
            f"the metric must be one number, not {str(value)[:80]!r}: nan for a trial that failed"
        ) from error


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
