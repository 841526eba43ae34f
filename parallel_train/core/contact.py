"""Whether an owner that can't be seen still shows that it lives: its counter, by the observer's own clock.

Never another host's clock, never a file's time. Whoever did not look himself for a while knows nothing of that
while, and starts over: a machine that was suspended must not take all others for dead.
"""

from __future__ import annotations

from dataclasses import dataclass

BEATS_PER_LEASE = 6
MOST_BETWEEN_BEATS = 10.0  # seconds
READS_PER_GAP = 3  # so many missed reads in a row are a gap


def interval(lease: float) -> float:
    """Seconds between two beats, and at most between two reads of them, for a lease in seconds."""
    return min(lease / BEATS_PER_LEASE, MOST_BETWEEN_BEATS)


def halted_after(lease: float) -> float:
    """Seconds after its end was taken until an owner with that lease has surely halted its task: half a lease after its
    last good beat, and that may have been sent just before.
    """
    return lease / 2 + interval(lease)


@dataclass(slots=True)
class Contact:
    """What one observer knows of one owner. Times are its own monotonic seconds."""

    lease: float
    counter: str | None = None  # None: nothing was written yet
    moved: float = 0.0
    read: float | None = None

    def observe(self, counter: str | None, asked: float, answered: float) -> None:
        """A read took from `asked` to `answered`: what it found was so at some moment in between."""
        has_gap = self.read is None or answered - self.read > READS_PER_GAP * interval(self.lease)
        if has_gap or counter != self.counter:
            self.counter, self.moved = counter, answered
        self.read = max(asked, self.moved)

    @property
    def silence(self) -> float:
        """Seconds for which the counter was seen not to move."""
        return 0.0 if self.read is None else self.read - self.moved

    @property
    def is_lost(self) -> bool:
        """Whether beats are missing; it may be back at any time."""
        return self.silence > self.lease / 2

    @property
    def has_expired(self) -> bool:
        """Whether its attempts may be taken over."""
        return self.silence > self.lease
