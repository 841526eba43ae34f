"""What becomes of a signal that says that the end of an allocation is near?"""

from __future__ import annotations

import math
import os
import signal
from contextlib import closing

import pytest

from parallel_train.core.events import TimeLeft
from parallel_train.procs.signals import Signals


@pytest.mark.parametrize(("said", "seconds"), [(50.0, 50.0), (None, math.inf)])
def test_inside_an_allocation_it_is_heard(said, seconds):
    with closing(Signals(lambda: said)) as signals:
        os.kill(os.getpid(), signal.SIGUSR1)
        (event,) = signals.take()
    assert isinstance(event, TimeLeft)
    assert (event.seconds, event.is_near) == (seconds, True)


def test_also_where_it_was_ignored_until_we_listen():
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        with closing(Signals(lambda: None)) as signals:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert signals.take()
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_elsewhere_it_is_none_of_our_business():
    before = signal.getsignal(signal.SIGUSR1)
    with closing(Signals()):
        assert signal.getsignal(signal.SIGUSR1) == before
