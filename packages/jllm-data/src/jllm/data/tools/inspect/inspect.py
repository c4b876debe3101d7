"""Run `jllm.inspect_data` with its settings: print the report, rows, a step, or a search."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from jllm.data.format.file_names import TOKENIZER_FOLDER
from jllm.data.reading.dataset import Dataset
from jllm.data.reading.mixture import DataMixture, open_mixture, parse_mixture
from jllm.data.runtime.progress import WorkProgress
from jllm.data.storage.paths import Location, location, relative_name
from jllm.data.tokenizer.load import load_tokenizer
from jllm.data.tools.inspect.config import InspectConfig
from jllm.data.tools.inspect.find import find_text
from jllm.data.tools.inspect.html_page import write_page
from jllm.data.tools.inspect.read_counts import read_account
from jllm.data.tools.inspect.report import Report, make_report
from jllm.data.tools.inspect.row_view import find_row, first_rows, show_rows
from jllm.data.tools.inspect.seen_steps import SeenSteps
from jllm.data.tools.inspect.step import show_step
from jllm.data.tools.inspect.terminal import Terminal
from jllm.data.tools.inspect.token_text import TokenText


def inspect_data(config: InspectConfig, progress: WorkProgress) -> list[Report]:
    """Print what the settings request. Raises ValueError for what the user can mend.

    Returns the reports of the data sets; none if something else was requested.
    """
    data = open_mixture(config.data)
    if len(data.parts) > 1 and (config.row or config.html):
        raise ValueError("--row and --html are for one data set; give its folder alone")
    text = _token_text(config, data)
    terminal = Terminal(progress.console, chars=config.chars)
    if config.row:
        places = [find_row(data.parts[0], flag) for flag in config.row]
        for row in show_rows(data.parts[0], places, text):
            terminal.row(row)
    elif config.step is not None:
        shown = show_step(
            data, config.step, config.seed, config.global_batch_size, text, decode=config.decode
        )
        terminal.step(shown)
    elif config.find is not None:
        _find(config, config.find, data, text, terminal, progress)
    else:
        named = zip(data.parts, parse_mixture(config.data), strict=True)
        return [
            _report(config, dataset, location(name), text, terminal, progress)
            for dataset, (name, _) in named
        ]
    return []


def _token_text(config: InspectConfig, data: DataMixture) -> TokenText | None:
    if config.tokenizer:
        return TokenText(load_tokenizer(config.tokenizer))
    local = [part.path for part in data.parts if isinstance(part.path, Path)]
    kept = (path / TOKENIZER_FOLDER for path in local)
    found = next((folder for folder in kept if folder.is_dir()), None)
    return None if found is None else TokenText(load_tokenizer(str(found.absolute())))


def _report(
    config: InspectConfig, dataset: Dataset, place: Location, text: TokenText | None,
    terminal: Terminal, progress: WorkProgress,
) -> Report:  # fmt: skip
    progress.begin("counting", int(dataset.num_rows * config.sample), "rows")
    report = make_report(
        dataset,
        text,
        account=read_account(place),
        rows=config.rows,
        sample=config.sample,
        progress=progress.advance,
    )
    progress.end()
    terminal.report(report)
    if config.html:
        write_page(report, Path(config.html), chars=config.chars)
        terminal.note(f"written: {config.html}")
    return report


def _find(
    config: InspectConfig, wanted: str, data: DataMixture, text: TokenText | None,
    terminal: Terminal, progress: WorkProgress,
) -> None:  # fmt: skip
    if text is None:
        raise ValueError(
            f"--find: {config.data} keeps no tokenizer: give --tokenizer DIR, the one that made it"
        )
    progress.begin("searching", data.num_rows, "rows")
    count = 0
    for line in _lines(config, wanted, data, text, progress.advance):
        terminal.note(line)
        count += 1
    progress.end()
    terminal.note(f"{count:,} documents hold {wanted!r}")


def _lines(
    config: InspectConfig, wanted: str, data: DataMixture, text: TokenText,
    progress: Callable[[int], None],
) -> Iterator[str]:  # fmt: skip
    size, steps = config.global_batch_size, None
    if size:
        steps = SeenSteps([part.group_rows for part in data.parts], data.shares(size), config.seed)
    for number, dataset in enumerate(data.parts):
        prefix = f"{dataset.path.name}/" if len(data.parts) > 1 else ""
        firsts = first_rows(dataset)
        for hit in find_text(dataset, wanted, text, progress):
            file = prefix + relative_name(dataset.row_groups[hit.group].file, dataset.path)
            seen = []
            for epoch in range(config.epochs if steps else 0):
                step = steps.find(number, epoch, hit.group, hit.row) if steps else None
                seen.append(f"not in epoch {epoch + 1}" if step is None else f"step {step + 1:,}")
            origin = f"{hit.source}:{hit.record}" if hit.record is not None else "source not kept"
            times = f"{hit.count:,} times" if hit.count > 1 else "once"
            across = ", begins in the row before" if hit.before else ""
            place = f"row {file}:{firsts[hit.group] + hit.row}, document {hit.document}"
            yield "  ".join((origin, place, times + across, ", ".join(seen))).rstrip()
