"""Is a TaskConfig the training that NLPrompt's own script would start?"""

import pytest

import parallel_train
from parallel_train.core.placeholders import cut, written
from parallel_train.core.taskconfig import TaskConfig, name_template, rate_folder, rate_spellings

GUIDE = {"dataset": "caltech101", "noise_rate": 0.125, "noise_type": "sym", "num_classes": 100}


@pytest.mark.parametrize(
    ("rate", "folder"),
    [
        (0.125, "0.125"),
        (0.25, "0.25"),
        (0.5, "0.50"),
        (0.1, "0.10"),
        (1.0, "1"),
        (0.0625, "0.062"),
        (0.0, "0"),
    ],
)
def test_folders_spell_the_rate_as_the_script_does(rate, folder):
    assert rate_folder(rate) == folder


@pytest.mark.parametrize(
    ("rate", "spellings"),
    [
        (0.5, {"0.50", "0.5", "0.500", "0.5000"}),
        (1.0, {"1", "1.0", "1.00", "1.000", "1.0000"}),
        (0.125, {"0.125", "0.1250"}),
    ],
)
def test_finished_runs_are_found_under_every_spelling_of_the_value(rate, spellings):
    assert rate_spellings(rate)[0] == rate_folder(rate)
    assert set(rate_spellings(rate)) == spellings


def test_it_reads_as_in_the_guide():
    assert str(TaskConfig(**GUIDE)) == "TaskConfig(caltech101, shots=16, noise=sym_0.125)"
    assert parallel_train.TaskConfig is TaskConfig


def test_defaults_and_a_whole_rate():
    config = TaskConfig(**{**GUIDE, "noise_rate": 1})
    assert (config.shots, config.seed, config.cfg, config.trainer) == (16, 1, "rn50", "NLPrompt")
    assert repr(config.noise_rate) == "1.0"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"noise_rate": None}, "needs noise_rate"),
        ({"nois_rate": 0.5}, "has no 'nois_rate' \\(did you mean 'noise_rate'"),
        ({"zzzz": 0.5}, "has no 'zzzz' \\(it has dataset, shots, noise_rate"),
        ({"noise_rate": "0.5"}, "noise_rate must be a number"),
        ({"noise_rate": 1.5}, "noise_rate must be a number from 0 to 1"),
        ({"noise_rate": float("nan")}, "noise_rate must be a number from 0 to 1"),
        ({"dataset": ""}, "dataset must be text"),
        ({"seed": True}, "seed must be a whole number"),
        ({"shots": 1.5}, "shots must be a whole number"),
    ],
)
def test_what_can_not_be_is_refused(change, said):
    with pytest.raises(TypeError, match=said):
        TaskConfig(**{**GUIDE, **change})


def test_it_stands_for_one_template():
    made = TaskConfig(**GUIDE, seed=2).template()
    values = {name: written(value) for name, value in made["params"].items()} | {"output_base": "output"}
    folder = "output/caltech101/NLPrompt/rn50_16shots/noise_sym_{rate}/seed2"
    assert cut(made["output"]).fill(values) == folder.format(rate="0.125")
    found = [cut(pattern).fill(values) for pattern in made["done_when"]["file"]]
    assert found == [f"{folder.format(rate=rate)}/log.txt*" for rate in ("0.125", "0.1250")]
    assert made["command"][-8:] == [
        *("DATASET.NUM_SHOTS", "{shots}", "DATASET.NOISE_RATE", "{noise_rate}"),
        *("DATASET.NOISE_TYPE", "{noise_type}", "DATASET.num_class", "{num_classes}"),
    ]


def test_names_grow_by_what_differs():
    one, other = TaskConfig(**GUIDE), TaskConfig(**GUIDE, cfg="vit_b16")
    assert name_template([one]) == "{dataset}_{noise_type}_{noise_rate}_seed{seed}"
    assert name_template([one, other]).endswith("_{cfg}")


def test_the_package_knows_no_other_name():
    with pytest.raises(AttributeError, match="Taskconfig"):
        parallel_train.Taskconfig  # noqa: B018 - the access is the test
