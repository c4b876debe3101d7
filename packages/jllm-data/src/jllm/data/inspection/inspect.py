"""`jllm.inspect_data` from settings to what is printed: the report, rows, a step, or a search."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from jllm.data.dataset import Dataset, open_dataset
from jllm.data.inspection.config import InspectConfig
from jllm.data.inspection.find import Hit, find_text
from jllm.data.inspection.groups import relative_name
from jllm.data.inspection.html_page import write_page
from jllm.data.inspection.report import make_report
from jllm.data.inspection.shown import find_row, first_rows, show_rows
from jllm.data.inspection.step import show_step
from jllm.data.inspection.terminal import Terminal
from jllm.data.inspection.token_text import TokenText
from jllm.data.inspection.when import SeenSteps
from jllm.data.tokenizer import load_tokenizer

KEPT_TOKENIZER = "tokenizer"
"""Folder in the data set."""
PLAIN_SECONDS = 10.0
"""Between two plain lines of progress."""


def inspect_data(config: InspectConfig, console: Console) -> None:
    """Print what the settings ask for. ValueError for what a person can mend."""
    dataset = open_dataset(Path(config.data))
    text = _token_text(config, dataset)
    terminal = Terminal(console, chars=config.chars)
    if config.row:
        places = [find_row(dataset, flag) for flag in config.row]
        for row in show_rows(dataset, places, text):
            terminal.row(row)
    elif config.step is not None:
        shown = show_step(
            dataset, config.step, config.seed, config.global_batch_size, text, decode=config.decode
        )
        terminal.step(shown, decode=config.decode)
    elif config.find:
        _find(config, dataset, text, terminal, console)
    else:
        total = int(dataset.num_rows * config.sample)
        with _Rows(console, "counting", total) as rows:
            report = make_report(
                dataset, text, rows=config.rows, sample=config.sample, progress=rows.advance
            )
        terminal.report(report)
        if config.html:
            write_page(report, Path(config.html), chars=config.chars)
            terminal.note(f"written: {config.html}")


def _token_text(config: InspectConfig, dataset: Dataset) -> TokenText | None:
    kept = dataset.path / KEPT_TOKENIZER
    if config.tokenizer:
        return TokenText(load_tokenizer(config.tokenizer))
    return TokenText(load_tokenizer(str(kept.absolute()))) if kept.is_dir() else None


def _find(
    config: InspectConfig, dataset: Dataset, text: TokenText | None, terminal: Terminal,
    console: Console,
) -> None:  # fmt: skip
    if text is None:
        raise ValueError(
            f"--find: {dataset.path} keeps no tokenizer: give --tokenizer DIR, the one that made it"
        )
    with _Rows(console, "searching", dataset.num_rows) as rows:
        hits = find_text(dataset, config.find, text, rows.advance)
        count = terminal.found(_lines(config, dataset, hits), ("", "row", "document", "times", ""))
    terminal.note(f"{count:,} documents hold {config.find!r}")


def _lines(
    config: InspectConfig, dataset: Dataset, hits: Iterator[Hit]
) -> Iterator[tuple[str, ...]]:
    size = config.global_batch_size
    steps = SeenSteps(dataset.group_rows, config.seed, size) if size else None
    firsts = first_rows(dataset)
    for hit in hits:
        file = relative_name(dataset, dataset.row_groups[hit.group].file)
        seen = []
        for epoch in range(config.epochs if steps else 0):
            at = steps.find(epoch, hit.group, hit.row) if steps else None
            seen.append(f"step {at.step:,} lane {at.lane:,}" if at else f"not in epoch {epoch}")
        yield (
            f"{hit.source}:{hit.record}" if hit.record is not None else "source not kept",
            f"{file}:{firsts[hit.group] + hit.row}",
            str(hit.document),
            f"{hit.count:,}" + (" (begins in the row before)" if hit.before else ""),
            ", ".join(seen),
        )


class _Rows:
    """A progress bar over rows in a terminal, plain lines elsewhere. A context manager."""

    def __init__(self, console: Console, what: str, total: int) -> None:
        self._console, self._what, self._total, self._done = console, what, total, 0
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"),
            TimeRemainingColumn(), console=console, transient=True,
            disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._progress.add_task(what, total=total)
        self._printed = time.monotonic()

    def __enter__(self) -> _Rows:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def advance(self, rows: int) -> None:
        """Count `rows` more."""
        self._done += rows
        self._progress.advance(self._task, rows)
        if not self._console.is_terminal and time.monotonic() - self._printed >= PLAIN_SECONDS:
            self._printed = time.monotonic()
            part = min(1.0, self._done / max(1, self._total))
            self._console.print(f"{self._what} {part:4.0%}", highlight=False)
