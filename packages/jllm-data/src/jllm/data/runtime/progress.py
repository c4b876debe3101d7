"""Progress of a command: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from jllm.data.runtime.fields import GAP, Field, clock, fit
from jllm.data.runtime.printable import as_rich_text

PLAIN_SECONDS = 10.0
"""The seconds between two plain lines."""
LEAST_BAR, MOST_BAR = 8, 40
"""The width of the bar in columns; it is left out where there is less room."""


class PhaseProgress(Protocol):
    """The interface through which work reports its progress."""

    def begin(self, name: str, total: int, unit: str) -> None:
        """Begin a phase."""

    def advance(self, amount: int) -> None:
        """Count `amount` more of the phase as done."""


class WorkProgress:
    """The progress of work in phases, each with a total. A context manager."""

    def __init__(self, console: Console, check: Callable[[], None] = lambda: None) -> None:
        """`check` is called at every step; an exception from it ends the work."""
        self.console, self._check = console, check
        self._live: Live | None = None
        self._name, self._unit, self._done, self._before = "", "", 0, 0
        self._state: str | None = None
        self._total: int | None = 0
        self._began = self._printed = time.monotonic()

    @property
    def seconds(self) -> float:
        """The seconds since the phase began; never 0."""
        return max(1e-6, time.monotonic() - self._began)

    def begin(self, name: str, total: int | None, unit: str, *, done: int = 0) -> None:
        """Begin a phase of `total` units, `done` of which were done before.

        `total`: None for an unknown number of bytes.
        """
        self._check()
        self._name, self._unit, self._done, self._total = name, unit, done, total
        self._before, self._state = done, None
        self._began = self._printed = time.monotonic()
        if self.console.is_terminal and self._live is None:
            self._live = Live(self, console=self.console, transient=True, refresh_per_second=4)
            self._live.start()

    def advance(self, amount: int, state: str | None = None) -> None:
        """Count `amount` more as done; `state` replaces the number of units after the share."""
        self._check()
        self._done, self._state = self._done + amount, state
        if self._live is None and time.monotonic() - self._printed >= PLAIN_SECONDS:
            self._printed = time.monotonic()
            (line,) = fit(self._fields(), None)
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """Print a line."""
        self.console.print(as_rich_text(text), soft_wrap=True)

    def end(self) -> None:
        """Remove the bar; further output is printed."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __enter__(self) -> Self:
        """Return the display itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the bar."""
        self.end()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the line for a terminal, with a bar where there is room."""
        lines = fit(self._fields(), options.max_width)
        room = options.max_width - len(lines[0]) - len(GAP)
        if len(lines) > 1 or room < LEAST_BAR:
            yield from (Text(line, no_wrap=True) for line in lines)
            return
        bar = ProgressBar(total=self._total, completed=self._done, width=min(room, MOST_BAR))
        grid = Table.grid(padding=(0, len(GAP), 0, 0), pad_edge=False)
        grid.add_row(Text(lines[0], no_wrap=True), bar)
        yield grid

    def _fields(self) -> list[Field]:
        """Return the share, the amount done, the speed and the time left.

        The last two are always shown.
        """
        share = f"{self._done / 1e6:,.0f} MB"
        if self._total is not None:
            share = f"{self._done / max(1, self._total):.0%}"
        rate = f"{self._done / self.seconds:,.0f} {self._unit}/s"
        *others, last = (self._state or f"{self._done:,} {self._unit}, {rate}").split(", ")
        fields = [Field(text=f"{self._name} {share}")]
        fields += [Field(text=text, rank=len(others) - n) for n, text in enumerate(others)]
        fields.append(Field(text=last))
        new = self._done - self._before
        if self._total is not None and new > 0:
            left = self.seconds / new * max(0, self._total - self._done)
            fields.append(Field(text=f"left {clock(left)}"))
        return fields
