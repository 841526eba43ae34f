"""Does every value reach its task byte for byte, from a task file or by `add`, and are the kernel's limits said?"""

from __future__ import annotations

import json
import random
import re
import shlex

from tests.support.call import Caller, call
from tests.support.sweep import program

__all__ = ["call"]

AWKWARD = [
    *("", " ", "'", '"', "\\", "\n", "\t", "$(touch pwned)", "`touch pwned`", "$HOME", "${x}", "~", "~/x", "*", "?"),
    *("-", "--", "--flag", "-n", "=", "a=b", "#", "%", "%s", "!", "!!", "&", "&&", ";", "|", ">", "<", "(", ")", "[x]"),
    *("{", "}", "{v}", "{{v}}", "{output}", "{args}", "{python}", "{data_root}", "no", "null", "1e-3", "0123", "0x1F"),
    *(
        "é",
        "日本語",
        "\U0001f600",
        "\u2028",
        "\x85",
        "\ufeff",
        "\u202e",
        "\x1b[2J",
        "\r\n",
        "\x01",
        "\x7f",
        "- a",
        "a: b",
    ),
]
_BREAKS = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff]")
LONGEST = 128 * 1024 - 1  # what Linux takes as one argument, its end included


def values(count: int, seed: int) -> list[str]:
    """Awkward texts, and such put together; a few of 100 KB."""
    chance = random.Random(seed)
    made = [*AWKWARD, *("".join(chance.choices(AWKWARD, k=chance.randint(2, 5))) for _ in range(count))]
    return made[:count]


def escaped(value: object) -> str:
    """As YAML reads it: JSON, but for what YAML takes for a line's end or does not take."""
    return _BREAKS.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def seen(call: Caller, name: str) -> dict:
    found = json.loads((call.root / f"{name}.json").read_text())
    assert not (call.root / "pwned").exists()
    return dict(found)


def recording(name: str) -> list[str]:
    return program("argv", f"{name}.json")


def ran(call: Caller, *argv: str) -> None:
    found = call(*argv, "--gpus", "fake:4")
    assert found.code == 0, (found.out, found.err)


def test_values_through_a_task_file(call: Caller):
    """5,000 of them: as written, as a placeholder, with text around it, as --name value, in a command that is split,
    in one that a shell reads, and as params in the environment.
    """
    tasks, expected = [], {}
    for number in range(4):
        mine = values(800, seed=number)
        params = {f"p{i}": value for i, value in enumerate(mine[:200])}
        marks = [f"{{{name}}}" for name in params]
        # A literal that looks like a placeholder is one, so only values are written as they are.
        plain = [value for value in mine[200:] if "{" not in value]
        words = [*plain, *marks, *(f"<{mark}>" for mark in marks[:100])]
        wanted = [*plain, *mine[:200], *(f"<{value}>" for value in mine[:100])]
        command: list[str] | str = [*recording(f"t{number}"), *words, "{args}"]
        if number:
            command = shlex.join(recording(f"t{number}")) + " " + " ".join(map(shlex.quote, words)) + " {args}"
        shell = number == 3
        if shell:  # it quotes each value itself
            around = " ".join([*map(shlex.quote, plain), *marks, *(f"'<'{mark}'>'" for mark in marks[:100])])
            command = shlex.join(recording(f"t{number}")) + f" {around} {{args}}"
        pairs = [word for name, value in params.items() for word in (f"--{name}", value)]
        tasks.append({"name": f"t{number}", "command": command, "params": params, "shell": shell})
        expected[f"t{number}"] = ([*wanted, *pairs], params)
    assert sum(len(argv) + len(params) for argv, params in expected.values()) > 5000
    call.write("tasks/default.yaml", escaped({"tasks": tasks}))
    ran(call)
    for name, (argv, params) in expected.items():
        assert seen(call, name) == {"argv": argv, "params": params}


def test_long_values(call: Caller):
    long = ["x" * 100_000, "'" * 30_000, "é" * 50_000, "\n" * 100_000]
    for number, value in enumerate(long):
        call.write(
            f"tasks/{number}.yaml",
            escaped({"tasks": [{"command": [*recording(str(number)), "{v}"], "params": {"v": value}}]}),
        )
        ran(call, f"tasks/{number}.yaml")
        assert seen(call, str(number))["argv"] == [value]


def test_what_linux_does_not_take_is_said(call: Caller):
    for value, said in (
        ("x" * (LONGEST + 1), "in a word: put it in a file"),
        ("long " + f"{'x' * 100_000} " * 70, "than Linux takes"),
    ):
        words = ["true", *value.split()]
        call.write("tasks/default.yaml", escaped({"tasks": [{"command": words}]}))
        found = call("--gpus", "fake:2")
        assert (found.code, "Traceback" in found.err) == (2, False)
        assert "nothing was started" in found.err
        assert said in found.err
        assert len(found.err) < 500
    assert not (call.root / "logs").exists()


def test_values_from_the_command_line(call: Caller):
    call.write(
        "tasks/default.yaml",
        escaped({"tasks": [{"command": [*recording("a"), "{v}"], "params": {"v": "x"}, "name": "a"}]}),
    )
    value = "a b'\"\n$(touch pwned) {v} é=--x"
    ran(call, f"v={value}")
    assert seen(call, "a") == {"argv": [value], "params": {"v": value}}


def test_a_command_that_is_added(call: Caller):
    mine = values(50, seed=7)
    found = call("add", "--", *recording("added"), *mine)
    assert found.code == 0, found.err
    ran(call, "worker")
    assert seen(call, "added") == {"argv": mine, "params": {}}
