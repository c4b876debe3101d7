"""SIGINT and SIGTERM as KeyboardInterrupt, remembered where a library drops the exception."""

from __future__ import annotations

import signal
from types import FrameType


class StopSignals:
    """Turns SIGINT and SIGTERM into KeyboardInterrupt, and remembers them.

    The exception alone may be lost: pyarrow drops whatever is raised while it looks for optional
    modules. So a command asks again after every unit of work.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal has come."""
        if self.received is not None:
            raise KeyboardInterrupt

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        raise KeyboardInterrupt
