"""Does `explain` tell from outside what a real run has come to, and why?"""

from __future__ import annotations

import json

from tests.support.sweep import Project


def test_a_need_that_failed_is_found_behind_what_was_not_run(project: Project):
    project.tasks(
        project.recording("bad", more={"code": 3}),
        project.recording("middle", needs=["bad"]),
        project.recording("last", needs=["middle"]),
    )
    assert project.run().code == 1
    before = project.tree()
    found = project.ask("explain", "last")
    assert found.code == 0
    assert found.out.startswith("#3 last: aborted\n  needs middle, which was aborted\n\nWhy\n")
    assert "  because     #2 middle: needs bad, which failed\n              #1 bad: failed: exit code 3\n" in found.out
    assert "  parallel-train retry 3  runs #1 bad again, then this one\n" in found.out
    (told,) = json.loads(project.ask("explain", "bad", "--json").out)["tasks"]
    assert [attempt["exit_code"] for attempt in told["attempts"]] == [3]
    assert all((project.root / path).is_file() for path in told["records"])
    assert project.tree() == before
