"""Does what was asked for with NAME=VALUE stay whole when its task file changes, and may a value be of any length?"""

from __future__ import annotations

import json

from tests.support.call import Caller, call

__all__ = ["call"]

FILE = """\
tasks:
- {{name: train, command: "mkdir -p out{{lr}}/x", params: {{lr: 1}}, output: "out{{lr}}"{needs}}}
- {{name: test, command: "echo test {{lr}}", params: {{lr: 1}}}}
- {{name: data, command: "echo data {{lr}}", params: {{lr: 1}}}}
"""


def test_a_need_that_is_new_in_the_file_comes_along(call: Caller):
    call.write("tasks/default.yaml", FILE.format(needs=""))
    assert call("lr=2", "train", "--gpus", "fake:1").code == 0
    call.write("tasks/default.yaml", FILE.format(needs=", needs: data"))
    assert call("lr=2", "test", "--gpus", "fake:1").code == 0
    found = call("status", "--json")
    assert found.code == 0
    assert {task["name"] for task in json.loads(found.out)["tasks"]} == {"train", "test", "data"}


def test_a_value_may_be_longer_than_a_name_of_a_file(call: Caller):
    call.write("tasks/default.yaml", "tasks: [{command: 'echo {text}', params: {text: a}}]")
    found = call(f"text={'9' * 5000}", "-n", "--json", "--gpus", "fake:1")
    assert found.code == 0
    assert json.loads(found.out)["tasks"][0]["command"] == ["echo", "9" * 5000]


def test_a_file_that_is_none_is_said_shortly(call: Caller):
    found = call("-f", "n" * 300, "--gpus", "fake:1")
    assert (found.code, found.err.count("Errno")) == (2, 0)
