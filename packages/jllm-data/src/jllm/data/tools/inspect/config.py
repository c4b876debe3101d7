"""Settings of `jllm.inspect_data`, and the checks that need no data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class InspectConfig:
    """Show what a data set holds, what a training step sees, and where a text occurs."""

    data: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
    """Folder of parquet files written by jllm.raw2ids or Spark, a URL, or a mixture a:0.7,b:0.3."""
    tokenizer: str = ""
    """Folder of the tokenizer for decoding; empty: the one kept in the data set."""
    html: str = ""
    """Also write the report to this file, as one self-contained page."""
    rows: int = 2
    """Number of decoded rows in the report, evenly spread over the data set."""
    chars: int = 600
    """The most characters shown of a document, roughly: its longest texts are cut; 0: all."""
    sample: float = 1.0
    """Share of the row groups to count, evenly spread (0.1 for a first look)."""
    row: tuple[str, ...] = ()
    """Show these rows instead of the report, each FILE:INDEX, counted from 0."""
    step: int | None = None
    """List the documents of this training step instead of the report. Counted from 1, as in
    training."""
    find: Annotated[str | None, tyro.conf.arg(constructor=str, help_behavior_hint="")] = None
    """List the documents that contain exactly this text and, with --global_batch_size, the steps at
    which they are seen."""
    seed: int = 1234
    """The seed of the training run (as in jllm.train_pipe)."""
    global_batch_size: int = 0
    """Rows of a training step."""
    epochs: int = 1
    """--find: list the steps of this many epochs."""
    decode: bool = False
    """--step: also show the text of the documents."""


def check_config(config: InspectConfig) -> None:
    """Raise ValueError for an invalid setting, or an invalid combination."""
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
