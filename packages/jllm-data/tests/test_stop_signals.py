"""A signal to stop is not lost where a library drops the exception that it raises."""

import contextlib
import os
import signal

import pytest

from jllm.data.stop_signals import StopSignals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_dropped_interrupt_comes_back(number: signal.Signals) -> None:
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        stop = StopSignals()
        stop.check()  # nothing has come yet
        with contextlib.suppress(KeyboardInterrupt):  # as pyarrow does while it imports
            os.kill(os.getpid(), number)
        with pytest.raises(KeyboardInterrupt):
            stop.check()
        assert stop.received == number
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)
