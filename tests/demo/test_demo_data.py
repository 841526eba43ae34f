"""Are the bundled digits the real ones, small and with their source, and is the noise what it says?"""

from pathlib import Path

import pytest

np = pytest.importorskip("numpy")

from parallel_train.demo.config import DemoError  # noqa: E402
from parallel_train.demo.data import PACKED, add_noise, find_digits, load_digits, split  # noqa: E402

COUNTS = [
    178,
    182,
    177,
    183,
    181,
    182,
    181,
    179,
    174,
    180,
]  # of optdigits.tes, as its own documentation lists them


def test_the_packed_file_is_small():
    assert PACKED.stat().st_size <= 60 * 1024


def test_the_packed_file_holds_the_known_digits():
    images, labels = load_digits(PACKED)
    assert images.shape == (1797, 8, 8)
    assert (images.min(), images.max()) == (0, 16)
    assert np.bincount(labels).tolist() == COUNTS
    # The first image is a well-known zero.
    assert labels[0] == 0
    assert images[0][0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]


@pytest.mark.parametrize("fact", ["E. Alpaydin", "C. Kaynak", "1998", "10.24432/C50P49", "CC BY 4.0"])
def test_source_and_licence_are_named(fact):
    assert fact in PACKED.with_name("DATA.md").read_text(encoding="utf-8")


def test_a_file_in_the_data_root_comes_first(tmp_path: Path):
    assert find_digits(tmp_path) == PACKED
    (tmp_path / "digits.npz").write_bytes(PACKED.read_bytes())
    assert find_digits(tmp_path) == tmp_path / "digits.npz"


@pytest.mark.parametrize("arrays", [{"labels": [1]}, {"images": [1], "labels": [1]}, None])
def test_another_file_in_the_data_root_is_refused_in_one_sentence(tmp_path: Path, arrays):
    file = tmp_path / "digits.npz"
    if arrays is None:
        file.write_text("no digits here")
    else:
        np.savez(file, **arrays)
    with pytest.raises(DemoError, match=r"digits\.npz"):
        load_digits(file)


def test_a_pickle_is_never_loaded(tmp_path: Path):
    np.savez(tmp_path / "digits.npz", images=np.array([{}], dtype=object), labels=np.zeros(1))
    with pytest.raises(DemoError, match="allow_pickle=False"):
        load_digits(tmp_path / "digits.npz")


def test_no_image_is_in_both_parts():
    _, labels = load_digits(PACKED)
    train, test = split(labels, -1)
    assert (len(train), len(test)) == (1297, 500)
    assert sorted([*train, *test]) == list(range(1797))


def test_shots_are_per_class():
    _, labels = load_digits(PACKED)
    train, test = split(labels, 16)
    assert np.bincount(labels[train]).tolist() == [16] * 10
    assert len(test) == 500


@pytest.mark.parametrize("rate", [0, 0.125, 0.25, 0.5, 0.75, 1])
def test_symmetric_noise_has_exactly_its_rate_and_every_other_class(rate):
    clean = np.repeat(np.arange(10), 100)
    noisy = add_noise(clean, rate, "sym", np.random.default_rng(1))
    wrong = noisy != clean
    assert wrong.sum() == rate * 1000
    assert set(((noisy - clean) % 10)[wrong]) == (set(range(1, 10)) if rate else set())


@pytest.mark.parametrize("rate", [0.125, 0.5, 1])
def test_asymmetric_noise_has_exactly_its_rate_and_the_next_class(rate):
    clean = np.repeat(np.arange(10), 100)
    noisy = add_noise(clean, rate, "asym", np.random.default_rng(1))
    wrong = noisy != clean
    assert wrong.sum() == rate * 1000
    assert (noisy[wrong] == (clean[wrong] + 1) % 10).all()


def test_noise_follows_its_seed_and_leaves_the_clean_labels():
    clean = np.repeat(np.arange(10), 100)
    first, again, other = (add_noise(clean, 0.5, "sym", np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
    assert (clean == np.repeat(np.arange(10), 100)).all()
