"""Does a search over a script that knows nothing of it run its points, once, and say how they were drawn?"""

from __future__ import annotations

import json

from tests.support.sweep import QUEUE, Project

SCRIPT = 'mkdir -p "$0" && echo "$@" > "$0/args"'
SPACE = {
    "key": "data",
    "values": ["mnist", "cifar"],
    "default": {"key": "lr", "values": {"from": 0.001, "to": 0.1, "count": 9, "log": True}},
    "cifar": {"key": "flip", "values": [True, False], "default": {"key": "lr", "values": [0.1, 0.2, 0.3]}},
}


def ask_for(project: Project, samples: int) -> None:
    task = {"command": ["/bin/sh", "-c", SCRIPT, "{output}", "{args}"], "output": "out/{point}"}
    project.tasks({**task, "search": {"space": SPACE, "samples": samples, "seed": 3}})


def done(project: Project) -> list[str]:
    return [file.read_text() for file in sorted(project.root.glob("out/*/args"))]


def test_points_run_once_and_more_of_them_where_more_are_asked_for(project: Project):
    ask_for(project, 4)
    first = project.run()
    assert first.code == 0, first.text
    assert "search: 4 of 15 points, drawn with seed 3" in first.text
    few = done(project)
    assert len(set(few)) == 4
    for line in few:
        assert line.startswith(("--data mnist --lr ", "--data cifar --flip --lr ", "--data cifar --lr "))

    ask_for(project, 15)
    second = project.run()
    assert second.code == 0, second.text
    assert set(few) < set(done(project))
    assert len(done(project)) == 15
    assert {task["attempts"] for task in project.status().values()} == {1}

    heads = [
        json.loads(file.read_text().splitlines()[0]) for file in sorted(project.root.glob(f"{QUEUE}/tasks/*.jsonl"))
    ]
    assert [head["searches"] for head in heads] == [[f"{n} of 15 points, drawn with seed 3"] for n in (4, 15)]
