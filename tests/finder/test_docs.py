"""Do the examples of the pages run, and do the signatures there hold?"""

import inspect
import re
from pathlib import Path

import pytest
import torch

from parallel_train import ParallelFinder, finder

pytestmark = pytest.mark.torch

HERE = Path(__file__).parents[2]
README = (HERE / "README.md").read_text().split("\n## Coming from ParallelFinder\n", 1)[1].split("\n## ", 1)[0]
FACES = (HERE / "parallel_train/FACES.md").read_text().split("\n## ParallelFinder\n", 1)[1].split("\n## ", 1)[0]


def blocks(language, text):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_example_runs_and_its_numbers_are_those_of_the_loop_beside_it(capsys):
    example, loop = blocks("py", FACES)
    known = {}
    exec(example, known)
    assert capsys.readouterr().out == f"{known['table']}\n"
    before = torch.get_num_threads()
    torch.set_num_threads(known["table"].threads)
    try:
        exec(loop, known)
    finally:
        torch.set_num_threads(before)
    row = known["table"][0]
    assert (known["loss"], known["validation_loss"]) == (row.loss, row.validation_loss)


def test_the_readmes_lines_run():
    known = {
        "model_fns": [lambda: torch.nn.Linear(3, 1)] * 2,
        "train_X": torch.randn(9, 3),
        "train_y": torch.randn(9, 1),
        "criterion_fn": torch.nn.MSELoss,
        "optimizers": [torch.optim.SGD, torch.optim.Adam],
        "opt_params": [{"lr": 0.01}, {"lr": 0.001}],
        "device_list": ["cpu", "cpu"],
    }
    rows = re.findall(r"^\| (`.+?) \| (.+?) \|", README, re.MULTILINE)
    assert len(rows) == 5
    (begin,) = blocks("py", README)
    exec(begin, known)
    for old, new in rows:
        exec((old if new == "the same" else new).strip("`"), known)
    assert set(known["finder"].models) == {0, 1}


def test_the_signatures_are_those_of_the_code():
    said = blocks("text", FACES)[0]
    for name, parameter in inspect.signature(ParallelFinder.find).parameters.items():
        if name == "self" or parameter.default is parameter.empty:
            continue
        written = repr(parameter.default).replace("'", '"')
        assert re.search(rf"^ +{name}(: .+?)? = {written},", said, re.MULTILINE), name
    made = ParallelFinder([])
    for name in re.findall(r"^    (\w+)", said, re.MULTILINE):
        assert hasattr(made, name)
    for line in blocks("text", FACES)[1].splitlines():
        kind, words = line.split(None, 1)
        for word in re.findall(r"\b[a-z_]+\b", words.replace("len(table), print(table)", "").replace("table[i]", "")):
            assert word == "tuple" or word in dir(getattr(finder, kind)) + list(
                getattr(finder, kind).__annotations__
            ), word
