"""What befalls a host as a whole: it loses contact with the disk, it is suspended."""

from __future__ import annotations

from tests.faults.sim.actor import Host
from tests.faults.sim.machine import OF_THE_DISK, Machine


class Hosts(Machine):
    def cut(self, host: Host, seconds: float, *, is_refused: bool, has_answered: float) -> None:
        """The disk is out of its reach, and what was under way is done now (the answer comes late) or then."""
        for actor in [a for a in self.actors.values() if a.host is host and a.op[0] in OF_THE_DISK]:
            if actor.answer is None and actor.nap <= self.now and actor.pid % 100 < 100 * has_answered:
                self.act(actor)
                actor.nap = self.now + seconds
        host.cut = host.was_cut = self.now + seconds
        host.is_refused = is_refused
        self.tell_of(host, f"can't reach the disk for {seconds:.1f} s ({'refused' if is_refused else 'hangs'})")

    def heal(self, host: Host) -> None:
        """The disk is there again, sooner than it was to be."""
        if host.cut > self.now:
            for actor in [a for a in self.actors.values() if a.host is host and a.nap == host.cut]:
                actor.nap = self.now
            host.cut = host.was_cut = self.now
            self.tell_of(host, "reaches the disk again")

    def suspend(self, host: Host, seconds: float, *, clock_stops: bool) -> None:
        """Nothing on it takes a step; its monotonic clock stops, as it does, or goes on, as under some hypervisors."""
        host.asleep = host.was_asleep = self.now + seconds
        if clock_stops:
            host.clock -= seconds
            host.slept += seconds
        for actor in [a for a in self.actors.values() if a.host is host]:
            actor.nap = max(actor.nap, host.asleep)
            if clock_stops:
                actor.due += seconds
                actor.until += seconds
        self.tell_of(host, f"is suspended for {seconds:.1f} s")

    def tell_of(self, host: Host, what: str) -> None:
        if self.say is not None:
            self.say(f"{self.now:9.3f} {host.name} {what}")
