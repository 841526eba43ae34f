"""A real card, or the reason why there is none."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from parallel_train.procs.driver import NvmlProvider
from parallel_train.procs.gpus import NoDriverError


@pytest.fixture
def first():
    """The first card of this machine."""
    try:
        cards = NvmlProvider().cards()
    except NoDriverError as error:
        pytest.skip(f"no card: {error}")
    if not cards:
        pytest.skip("no card")
    return cards[0]


@pytest.fixture
def card(first):
    """The same, where torch can use it."""
    if find_spec("torch") is None:
        pytest.skip("no torch")
    return first
