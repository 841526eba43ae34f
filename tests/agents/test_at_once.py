"""Do many agents cover a search exactly once, be they started in one instant or killed in the middle?

Judged by what the agents themselves wrote.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

from parallel_train.core.space import from_tree
from tests.support.call import Caller
from tests.support.dahps import config as document

POOL = Path(__file__).with_name("pool.py")


def choice(key, values, default=None):
    return {"key": key, "values": values, "default": default}


def run(tmp_path, config, *, agents=16, kills=0, search="RandomSearch", **options):
    """What each agent did, in order."""
    given = {"class": search, "config": config, **options}
    command = [sys.executable, str(POOL), str(tmp_path / "root"), str(tmp_path / "log"), str(agents), str(kills)]
    ran = subprocess.run([*command, json.dumps(given)], capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]


def check_once(log, tmp_path):
    """No trial was made twice, but after whoever made it was killed; one result of each counts. The trials."""
    killed = {entry["killed"]: entry["at"] for entry in log if "killed" in entry}
    began, counted = defaultdict(list), Counter()
    for entry in log:
        if "began" in entry:
            began[tuple(entry["began"])].append(entry)
        elif entry.get("counts"):
            counted[tuple(entry["finished"])] += 1
    for attempts in began.values():
        for earlier, later in pairwise(attempts):
            assert killed[earlier["pid"]] <= later["at"], (earlier, later)
            assert later["found"] in {None, "", str(later["began"])}  # empty: killed while it wrote
    assert set(counted.values()) == {1}
    for trial in set(began) - set(counted):  # whoever finished it was killed before it could say so here
        assert began[trial][-1]["pid"] in killed
        assert list((tmp_path / "root/results").glob(f"trial-{trial[0]}*.json"))
    return set(began)


def test_sixteen_agents_of_one_instant_cover_a_small_space_once(tmp_path, monkeypatch, capsys):
    config = {"root": choice("a", list(range(4)), choice("b", ["x/y", "it's", 'a "b"', "ü\n"])), "repetitions": 2}
    log = run(tmp_path, config, search="GridSearch")
    assert check_once(log, tmp_path) == {(index, repetition, 0) for index in range(16) for repetition in range(2)}
    shown = Caller(tmp_path / "root", monkeypatch, capsys)("results", "--json")
    ranked = json.loads(shown.out)["tasks"]
    assert (shown.code, len(ranked), ranked[0]["metrics"]) == (0, 32, {"metric": 15.0})
    assert ranked[0]["params"] == {"a": 3, "b": "ü\n"}


def test_of_a_huge_space_they_try_what_one_would_draw_alone_whoever_is_killed(tmp_path):
    """What a killed agent left goes to the next caller, and nothing else does."""
    config = document(comma=False, value=False, activations=("relu", "gelu"))
    log = run(tmp_path, config, agents=4, kills=10, seconds=0.05, k=70, seed=5)  # over more than one block
    drawn = from_tree(config).sample(70, 5)
    assert check_once(log, tmp_path) == {(index, 0, 0) for index in drawn}
    assert sum("began" in entry for entry in log) > 70  # some of them were tried again
