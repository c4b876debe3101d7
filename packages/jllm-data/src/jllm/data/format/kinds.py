"""Kinds of rows and compressions of files: the names that a command line needs, without Arrow."""

from __future__ import annotations

from typing import Literal, get_args

Kind = Literal["pretrain", "ft", "rl"]
"""Text, chats with labels, prompts for reinforcement learning."""
KINDS: tuple[Kind, ...] = get_args(Kind)

Compression = Literal["zstd", "gzip", "brotli", "snappy", "lz4"]
"""The compression of a parquet file's columns."""
