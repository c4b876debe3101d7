"""SIGINT and SIGTERM as KeyboardInterrupt, remembered in case a library drops the exception."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class StopSignals:
    """A handler that turns SIGINT and SIGTERM into KeyboardInterrupt, and remembers them.

    The exception alone may be lost: pyarrow drops any exception while it looks for optional
    modules. So a command checks again after every unit of work.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._held = False
        self._take_over()

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal has come."""
        if self.received is not None:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold signals back within the context, which may set handlers of its own.

        `check` afterwards raises for a signal that came meanwhile.
        """
        self._held = True
        try:
            yield
        finally:
            self._held = False
            self._take_over()

    def _take_over(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        if not self._held:
            raise KeyboardInterrupt
