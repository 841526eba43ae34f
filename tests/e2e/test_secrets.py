"""Does any of 200 secrets stand anywhere but in the environment of the tasks?"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import pytest

from parallel_train.procs import locks
from tests.support.call import Called, Caller, call
from tests.support.sweep import QUEUE, Project, program

__all__ = ["call"]

ENDS = ("TOKEN", "KEY", "SECRET", "PASSWORD")
CASES: tuple[Callable[[str], str], ...] = (str.upper, str.lower, str.title)
ODD = ("", '"', "\\", "é", "\n", "\t", "$(x)", "%s", "{p}", "'")


def canaries() -> dict[str, str]:
    """200 variables with a value each that is nowhere else."""
    names = [CASES[n % 3](f"canary{n}_{ENDS[n % 4]}") for n in range(200)]
    return {name: f"{secrets.token_hex(8)}{ODD[n % 10]}{secrets.token_hex(8)}" for n, name in enumerate(names)}


def spellings(value: str) -> set[bytes]:
    """As it may stand somewhere: plain, escaped, encoded; its halves, which no odd character parts."""
    whole = value.encode()
    encoded = (base64.b64encode(b"\0" * n + whole)[4:-4] for n in range(3))
    return {whole, whole[:16], whole[-16:], whole.hex().encode(), quote(value).encode(), *encoded}


def leaks(found: Mapping[str, bytes], planted: Mapping[str, str]) -> Iterator[str]:
    for name, value in planted.items():
        for spelling in spellings(value):
            yield from (f"{name} in {place}" for place, content in found.items() if spelling in content)


def everything(root: Path) -> dict[str, bytes]:
    """All files of the project, their names, and the locks that belong to it."""
    paths = [path for path in root.rglob("*") if path.is_file()]
    held = [path for path in Path(locks.place()).iterdir() if str(root).encode() in path.read_bytes()]
    named = "\n".join(str(path) for path in (*paths, *held))
    return {str(path): path.read_bytes() for path in (*paths, *held)} | {"names": named.encode()}


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    made = canaries()
    for name, value in made.items():
        monkeypatch.setenv(name, value)
    return made


def write_tasks(call: Caller, planted: Mapping[str, str]) -> None:
    """Every second canary comes under its own name, all of them under another one, too."""
    env = {f"var_{n}": f"secret:{name}" for n, name in enumerate(planted)}
    env |= {name: f"secret:{name}" for name in list(planted)[::2]}
    names = {**{f"var_{n}": name for n, name in enumerate(planted)}, **{name: name for name in planted}}
    call.write("names.json", json.dumps(list(names)))
    tasks = [
        {"name": "good", "command": program("secretive", "got-good", "names.json"), "env": env, "params": {"p": 1}},
        {"name": "bad", "command": program("secretive", "got-bad", "names.json", "1"), "env": env, "retries": 1},
        {"name": "nowhere", "command": ["/bin/cat", "no file"], "env": env, "needs": ["good"], "output": "output/x"},
        {"name": "slow", "command": ["/bin/sleep", "600"], "env": env, "timeout": 0.3},
    ]
    call.write("tasks/default.yaml", json.dumps({"tasks": tasks}))


def test_200_secrets_stand_nowhere_but_in_the_tasks(call: Caller, project: Project, planted: dict[str, str]):
    write_tasks(call, planted)
    heard: dict[str, bytes] = {}

    def said(*argv: str) -> Called:
        told = call(*argv)
        heard[f"{len(heard)}: {' '.join(argv)}"[:200]] = (told.out + told.err).encode()
        return told

    assert said("-n", "--gpus", "fake:2").code == 0
    assert said("-n", "--json", "--gpus", "fake:2").code == 0
    assert said("--gpus", "fake:2").code == 1
    given = [part for name in planted for part in ("--env", name)]
    assert said("add", *given, "--", *program("secretive", "got-added", "names.json")).code == 0
    assert said("retry", "bad").code == 0
    detached = project.run("worker", "--detach")
    heard["worker --detach"] = detached.text.encode()
    assert detached.code == 0, detached.text
    said("wait")
    call.write("tasks/default.yaml", (call.root / "tasks/default.yaml").read_text().replace('"p": 1', '"p": 2'))
    for argv in (
        *(["-n", "--gpus", "fake:2"], ["good", "--gpus", "fake:1"], ["bad", "-B", "--gpus", "cpu:1"]),
        *(["status", "--all"], ["status", "--json"], ["results"], ["results", "--json"], ["logs"], ["logs", "bad"]),
        *(
            ["explain"],
            ["explain", "good", "bad"],
            ["explain", "--json", "nowhere"],
            ["config"],
            ["gc"],
            ["gc", "--yes"],
        ),
        *(
            ["doctor", "--python", "/bin/false"],
            ["gpus"],
            ["cancel", "slow"],
            ["pause"],
            ["resume"],
            ["priority", "bad", "1"],
        ),
    ):
        said(*argv)
    project.until_quiet()
    assert "Traceback" not in b"".join(heard.values()).decode()
    assert list(leaks({**heard, **everything(call.root)}, planted)) == []
    hashes = {name: hashlib.sha256(value.encode()).hexdigest() for name, value in planted.items()}
    hashes |= {f"var_{n}": hashes[name] for n, name in enumerate(planted)}
    for file in ("got-good", "got-bad"):
        assert json.loads((call.root / file).read_text()) == hashes
    added = json.loads((call.root / "got-added").read_text())
    assert {name: added[name] for name in planted} == {name: hashes[name] for name in planted}


def test_the_search_finds_what_leaks(tmp_path: Path):
    value = '0123456789abcdef"fedcba9876543210é'
    for n, text in enumerate((value, json.dumps({"x": value}), base64.b64encode(f"x={value}".encode()).decode())):
        (tmp_path / f"{n}").write_text(text)
    assert len(set(leaks(everything(tmp_path), {"A_KEY": value}))) == 3


def refused(call: Caller, value: str, *argv: str) -> str:
    """What is said, which repeats nothing of `value`; and nothing is kept of it."""
    found = call(*argv)
    told = found.out + found.err
    assert (found.code, found.out) == (2, ""), told
    assert "Traceback" not in told
    assert list(leaks({"said": told.encode()}, {"it": value})) == []
    assert not (call.root / QUEUE).exists()
    return told


VALUE = "hunter2-" + "0123456789abcdef"
FORMS = (
    *(
        "HF_TOKEN: C",
        'HF_TOKEN: "C"',
        'HF_TOKEN: "C',
        "HF_TOKEN: |\n      C",
        "HF_TOKEN: >-\n      C: d: e",
        "HF_TOKEN: [C]",
    ),
    *(
        "HF_TOKEN: {a: C}",
        "HF_TOKEN: !C",
        "HF_TOKEN: !C x",
        "HF_TOKEN: &C",
        "HF_TOKEN: *C",
        "HF_TOKEN: @C",
        "HF_TOKEN: %C",
    ),
    *("HF_TOKEN: `C", "HF_TOKEN: C: x", "? HF_TOKEN\n    : C", "HF_TOKEN:C", "HF_TOKEN= C", "HF_TOKEN:\n      C: ["),
    *("HF_TOKEN:\n      C: x", "HF_TOKEN:\n\tC", "HF_TOKEN: C\n    HF_TOKEN: C", 'HF_TOKEN: "C\\q"', "HF_TOKEN: C\x01"),
    *(
        "HF_TOKEN: '{C}'",
        "HF_TOKEN: 'x{C'",
        "HF_TOKEN: !!binary C",
        "HF_TOKEN: !!python/object:C {}",
        "hf_Password: 'C'",
    ),
)


@pytest.mark.parametrize("form", FORMS)
def test_a_literal_secret_in_a_task_file_is_not_repeated(call: Caller, form: str):
    for around in ("tasks:\n- command: echo\n  env:\n    %s\n", "tasks:\n- command: echo\n  env: {%s}\n"):
        call.write("tasks/default.yaml", around.replace("%s", form.replace("C", VALUE)))
        refused(call, VALUE, "-n", "--gpus", "fake:1")


def test_a_literal_secret_of_a_python_file_is_not_repeated(call: Caller):
    call.write("t.py", f"def tasks(): return [{{'command': 'x', 'env': {{'A_KEY': '{VALUE}'}}}}]\n")
    assert "secret:A_KEY" in refused(call, VALUE, "t.py", "--gpus", "fake:1")
    call.write("t.py", f"import os\ndef tasks():\n    os.environ['A_KEY'] = '{VALUE}' + 5\n")
    assert "TypeError" in refused(call, VALUE, "t.py", "--gpus", "fake:1")


def test_a_secret_that_is_typed_is_not_repeated(call: Caller):
    call.write("tasks/default.yaml", "tasks: [{command: [echo, '{p}'], params: {p: 1}}]\n")
    assert "--env A_KEY:" in refused(call, VALUE, "add", "--env", f"A_KEY={VALUE}", "--", "true")
    refused(call, VALUE, "add", "--env", f"={VALUE}", "--", "true")
    assert "A_TOKEN=***" in refused(call, VALUE, "--gpus", "fake:1", f"A_TOKEN={VALUE}")


@pytest.mark.parametrize(
    "argv",
    [
        ("add", "--", "python", "train.py", "--api-key", VALUE),
        ("add", "--", "sh", "-c", f"curl -H 'Bearer {VALUE}'"),
        ("add", "--env", f"OTHER={VALUE}", "--", "true"),
        ("--gpus", "fake:1", f"p={VALUE}"),
        ("-n", "--json", "--gpus", "fake:1", f"p={VALUE}"),
        ("add", "tasks/default.yaml", f"p={VALUE}"),
    ],
)
def test_the_value_of_a_secret_is_refused_wherever_it_stands(
    call: Caller, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...]
):
    """A shell puts it there for `--api-key $WANDB_API_KEY`."""
    monkeypatch.setenv("WANDB_API_KEY", VALUE)
    call.write("tasks/default.yaml", "tasks: [{command: [echo, '{p}'], params: {p: 1}}]\n")
    assert "secret:WANDB_API_KEY" in refused(call, VALUE, *argv)


@pytest.mark.parametrize(
    "field",
    [
        "done_when: C",
        "done_when: {file: x, contains: C}",
        "metrics: {name: C}",
        "metrics: {name: acc, file: C}",
        "metrics: {name: acc, regex: 'C (.*)'}",
        "stage: C, name: a",
        "params: {p: [C]}",
    ],
)
def test_no_field_of_a_task_may_hold_it(call: Caller, monkeypatch: pytest.MonkeyPatch, field: str):
    monkeypatch.setenv("WANDB_API_KEY", VALUE)
    call.write("tasks/default.yaml", f"tasks: [{{command: echo, {field.replace('C', VALUE)}}}]\n")
    assert "secret:WANDB_API_KEY" in refused(call, VALUE, "-n", "--gpus", "fake:1")


@pytest.mark.parametrize(("name", "value"), [("SORT_KEY", "accuracy"), ("SSH_KEY", "/home/someone/.ssh/id_rsa")])
def test_what_only_has_such_a_name_is_none(call: Caller, monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    monkeypatch.setenv(name, value)
    call.write("tasks/default.yaml", "tasks: [{command: [echo, '{p}'], params: {p: 1}}]\n")
    assert call("-n", "--gpus", "fake:1", f"p={value}").code == 0
