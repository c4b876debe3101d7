"""Input file names and the record size limit; imports no Arrow."""

from __future__ import annotations

from typing import Literal

Codec = Literal["gzip", "zstd"]
CODECS: dict[str, Codec] = {".gz": "gzip", ".zst": "zstd"}
MAX_RECORD_BYTES = 1 << 26
"""The default of `--max_record_bytes`."""


def base_name(name: str) -> str:
    """Return a file's name without its format extensions: `a.jsonl.gz` → `a`."""
    stem, dot, suffix = name.rpartition(".")
    return base_name(stem) if stem and f"{dot}{suffix}" in CODECS else stem or name
