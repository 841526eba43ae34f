"""Is a command as somebody typed it understood, and does it come back byte for byte?"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallel_train.core import placeholders
from parallel_train.core.placeholders import written
from parallel_train.core.task import fill
from parallel_train.core.typed import Typed, read

PROJECT = "/project"


def typed(text: str) -> Typed:
    return read(text.split(), PROJECT)


def again(found: Typed) -> list[str]:
    """The command that a task file with these values makes."""
    values = {name: written(value) for name, value in found.params.items()}
    if found.seed is not None:
        values["seed"] = str(found.seed)
    if found.output is not None:
        values["output"] = placeholders.cut(found.output).fill({})
    cut = (placeholders.cut(word, late_allowed=True) for word in found.command)
    return [fill(each.fill(values), {"python": "python"}) for each in cut]


@pytest.mark.parametrize(
    ("text", "command", "params"),
    [
        ("./go", "./go", {}),
        ("python train.py --lr 0.1", "{python} train.py --lr {lr}", {"lr": "0.1"}),
        ("python3 -m pkg.train --lr=0.1", "{python} -m pkg.train --lr={lr}", {"lr": "0.1"}),
        ("python -m", "{python} -m", {}),
        ("torchrun --nproc 2 train.py -b 8", "torchrun --nproc 2 train.py -b {b}", {"b": "8"}),
        ("x --model.Layer-Norm eps", "x --model.Layer-Norm {layer_norm}", {"layer_norm": "eps"}),
        ("x model=big +trainer.epochs=3", "x model={model} +trainer.epochs={epochs}", {"model": "big", "epochs": "3"}),
        ("x OPTIM.LR 0.1 DATA.N 3", "x OPTIM.LR {lr} DATA.N {n}", {"lr": "0.1", "n": "3"}),
        # a negative number is a value, an option is none
        ("x --shift -0.5 --fast -v --n -1e3", "x --shift {shift} --fast -v --n {n}", {"shift": "-0.5", "n": "-1e3"}),
        ("x --fast OPTIM.LR 1", "x --fast OPTIM.LR {lr}", {"lr": "1"}),
        ("x --flag a=1", "x --flag a={a}", {"a": "1"}),
        # two of one name
        ("x --lr 1 --lr 2 --lr 3", "x --lr {lr} --lr {lr_2} --lr {lr_3}", {"lr": "1", "lr_2": "2", "lr_3": "3"}),
        ("x a.lr=1 b.lr=2", "x a.lr={lr} b.lr={b_lr}", {"lr": "1", "b_lr": "2"}),
        # names with a meaning of their own
        ("x --include a --args b", "x --include {include_2} --args {args_2}", {"include_2": "a", "args_2": "b"}),
        # what comes after -- is no option, and a brace is a brace
        ("x --a 1 -- --b 2 {c}", "x --a {a} -- --b 2 {{c}}", {"a": "1"}),
        ("{a} {b} --{c} 1", "{{a}} {{b}} --{{c}} 1", {}),
    ],
)
def test_options_become_params(text, command, params):
    found = typed(text)
    assert (" ".join(found.command), found.params) == (command, params)
    assert " ".join(again(found)) == text.replace("python3", "python")


@pytest.mark.parametrize(
    ("text", "seed", "params"),
    [
        ("x --seed 3", 3, {}),
        ("x --manual-seed=3", 3, {}),
        ("x --seed 1 --random_seed 2", 1, {"random_seed": "2"}),
        ("x --seed 1 --seed 2", 1, {"seed_2": "2"}),
        # no number that would be written like that again
        ("x --seed 03", None, {"seed": "03"}),
        ("x --seed none", None, {"seed": "none"}),
        ("x --seed 10000000000", None, {"seed": "10000000000"}),
        ("x --seed a --seed 3", None, {"seed": "a", "seed_2": "3"}),
    ],
)
def test_a_seed_is_a_whole_number(text, seed, params):
    found = typed(text)
    assert (found.seed, found.params) == (seed, params)
    assert " ".join(again(found)) == text


@pytest.mark.parametrize(
    ("text", "output", "command"),
    [
        ("x --output-dir out/a", "out/a", "x --output-dir {output}"),
        ("x out=out/a/", "out/a", "x out={output}/"),
        ("x --save_dir ./out/a", "out/a", "x --save_dir ./{output}"),
        ("x hydra.run.dir=out/a", "out/a", "x hydra.run.dir={output}"),
        ("x --out /project/out/a", "out/a", "x --out /project/{output}"),
        ("x --out /data/a", "/data/a", "x --out {output}"),
        ("x --out a/../b", "b", "x --out a/../{output}"),
        ("x --out out/{a}", "out/{{a}}", "x --out {output}"),
        # the first one is promised
        ("x --out out/a --workdir out/b", "out/a", "x --out {output} --workdir {workdir}"),
    ],
)
def test_the_argument_that_names_the_output_promises_it(text, output, command):
    found = typed(text)
    assert (found.output, " ".join(found.command), found.no_output) == (output, command, "")
    assert " ".join(again(found)) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x --out ../a", "'../a' lies outside of the project; write such an output as an absolute path"),
        ("x --out .", "the output can't be the project folder itself"),
        ("x --out a/b/..", "'a/b/..' can be written shorter"),
        ("x --out a/./b", "'a/./b' can be written shorter"),
    ],
)
def test_an_output_that_nobody_can_promise_is_a_param_and_it_is_said_why(text, why):
    found = typed(text)
    assert (found.output, found.params["out"], found.no_output) == (None, text.split()[-1], why)


PIECES = st.sampled_from(
    [
        "",
        "-",
        "--",
        "--lr",
        "--seed",
        "--out",
        "a=",
        "=",
        "A.B",
        "{x}",
        "{{x}}",
        "{python}",
        "3",
        "-3",
        "o/p",
        "a.py",
        "-m",
    ]
)
WORDS = st.one_of(
    PIECES, st.lists(PIECES, max_size=3).map("".join), st.text(max_size=6).map(lambda t: t.replace("\0", ""))
)


@settings(max_examples=60, deadline=None)  # a busy machine takes 0.2 s for anything
@given(st.lists(WORDS, min_size=1, max_size=8))
def test_whatever_was_typed_comes_back(words):
    expected = ["python" if words[0] in {"python", "python3"} else words[0], *words[1:]]
    assert again(read(words, PROJECT)) == expected
