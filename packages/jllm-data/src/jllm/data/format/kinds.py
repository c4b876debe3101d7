"""What rows may be and how files may be compressed: names that a command line needs, no Arrow."""

from __future__ import annotations

from typing import Literal, get_args

Kind = Literal["pretrain", "ft", "rl"]
"""Text, chats with labels, prompts for reinforcement learning."""
KINDS: tuple[Kind, ...] = get_args(Kind)

Compression = Literal["zstd", "gzip", "brotli", "snappy", "lz4"]
"""Of the columns of a parquet file."""
