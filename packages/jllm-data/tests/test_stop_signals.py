"""A signal to stop is not lost where a library drops the exception that it raises."""

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from jllm.data.runtime.signals import StopSignals


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_dropped_interrupt_comes_back(number: signal.Signals) -> None:
    stop = StopSignals()
    stop.check()  # nothing has come yet
    with contextlib.suppress(KeyboardInterrupt):  # as pyarrow does while it imports
        os.kill(os.getpid(), number)
    with pytest.raises(KeyboardInterrupt):
        stop.check()
    assert stop.received == number


def test_a_signal_that_is_held_comes_afterwards() -> None:
    stop = StopSignals()
    with stop.held():
        os.kill(os.getpid(), signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # as pyspark sets one of its own
    with pytest.raises(KeyboardInterrupt):
        stop.check()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
