"""Is a campaign the same for the same seed, resumed where it stopped, and never good where a piece found a fault?"""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.faults import __main__ as program
from tests.faults.frame import Piece, Plan, report


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan("kill", "full", 7, tmp_path, say=lambda _: None)


def draws(piece: Piece) -> None:
    piece.count(drawn=piece.chance.randrange(1000), most_drawn=piece.number)


def test_the_same_seed_draws_the_same(plan: Plan):
    first = plan.in_pieces(draws, smoke=1, full=4)
    assert plan.in_pieces(draws, smoke=1, full=4).counts["drawn"] == first.counts["drawn"]
    assert replace(plan, seed=8).in_pieces(draws, smoke=1, full=4).counts["drawn"] != first.counts["drawn"]
    assert first.counts["most_drawn"] == 3


def test_what_was_done_is_not_done_again(plan: Plan):
    done: list[int] = []

    def stops(piece: Piece) -> None:
        done.append(piece.number)
        piece.count(tasks=1)
        if len(done) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plan.in_pieces(stops, smoke=1, full=4)
    verdict = replace(plan, resume=True).in_pieces(stops, smoke=1, full=4)
    assert done == [0, 1, 2, 2, 3]
    assert (verdict.counts["tasks"], verdict.is_complete, verdict.is_good) == (4, True, True)


def test_no_piece_begins_after_the_time_is_over(plan: Plan):
    verdict = replace(plan, minutes=-1).in_pieces(draws, smoke=1, full=4)
    assert not verdict.is_complete
    assert "not finished: go on with --resume" in report(plan, verdict)


def test_a_fault_is_told_with_the_line_that_shows_it_again(plan: Plan):
    def fails(piece: Piece) -> None:
        (piece.folder / "evidence").touch()
        assert piece.number != 2, "lost"

    verdict = plan.in_pieces(fails, smoke=1, full=4)
    assert not verdict.is_good
    assert "FAULT: lost" in report(plan, verdict)
    assert "replay: python -m tests.faults kill --scale full --seed 7 --piece 2" in report(plan, verdict)
    assert [path.name for path in sorted(plan.folder.iterdir())] == ["2", "state.json"]
    only = replace(plan, only=2).in_pieces(fails, smoke=1, full=4)
    assert (only.done, len(only.failures)) == (1, 1)


@pytest.mark.parametrize("fault", ["", "lost"])
def test_the_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, fault: str):
    def one(piece: Piece) -> None:
        piece.fault(*[fault] * bool(fault))

    campaign = SimpleNamespace(run=lambda plan: plan.in_pieces(one, smoke=1, full=1))
    monkeypatch.setattr(importlib, "import_module", lambda _: campaign)
    argv = ["kill", "--folder", str(tmp_path)]
    assert program.main([*argv, "--seed", "5"]) == (1 if fault else 0)
    assert program.main([*argv, "--resume"]) == (1 if fault else 0)
    assert capsys.readouterr().out.count("kill: seed 5,") == 2
