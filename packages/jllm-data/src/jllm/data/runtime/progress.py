"""What a person sees of a command at work: a bar, or plain lines where there is no terminal."""

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
"""Between two plain lines."""
LEAST_BAR, MOST_BAR = 8, 40
"""Columns of the bar; where there are fewer, it is left out."""


class PhaseProgress(Protocol):
    """What is told to a person meanwhile."""

    def begin(self, name: str, total: int, unit: str) -> None:
        """Begin a phase."""

    def advance(self, amount: int) -> None:
        """So much more of it is done."""


class WorkProgress:
    """Phases of work, each with a total; use it as a context manager."""

    def __init__(self, console: Console, check: Callable[[], None] = lambda: None) -> None:
        """`check` is called at every step; what it raises ends the work."""
        self.console, self._check = console, check
        self._live: Live | None = None
        self._name, self._unit, self._done, self._before = "", "", 0, 0
        self._state: str | None = None
        self._total: int | None = 0
        self._began = self._printed = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the phase began; never 0."""
        return max(1e-6, time.monotonic() - self._began)

    def begin(self, name: str, total: int | None, unit: str, *, done: int = 0) -> None:
        """Begin a phase: `total` of `unit` are to be done, `done` of them were before.

        `total`: None for bytes of which nobody knows how many there are.
        """
        self._check()
        self._name, self._unit, self._done, self._total = name, unit, done, total
        self._before, self._state = done, None
        self._began = self._printed = time.monotonic()
        if self.console.is_terminal and self._live is None:
            self._live = Live(self, console=self.console, transient=True, refresh_per_second=4)
            self._live.start()

    def advance(self, amount: int, state: str | None = None) -> None:
        """So much more is done; `state` is shown behind the share, else the number of units."""
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
        """Take the bar away: what follows is print."""
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
        """Take the bar away."""
        self.end()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the line on a terminal, with a bar where there is room for one."""
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
        """Return the share, what was done and how fast, and the time left; the last two always."""
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
