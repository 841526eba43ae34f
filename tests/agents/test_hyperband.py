"""Do only the best of each rung train on, from their checkpoints, and do all agents decide that alike?"""

from __future__ import annotations

import math
import threading
from pathlib import Path

import pytest

from parallel_train.search import DistributedAsynchronousHyperBand, SearchError
from tests.agents.test_at_once import check_once, choice, run

CONFIG = {"root": choice("quality", [n / 10 for n in range(30)])}


def agent(root, *given, **options):
    return DistributedAsynchronousHyperBand.from_config(root, CONFIG, *given, **{"maximum": 9, "seed": 4, **options})


def train(made, metric=lambda quality, epochs: quality * epochs):
    """Go on until nothing is left: (point, level, epochs) of each trial, and what its checkpoint held before."""
    trained, before = [], []
    while made.combination is not None:
        args = made.update_namespace()
        path = Path(made.path)
        before.append(path.read_text() if path.exists() else None)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{args.quality} after {args.epochs}")
        trained.append((args.quality, made.level, args.epochs))
        made.get_new_combination(metric(args.quality, args.epochs))
    return trained, before


def test_the_best_third_of_each_rung_trains_on_from_its_checkpoint(root, shown):
    trained, before = train(agent(root, 9))
    first, second, third = trained[:9], trained[9:12], trained[12:]
    assert {(level, epochs) for _, level, epochs in first} == {(0, 1)}
    best = sorted((quality for quality, *_ in first), reverse=True)
    assert second == [(quality, 1, 3) for quality in best[:3]]
    assert third == [(best[0], 2, 9)]
    assert before == [None] * 9 + [f"{quality} after 1" for quality in best[:3]] + [f"{best[0]} after 3"]
    assert shown("results")["tasks"][0]["params"] == {"quality": best[0], "epochs": 9}


def test_without_k_there_are_the_brackets_of_the_paper(root):
    trained, _ = train(agent(root))
    assert [(level, epochs) for _, level, epochs in trained].count((0, 1)) == 9
    assert len(trained) == (9 + 3 + 1) + (5 + 1) + 3
    assert len({quality for quality, level, _ in trained if level == 0}) == 17  # none is drawn twice


def test_nobody_goes_on_without_a_number_and_less_is_better_where_that_is_said(root, tmp_path):
    assert len(train(agent(root, 9), lambda *_: math.nan)[0]) == 9
    trained, _ = train(agent(tmp_path / "other", 9, mode="min"))
    assert trained[-1][0] == min(quality for quality, *_ in trained)


def test_a_rung_that_is_not_over_promotes_nobody(root):
    slow, other = agent(root, 3), agent(root, 3)
    other.get_new_combination(1.0)
    other.get_new_combination(2.0)
    assert other.combination is None  # slow holds the third
    other.get_new_combination(wait=0.2)
    assert other.combination is None
    slow.finish_combination(3.0)
    best = slow.index
    other.get_new_combination(wait=10)
    assert (other.level, other.index) == (1, best)


def test_whoever_joins_while_a_rung_is_full_waits_for_the_next(root):
    slow, other = agent(root, 3), agent(root, 3)
    other.get_new_combination(1.0)
    other.get_new_combination(2.0)
    best = slow.index
    ending = threading.Timer(0.3, slow.finish_combination, [3.0])
    ending.start()
    joined = agent(root, 3, wait=30)
    ending.join()
    assert (joined.level, joined.index) == (1, best)


def test_a_result_that_a_disk_does_not_show_yet_is_waited_for(root):
    made = agent(root, 3)
    for metric in (1.0, 3.0):
        made.get_new_combination(metric)
    last = made.index
    made.finish_combination(2.0)
    (result,) = (root / "results").glob(f"trial-{last}-*.json")
    result.rename(root / "hidden")
    made.get_new_combination()
    assert made.combination is None
    (root / "hidden").rename(result)
    made.get_new_combination()
    assert made.level == 1


def test_all_agents_of_a_search_halve_alike(root):
    agent(root, eta=2, k=8)
    with pytest.raises(SearchError, match="eta is 2, not 3"):
        agent(root, eta=3)
    with pytest.raises(SearchError, match="another search"):
        agent(root, 4, eta=2)
    with pytest.raises(SearchError, match="least resource"):
        agent(root, minimum=20)
    with pytest.raises(SearchError, match="'quality' stands in the config"):
        agent(root, resource="quality")


def test_many_agents_with_kills_run_each_rung_once(tmp_path):
    options = {"search": "HyperBand", "maximum": 9, "k": 18, "seed": 1, "seconds": 0.05}
    log = run(tmp_path, {"root": choice("q", list(range(20)))}, agents=4, kills=5, **options)
    trials = check_once(log, tmp_path)
    levels = {level: sorted(index for index, _, at in trials if at == level) for level in range(3)}
    assert [len(levels[level]) for level in range(3)] == [18, 6, 2]
    assert levels[1] == levels[0][-6:]
    assert levels[2] == levels[0][-2:]
