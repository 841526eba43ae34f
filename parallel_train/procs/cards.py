"""The port to a machine's cards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from parallel_train.core.machine import Card
from parallel_train.errors import ParallelTrainError, UsageError

QUERY_LIMIT = 10.0  # seconds; a healthy driver answers in well under one


class NoDriverError(ParallelTrainError):
    """There is no NVML library or no driver, so there are no cards."""


class ProviderError(UsageError):
    """The cards can't be known: whoever should tell does not answer, or answers with an error."""


class Provider(Protocol):
    """Knows the cards of this machine."""

    def cards(self) -> tuple[Card, ...]:
        """The cards as they are now, in order of their index; takes at most some seconds.

        Raises NoDriverError where there is nothing to ask, and ProviderError.
        """


@dataclass(frozen=True, slots=True)
class Known:
    """Cards that were asked for before, so that all that is said of them speaks of one moment."""

    seen: tuple[Card, ...]

    def cards(self) -> tuple[Card, ...]:
        return self.seen
