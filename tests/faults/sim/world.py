"""The whole of it."""

from __future__ import annotations

from tests.faults.sim.attempts import Attempts
from tests.faults.sim.files import Files
from tests.faults.sim.hosts import Hosts
from tests.faults.sim.schedulers import Schedulers


class World(Files, Attempts, Schedulers, Hosts):
    """The machines with their disk. `fate` says what becomes of a command; `say` hears every step."""
