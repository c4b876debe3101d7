"""What a person sees of a conversion: a progress bar, or plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from jllm.data.convert import Converted
from jllm.data.sources import Source
from jllm.data.unit_work import UnitResult
from jllm.data.units import Unit
from jllm.data.visible_text import plain

PLAIN_SECONDS = 10.0
"""Between two plain lines."""
SHOWN = 10
"""Dropped records that are shown; more are in the info file."""


class ConsoleReporter:
    """Reports to a rich console; use it as a context manager."""

    def __init__(self, console: Console, check: Callable[[], None] = lambda: None) -> None:
        """`check` is called after every unit of work; what it raises ends the conversion."""
        self._console, self._check = console, check
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[done]}  {task.fields[rates]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._bytes = self._records = self._tokens = 0
        self._total: int | None = None
        self._began = self._printed = time.monotonic()

    def __enter__(self) -> ConsoleReporter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def begin(self, sources: Sequence[Source], taken: int = 0) -> None:
        """Start counting; called again when a conversion starts anew.

        `taken`: bytes of the sources that were converted before.
        """
        sizes = [source.size for source in sources]
        self._total = None if None in sizes else sum(size or 0 for size in sizes)
        self._bytes, self._records, self._tokens = taken, 0, 0
        self._began = self._printed = time.monotonic()

    def advance(self, unit: Unit, result: UnitResult) -> None:
        """Count a unit and show where the conversion is."""
        self._check()
        self._bytes += unit.taken
        self._records += result.read
        self._tokens += result.tokens
        if self._console.is_terminal:
            if self._task is None:
                self._progress.start()
                self._task = self._progress.add_task(
                    "converting", total=self._total, done="", rates=""
                )
            self._progress.update(
                self._task, completed=self._bytes, done=self._done(), rates=self._rates()
            )
        elif time.monotonic() - self._printed >= PLAIN_SECONDS:
            self._printed = time.monotonic()
            self._console.print(f"converting {self._done()}  {self._rates()}", highlight=False)

    def note(self, text: str) -> None:
        """Print a line."""
        self._console.print(plain(f"note: {text}"), soft_wrap=True)

    def close(self, converted: Sequence[Converted], output: str) -> None:
        """Print the closing table and the dropped records that are listed."""
        self._stop()
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("file", "records", "written", "rows", "fill", "tokens", "trained"):
            table.add_column(name, justify="left" if name == "file" else "right", overflow="fold")
        for one in converted:
            account = one.account
            counts = (account.read, account.written, one.rows)
            tokens = (account.tokens, account.trained_tokens)
            table.add_row(
                plain(one.source.relative),
                *(f"{count:,}" for count in counts),
                f"{one.fill:.2%}",
                *(f"{count:,}" for count in tokens),
            )
        self._console.print(plain(f"{output}: {self._rates()}"), soft_wrap=True)
        self._console.print(table)
        for one in converted:
            self._explain(one)

    def _stop(self) -> None:
        if self._task is not None:
            self._progress.stop()

    def _explain(self, one: Converted) -> None:
        """What was dropped and cut, and the first of the records that were dropped."""
        account = one.account
        for what, counts in (("dropped", account.dropped), ("truncated", account.truncated)):
            for reason, count in sorted(counts.items()):
                self.note(f"{one.source.relative}: {count:,} {what}: {reason}")
        for name, problem in account.listed[:SHOWN]:
            self.note(f"{name}:{problem.line}: {problem.reason}: {problem.detail}")
        if len(account.listed) > SHOWN:
            self.note(f"more of them are listed in {one.source.name}_info.json")

    def _done(self) -> str:
        """The share of the input files' bytes, as they lie, or the bytes where it is unknown."""
        if self._total is None:
            return f"{self._bytes / 1e6:,.0f} MB"
        return f"{self._bytes / max(1, self._total):4.0%}"

    def _rates(self) -> str:
        seconds = max(1e-6, time.monotonic() - self._began)
        return (
            f"{self._records:,} records, {self._records / seconds:,.0f} records/s, "
            f"{self._tokens / seconds:,.0f} tokens/s"
        )
