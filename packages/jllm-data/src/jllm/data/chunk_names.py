"""Names of a conversion's files: `<input>-<partition>-chunk-<number>.<compression>.parquet`.

How many files a partition has is known when it is written. Up to a hundred are numbered with two
digits; of more every number gets as many digits as the last one, so that names sort as their rows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_NUMBERED = re.compile(r"(.*-\d{5,}-chunk-)(\d+)(\..*)")


def chunk_name(name: str, partition: int, compression: str, number: int) -> str:
    """The name of a file while it is not known how many there will be."""
    return f"{name}-{partition:05d}-chunk-{number:02d}.{compression}.parquet"


def wide_names(names: Sequence[str]) -> list[str]:
    """The same files' names, with numbers of one length in each partition."""
    found = [_NUMBERED.fullmatch(name) for name in names]
    digits: dict[str, int] = {}
    for match in found:
        if match:
            digits[match[1]] = max(digits.get(match[1], 0), len(match[2]))
    return [
        f"{match[1]}{match[2].zfill(digits[match[1]])}{match[3]}" if match else name
        for name, match in zip(names, found, strict=True)
    ]


def rename_widely(folder: Path, files: Sequence[dict[str, Any]]) -> None:
    """Give the `files` of one input (`FileInfo` in a tree), which lie in `folder`, `wide_names`."""
    names = wide_names([file["name"] for file in files])
    for file, name in zip(files, names, strict=True):
        if file["name"] != name:
            (folder / file["name"]).rename(folder / name)
            file["name"] = name
