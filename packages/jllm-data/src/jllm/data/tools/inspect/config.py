"""The settings of `jllm.inspect_data`, and every check that needs no data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class InspectConfig:
    """Show what a data set holds, what a training step sees, and where a text is."""

    data: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
    """Folder of parquet files that jllm.raw2ids or Spark wrote, a URL, or a mixture a:0.7,b:0.3."""
    tokenizer: str = ""
    """Folder of the tokenizer that decodes; empty: the one that the data set keeps."""
    html: str = ""
    """Write the report to this file as well: one page that needs nothing else."""
    rows: int = 2
    """Rows that the report shows decoded, evenly spread over the data set."""
    chars: int = 600
    """Of a document, about the most characters shown: its longest texts are cut; 0: all."""
    sample: float = 1.0
    """The part of the row groups that is counted, evenly spread (0.1 for a first look)."""
    row: tuple[str, ...] = ()
    """Show these rows instead of the report, each FILE:INDEX, counted from 0."""
    step: int | None = None
    """List the documents that this training step sees, instead of the report. Counted from 1, as
    training counts."""
    find: Annotated[str | None, tyro.conf.arg(constructor=str, help_behavior_hint="")] = None
    """List the documents that hold this text, exactly as it is written, and with
    --global_batch_size the steps at which they are seen."""
    seed: int = 1234
    """The seed of the training run (as in jllm.train_pipe)."""
    global_batch_size: int = 0
    """Rows of a training step."""
    epochs: int = 1
    """--find: list the steps of so many epochs."""
    decode: bool = False
    """--step: show the text of the documents as well."""


def check_config(config: InspectConfig) -> None:
    """Raise ValueError for a setting, or a combination, that cannot be meant."""
    chosen = [
        flag
        for flag, given in (
            ("--row", bool(config.row)),
            ("--step", config.step is not None),
            ("--find", config.find is not None),
        )
        if given
    ]
    if len(chosen) > 1:
        raise ValueError(f"{' and '.join(chosen)}: give one of them at a time")
    for flag in ("html", "sample"):
        if chosen and getattr(config, flag) != getattr(InspectConfig, flag):
            raise ValueError(f"--{flag}: is for the report; leave it or {chosen[0]} out")
    if config.find == "":
        raise ValueError("--find: the text is empty")
    if config.html and not Path(config.html).parent.is_dir():
        raise ValueError(f"--html {config.html}: {Path(config.html).parent} is not a folder")
    if config.step is not None and config.step < 1:
        raise ValueError(f"--step {config.step}: expected 1 or more; step 1 is the first of a run")
    if config.step is not None and not config.global_batch_size:
        raise ValueError("--step: which rows it sees depends on --global_batch_size: give it")
    if config.global_batch_size < 0:
        raise ValueError(f"--global_batch_size {config.global_batch_size}: expected at least 1")
    if config.decode and config.step is None:
        raise ValueError("--decode: is for --step; --row shows text anyway")
    if not 0 < config.sample <= 1:
        raise ValueError(f"--sample {config.sample}: expected more than 0 and at most 1")
    for name, least in (("rows", 0), ("chars", 0), ("epochs", 1)):
        if getattr(config, name) < least:
            raise ValueError(f"--{name} {getattr(config, name)}: expected at least {least}")
