"""Is what the preprocessing step writes what a training without it would have seen?"""

from pathlib import Path

import pytest

np = pytest.importorskip("numpy")

from parallel_train.demo import preprocess  # noqa: E402
from parallel_train.demo.config import DemoError, read_config  # noqa: E402
from parallel_train.demo.data import load_prepared, prepare  # noqa: E402

CONFIG = "DATASET: {NOISE_RATE: 0.5, NUM_SHOTS: 16}"


def run(tmp_path: Path, *more: str, config: str = CONFIG) -> tuple[int, Path]:
    file, out = tmp_path / "digits.yaml", tmp_path / "new" / "digits.npz"
    file.write_text(config)
    return preprocess.main(["--dataset-config-file", str(file), "--out", str(out), *more]), out


def test_the_saved_arrays_are_those_of_a_training_of_that_seed(tmp_path: Path):
    code, out = run(tmp_path, "--seed", "3")
    assert code == 0
    assert [path.name for path in out.parent.iterdir()] == ["digits.npz"]
    found, wanted = load_prepared(out), prepare(Path(), read_config([tmp_path / "digits.yaml"], []), 3)
    for name, array in vars(wanted).items():
        assert (getattr(found, name) == array).all()
    assert (found.train_images.shape, found.test_images.shape) == ((160, 64), (500, 64))
    assert (found.train_images.min(), found.train_images.max()) == (0, 1)


def test_the_same_bytes_each_time(tmp_path: Path):
    _, out = run(tmp_path)
    first = out.read_bytes()
    run(tmp_path)
    assert out.read_bytes() == first


def test_a_wrong_key_is_exit_2_and_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code, out = run(tmp_path, config="DATASET: {NOISE: 1}")
    assert (code, out.exists()) == (2, False)
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("content", [b"no arrays", b""])
def test_another_file_is_refused_in_one_sentence(tmp_path: Path, content: bytes):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(DemoError, match=r"x\.npz is not what parallel_train\.demo\.preprocess writes"):
        load_prepared(tmp_path / "x.npz")
