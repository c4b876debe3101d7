"""A command's printed output, kept as the text of a result that prints itself."""

from __future__ import annotations

import contextlib
import html
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console

from jllm.data.runtime.progress import WorkProgress

WIDTH = 100
"""The width of a kept text in columns."""
_QUIET = {"TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}


@dataclass(frozen=True, kw_only=True, repr=False)
class PrintedReport:
    """A result that prints as the command's output, in a notebook too."""

    text: str
    """The output of the command."""

    def __str__(self) -> str:
        """Return the text."""
        return self.text

    def __repr__(self) -> str:
        """Return the text."""
        return self.text

    def _repr_html_(self) -> str:
        """Return the text for a notebook."""
        return f"<pre>{html.escape(self.text)}</pre>"


class KeptProgress(WorkProgress):
    """A progress that keeps printed lines and passes phases and lines on to a display, if any."""

    def __init__(self, display: WorkProgress | None) -> None:
        """`display`: shows the progress to the user; None for no display."""
        self._kept, self._display = io.StringIO(), display
        options = {"color_system": None, "force_terminal": False, "force_jupyter": False}
        super().__init__(Console(file=self._kept, width=WIDTH, **options))

    @property
    def text(self) -> str:
        """Everything that was printed, without white space at the ends of lines."""
        return "\n".join(map(str.rstrip, self._kept.getvalue().splitlines())).strip("\n")

    def begin(self, name: str, total: int | None, unit: str, *, done: int = 0) -> None:
        """Begin a phase."""
        super().begin(name, total, unit, done=done)
        if self._display:
            self._display.begin(name, total, unit, done=done)

    def advance(self, amount: int, state: str | None = None) -> None:
        """Advance the phase on the display; nothing is kept."""
        if self._display:
            self._display.advance(amount, state)

    def note(self, text: str) -> None:
        """Keep a line, and show it."""
        super().note(text)
        if self._display:
            self._display.note(text)

    def end(self) -> None:
        """End the display's bar."""
        if self._display:
            self._display.end()


@contextlib.contextmanager
def kept_progress(console: Console | None) -> Iterator[KeptProgress]:
    """Yield a progress for a function of the package: shown on `console`, or silent where None.

    Within the context, libraries print nothing of their own.
    """
    before = {name: os.environ.get(name) for name in _QUIET}
    os.environ |= {name: value for name, value in _QUIET.items() if before[name] is None}
    try:
        if console is None:
            yield KeptProgress(None)
        else:
            with WorkProgress(console) as display:
                yield KeptProgress(display)
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
