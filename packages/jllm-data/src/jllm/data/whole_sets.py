"""The tools for whole data sets, as functions that return their results."""

from __future__ import annotations

import html
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from jllm.data.runtime.kept_report import PrintedReport, kept_progress
from jllm.data.runtime.keywords import accepts, config_of, keywords_in_errors
from jllm.data.tools.inspect import config as inspection
from jllm.data.tools.inspect.html_page import page
from jllm.data.tools.inspect.inspect import inspect_data
from jllm.data.tools.inspect.report import Report
from jllm.data.tools.repartition import repartition as parts
from jllm.data.tools.repartition.config import RepartitionConfig, check_repartition_config
from jllm.data.tools.shuffle import shuffle as shuffling
from jllm.data.tools.shuffle.config import ShuffleConfig, check_shuffle_config
from jllm.data.tools.verify import verify as checking
from jllm.data.tools.verify.config import VerifyConfig, check_verify_config

Folder = str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True, repr=False)
class ShuffledData(PrintedReport):
    """The result of `shuffle`."""

    output: Path
    rows: int
    files: int


@dataclass(frozen=True, kw_only=True, repr=False)
class PartedData(PrintedReport):
    """The result of `repartition`."""

    output: Path
    parts: tuple[Path, ...]
    """The folders, each a data set; empty where a repartition was undone."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Verification(PrintedReport):
    """The result of `verify`; true where the data set is sound."""

    findings: tuple[str, ...]
    """The first faults found."""
    total: int
    """The number of all faults."""
    rows: int
    files: int

    def __bool__(self) -> bool:
        """Return whether nothing is wrong."""
        return not self.total


@dataclass(frozen=True, kw_only=True, repr=False)
class Inspection(PrintedReport):
    """The result of `inspect`; a notebook shows the page of `--html`."""

    reports: tuple[Report, ...]
    """A report on each data set; empty where rows, a step or a text were requested."""
    chars: int

    def _repr_html_(self) -> str:
        """Return the page of the report in an iframe."""
        if len(self.reports) != 1:
            return super()._repr_html_()
        whole = html.escape(page(self.reports[0], chars=self.chars))
        return f'<iframe srcdoc="{whole}" width="100%" height="800" sandbox=""></iframe>'


@accepts(ShuffleConfig)
def shuffle(
    datasets: Folder | list[Folder],
    output: Folder,
    *,
    console: Console | None = None,
    **settings: Any,
) -> ShuffledData:
    """Shuffle the rows of data sets to `output`, as `python -m jllm.shuffle_datasets` does.

    `datasets`: a folder, or a list of folders that become one data set. `settings` are the flags of
    that command. `console`: where progress is shown; None for no output. Raises ValueError that
    names the keyword or the data set.
    """
    if isinstance(datasets, list):
        datasets = ",".join(str(os.fspath(one)) for one in datasets)
    with keywords_in_errors(ShuffleConfig), kept_progress(console) as progress:
        config = config_of(ShuffleConfig, {"datasets": datasets, "output": output} | settings)
        check_shuffle_config(config)
        done = shuffling.shuffle(config, progress)
        progress.note(
            f"{config.output}: {done.rows:,} rows in {done.files:,} files, every row once"
        )
    return ShuffledData(
        text=progress.text, output=config.output_folder, rows=done.rows, files=done.files
    )


@accepts(RepartitionConfig)
def repartition(
    dataset: Folder, num_partition: int = 16, *, console: Console | None = None, **settings: Any
) -> PartedData:
    """Distribute the files of a data set to parts, as `python -m jllm.repartition` does.

    Without `output` the files are moved within the data set, and `undo=True` moves them back.
    Raises ValueError that names the keyword, or the obstacle; the same call then continues from
    there.
    """
    with keywords_in_errors(RepartitionConfig), kept_progress(console) as progress:
        values = {"dataset": dataset, "num_partition": num_partition} | settings
        config = config_of(RepartitionConfig, values)
        check_repartition_config(config)
        progress.note(parts.repartition(config))
    folders = () if config.undo else tuple(sorted(config.target.glob("*-part-*")))
    return PartedData(text=progress.text, output=config.target, parts=folders)


@accepts(VerifyConfig)
def verify(folder: Folder, *, console: Console | None = None, **settings: Any) -> Verification:
    """Check every byte and row of a data set, as `python -m jllm.verify_data` does.

    Faults of the data are in the result. Raises ValueError where nothing can be checked.
    """
    with keywords_in_errors(VerifyConfig), kept_progress(console) as progress:
        config = config_of(VerifyConfig, {"folder": folder} | settings)
        check_verify_config(config)
        found = checking.verify(config, progress)
        for finding in found.findings:
            progress.note(finding)
        wrong = f"{found.total:,} findings" if found.total else "nothing wrong"
        progress.note(f"{config.folder}: {found.rows:,} rows in {found.files:,} files, {wrong}")
    return Verification(
        text=progress.text,
        findings=tuple(found.findings),
        total=found.total,
        rows=found.rows,
        files=found.files,
    )


@accepts(inspection.InspectConfig)
def inspect(data: Folder, *, console: Console | None = None, **settings: Any) -> Inspection:
    """Show what a data set holds, as `python -m jllm.inspect_data` does.

    `settings` are the flags of that command: `step=…` shows a training step's batch, `find=…` where
    a text is, `row=…` single rows. Raises ValueError that names the keyword or the damaged file.
    """
    with keywords_in_errors(inspection.InspectConfig), kept_progress(console) as progress:
        config = config_of(inspection.InspectConfig, {"data": data} | settings)
        inspection.check_config(config)
        reports = inspect_data(config, progress)
    return Inspection(text=progress.text, reports=tuple(reports), chars=config.chars)
