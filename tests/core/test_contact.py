"""When is somebody who can't be seen taken for gone?"""

from __future__ import annotations

import pytest

from parallel_train.core.contact import Contact, interval

LEASE = 60.0


def after(*reads):
    """A contact after reads of (time, counter)."""
    found = Contact(LEASE)
    for now, counter in reads:
        found.observe(counter, now, now)
    return found


def test_a_slow_read_tells_of_neither_end_of_its_time():
    """What it found may have been so at its beginning, or have become so at its end."""
    found = after(*steady(40, "1"))
    found.observe("1", 50.0, 65.0)
    assert found.silence == 50.0
    assert not found.has_expired
    found.observe("2", 70.0, 80.0)
    assert found.silence == 0.0
    found.observe("2", 85.0, 85.0)
    assert found.silence == 5.0


def steady(until, counter=None, *, since=0, step=10):
    """The same counter, read regularly."""
    return [(now, counter) for now in range(since, until + 1, step)]


@pytest.mark.parametrize(("lease", "expected"), [(300.0, 10.0), (60.0, 10.0), (30.0, 5.0), (2.0, 1 / 3)])
def test_a_beat_comes_every_ten_seconds_or_a_sixth_of_a_short_lease(lease, expected):
    assert interval(lease) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("reads", "lost", "expired"),
    [
        ([], False, False),
        ([(1e9, None)], False, False),  # the first read tells nothing
        (steady(30, "1"), False, False),
        (steady(40, "1"), True, False),
        (steady(60, "1"), True, False),
        (steady(70, "1"), True, True),
        (steady(70), True, True),  # it never wrote a beat
        ([*steady(60, "1"), (70, "2")], False, False),
        # any other counter is a sign of life, a smaller one too: the file was made anew
        ([*steady(60, "9"), (70, "1")], False, False),
        # whoever did not look knows nothing of that while
        ([(0, "1"), (100, "1")], False, False),
        ([*steady(50, "1"), *steady(140, "1", since=90)], True, False),
        ([*steady(50, "1"), *steady(160, "1", since=90)], True, True),
        # three reads that it missed are none, a moment longer is a while
        (steady(90, "1", step=30), True, True),
        (steady(310, "1", step=31), False, False),
    ],
)
def test_silence_is_what_the_observer_saw_itself(reads, lost, expired):
    found = after(*reads)
    assert (found.is_lost, found.has_expired) == (lost, expired)


def test_nothing_is_known_at_first():
    assert Contact(LEASE).silence == 0.0


def test_a_clock_that_starts_anywhere_makes_no_difference():
    for start in (0.0, 1e-3, 1e12):
        found = after(*((start + now, counter) for now, counter in steady(70, "1")))
        assert found.has_expired
