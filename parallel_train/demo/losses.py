"""Three losses for labels of which some are wrong: from logits (n, classes) and labels (n,) to their mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch.nn import functional

Loss: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """-log p(label): learns fastest, and in time learns the wrong labels too."""
    return functional.cross_entropy(logits, labels)


def mean_absolute_error(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """|one_hot(label) - p|_1 = 2 - 2 p(label): symmetric noise below 0.9 leaves its minimum in place.

    Ghosh, Kumar & Sastry 2017, arXiv 1712.09482.
    """
    return (2 - 2 * _log_p(logits, labels).exp()).mean()


def generalized_cross_entropy(q: float) -> Loss:
    """(1 - p(label)^q) / q, between cross-entropy (q to 0) and half the absolute error (q = 1).

    Zhang & Sabuncu 2018, arXiv 1805.07836; they use q = 0.7.
    """

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        # p^q as exp(q log p): the gradient of a power at p = 0 is infinite.
        return ((1 - (q * _log_p(logits, labels)).exp()) / q).mean()

    return loss


def _log_p(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The log-probability (n,) that the model gives each label."""
    return functional.log_softmax(logits, dim=1).gather(1, labels[:, None])[:, 0]
