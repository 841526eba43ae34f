"""Do the demo's settings come from files and then pairs, and does the error for a wrong one name its mend?"""

from pathlib import Path

import pytest

from parallel_train.demo.config import Config, DemoError, read_config

CONFIGS = Path(__file__).parents[2] / "configs"
FILES = [CONFIGS / "datasets/digits.yaml", CONFIGS / "trainers/gce/mlp.yaml"]


@pytest.mark.parametrize("trainer", ["ce", "gce", "mae"])
def test_the_shipped_files_state_the_defaults(trainer):
    assert read_config([FILES[0], CONFIGS / "trainers" / trainer / "mlp.yaml"], []) == Config()


def test_pairs_override_the_files():
    pairs = "DATASET.NOISE_RATE 0.5 DATASET.NOISE_TYPE asym DATASET.NUM_SHOTS 16 DATASET.num_class 10"
    config = read_config(FILES, [*pairs.split(), "OPTIM.LR", "1e-3"])
    assert (config.noise_rate, config.noise_type, config.num_shots) == (0.5, "asym", 16)
    assert (config.num_classes, config.lr) == (10, 0.001)


def test_a_whole_number_is_a_rate():
    rate = read_config(FILES, ["DATASET.NOISE_RATE", "1"]).noise_rate
    assert isinstance(rate, float)
    assert rate == 1


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        ("DATASET.NOISE_RAT 0.5", "did you mean DATASET.NOISE_RATE?"),
        ("dataset.noise_rate 0.5", "did you mean DATASET.NOISE_RATE?"),
        ("LR 0.5", "did you mean OPTIM.LR?"),
        ("NOISE_RATE 0.5", "did you mean DATASET.NOISE_RATE?"),
        ("qqq 1", "the keys are DATASET.NAME"),
        ("DATASET.NOISE_RATE", "DATASET.NOISE_RATE has no value"),
        ("DATASET.NOISE_RATE 0.5 --seed 1", "put the flags before the pairs"),
        ("DATASET.NOISE_RATE 1.5", "a number from 0 to 1, not 1.5"),
        ("DATASET.NOISE_RATE nan", "a number from 0 to 1, not nan"),
        ("DATASET.NOISE_RATE half", "a number from 0 to 1, not half"),
        ("DATASET.NOISE_TYPE pair", "sym or asym, not pair"),
        ("DATASET.num_class 100", "10, as the digits have, not 100"),
        ("OPTIM.MAX_EPOCH 2.5", "a whole number above 0, not 2.5"),
        ("TRAINER.GCE.Q 0", "above 0 and up to 1, not 0"),
    ],
)
def test_a_wrong_pair_is_one_sentence_that_names_the_mend(pairs, says):
    with pytest.raises(DemoError) as error:
        read_config(FILES, pairs.split())
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "can't read the config file"),
        ("DATASET: [", "not valid YAML"),
        ("just words", "is to hold sections"),
        ("OPTIM:\n  LRR: 1", "unknown key OPTIM.LRR"),
        ("OPTIM:\n  LR: [1]", "a number above 0, not [1]"),
        ("OPTIM:\n  MAX_EPOCH: true", "a whole number above 0, not True"),
    ],
)
def test_a_wrong_file_is_one_sentence_that_names_it(tmp_path: Path, text, says):
    file = tmp_path / "mlp.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(DemoError) as error:
        read_config([FILES[0], file], [])
    assert says in str(error.value)
    assert "\n" not in str(error.value)
