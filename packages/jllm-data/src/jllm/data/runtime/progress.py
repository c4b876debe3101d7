"""What a person sees of a command at work: a bar, or plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from jllm.data.runtime.printable import as_rich_text

PLAIN_SECONDS = 10.0
"""Between two plain lines."""


class WorkProgress:
    """Phases of work, each with a total; use it as a context manager."""

    def __init__(self, console: Console, check: Callable[[], None] = lambda: None) -> None:
        """`check` is called at every step; what it raises ends the work."""
        self.console, self._check = console, check
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[shown]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._name, self._unit, self._done = "", "", 0
        self._total: int | None = 0
        self._began = self._printed = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the phase began; never 0."""
        return max(1e-6, time.monotonic() - self._began)

    def begin(self, name: str, total: int | None, unit: str, *, done: int = 0) -> None:
        """A phase begins: `total` of `unit` are to be done, `done` of them were before.

        `total`: None for bytes of which nobody knows how many there are.
        """
        self._check()
        self._name, self._unit, self._done, self._total = name, unit, done, total
        self._began = self._printed = time.monotonic()
        if self.console.is_terminal:
            if self._task is None:
                self._progress.start()
            else:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(name, total=total, completed=done, shown="")

    def advance(self, amount: int, state: str | None = None) -> None:
        """So much more is done; `state` is shown behind the share, else the number of units."""
        self._check()
        self._done += amount
        if self._task is not None:
            self._progress.update(self._task, completed=self._done, shown=self._shown(state))
        elif time.monotonic() - self._printed >= PLAIN_SECONDS:
            self._printed = time.monotonic()
            self.console.print(f"{self._name} {self._shown(state)}", highlight=False)

    def note(self, text: str) -> None:
        """Print a line."""
        self.console.print(as_rich_text(text), soft_wrap=True)

    def end(self) -> None:
        """Take the bar away: what follows is print."""
        if self._task is not None:
            self._progress.stop()
            self._task = None

    def __enter__(self) -> Self:
        """The display itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        self.end()

    def _shown(self, state: str | None) -> str:
        share = f"{self._done / 1e6:,.0f} MB"
        if self._total is not None:
            share = f"{self._done / max(1, self._total):4.0%}"
        rate = f"{self._done / self.seconds:,.0f} {self._unit}/s"
        return f"{share}  {state or f'{self._done:,} {self._unit}, {rate}'}"
