"""What a person sees of a run's steps: a line for each that is done, and one that moves below them.

Step, loss, tokens a second and the time left are on every line, whatever the width of the terminal;
the rest goes by rank where there is no room. A file has no width and gets everything.
"""

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from jllm.data.runtime.fields import GAP, Field, brief, clock, fit

LEAST_BAR, MOST_BAR = 8, 40
"""Columns of the bar; where there are fewer, it is left out."""


class StepDisplay:
    """Shows the steps of a run on a console. Used as a rich renderable, it is the moving line."""

    def __init__(self, console: Console, *, first_step: int, total_steps: int) -> None:
        """Start the clock and, on a terminal, the moving line.

        Args:
            console: where to show it.
            first_step: steps done before, for a run that resumes.
            total_steps: steps of the whole run.
        """
        self._console, self._first, self._total = console, first_step, total_steps
        self._done, self._values = first_step, dict[str, Any]()
        self._start = time.monotonic()
        self._live = Live(self, console=console, transient=True, refresh_per_second=4)
        if console.is_terminal:
            self._live.start()

    def step(self, values: Mapping[str, Any], *, shown: bool) -> None:
        """Take the figures of a step that is done; `shown`: prints them, as for the last step."""
        self._done, self._values = int(values["step"]), dict(values)
        if shown or self._done == self._total:
            width = self._console.width if self._console.is_terminal else None
            for line in fit(self._fields(), width):
                self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Take the moving line away; the lines of the steps stay."""
        self._live.stop()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the moving line, with a bar where there is room for one."""
        elapsed = clock(time.monotonic() - self._start)
        lines = fit([*self._fields(), Field(text=f"after {elapsed}", rank=9)], options.max_width)
        room = options.max_width - len(lines[0]) - len(GAP)
        if len(lines) > 1 or room < LEAST_BAR:
            yield from (Text(line, no_wrap=True) for line in lines)
            return
        grid = Table.grid(padding=(0, len(GAP), 0, 0), pad_edge=False)
        bar = ProgressBar(total=self._total, completed=self._done, width=min(room, MOST_BAR))
        grid.add_row(Text(lines[0], no_wrap=True), bar)
        yield grid

    def _fields(self) -> list[Field]:
        values = self._values
        fields = [Field(text=f"step {self._done}/{self._total}")]
        if values:
            rate = values["tokens_per_second"]
            fields += [
                Field(text=f"loss {values['loss']:.4f}"),
                Field(text=f"lr {values['learning_rate']:.2e}", rank=1),
                Field(text=f"norm {values['gradient_norm']:.3f}", rank=2),
                Field(text=f"{rate:,.0f} tokens/s", short=f"{brief(rate)} tok/s"),
                Field(text=f"MFU {values['mfu']:.1%}", rank=3),
                Field(text=f"{values['memory_bytes'] / 2**30:.2f} GiB", rank=4),
            ]
        if "expert_imbalance" in values:
            fields.append(Field(text=f"experts {values['expert_imbalance']:.2f}×", rank=5))
        if self._done > self._first:
            each = (time.monotonic() - self._start) / (self._done - self._first)
            fields.append(Field(text=f"left {clock(each * (self._total - self._done))}"))
        return fields
