"""One trial for all ranks of a launch: rank 0 has claimed it, the others are told."""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar, overload

from parallel_train.core.task import digest
from parallel_train.errors import UsageError
from parallel_train.store import records

PATIENCE = 1800.0  # seconds in which a rank is waited for: what torch.distributed waits
_LOOK = 0.02  # seconds between two looks
_MOST_LOOK = 0.5
# What tells one launch from another on one disk; the agreement below does not hang on it.
_LAUNCH = ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "SLURM_JOB_ID")

# A rank may be a call ahead of another. Every rank counts alike, since all of them must make each call.
_calls = itertools.count(1)

State = Mapping[str, Any]


class Agent(Protocol):
    root: str

    def told(self) -> State:
        """What the other ranks are told of what is held."""

    def hear(self, told: State) -> None:
        """Hold what rank 0 has told, and nothing of its own."""


Some = TypeVar("Some", bound=Agent)


@overload
def sync_parameters(rank: int, agent: Some) -> Some: ...
@overload
def sync_parameters(rank: Namespace, agent: int, search_space: Sequence[str], agent_class: type[Some]) -> Some: ...
def sync_parameters(rank: Any, agent: Any, search_space: Sequence[str] | None = None, agent_class: Any = None) -> Any:
    """Have `agent` hold on every rank of a launch what it holds on rank 0, which has claimed it; all ranks call it.

    By torch.distributed where that was initialised, whatever its backend, else by files in the search's folder: this
    needs WORLD_SIZE, as torchrun sets it. Raises TimeoutError where a rank does not come within half an hour.

    The first DAHPS had sync_parameters(args, rank, search_space, agent_class), which makes the agent, in `args.path`.
    """
    if search_space is not None:
        args, rank = rank, agent
        agent = agent_class.from_namespace(args.path, search_space, args)
    told = share(rank, agent.told() if rank == 0 else None, Path(agent.root) / ".sync")
    if rank != 0:
        agent.hear(told)
    return agent


def own_rank() -> int:
    """This process's rank in its launch: by torch.distributed where that runs, else by RANK; alone it is 0."""
    distributed = _distributed()
    if distributed is not None:
        return int(distributed.get_rank())
    return _number("RANK", 0)


def share(rank: int, state: State | None, folder: Path) -> State:
    """What rank 0 gives as `state`, on every rank; all of them must call it.

    By a broadcast where torch.distributed runs, else by files in `folder`. Raises TimeoutError after half an hour,
    UsageError for a rank that nobody can tell.
    """
    distributed = _distributed()
    if distributed is not None:
        return _broadcast(distributed, rank, state)
    size = _number("WORLD_SIZE", 1)
    if size <= 1:
        if rank:
            raise UsageError(f"rank {rank} can't be told: torch.distributed is not initialised, nor is WORLD_SIZE set")
        return state or {}
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = f"{digest([os.environ.get(name, '') for name in _LAUNCH])}.{next(_calls)}"
    if rank:
        return _ask(folder, f"{key}.{rank}")
    _answer(folder, [f"{key}.{other}" for other in range(1, size)], state or {})
    return state or {}


def _number(variable: str, otherwise: int) -> int:
    try:
        return int(os.environ[variable])
    except (KeyError, ValueError):
        return otherwise


def _distributed() -> Any:
    """torch.distributed, where this process has begun to use it; what was never imported can't run."""
    found = sys.modules.get("torch.distributed")
    return found if found is not None and found.is_available() and found.is_initialized() else None


# ---- by a broadcast: JSON as a tensor of bytes, for no object of another process is ever unpickled ----


def _broadcast(distributed: Any, rank: int, state: State | None) -> State:
    import torch  # noqa: PLC0415  where it is used

    device = torch.device("cuda", torch.cuda.current_device()) if distributed.get_backend() == "nccl" else "cpu"
    data = json.dumps(state).encode() if rank == 0 else b""
    length = torch.tensor([len(data)], dtype=torch.int64, device=device)
    distributed.broadcast(length, 0)
    if rank == 0:
        content = torch.tensor(list(data), dtype=torch.uint8, device=device)
    else:
        content = torch.empty(int(length.item()), dtype=torch.uint8, device=device)
    distributed.broadcast(content, 0)
    found: State = json.loads(bytes(content.cpu().tolist()))
    return found


# ---- by files: each rank asks with a number of its own and is answered with it, so that nothing left by another
# launch is ever taken for an answer, and what was answered is taken away ----


def _ask(folder: Path, name: str) -> State:
    nonce = os.urandom(8).hex()
    question, answer = folder / f"{name}.asks", folder / f"{name}.told"
    _write(question, {"nonce": nonce})

    def told() -> State | None:
        found = _read(answer)
        return found["state"] if found and found["nonce"] == nonce else None

    state: State = _until(told, f"rank 0 did not say what to try (in {folder})")
    answer.unlink(missing_ok=True)
    question.unlink(missing_ok=True)  # the last thing: rank 0 goes on when it is gone
    return state


def _answer(folder: Path, asking: Sequence[str], state: State) -> None:
    answered: dict[str, str] = {}

    def look(name: str) -> bool:
        """Whether the rank has its answer, and has taken it away."""
        found = _read(folder / f"{name}.asks")
        if found is not None and answered.get(name) != found["nonce"]:
            _write(folder / f"{name}.told", {"nonce": found["nonce"], "state": state})
            answered[name] = found["nonce"]
        return found is None and name in answered

    def look_at_all() -> bool | None:
        found = [look(name) for name in asking]  # each of them, whatever the first is up to
        return all(found) or None

    _until(look_at_all, f"not every rank asked what to try (in {folder})")


def _until(look: Callable[[], Any], otherwise: str) -> Any:
    end, pause = time.monotonic() + PATIENCE, _LOOK
    while (found := look()) is None:
        if time.monotonic() > end:
            raise TimeoutError(f"{otherwise}: all ranks of a launch must call sync_parameters")
        time.sleep(pause)
        pause = min(_MOST_LOOK, pause * 1.2)
    return found


def _write(path: Path, data: State) -> None:
    """Make `data` what `path` holds, as a whole."""
    records.overwrite(str(path), json.dumps(data).encode())


def _read(path: Path) -> dict[str, Any] | None:
    """What this user wrote there; None where that is not there."""
    if path.name not in os.listdir(path.parent):  # noqa: PTH208  listed: a network disk may take a new file for absent
        return None
    with suppress(FileNotFoundError), open(path, opener=records.opener) as file:
        if os.fstat(file.fileno()).st_uid == os.geteuid():
            found: dict[str, Any] = json.load(file)
            return found
    return None
