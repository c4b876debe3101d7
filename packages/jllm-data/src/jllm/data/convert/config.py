"""Settings of `jllm.raw2ids`, and the checks that need no tokenizer and no data."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jllm.data.format.kinds import Compression, Kind
from jllm.data.format.limits import MAX_LENGTH
from jllm.data.records.input_names import MAX_RECORD_BYTES, base_name

KINDS: dict[str, Kind] = {"ft": "ft", "pretrain": "pretrain", "pretain": "pretrain", "rl": "rl"}
"""Accepted values of --type and their meaning ("pretain" is an old spelling, still accepted)."""


@dataclass(frozen=True, kw_only=True)
class Raw2IdsConfig:
    """Convert raw text or chats to packed token ids in parquet files."""

    tokenizer: str
    """Folder with tokenizer.json and tokenizer_config.json, such as a Hugging Face model folder."""
    input: Annotated[str, tyro.conf.arg(aliases=["-i"])]
    """A file, a folder (read recursively), or - for standard input; compressed if the name ends in
    .gz or .zst. Chats (--type ft): .jsonl, one dialogue a line, as
    [{"user": "…"}, {"assistant": "…"}], {"messages": [{"role": "user", "content": "…"}, …]},
    or in ShareGPT's or Alpaca's form. Text (--type pretrain): .txt, documents separated by empty
    lines, or .jsonl with {"text": "…"}. Also .parquet, .arrow and folders of `datasets`, with these
    columns."""
    stdin_name: str = "stdin.jsonl"
    """With --input -: the file name to treat standard input as (data.txt, data.jsonl.zst, …)."""
    output: Annotated[str, tyro.conf.arg(aliases=["-o"])] = ""
    """Folder to write to; empty: beside the input, <file>_<tokenizer>."""
    type: Annotated[str, tyro.conf.arg(aliases=["-t"])] = "ft"
    """ft: chats, trained on the assistant's answers. pretrain: text, trained on every id. rl:
    prompts to answer, [7, {"user": "…"}] (ft accepts these too) or {"id": 7, "messages": […]}."""
    max_len: int = 2048
    """Ids in a row; a row gives max_len - 1 positions to train on (so 2049 gives 2048)."""
    stack: bool = False
    """pretrain: concatenate documents and cut rows of exactly max_len ids, instead of packing whole
    documents by best fit."""
    pad: bool = False
    """Pad packed rows to max_len ids (readers pad by themselves)."""
    filter: bool = False
    """ft: drop chats with nothing to train on (no answer, or only empty answers)."""
    on_error: Literal["stop", "skip"] = "stop"
    """What to do with an unusable record: stop with its file and line, or skip, count and list
    it."""
    clean: Annotated[bool, tyro.conf.arg(aliases=["-C"])] = False
    """Replace what jllm wrote to the output folder before; other files are never touched."""
    auto_no_thinking: bool = False
    """ft: render chats in which no answer has reasoning (</think>) with the template's
    enable_thinking off, which puts the empty think block into the prompt, where it is not trained;
    other chats are rendered unchanged."""
    cores: int = -1
    """Processes; -1: 80 % of the CPUs. The result does not depend on it."""
    thread: Annotated[bool, tyro.conf.arg(aliases=["-T"])] = False
    """Use threads of one process instead of processes: less memory, but slower, because only the
    encoding of texts runs in parallel. The result does not depend on it."""
    tmp: str = ""
    """Accepted for older command lines and ignored: unfinished files are kept in the output folder,
    where they are renamed in one step when all are done."""
    compress: Annotated[Compression, tyro.conf.arg(aliases=["-c"])] = "zstd"
    """Compression of the parquet files."""
    batch_size: int = 65536
    """Rows in a parquet file."""
    num_lines_per_partition: Annotated[int | None, tyro.conf.arg(aliases=["-n"])] = None
    """Start a new file (and new rows) after this many input records."""
    chunk_size: int = 16384
    """The most input lines in an input split."""
    max_record_bytes: int = MAX_RECORD_BYTES
    """A longer record is not read: it is an error, or counted (--on_error skip). Bounds the
    memory."""
    template_kwargs: str = "{}"
    """ft: variables for the chat template as JSON, as the served model will be given them, for
    example '{"enable_thinking": false}'."""
    fast: Literal["auto", "off"] = "auto"
    """auto: gigatoken on texts where it gives the same ids as tokenizers; off: only tokenizers."""

    @property
    def kind(self) -> Kind:
        """The kind named by --type; "ft" may still turn out to be RL prompts."""
        return KINDS[self.type]

    @property
    def processes(self) -> int:
        """The number of processes that convert."""
        if self.cores > 0:
            return self.cores
        return max(1, int(len(os.sched_getaffinity(0)) * 0.8))

    @property
    def output_folder(self) -> Path:
        """The folder that the files are written to."""
        if self.output:
            return Path(self.output)
        source = Path(self.input)
        tokenizer = Path(self.tokenizer).absolute().name
        name = base_name(source.name) if source.is_file() else source.name
        return source.parent / f"{name}_{tokenizer}"


def check_config(config: Raw2IdsConfig) -> None:
    """Raise ValueError for an invalid setting, or an invalid combination."""
    if config.type not in KINDS:
        close = difflib.get_close_matches(config.type, KINDS, 1, 0.4)
        hint = f"; did you mean {KINDS[close[0]]}?" if close else ""
        raise ValueError(f"--type {config.type}: expected ft, pretrain or rl{hint}")
    if not 2 <= config.max_len <= MAX_LENGTH:
        raise ValueError(f"--max_len {config.max_len}: expected 2 to {MAX_LENGTH}")
    if config.input == "-" and not config.output:
        raise ValueError("--input -: say where to write, with --output")
    for name in ("batch_size", "chunk_size", "max_record_bytes", "num_lines_per_partition"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} {value}: expected at least 1")
    if config.cores < 1 and config.cores != -1:
        raise ValueError(f"--cores {config.cores}: expected at least 1, or -1 for 80 % of the CPUs")
    if config.kind != "pretrain" and config.stack:
        raise ValueError("--stack cuts documents, which chats must not be; use it with -t pretrain")
    if config.kind == "rl":
        check_prompts(config)
    if config.stack and config.pad:
        raise ValueError("--pad with --stack: stacked rows are always full; leave --pad out")
    if config.kind == "pretrain" and config.filter:
        raise ValueError("--filter drops chats without an answer; it has no meaning for pretrain")
    if config.kind == "pretrain" and config.auto_no_thinking:
        raise ValueError("--auto_no_thinking is for chats; it has no meaning for pretrain")
    if config.kind == "pretrain" and config.template_kwargs != "{}":
        raise ValueError("--template_kwargs is for chats; there is no template for pretrain")


def check_prompts(config: Raw2IdsConfig) -> None:
    """Raise ValueError for a setting that is not valid for RL prompts."""
    for name in ("pad", "filter", "auto_no_thinking"):
        if getattr(config, name):
            raise ValueError(f"--{name} has no meaning for RL prompts, which are a row each")
