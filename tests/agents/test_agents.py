"""Does an agent offer what scripts of DAHPS use, and is a point never lost, and never two agents'?"""

from __future__ import annotations

import copy
import json
import math
import os
import pickle
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from parallel_train.agents.plan import Draws, Ground
from parallel_train.commands.ask import pause, resume
from parallel_train.core.space import SpaceError, from_tree
from parallel_train.errors import UsageError
from parallel_train.search import (
    DistributedAsynchronousGridSearch,
    DistributedAsynchronousRandomSearch,
    SearchError,
    sync_parameters,
)
from tests.agents.test_at_once import choice
from tests.support.call import Caller
from tests.support.dahps import config as document

CONFIG = {"root": choice("lr", [0.1, 0.01], choice("batch", [64, 128])), "common": {"epochs": 3}}


def grid(root, config=CONFIG, *given, **options):
    return DistributedAsynchronousGridSearch.from_config(root, config, *given, **options)


def finish_all(agent, metric=lambda point: point["lr"]):
    """The indexes, in the order in which they were tried."""
    tried = []
    while agent.combination is not None:
        tried.append(agent.index)
        agent.get_new_combination(metric(json.loads(agent.combination)))
    return tried


# ---- the surface ----


def test_an_agent_has_a_combination_as_text_its_number_and_its_path(root):
    agent = grid(root)
    assert agent.combination == '{"lr": 0.1, "batch": 64, "epochs": 3}'
    assert (agent.index, agent.repetition, agent.root) == (0, 0, str(root))
    assert agent.path == str(root / "checkpoints/0.1_64_3_0.pt")
    assert agent.get_path(agent.combination) == agent.path
    assert not Path(agent.path).exists()


def test_the_combination_wins_over_the_arguments(root):
    agent = grid(root)
    given = Namespace(path="x", lr=5)
    assert agent.to_namespace(agent.combination) == Namespace(lr=0.1, batch=64, epochs=3)
    assert agent.update_namespace(given) == Namespace(path="x", lr=0.1, batch=64, epochs=3)
    assert agent.update_namespace() == Namespace(lr=0.1, batch=64, epochs=3)
    assert given == Namespace(path="x", lr=5)  # the next combination may have other keys


def test_when_nothing_is_left_there_is_no_namespace(root, capsys):
    agent = grid(root)
    assert finish_all(agent) == [0, 1, 2, 3]
    assert (agent.combination, agent.index, agent.path) == (None, None, None)
    assert agent.to_namespace(agent.combination) is None
    assert agent.update_namespace(Namespace(path="x")) is None
    assert "nothing is free to try now" in capsys.readouterr().err
    assert grid(root).combination is None


def test_a_namespace_of_lists_is_a_search_too(root):
    args = Namespace(lr=[0.1, 0.01], name=["a/b", "it's"], path="kept")
    agent = DistributedAsynchronousGridSearch.from_namespace(root, ["lr", "name"], args)
    assert agent.to_namespace(agent.combination) == Namespace(lr=0.1, name="a/b", path="kept")
    assert Path(agent.path).parent == root / "checkpoints"
    assert finish_all(agent) == [0, 1, 2, 3]
    with pytest.raises(SearchError, match="no wd"):
        DistributedAsynchronousGridSearch.from_namespace(root, ["lr", "wd"], args)
    with pytest.raises(SpaceError, match="path"):
        DistributedAsynchronousGridSearch.from_namespace(root, ["lr", "path"], args)


def test_any_value_breaks_nothing(root, shown):
    values = ["../../x", "a'b\"c", "\n\x1b[31m", "ü" * 300, "%s{y}", ".", "", None, True, 1e-300, ("a", 1)]
    agent = grid(root, {"root": choice("v", values)})
    seen = []
    while agent.combination is not None:
        seen.append(json.loads(agent.combination)["v"])
        path = Path(agent.path)
        path.parent.mkdir(exist_ok=True)
        path.write_text("there")
        assert path.resolve().parent == root / "checkpoints"
        agent.get_new_combination(1)
    assert seen == [*values[:-1], ["a", 1]]
    assert [task["params"]["v"] for task in shown("results")["tasks"]] == seen


# ---- what is searched ----


def test_a_config_with_faults_is_refused_with_all_of_them(root):
    config = {"root": {"key": "a", "value": [1], "default": (choice("b", []),)}}
    with pytest.raises(SpaceError) as caught:
        grid(root, config)
    assert len(caught.value.faults) == 3
    assert not root.exists()
    assert json.loads(grid(root, config, lenient=True).combination) == {"a": 1}


def test_the_documents_config_is_told_its_three_faults_and_how_to_have_them_mended(root, capsys):
    with pytest.raises(SpaceError) as caught:
        grid(root, document())
    assert len(caught.value.faults) == 3
    assert any("lenient=True" in note for note in getattr(caught.value, "__notes__", ["lenient=True"]))
    assert grid(root, document(), lenient=True).space.count() == 882_816
    assert capsys.readouterr().err.count("note: ") == 3


def test_a_root_that_is_no_folder_is_refused(root):
    root.write_text("")
    for folder in (root, root / "below"):
        with pytest.raises(SearchError, match="can't be the folder of a search"):
            grid(folder)


def test_another_search_in_the_same_folder_is_refused(root):
    grid(root).get_new_combination(1.0)
    with pytest.raises(SearchError, match="search is grid, not random"):
        DistributedAsynchronousRandomSearch.from_config(root, CONFIG)
    with pytest.raises(SearchError, match="mode is max, not min"):
        grid(root, mode="min")
    assert grid(root).index == 1


LR = [0.1, 0.01]


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"root": choice("lr", [0.1, 0.02], choice("batch", [64, 128]))}, "lr is [0.1, 0.01], not [0.1, 0.02]"),
        ({"root": choice("lr", LR, choice("size", [64, 128]))}, "it has 'batch', this one has not"),
        (
            {"root": choice("x", [1], choice("lr", LR, choice("batch", [64, 128])))},
            "this one has 'x', that one has not",
        ),
        ({"common": {"epochs": 5}}, "epochs is [3], not [5]"),
        ({"root": choice("lr", [0.1], choice("batch", [64]))}, "points is 4, not 1; lr is [0.1, 0.01], not [0.1]"),
        ({"root": choice("batch", [64, 128], choice("lr", LR))}, "in other branches or another order"),
        (
            {"root": choice("lr", {"from": 1, "to": 2, "count": 2}, choice("batch", [64, 128]))},
            'lr is [0.1, 0.01], not [{"from": 1, "to": 2, "count": 2, "log": false}]',
        ),
    ],
)
def test_what_another_search_has_otherwise_is_told(root, config, told):
    grid(root)
    with pytest.raises(SearchError) as caught:
        grid(root, {**CONFIG, **config})
    repair = "give this one a folder of its own, or make them equal to go on with that one"
    assert str(caught.value).startswith(f"{root} holds another search (")
    assert str(caught.value).endswith(f"{told}): {repair}")


def test_long_lists_are_told_by_their_beginning(root):
    grid(root, {"root": choice("x", list(range(1000)))})
    with pytest.raises(SearchError, match=r"\(points is 1000, not 999; x is \[0, 1, .*…, not \[5, 1, .*…\)"):
        grid(root, {"root": choice("x", [5, *range(1, 5), *range(6, 1000)])})
    with pytest.raises(SearchError, match=r"\(x has other values\)"):
        grid(root, {"root": choice("x", [*range(50), -1, *range(51, 1000)])})
    assert len((root / "search.json").read_text()) < 2000


def test_a_search_that_an_older_version_began_goes_on(root):
    grid(root)
    file = root / "search.json"
    told = json.loads(file.read_text())
    del told["params"]
    file.write_text(json.dumps(told))
    assert grid(root).index == 0
    with pytest.raises(SearchError, match="its points are others"):
        grid(root, {**CONFIG, "common": {"epochs": 5}})


def test_a_random_search_draws_none_twice_and_a_seed_draws_the_same_again(root, tmp_path):
    config = {"root": choice("a", {"from": 0, "to": 10**9 - 1, "count": 10**9}, choice("b", [1, 2]))}
    drawn = [
        finish_all(DistributedAsynchronousRandomSearch.from_config(tmp_path / name, config, k, seed=seed), lambda _: 0)
        for name, k, seed in (("one", 70, 3), ("two", 10, 3), ("three", 10, None))
    ]
    assert len(set(drawn[0])) == 70  # over two blocks
    assert drawn[0][:10] == drawn[1] == from_tree(config).sample(10, 3)
    assert drawn[2] != drawn[1]


def test_k_is_how_many_the_search_draws_and_the_greatest_holds(root):
    assert len(finish_all(grid(root, CONFIG, 1))) == 1
    assert len(finish_all(grid(root, CONFIG, 3))) == 2
    assert finish_all(grid(root, CONFIG, 2)) == []
    assert len(finish_all(grid(root))) == 1
    for wrong in (0, 1.5, "3"):
        with pytest.raises(SearchError, match="k is"):
            grid(root, CONFIG, wrong)


def test_the_blocks_of_a_huge_space_join_without_gap():
    draws = Draws(Ground(from_tree(CONFIG), None, "max"), 20_000)
    found = [position for nth in range(12) for position in draws._positions(nth)]
    assert found == list(range(20_000))
    assert len(draws._positions(0)) == 64
    assert max(len(draws._positions(nth)) for nth in range(12)) == 4096


def test_status_and_wait_say_how_much_of_the_search_is_in_the_queue(root, monkeypatch, capsys):
    agent = grid(root, {"root": choice("x", list(range(1000)))}, 1)
    agent.finish_combination(1.0)
    asked = Caller(root, monkeypatch, capsys)
    for command in ("status", "wait"):
        assert "\n1 of 1,000 points of the search are in the queue\n" in f"\n{asked(command).out}"


def test_a_pause_asks_for_no_more_of_a_huge_space(root, capsys):
    agent = grid(root, {"root": choice("x", list(range(1000)))})
    pause(root, [], sys.stdout)
    agent.get_new_combination(1.0)
    assert agent.combination is None
    assert len(list((root / ".parallel-train/tasks").iterdir())) == 1
    assert f"the queue is paused: parallel-train resume -C {root}\n" in capsys.readouterr().err
    resume(root, [], sys.stdout)
    agent.get_new_combination()
    assert agent.index == 1


def test_what_is_paused_of_the_rest_is_said(root, capsys):
    agent = grid(root)
    pause(root, ["trial-1", "trial-2", "trial-3"], sys.stdout)
    agent.get_new_combination(1.0)
    assert agent.combination is None
    assert f"paused: trial-1, trial-2, trial-3 (parallel-train resume -C {root} 2-4)\n" in capsys.readouterr().err


def test_what_failed_a_moment_ago_is_waited_for(root, capsys):
    one = {"root": choice("lr", [0.1])}
    failed = grid(root, one)
    failed._hold.release().fail("ValueError: no")
    assert grid(root, one).index == 0
    assert "trying again what failed: trial-0\n" in capsys.readouterr().err


def test_each_point_is_repeated(root, shown):
    agent = grid(root, {**CONFIG, "repetitions": 2})
    assert finish_all(agent) == [0, 0, 1, 1, 2, 2, 3, 3]
    names = [task["name"] for task in shown("status")["tasks"]]
    assert names[:4] == ["trial-0", "trial-0.1", "trial-1", "trial-1.1"]


# ---- what came out ----


class Scalar:
    """As numpy's and torch's."""

    def __init__(self, value):
        self.value = value

    def item(self):
        return self.value


def test_nan_is_recorded_and_never_best(root, shown):
    agent = grid(root)
    for metric in (math.nan, Scalar(0.5), "0.7", True):
        agent.get_new_combination(metric)
    ranked = shown("results")["tasks"]
    assert [task["metrics"]["metric"] for task in ranked[:3]] == [1.0, 0.7, 0.5]
    assert [task["params"]["lr"] for task in ranked] == [0.01, 0.01, 0.1, 0.1]
    assert {task["ending"] for task in shown("status")["tasks"]} == {"succeeded"}


def test_what_is_no_number_is_refused_and_the_point_stays(root):
    agent = grid(root)
    for metric in (None, "good", [1, 2], {}):
        with pytest.raises(SearchError, match="one number"):
            agent.finish_combination(metric)
    assert agent.finish_combination(0.5)


def test_a_point_is_finished_once_and_before_the_next(root):
    agent = grid(root)
    with pytest.raises(SearchError, match="point 0 is not finished"):
        agent.get_new_combination()
    assert agent.finish_combination(1.0)
    with pytest.raises(SearchError, match="nothing is held"):
        agent.finish_combination(1.0)
    agent.get_new_combination()
    assert agent.index == 1


def test_a_living_agents_point_is_nobody_elses_and_a_dropped_ones_is(root):
    first, second = grid(root), grid(root)
    assert (first.index, second.index) == (0, 1)
    del first
    assert grid(root).index == 0


# ---- other processes ----


def test_a_copy_claims_nothing_and_finishes_nothing(root):
    agent = grid(root)
    for made in (pickle.loads(pickle.dumps(agent)), copy.deepcopy(agent)):
        assert (made.combination, made.path) == (agent.combination, agent.path)
        assert made.to_namespace(made.combination).lr == 0.1
        for ask in (lambda made=made: made.finish_combination(1), made.get_new_combination):
            with pytest.raises(SearchError, match="a copy"):
                ask()
    pid = os.fork()
    if pid == 0:
        try:
            agent.finish_combination(1)
        except SearchError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert agent.finish_combination(0.5)


def test_another_rank_claims_nothing_and_hears_what_rank_0_has(root, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    other = grid(root)
    assert other.combination is None
    assert not root.exists()
    assert not other.finish_combination(1.0)
    assert not other.save_checkpoint({})
    other.get_new_combination()
    with pytest.raises(SpaceError):
        grid(root, {"root": choice("a", [])})


def test_a_rank_that_did_not_know_its_number_gives_back_what_it_has(root):
    other = grid(root)
    assert other.index == 0
    with pytest.raises(UsageError, match="nor is WORLD_SIZE set"):
        sync_parameters(1, other)
    other.hear({**other.told(), "index": 5})
    assert other.index == 5
    assert grid(root).index == 0


ENDS = """
import sys
from parallel_train.search import DistributedAsynchronousGridSearch as Grid
agent = Grid.from_config(sys.argv[1], {"root": {"key": "a", "values": [1, 2], "default": None}})
print(agent.index, flush=True)
"""


def ends(root, how, before=""):
    code = f"{before}\n{ENDS}{how}"
    ran = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=False)
    return int(ran.stdout)


def test_whoever_leaves_without_a_result_frees_the_point_and_an_error_counts(root, shown):
    assert ends(root, "sys.exit(1)") == 0
    assert ends(root, "raise KeyboardInterrupt") == 0
    assert ends(root, "", before="import sys; sys.last_value = ValueError('in an earlier cell of a notebook')") == 0
    assert ends(root, "import os; os.kill(os.getpid(), 15)") == 0
    assert ends(root, "import os; os.kill(os.getpid(), 9)") == 0
    assert ends(root, "raise ValueError('too \"large\"')") == 0
    assert [task["attempts"] for task in shown("status")["tasks"]] == [6, 0]
    kinds = [json.loads(path.read_text().splitlines()[0]) for path in sorted((root / ".parallel-train/ends").iterdir())]
    assert [(end["outcome"], end.get("stopped", "")) for end in kinds] == [
        ({"exited": 1}, "its process"),
        ({"signalled": 2}, "its process"),
        ({"exited": 1}, "its process"),
        ({"signalled": 15}, "its process"),
        ({"lost": "killed"}, ""),
        ({"exited": 1}, ""),
    ]
    assert "ValueError: too" in json.dumps(shown("explain", "trial-0"))
    assert "logs" not in json.dumps(shown("explain", "trial-0"))  # it has none
    assert "given back: its process ended without finishing the call" in json.dumps(shown("explain", "trial-0"))
