"""Settings of `jllm.raw2ids_spark`, and the checks that need neither Spark nor data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from jllm.data.convert.config import Raw2IdsConfig, check_config
from jllm.data.format.kinds import Compression


@dataclass(frozen=True, kw_only=True)
class SparkConfig:
    """Convert raw text or chats to packed token ids as a Spark job."""

    tokenizer: str
    """Folder on the driver with tokenizer.json and tokenizer_config.json; Spark distributes it."""
    input_path: Annotated[str, tyro.conf.arg(aliases=["-i", "--input"])]
    """A file, or a folder (read recursively), on any file system that Spark reads: a path, hdfs://…,
    s3a://…. The formats are those of jllm.raw2ids (.jsonl, .txt, also .gz and .zst)."""
    output_path: Annotated[str, tyro.conf.arg(aliases=["-o", "--output"])]
    """Folder to write to, on any file system that Spark writes."""
    type: Annotated[str, tyro.conf.arg(aliases=["-t"])] = "pretrain"
    """pretrain: text. ft: chats. rl: prompts."""
    max_seq_length: Annotated[int, tyro.conf.arg(aliases=["--max_len"])] = 2048
    """Ids in a row; a row gives max_seq_length - 1 positions to train on."""
    num_partitions: int | None = None
    """Tasks that convert; None: Spark's default for shuffles. The rows do not depend on it."""
    num_lines_per_partition: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 100_000
    """Records of a file that are packed together; the rows are those of jllm.raw2ids -n. One task
    holds one such partition at a time."""
    stack: bool = False
    """pretrain: concatenate documents and cut rows of exactly max_seq_length ids."""
    pad: bool = False
    """Pad packed rows to max_seq_length ids (readers pad by themselves)."""
    filter: bool = False
    """ft: drop chats with nothing to train on."""
    on_error: Literal["stop", "skip"] = "stop"
    """What to do with an unusable record: stop with its file and line, or skip, count and list
    it."""
    clean: Annotated[bool, tyro.conf.arg(aliases=["-C"])] = False
    """Replace the output folder if it holds only what this command wrote."""
    compress: Annotated[Compression, tyro.conf.arg(aliases=["-c"])] = "zstd"
    """Compression of the parquet files."""
    template_kwargs: str = "{}"
    """ft, rl: variables for the chat template as JSON."""
    fast: Literal["auto", "off"] = "auto"
    """auto: gigatoken on texts where it gives the same ids as tokenizers; off: only tokenizers."""


def conversion(config: SparkConfig) -> Raw2IdsConfig:
    """Return the equivalent settings of the local conversion, checked. Raises ValueError."""
    if config.num_partitions is not None and config.num_partitions < 1:
        raise ValueError(f"--num_partitions {config.num_partitions}: expected at least 1")
    if config.max_seq_length < 2:
        raise ValueError(f"--max_seq_length {config.max_seq_length}: expected at least 2")
    made = Raw2IdsConfig(
        tokenizer=config.tokenizer,
        input=config.input_path,
        output=config.output_path,
        type=config.type,
        max_len=config.max_seq_length,
        stack=config.stack,
        pad=config.pad,
        filter=config.filter,
        on_error=config.on_error,
        clean=config.clean,
        cores=1,
        compress=config.compress,
        num_lines_per_partition=config.num_lines_per_partition,
        template_kwargs=config.template_kwargs,
        fast=config.fast,
    )
    check_config(made)
    return made
