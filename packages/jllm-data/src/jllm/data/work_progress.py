"""What a person sees of a command that moves rows: a bar, or plain lines without a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from jllm.data.visible_text import plain

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
            TextColumn("{task.percentage:3.0f} %  {task.fields[done]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._name, self._unit, self._done, self._total = "", "", 0, 0
        self._began = self._printed = time.monotonic()

    def begin(self, name: str, total: int, unit: str) -> None:
        """A phase begins: `total` of `unit` will be done."""
        self._check()
        self._name, self._unit, self._done, self._total = name, unit, 0, total
        self._began = self._printed = time.monotonic()
        if self.console.is_terminal:
            if self._task is None:
                self._progress.start()
            else:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(name, total=total, done="")

    def advance(self, amount: int) -> None:
        """So much more is done."""
        self._check()
        self._done += amount
        if self._task is not None:
            self._progress.update(self._task, completed=self._done, done=self._state())
        elif time.monotonic() - self._printed >= PLAIN_SECONDS:
            self._printed = time.monotonic()
            share = self._done / max(1, self._total)
            self.console.print(f"{self._name} {share:4.0%}  {self._state()}", highlight=False)

    def note(self, text: str) -> None:
        """Print a line."""
        self.console.print(plain(text), soft_wrap=True)

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

    def _state(self) -> str:
        seconds = max(1e-6, time.monotonic() - self._began)
        return f"{self._done:,} {self._unit}, {self._done / seconds:,.0f} {self._unit}/s"
