"""Is a checkpoint whole or absent, found by whoever goes on, and never a way to run somebody's code unasked?"""

from __future__ import annotations

import os
import pickle
import signal
from pathlib import Path

import pytest

from parallel_train.agents import checkpoints
from parallel_train.agents.checkpoints import CheckpointError
from tests.agents.test_agents import grid

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


class Dies:
    """What kills its process in the middle of being saved."""

    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGKILL)


class Fails:
    def __reduce__(self):
        raise RuntimeError("the disk is full, say")


def parts(agent):
    return list(Path(agent.path).parent.glob(".*"))


def test_whoever_goes_on_finds_what_was_saved_and_it_ended_nothing(root, shown):
    agent = grid(root)
    assert agent.load_checkpoint() is None
    assert agent.save_checkpoint({"epoch": 1, "weights": torch.zeros(3)})
    assert agent.save_checkpoint({"epoch": 2, "weights": torch.ones(3)})
    path = agent.path
    del agent
    assert shown("status")["tasks"][0]["ending"] is None
    following = grid(root)
    assert following.path == path
    states = following.load_checkpoint(map_location="cpu")
    assert (states["epoch"], states["weights"].tolist()) == (2, [1, 1, 1])


def test_a_save_that_fails_or_is_killed_leaves_the_last_one_whole(root):
    agent = grid(root)
    agent.save_checkpoint({"epoch": 1})
    with pytest.raises(RuntimeError):
        agent.save_checkpoint({"epoch": 2, "x": Fails()})
    assert parts(agent) == []
    pid = os.fork()
    if pid == 0:
        checkpoints.save(Path(agent.path), {"x": [1] * 1000, "y": Dies()}, lambda: True)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert len(parts(agent)) == 1
    assert agent.load_checkpoint() == {"epoch": 1}
    agent.save_checkpoint({"epoch": 3})
    assert parts(agent) == []
    assert agent.load_checkpoint() == {"epoch": 3}


def test_whoever_has_lost_the_point_overwrites_nothing(root):
    agent = grid(root)
    agent.save_checkpoint({"epoch": 1})
    agent._hold.held.give_back("dropped")  # as others see it who took it over
    theirs = Path(agent.path).with_name(f".{Path(agent.path).name}.1-0.part")  # as they save at this moment
    theirs.touch()
    assert not agent.save_checkpoint({"epoch": 2})
    assert theirs.exists()
    assert agent.load_checkpoint() == {"epoch": 1}
    assert not agent.finish_combination(1.0)


def test_what_could_not_be_loaded_is_refused_when_it_is_saved(root):
    agent = grid(root)
    model = torch.nn.Linear(2, 1)
    agent.save_checkpoint({"model": model.state_dict(), "optimizer": torch.optim.Adam(model.parameters()).state_dict()})
    for states in (model, {"model": model}, {"path": Path("x")}):
        with pytest.raises(CheckpointError, match=r"save model\.state_dict\(\)"):
            agent.save_checkpoint(states)
    assert parts(agent) == []
    assert set(agent.load_checkpoint()) == {"model", "optimizer"}


def test_objects_are_loaded_only_where_that_is_asked_for_and_from_a_private_file(root):
    agent = grid(root)
    agent.save_checkpoint({"path": Path("x")}, weights_only=False)
    with pytest.raises(pickle.UnpicklingError, match="weights_only"):
        agent.load_checkpoint()
    Path(agent.path).chmod(0o664)
    with pytest.raises(CheckpointError, match="others may write"):
        agent.load_checkpoint(weights_only=False)
    Path(agent.path).chmod(0o644)
    assert agent.load_checkpoint(weights_only=False) == {"path": Path("x")}
