"""Does each campaign hold at its small scale, with the same seed each time?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.__main__ import CAMPAIGNS, run
from tests.faults.frame import Plan, report

SEED = 1
LONGER = {"nfs"}  # commands of their own: a minute and more on a busy machine


@pytest.mark.parametrize("name", [name for name in CAMPAIGNS if name not in LONGER])
def test_campaign(name: str, tmp_path: Path):
    plan = Plan(name, "smoke", SEED, tmp_path)
    verdict = run(plan)
    assert verdict.is_good, report(plan, verdict)
    assert verdict.is_complete
