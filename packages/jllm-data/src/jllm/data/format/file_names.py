"""Names of a data set's files: rows, tokenizer, repartition plan.

A conversion's rows lie in `<input>-<partition>-chunk-<number>.<compression>.parquet`. How many of
them a partition has is known when it is written: up to a hundred are numbered with two digits; of
more, every number gets as many digits as the last one, so that names sort as their rows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TOKENIZER_FOLDER = "tokenizer"
VOCABULARY = "tokenizer.json"
DIGESTS = "digests.json"
"""The file in it with each file's name and the digest of its bytes, and STATED_TOKENIZER."""
STATED_TOKENIZER = "tokenizer_digest"
"""Its key for what the tokenizer is called in the metadata of the rows."""
TOKENIZER_FILES = (
    VOCABULARY,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "config.json",
    DIGESTS,
)
"""What is kept of a given tokenizer. A model's config.json too: Transformers chooses the class of a
tokenizer by its model_type."""
REPARTITION_PLAN = "data.info"
"""The file that keeps the plan of a repartition."""
NAME_BYTES = 200
"""The longest name that outputs may begin with; file systems allow 255 bytes with all behind it."""
_NUMBERED = re.compile(r"(.*-\d{5,}-chunk-)(\d+)(\..*)")


def chunk_name(name: str, partition: int, compression: str, number: int) -> str:
    """Return the name of a file while it is not known how many there will be."""
    return f"{name}-{partition:05d}-chunk-{number:02d}.{compression}.parquet"


def wide_names(names: Sequence[str]) -> list[str]:
    """Return the same files' names, with numbers of one length in each partition."""
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


def check_output_name(name: str, given: str) -> None:
    """ValueError, of what was `given`, where no file may be called `name` and more behind it."""
    try:
        length = len(name.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"{given}: the name is not UTF-8, rename it") from error
    if length > NAME_BYTES:
        raise ValueError(f"{given}: outputs would begin with {length} bytes; rename it")
    if not name or name[0] in "._":
        raise ValueError(
            f"{given}: outputs would be called {name}-…, which readers pass over; rename it"
        )
