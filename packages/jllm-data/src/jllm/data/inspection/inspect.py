"""`jllm.inspect_data` from settings to what is printed: the report, rows, a step, or a search."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from jllm.data.dataset import Dataset
from jllm.data.inspection.config import InspectConfig
from jllm.data.inspection.find import find_text
from jllm.data.inspection.groups import relative_name
from jllm.data.inspection.html_page import write_page
from jllm.data.inspection.report import make_report
from jllm.data.inspection.shown import find_row, first_rows, show_rows
from jllm.data.inspection.step import show_step
from jllm.data.inspection.terminal import Terminal
from jllm.data.inspection.token_text import TokenText
from jllm.data.inspection.when import SeenSteps
from jllm.data.locations import local_path
from jllm.data.mixture import Mixture, open_mixture
from jllm.data.tokenizer import load_tokenizer
from jllm.data.tokenizer_files import TOKENIZER_FOLDER

PLAIN_SECONDS = 10.0
"""Between two plain lines of progress."""


def inspect_data(config: InspectConfig, console: Console) -> None:
    """Print what the settings ask for. ValueError for what a person can mend."""
    data = open_mixture(config.data)
    if len(data.parts) > 1 and (config.row or config.html):
        raise ValueError("--row and --html are for one data set; give its folder alone")
    text = _token_text(config, data)
    terminal = Terminal(console, chars=config.chars)
    if config.row:
        places = [find_row(data.parts[0], flag) for flag in config.row]
        for row in show_rows(data.parts[0], places, text):
            terminal.row(row)
    elif config.step is not None:
        shown = show_step(
            data, config.step, config.seed, config.global_batch_size, text, decode=config.decode
        )
        terminal.step(shown)
    elif config.find:
        _find(config, data, text, terminal, console)
    else:
        for dataset in data.parts:
            _report(config, dataset, text, terminal, console)


def _token_text(config: InspectConfig, data: Mixture) -> TokenText | None:
    if config.tokenizer:
        return TokenText(load_tokenizer(config.tokenizer))
    kept = (local_path(part.path) / TOKENIZER_FOLDER for part in data.parts)
    found = next((folder for folder in kept if folder.is_dir()), None)
    return None if found is None else TokenText(load_tokenizer(str(found.absolute())))


def _report(
    config: InspectConfig, dataset: Dataset, text: TokenText | None, terminal: Terminal,
    console: Console,
) -> None:  # fmt: skip
    with _Rows(console, "counting", int(dataset.num_rows * config.sample)) as rows:
        report = make_report(
            dataset, text, rows=config.rows, sample=config.sample, progress=rows.advance
        )
    terminal.report(report)
    if config.html:
        write_page(report, Path(config.html), chars=config.chars)
        terminal.note(f"written: {config.html}")


def _find(
    config: InspectConfig, data: Mixture, text: TokenText | None, terminal: Terminal,
    console: Console,
) -> None:  # fmt: skip
    if text is None:
        raise ValueError(
            f"--find: {config.data} keeps no tokenizer: give --tokenizer DIR, the one that made it"
        )
    with _Rows(console, "searching", data.num_rows) as rows:
        count = 0
        for line in _lines(config, data, text, rows.advance):
            terminal.note(line)
            count += 1
    terminal.note(f"{count:,} documents hold {config.find!r}")


def _lines(
    config: InspectConfig, data: Mixture, text: TokenText, progress: Callable[[int], None]
) -> Iterator[str]:
    size, steps = config.global_batch_size, None
    if size:
        steps = SeenSteps([part.group_rows for part in data.parts], data.shares(size), config.seed)
    for number, dataset in enumerate(data.parts):
        prefix = f"{dataset.path.name}/" if len(data.parts) > 1 else ""
        firsts = first_rows(dataset)
        for hit in find_text(dataset, config.find, text, progress):
            file = prefix + relative_name(dataset, dataset.row_groups[hit.group].file)
            seen = []
            for epoch in range(config.epochs if steps else 0):
                step = steps.find(number, epoch, hit.group, hit.row) if steps else None
                seen.append(f"not in epoch {epoch}" if step is None else f"step {step:,}")
            origin = f"{hit.source}:{hit.record}" if hit.record is not None else "source not kept"
            times = f"{hit.count:,} times" if hit.count > 1 else "once"
            across = ", begins in the row before" if hit.before else ""
            place = f"row {file}:{firsts[hit.group] + hit.row}, document {hit.document}"
            yield "  ".join((origin, place, times + across, ", ".join(seen))).rstrip()


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
