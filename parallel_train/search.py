"""Search agents: a script tries one combination of a search space each time it asks, beside any number of others."""

from parallel_train.agents.agent import (
    DistributedAsynchronousGridSearch,
    DistributedAsynchronousRandomSearch,
)
from parallel_train.agents.hyperband import DistributedAsynchronousHyperBand
from parallel_train.agents.plan import SearchError
from parallel_train.agents.ranks import sync_parameters

__all__ = [
    "DistributedAsynchronousGridSearch",
    "DistributedAsynchronousHyperBand",
    "DistributedAsynchronousRandomSearch",
    "SearchError",
    "sync_parameters",
]
